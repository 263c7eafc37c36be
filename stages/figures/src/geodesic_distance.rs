//! Figure: distance to the geodesic against progress, a panel an optimizer.

use anyhow::Result;
use tables::Table;

use crate::curves::{Point, mean, rising};
use crate::ink::{Ink, Spot};
use crate::inpca::Spectrum;
use crate::legend::{Entry, ROW, Sample, legend, rows};
use crate::page::{HEAD, MARGIN, page};
use crate::panel::{Axis, Panel, padded};
use crate::runs::{Run, Runs, split_name};
use crate::style;
use crate::values::distinct;

/// A panel with its labels, in pixels.
const PANEL: (f64, f64) = (400.0, 390.0);
/// Panels in a row.
const ACROSS: usize = 3;
/// Places between progress 0 and 1 at which the runs of an architecture are averaged.
const STEPS: usize = 100;

/// Draws the figure from a table of models and the spectrum of their InPCA, which has the numbers of samples and models.
///
/// # Errors
/// When the table lacks columns, or has no run.
pub fn draw(models: &Table, spectrum: &Table, split: &str) -> Result<String> {
    let size = Spectrum::of(spectrum)?.size("models in all");
    let runs = Runs::of(models)?;
    let (progress, distance) =
        (runs.numbers(models, "progress")?, runs.numbers(models, "geodesic_distance")?);
    let value = |&row: &usize| (progress[row], distance[row]);
    let all: Vec<Point> = runs.runs.iter().flat_map(|run| &run.rows).map(value).collect();
    let optimizers = distinct(runs.runs.iter().map(|run| &run.optimizer));

    let mut entries: Vec<Entry> = vec![(Sample::Heading, "Architecture".to_owned())];
    entries.extend(runs.palette.entries().map(|(name, colour)| (Sample::Line(colour, 2.4), name.to_owned())));
    let across = optimizers.len().min(ACROSS);
    // Two panels wide at least, for the words above.
    let width = 2.0 * MARGIN + across.max(2) as f64 * PANEL.0;
    let top = HEAD + 10.0;
    let below = top + optimizers.len().div_ceil(ACROSS) as f64 * PANEL.1;
    let height = below + ROW * rows(width - 2.0 * MARGIN, &entries)? as f64 + MARGIN;
    let title = format!("Distance to the geodesic from ignorance to truth{}", split_name(split));
    let caption = format!(
        "{}; {size}; thin: a run; bold: mean of an architecture, as far as half of its runs get",
        runs.summary(models)?
    );
    page((width, height), &title, &caption, |ink| {
        let x = Axis::new("progress along the geodesic", padded([0.0, 1.0]));
        let y =
            Axis::new("distance to the geodesic (nats)", 0.0..padded(all.iter().map(|point| point.1)).end);
        for (i, optimizer) in optimizers.iter().enumerate() {
            let from = (MARGIN + (i % ACROSS) as f64 * PANEL.0, top + (i / ACROSS) as f64 * PANEL.1);
            let to = (from.0 + PANEL.0 - 14.0, from.1 + PANEL.1 - 20.0);
            let panel = Panel::new(ink, from, to, &x, &y)?;
            panel.title(ink, optimizer)?;
            let of_optimizer: Vec<&Run> =
                runs.runs.iter().filter(|run| run.optimizer == *optimizer).collect();
            curves(ink, &panel, &runs, &of_optimizer, value)?;
        }
        legend(ink, (MARGIN, below + ROW / 2.0), width - 2.0 * MARGIN, &entries)
    })
}

fn curves(
    ink: &Ink,
    panel: &Panel,
    runs: &Runs,
    shown: &[&Run],
    value: impl Fn(&usize) -> Point,
) -> Result<()> {
    let on_page = |points: &[Point]| -> Vec<Spot> {
        points.iter().map(|&(progress, distance)| panel.at(progress, distance)).collect()
    };
    for run in shown {
        let points: Vec<Point> = run.rows.iter().map(&value).collect();
        ink.line(&on_page(&points), runs.palette.colour(&run.arch), 0.28, 0.9)?;
    }
    let mut means = Vec::new();
    for (arch, colour) in runs.palette.entries() {
        let of_arch = shown.iter().filter(|run| run.arch == arch);
        let curves: Vec<Vec<Point>> =
            of_arch.map(|run| rising(&run.rows.iter().map(&value).collect::<Vec<_>>())).collect();
        let mean = mean(&curves, STEPS);
        if mean.len() > 1 {
            means.push((on_page(&mean), colour));
        }
    }
    // Rims lift the means from the runs; all of them first, so that none covers another mean.
    means.iter().try_for_each(|(spots, _)| ink.line(spots, style::PAPER, 0.85, 4.8))?;
    means.iter().try_for_each(|(spots, colour)| ink.line(spots, *colour, 1.0, 2.6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_figure_says_what_it_shows() {
        let models = sample::models(&["fc", "vit"]);
        let svg = draw(&models, &sample::spectrum(&[1.0]), "test").unwrap();
        sample::check(
            &svg,
            &[
                "Distance to the geodesic from ignorance to truth, test set",
                "12 runs of 2 architectures, 1 of them untrained, 132 checkpoints; N = 1,000 samples, M = 152 models in all; thin: a run; bold: mean of an \
                 architecture, as far as half of its runs get",
                "adam",
                "nesterov",
                "sgd",
                "distance to the geodesic (nats)",
                "progress along the geodesic",
                "Architecture",
                "fc",
                "vit",
            ],
        );
        assert_eq!(svg, draw(&models, &sample::spectrum(&[1.0]), "test").unwrap());
    }
}
