//! Figure: whole trajectories embedded by their distances, a mark a configuration.

use anyhow::{Result, ensure};
use tables::Table;

use crate::embedding::time_like_entry;
use crate::ink::Mark;
use crate::inpca::{Spectrum, coordinates};
use crate::legend::{Entry, ROW, Sample, legend, rows};
use crate::page::{HEAD, MARGIN, page, several};
use crate::panel::Panel;
use crate::runs::split_name;
use crate::style::{self, Palette};
use crate::values::{distinct, rank, texts};

const DIMENSIONS: usize = 3;
/// The panels: dimension across, dimension up.
const PAIRS: [(usize, usize); 3] = [(1, 2), (1, 3), (2, 3)];
const PANEL: (f64, f64) = (412.0, 392.0);
/// Radius of the smallest marks, and what each larger batch adds.
const RADIUS: (f64, f64) = (4.2, 2.0);

/// Draws the figure from a table of configurations with coordinates, its spectrum and how each run ended: all architectures,
/// trained or not, decide their colours.
///
/// # Errors
/// When a table lacks columns, or has no configuration.
pub fn draw(points: &Table, spectrum: &Table, runs: &Table, split: &str) -> Result<String> {
    ensure!(points.height() > 0, "no configuration was trained: the table of trajectories has no row");
    let spectrum = Spectrum::of(spectrum)?;
    let pc = coordinates(points, DIMENSIONS)?;
    let [arch, optimizer, batch] = ["arch", "optimizer", "batch"].map(|column| texts(points, column));
    let (arch, optimizer, batch) = (arch?, optimizer?, batch?);
    let all = texts(runs, "arch")?;
    let palette = Palette::of(all.iter().map(String::as_str)).restricted(arch.iter().map(String::as_str));
    let (optimizers, batches) = (distinct(&optimizer), distinct(&batch));
    let mark = |optimizer: &str| Mark::CATEGORIES[rank(&optimizers, optimizer) % Mark::CATEGORIES.len()];
    let radius = |batch: &str| RADIUS.0 + RADIUS.1 * rank(&batches, batch).min(4) as f64;

    let mut entries: Vec<Entry> = vec![(Sample::Heading, "Architecture".to_owned())];
    entries.extend(palette.entries().map(|(name, colour)| (Sample::Swatch(colour), name.to_owned())));
    entries.push((Sample::Heading, "Optimizer".to_owned()));
    entries.extend(
        optimizers
            .iter()
            .map(|name| (Sample::Mark(mark(name), 5.0, style::MUTED, style::MUTED), (*name).to_owned())),
    );
    entries.push((Sample::Heading, "Batch size".to_owned()));
    entries.extend(batches.iter().map(|name| {
        (Sample::Mark(Mark::Disc, radius(name), style::MUTED, style::MUTED), (*name).to_owned())
    }));
    entries.extend(time_like_entry(&[&spectrum], DIMENSIONS));

    let width = 2.0 * MARGIN + PAIRS.len() as f64 * PANEL.0;
    let below = HEAD - 10.0 + PANEL.1;
    let height = below + ROW * rows(width - 2.0 * MARGIN, &entries)? as f64 + MARGIN;
    let title = format!("InPCA of whole trajectories{}", split_name(split));
    let caption = format!(
        "{}, the runs of a configuration averaged; distances at equal progress; {}",
        several(points.height(), "configuration"),
        spectrum.size("trajectories")
    );
    page((width, height), &title, &caption, |ink| {
        for (i, &(x, y)) in PAIRS.iter().enumerate() {
            let from = (MARGIN + i as f64 * PANEL.0, HEAD - 10.0);
            let to = (from.0 + PANEL.0 - 14.0, from.1 + PANEL.1 - 12.0);
            let axis = |number: usize| spectrum.axis(number, pc[number - 1].iter().copied());
            let panel = Panel::new(ink, from, to, &axis(x), &axis(y))?;
            for row in 0..points.height() {
                let spot = panel.at(pc[x - 1][row], pc[y - 1][row]);
                ink.mark(
                    mark(&optimizer[row]),
                    spot,
                    radius(&batch[row]),
                    palette.colour(&arch[row]),
                    style::PAPER,
                )?;
            }
        }
        legend(ink, (MARGIN, below + ROW / 2.0), width - 2.0 * MARGIN, &entries)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_figure_says_what_it_shows() {
        let (points, spectrum) = (sample::trajectories(&["fc", "vit"]), sample::spectrum(&[3.0, -2.0, 1.0]));
        let svg = draw(&points, &spectrum, &points, "train").unwrap();
        sample::check(
            &svg,
            &[
                "InPCA of whole trajectories, train set",
                "6 configurations, the runs of a configuration averaged; distances at equal progress; N = 1,000 samples, M = 152 \
                 trajectories",
                "PC2 (√nats), +33.0 % of stress, time-like",
                "time-like dimension (negative eigenvalue)",
                "Architecture",
                "fc",
                "vit",
                "Optimizer",
                "adam",
                "nesterov",
                "sgd",
                "Batch size",
                "25",
                "50",
            ],
        );
        assert_eq!(svg, draw(&points, &spectrum, &points, "train").unwrap());
    }

    #[test]
    fn an_architecture_has_the_colour_that_it_has_among_all() {
        let points = sample::trajectories(&["fc-256"]);
        let runs = sample::trajectories(&["fc-128", "fc-256"]);
        let svg = draw(&points, &sample::spectrum(&[1.0]), &runs, "train").unwrap();
        sample::check_larger_of_two(&svg, ["fc-128", "fc-256"]);
    }

    #[test]
    fn one_configuration_can_be_drawn() {
        let points = sample::trajectories(&["fc"]).rows(&[0]).unwrap();
        assert!(draw(&points, &sample::spectrum(&[0.0]), &points, "train").is_ok());
    }

    #[test]
    fn a_table_without_configurations_is_told() {
        let points = sample::trajectories(&["fc"]).rows(&[]).unwrap();
        let message = draw(&points, &sample::spectrum(&[1.0]), &points, "train").unwrap_err().to_string();
        assert_eq!(message, "no configuration was trained: the table of trajectories has no row");
    }
}
