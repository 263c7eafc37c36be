//! Figure: every checkpoint in the first four dimensions of its InPCA, in pairs.

use std::collections::BTreeSet;

use anyhow::Result;
use tables::Table;

use crate::curves::thinned;
use crate::ink::{Ink, Letters, Mark, Side, Spot};
use crate::inpca::{Spectrum, coordinates};
use crate::legend::{Entry, ROW, Sample, legend, rows};
use crate::page::{HEAD, MARGIN, page};
use crate::panel::Panel;
use crate::runs::{Runs, split_name};
use crate::style;

const DIMENSIONS: usize = 4;
/// The panels, row by row: dimension across, dimension up.
const PAIRS: [(usize, usize); 6] = [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)];
const ACROSS: usize = 3;
/// A panel with its labels, in pixels.
const PANEL: (f64, f64) = (412.0, 372.0);

/// Dots of one colour in one square of this many pixels are drawn once; vertices of a line closer than twice this to
/// the one before are left out. Nobody sees the difference, and 150,000 checkpoints still make a file one can open.
const CELL: f64 = 0.5;

/// Draws the figure from a table of points and its spectrum.
///
/// # Errors
/// When a table lacks columns, or has no run.
pub fn draw(points: &Table, spectrum: &Table, split: &str) -> Result<String> {
    let spectrum = Spectrum::of(spectrum)?;
    let runs = Runs::of(points)?;
    let pc = coordinates(points, DIMENSIONS)?;

    let entries = entries(&runs, &spectrum);
    let width = 2.0 * MARGIN + ACROSS as f64 * PANEL.0;
    let down = PAIRS.len().div_ceil(ACROSS) as f64;
    let below = HEAD - 10.0 + down * PANEL.1;
    let height = below + ROW * rows(width - 2.0 * MARGIN, &entries)? as f64 + MARGIN;
    let title = format!("Training trajectories in the first four InPCA dimensions{}", split_name(split));
    let caption =
        format!("{}; {}, the geodesic's points among them", runs.summary(points)?, spectrum.size("models"));
    page((width, height), &title, &caption, |ink| {
        for (i, &(x, y)) in PAIRS.iter().enumerate() {
            let from = (MARGIN + (i % ACROSS) as f64 * PANEL.0, HEAD - 10.0 + (i / ACROSS) as f64 * PANEL.1);
            let to = (from.0 + PANEL.0 - 14.0, from.1 + PANEL.1 - 12.0);
            let values = |pc: &[f64]| pc.to_vec();
            let panel = Panel::new(
                ink,
                from,
                to,
                &spectrum.axis(x, values(&pc[x - 1])),
                &spectrum.axis(y, values(&pc[y - 1])),
            )?;
            let at = |row: usize| panel.at(pc[x - 1][row], pc[y - 1][row]);
            trajectories(ink, &runs, at)?;
            geodesic(ink, &panel, &runs.geodesic.iter().map(|&row| at(row)).collect::<Vec<_>>())?;
        }
        legend(ink, (MARGIN, below + ROW / 2.0), width - 2.0 * MARGIN, &entries)
    })
}

fn entries(runs: &Runs, spectrum: &Spectrum) -> Vec<Entry> {
    let mut entries = vec![(Sample::Heading, "Architecture".to_owned())];
    entries.extend(runs.palette.entries().map(|(name, colour)| (Sample::Trace(colour), name.to_owned())));
    if !runs.geodesic.is_empty() {
        entries.push((Sample::Line(style::GEODESIC, 2.0), "geodesic".to_owned()));
        entries.push((IGNORANCE, "P0, ignorance".to_owned()));
        entries.push((TRUTH, "P*, truth".to_owned()));
    }
    if spectrum.eigenvalues.iter().take(DIMENSIONS).any(|value| *value < 0.0) {
        let words = "time-like dimension (negative eigenvalue)".to_owned();
        entries.push((Sample::Line(style::TIME_LIKE, 1.6), words));
    }
    entries
}

const IGNORANCE: Sample = Sample::Mark(Mark::Disc, 4.5, style::PAPER, style::GEODESIC);
const TRUTH: Sample = Sample::Mark(Mark::Star, 5.5, style::GEODESIC, style::PAPER);

/// Every run as a thin line with a dot a checkpoint.
fn trajectories(ink: &Ink, runs: &Runs, at: impl Fn(usize) -> Spot) -> Result<()> {
    let mut seen = BTreeSet::new();
    for run in &runs.runs {
        let colour = runs.palette.colour(&run.arch);
        ink.line(&thinned(run.rows.iter().map(|&row| at(row)), 2.0 * CELL), colour, 0.3, 0.8)?;
    }
    for run in &runs.runs {
        let colour = runs.palette.colour(&run.arch);
        for spot in run.rows.iter().map(|&row| at(row)) {
            let cell = ((spot.0 / CELL) as i32, (spot.1 / CELL) as i32);
            if seen.insert((&run.arch, cell)) {
                ink.dot(spot, 1.7, colour, 0.6)?;
            }
        }
    }
    Ok(())
}

/// The geodesic and its ends with their names.
fn geodesic(ink: &Ink, panel: &Panel, spots: &[Spot]) -> Result<()> {
    let (Some(&start), Some(&end)) = (spots.first(), spots.last()) else { return Ok(()) };
    ink.line(spots, style::GEODESIC, 1.0, 2.0)?;
    let name = Letters::new(style::LABEL, style::GEODESIC).bold();
    for (sample, spot, words) in [(IGNORANCE, start, "P0"), (TRUTH, end, "P*")] {
        if let Sample::Mark(mark, radius, fill, outline) = sample {
            ink.mark(mark, spot, radius, fill, outline)?;
        }
        // Inwards, so that the name stays within the panel; on a patch, so that it can be read on a crowd.
        let left = spot.0 > (panel.from.0 + panel.to.0) / 2.0;
        let (side, way) = if left { (Side::Left, -1.0) } else { (Side::Right, 1.0) };
        let up = if spot.1 > panel.from.1 + 22.0 { -1.0 } else { 1.0 };
        let (x, y) = (spot.0 + 9.0 * way, spot.1 + 11.0 * up);
        let far = x + way * name.width(words)?;
        let patch = [(x, y - 8.0), (far, y - 8.0), (far, y + 8.0), (x, y + 8.0)];
        ink.fill(&patch, style::PAPER, 0.75)?;
        ink.text(words, (x, y), name.side(side))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn figure() -> String {
        draw(&sample::points(&["fc", "vit"]), &sample::spectrum(&[5.0, -2.0, 1.0, 0.5]), "train").unwrap()
    }

    #[test]
    fn the_figure_says_what_it_shows() {
        sample::check(
            &figure(),
            &[
                "Training trajectories in the first four InPCA dimensions, train set",
                "12 runs of 2 architectures, 1 of them untrained, 132 checkpoints; N = 1,000 samples, M = 152 models, the geodesic's points among them",
                "fc",
                "vit",
                "geodesic",
                "P0",
                "P*",
                "P0, ignorance",
                "P*, truth",
                "time-like dimension (negative eigenvalue)",
            ],
        );
        let dots = figure().matches("<circle").count();
        assert!((1..=6 * 132 + 2).contains(&dots), "{dots} dots");
    }

    #[test]
    fn each_architecture_has_its_colour() {
        let svg = figure();
        for (_, colour) in style::Palette::of(["fc", "vit"]).entries() {
            let hex = format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
            assert!(svg.matches(&hex).count() > 100, "{hex} is hardly there");
        }
    }

    #[test]
    fn equal_tables_give_equal_bytes() {
        assert_eq!(figure(), figure());
    }

    #[test]
    fn a_table_without_coordinates_is_told() {
        let error = draw(&sample::models(&["fc"]), &sample::spectrum(&[1.0]), "train").unwrap_err();
        assert!(error.to_string().contains("no column `pc1`"), "{error}");
    }
}
