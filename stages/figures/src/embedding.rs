//! Figure: every checkpoint in the first four dimensions of its InPCA, in pairs.

use std::collections::BTreeSet;

use anyhow::Result;
use plotters::prelude::RGBColor;
use tables::Table;

use crate::curves::thinned;
use crate::ink::{Ink, Letters, Mark, Spot};
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

/// Of the dots of one colour in a square of this many pixels one is drawn; vertices of a line closer than this to the
/// one before are left out. Nobody sees the difference, and 150,000 checkpoints still make a file one can open.
pub const CELL: f64 = 1.0;

/// Draws the figure from a table of points and its spectrum.
///
/// # Errors
/// When a table lacks columns, or has no run.
pub fn draw(points: &Table, spectrum: &Table, split: &str) -> Result<String> {
    let spectrum = Spectrum::of(spectrum)?;
    let runs = Runs::of(points)?;
    let pc = coordinates(points, DIMENSIONS)?;

    let entries = entries(&runs, &[&spectrum], DIMENSIONS);
    let width = 2.0 * MARGIN + ACROSS as f64 * PANEL.0;
    let down = PAIRS.len().div_ceil(ACROSS) as f64;
    let below = HEAD - 10.0 + down * PANEL.1;
    let height = below + ROW * rows(width - 2.0 * MARGIN, &entries)? as f64 + MARGIN;
    let title = format!("Training trajectories in the first four InPCA dimensions{}", split_name(split));
    let among = if runs.geodesic.is_empty() { "" } else { ", the geodesic's points among them" };
    let caption = format!("{}; {}{among}", runs.summary(points)?, spectrum.size("models"));
    page((width, height), &title, &caption, |ink| {
        for (i, &(x, y)) in PAIRS.iter().enumerate() {
            let from = (MARGIN + (i % ACROSS) as f64 * PANEL.0, HEAD - 10.0 + (i / ACROSS) as f64 * PANEL.1);
            let to = (from.0 + PANEL.0 - 14.0, from.1 + PANEL.1 - 12.0);
            let axis = |number: usize| spectrum.axis(number, pc[number - 1].iter().copied());
            let panel = Panel::new(ink, from, to, &axis(x), &axis(y))?;
            let at = |row: usize| panel.at(pc[x - 1][row], pc[y - 1][row]);
            trajectories(ink, &runs, at)?;
            geodesic(ink, &panel, &runs.geodesic.iter().map(|&row| at(row)).collect::<Vec<_>>())?;
        }
        legend(ink, (MARGIN, below + ROW / 2.0), width - 2.0 * MARGIN, &entries)
    })
}

/// The legend of embeddings of these runs, of which the first `dimensions` are drawn.
pub fn entries(runs: &Runs, spectra: &[&Spectrum], dimensions: usize) -> Vec<Entry> {
    let mut entries = vec![(Sample::Heading, "Architecture".to_owned())];
    entries.extend(runs.palette.entries().map(|(name, colour)| (Sample::Trace(colour), name.to_owned())));
    entries.extend(frame_entries(runs, spectra, dimensions));
    entries
}

/// The part of the legend that is not of trajectories: the geodesic and its ends, time-like dimensions.
pub fn frame_entries(runs: &Runs, spectra: &[&Spectrum], dimensions: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    if !runs.geodesic.is_empty() {
        entries.push((Sample::Line(style::GEODESIC, 2.0), "geodesic".to_owned()));
        for ((mark, radius, fill, outline), words) in [(IGNORANCE, "P0, ignorance"), (TRUTH, "P*, truth")] {
            entries.push((Sample::Mark(mark, radius, fill, outline), words.to_owned()));
        }
    }
    entries.extend(time_like_entry(spectra, dimensions));
    entries
}

/// What red axes are, where one of the first `dimensions` is.
pub fn time_like_entry(spectra: &[&Spectrum], dimensions: usize) -> Option<Entry> {
    let mut drawn = spectra.iter().flat_map(|spectrum| spectrum.eigenvalues.iter().take(dimensions));
    let words = "time-like dimension (negative eigenvalue)".to_owned();
    drawn.any(|value| *value < 0.0).then_some((Sample::Line(style::TIME_LIKE, 1.6), words))
}

/// The mark of P0: shape, radius, fill, outline.
pub const IGNORANCE: (Mark, f64, RGBColor, RGBColor) = (Mark::Disc, 4.5, style::PAPER, style::GEODESIC);
/// The mark of P*.
pub const TRUTH: (Mark, f64, RGBColor, RGBColor) = (Mark::Star, 5.5, style::GEODESIC, style::PAPER);

/// Draws every run as a thin line with a dot a checkpoint.
///
/// # Errors
/// When plotters cannot draw.
pub fn trajectories(ink: &Ink, runs: &Runs, at: impl Fn(usize) -> Spot) -> Result<()> {
    let mut seen = BTreeSet::new();
    for run in &runs.runs {
        let colour = runs.palette.colour(&run.arch);
        ink.line(&thinned(run.rows.iter().map(|&row| at(row)), CELL), colour, 0.3, 0.8)?;
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

/// Draws the geodesic and its ends with their names.
///
/// # Errors
/// When plotters cannot draw.
pub fn geodesic(ink: &Ink, panel: &Panel, spots: &[Spot]) -> Result<()> {
    let (Some(&start), Some(&end)) = (spots.first(), spots.last()) else { return Ok(()) };
    let letters = Letters::new(style::LABEL, style::GEODESIC).bold().centred();
    let eighth = spots.len() / 8;
    let mut names = Vec::new();
    for (words, end, along) in [("P0", start, spots[eighth]), ("P*", end, spots[spots.len() - 1 - eighth])] {
        let width = letters.width(words)?;
        let (x, y) = name_spot(panel, end, along, width);
        let (left, right) = (x - width / 2.0 - 1.0, x + width / 2.0 + 1.0);
        // Under everything else, so that the name can be read on a crowd of dots.
        ink.fill(&[(left, y - 8.0), (right, y - 8.0), (right, y + 8.0), (left, y + 8.0)], style::PAPER, 0.7)?;
        names.push((words, (x, y)));
    }
    ink.line(spots, style::GEODESIC, 1.0, 2.0)?;
    for (sample, spot) in [(IGNORANCE, start), (TRUTH, end)] {
        ink.mark(sample.0, spot, sample.1, sample.2, sample.3)?;
    }
    names.into_iter().try_for_each(|(words, spot)| ink.text(words, spot, letters))
}

/// Where the name of an end of the geodesic goes: beside it, away from the way the geodesic takes, within the panel.
fn name_spot(panel: &Panel, end: Spot, along: Spot, width: f64) -> Spot {
    let (reach, up) = (width / 2.0 + 9.0, 12.0);
    let mut ways = [
        (0.0, -1.4),
        (0.0, 1.4),
        (-1.0, -1.0),
        (1.0, -1.0),
        (-1.0, 1.0),
        (1.0, 1.0),
        (-1.2, 0.0),
        (1.2, 0.0),
    ];
    let towards = |way: &Spot| {
        let length = way.0.hypot(way.1) * (along.0 - end.0).hypot(along.1 - end.1).max(1e-9);
        (way.0 * (along.0 - end.0) + way.1 * (along.1 - end.1)) / length
    };
    ways.sort_by(|a, b| towards(a).total_cmp(&towards(b)));
    let spots = ways.map(|way| (end.0 + way.0 * reach, end.1 + way.1 * up));
    let inside = |spot: &&Spot| {
        let (x, y) = (width / 2.0 + 2.0, 9.0);
        panel.from.0 + x < spot.0
            && spot.0 < panel.to.0 - x
            && panel.from.1 + y < spot.1
            && spot.1 < panel.to.1 - y
    };
    *spots.iter().find(inside).unwrap_or(&spots[0])
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
