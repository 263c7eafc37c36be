//! Figure: progress against epoch, architectures named with their number of parameters. Where an architecture comes in several
//! sizes, each has a panel of its own, with the runs that all sizes have: larger is faster.

use anyhow::Result;
use tables::{Models, Table};

use crate::curves::{interpolated, quantile};
use crate::ink::{Ink, Letters, Spot};
use crate::inpca::Spectrum;
use crate::page::{HEAD, MARGIN, magnitude, page, several};
use crate::panel::{Axis, Panel};
use crate::runs::{Runs, split_name};
use crate::style;

/// The page of a single panel, in pixels.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 600.0;
/// Pixels at its right for the names of curves.
const NAMES: f64 = 240.0;
/// One of several panels with its labels, in pixels, and how many stand in a row.
const PANEL: (f64, f64) = (420.0, 360.0);
const ACROSS: usize = 3;
/// Progress at which sizes are compared.
const HALF: f64 = 0.5;
/// Epochs at which the runs of an architecture are averaged.
const STEPS: usize = 240;
/// The band holds the runs between these quantiles.
const BAND: (f64, f64) = (0.1, 0.9);

/// The runs of one architecture, averaged.
struct Curve {
    arch: String,
    parameters: Option<f64>,
    points: Vec<Moment>,
}

impl Curve {
    /// The architecture with its number of parameters.
    fn words(&self) -> String {
        match self.parameters {
            Some(parameters) => format!("{}, {} parameters", self.arch, magnitude(parameters)),
            None => self.arch.clone(),
        }
    }
}

/// All runs at one epoch.
struct Moment {
    epoch: f64,
    mean: f64,
    low: f64,
    high: f64,
}

/// Draws the figure from a table of models and the spectrum of their InPCA, which has the numbers of samples and models.
///
/// # Errors
/// When the table lacks columns, or has no run.
pub fn draw(models: &Table, spectrum: &Table, split: &str) -> Result<String> {
    let size = Spectrum::of(spectrum)?.size("models in all");
    let mut runs = Runs::of(models)?;
    let have_their_like = Models::of(models)?.have_their_like(models, palette::family)?;
    let all = runs.runs.len();
    runs.runs.retain(|run| have_their_like[run.rows[0]]);
    let left_out = match all - runs.runs.len() {
        0 => String::new(),
        some => format!("; left out: {} with settings that not all sizes have", several(some, "run")),
    };
    let curves = curves(models, &runs)?;
    let title = format!("Progress from ignorance to truth{}", split_name(split));
    let caption = format!(
        "{}{left_out}; {size}; lines: mean of an architecture's runs; bands: from their 10 % to their 90 % quantile",
        runs.summary(models)?
    );
    let mut families: Vec<(&str, Vec<&Curve>)> = Vec::new();
    for curve in &curves {
        let family = palette::family(&curve.arch);
        match families.last_mut() {
            Some((last, sizes)) if *last == family => sizes.push(curve),
            _ => families.push((family, vec![curve])),
        }
    }
    let points = curves.iter().flat_map(|curve| &curve.points);
    let end = points.map(|point| point.epoch).fold(0.0, f64::max);
    let x = Axis::new("epoch", 0.0..if end > 0.0 { end } else { 1.0 });
    let y = Axis::new("progress along the geodesic", 0.0..1.02);
    if families.iter().all(|(_, sizes)| sizes.len() == 1) {
        return page((WIDTH, HEIGHT), &title, &caption, |ink| {
            let panel = Panel::new(ink, (MARGIN, HEAD - 10.0), (WIDTH - NAMES, HEIGHT - 14.0), &x, &y)?;
            draw_curves(ink, &panel, curves.iter(), &runs)?;
            names(ink, &panel, &curves, &runs)
        });
    }
    let caption = format!("{caption}; grey: the other architectures");
    let width = 2.0 * MARGIN + ACROSS as f64 * PANEL.0;
    let down = families.len().div_ceil(ACROSS) as f64;
    page((width, HEAD + 10.0 + down * PANEL.1 + MARGIN - 14.0), &title, &caption, |ink| {
        for (i, (family, sizes)) in families.iter().enumerate() {
            let from = (MARGIN + (i % ACROSS) as f64 * PANEL.0, HEAD + 10.0 + (i / ACROSS) as f64 * PANEL.1);
            let panel = Panel::new(ink, from, (from.0 + PANEL.0 - 16.0, from.1 + PANEL.1 - 30.0), &x, &y)?;
            panel.title(ink, family)?;
            for other in curves.iter().filter(|curve| palette::family(&curve.arch) != *family) {
                ink.line(&spots(&panel, other), style::MUTED, 0.35, 0.9)?;
            }
            draw_curves(ink, &panel, sizes.iter().copied(), &runs)?;
            sizes_legend(ink, &panel, sizes, &runs)?;
        }
        Ok(())
    })
}

/// The mean of a curve on the page.
fn spots(panel: &Panel, curve: &Curve) -> Vec<Spot> {
    curve.points.iter().map(|point| panel.at(point.epoch, point.mean)).collect()
}

/// Draws curves over their bands.
fn draw_curves<'a>(
    ink: &Ink,
    panel: &Panel,
    curves: impl Iterator<Item = &'a Curve> + Clone,
    runs: &Runs,
) -> Result<()> {
    for curve in curves.clone() {
        let upper = curve.points.iter().map(|point| panel.at(point.epoch, point.high));
        let lower = curve.points.iter().rev().map(|point| panel.at(point.epoch, point.low));
        let corners: Vec<Spot> = upper.chain(lower).collect();
        ink.fill(&corners, runs.palette.colour(&curve.arch), 0.14)?;
    }
    for curve in curves {
        ink.line(&spots(panel, curve), runs.palette.colour(&curve.arch), 1.0, 2.2)?;
    }
    Ok(())
}

/// Names the sizes of an architecture where their panel is empty, the largest on top, with when they are half way.
fn sizes_legend(ink: &Ink, panel: &Panel, sizes: &[&Curve], runs: &Runs) -> Result<()> {
    const APART: f64 = 17.0;
    let letters = Letters::new(style::TICK, style::INK);
    for (i, curve) in sizes.iter().enumerate() {
        let half = curve.points.iter().find(|point| point.mean >= HALF);
        let when = half.map(|point| format!("; {HALF} at epoch {:.1}", point.epoch)).unwrap_or_default();
        let words = format!("{}{when}", curve.words());
        let spot = (panel.to.0 - letters.width(&words)? - 8.0, panel.to.1 - 12.0 - APART * i as f64);
        ink.dot((spot.0 - 10.0, spot.1), 4.0, runs.palette.colour(&curve.arch), 1.0)?;
        ink.text(&words, spot, letters)?;
    }
    Ok(())
}

/// Every architecture's mean and band over the epochs that all of its runs reached.
fn curves(models: &Table, runs: &Runs) -> Result<Vec<Curve>> {
    let (epoch, progress) = (runs.numbers(models, "epoch")?, runs.numbers(models, "progress")?);
    let parameters = models.optional::<f64>("parameters")?;
    let curve = |arch: &str| {
        let of_runs: Vec<Vec<(f64, f64)>> = runs
            .of_arch(arch)
            .map(|run| run.rows.iter().map(|&row| (epoch[row], progress[row])).collect())
            .collect();
        let ends = of_runs.iter().filter_map(|run| run.last()).map(|(epoch, _)| *epoch);
        let end = ends.fold(f64::MAX, f64::min);
        let point = |step: usize| {
            let epoch = end * step as f64 / STEPS as f64;
            let mut values: Vec<f64> = of_runs.iter().map(|run| interpolated(run, epoch)).collect();
            values.sort_by(f64::total_cmp);
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            Moment { epoch, mean, low: quantile(&values, BAND.0), high: quantile(&values, BAND.1) }
        };
        let parameters = runs.of_arch(arch).find_map(|run| parameters[run.rows[0]]);
        Curve { arch: arch.to_owned(), parameters, points: (0..=STEPS).map(point).collect() }
    };
    Ok(runs.palette.entries().map(|(arch, _)| curve(arch)).collect())
}

/// Names the curves at their ends, moved apart where they would overlap.
fn names(ink: &Ink, panel: &Panel, curves: &[Curve], runs: &Runs) -> Result<()> {
    const APART: f64 = 19.0;
    let mut ends: Vec<(Spot, &Curve)> = curves
        .iter()
        .filter_map(|curve| curve.points.last().map(|end| (panel.at(end.epoch, end.mean), curve)))
        .collect();
    ends.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
    let heights: Vec<f64> = ends.iter().map(|(spot, _)| spot.1).collect();
    let heights = apart(&heights, APART, panel.from.1, panel.to.1);
    for ((end, curve), height) in ends.into_iter().zip(heights) {
        let colour = runs.palette.colour(&curve.arch);
        let x = panel.to.0 + 22.0;
        ink.line(&[end, (panel.to.0 + 4.0, end.1), (x - 4.0, height)], colour, 0.8, 1.0)?;
        ink.dot((x + 4.0, height), 4.0, colour, 1.0)?;
        ink.text(&curve.words(), (x + 14.0, height), Letters::new(style::LABEL, style::INK))?;
    }
    Ok(())
}

/// Sorted heights moved to be at least `gap` apart and, where they fit, between `from` and `to`.
fn apart(heights: &[f64], gap: f64, from: f64, to: f64) -> Vec<f64> {
    let mut moved = heights.to_vec();
    for i in 1..moved.len() {
        moved[i] = moved[i].max(moved[i - 1] + gap);
    }
    // What was pushed out at the bottom comes back, taking its neighbours along.
    let mut limit = to;
    for height in moved.iter_mut().rev() {
        *height = height.min(limit);
        limit = *height - gap;
    }
    // Too many for the space: from the top, then.
    let shift = moved.first().map_or(0.0, |top| (from - top).max(0.0));
    moved.iter().map(|height| height + shift).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_figure_says_what_it_shows() {
        let models = sample::models(&["fc", "vit"]);
        let svg = draw(&models, &sample::spectrum(&[1.0]), "train").unwrap();
        sample::check(
            &svg,
            &[
                "Progress from ignorance to truth, train set",
                "12 runs of 2 architectures, 1 of them untrained, 132 checkpoints; N = 1,000 samples, M = 152 models in all; lines: mean of an \
                 architecture's runs; bands: from their 10 % to their 90 % quantile",
                "epoch",
                "progress along the geodesic",
                "fc, 77 k parameters",
                "vit, 78 k parameters",
            ],
        );
        assert_eq!(svg, draw(&models, &sample::spectrum(&[1.0]), "train").unwrap());
    }

    #[test]
    fn sizes_of_an_architecture_share_a_panel() {
        let models = sample::models(&["fc-256", "fc-64", "vit"]);
        let svg = draw(&models, &sample::spectrum(&[1.0]), "train").unwrap();
        sample::check(
            &svg,
            &[
                "18 runs of 3 architectures, 1 of them untrained, 198 checkpoints; N = 1,000 samples, M = 152 models in all; lines: mean of an \
                 architecture's runs; bands: from their 10 % to their 90 % quantile; grey: the other architectures",
                "fc",
                "vit",
                "fc-64, 78 k parameters; 0.5 at epoch 9.6",
                "fc-256, 77 k parameters; 0.5 at epoch 9.6",
            ],
        );
        assert_eq!(svg.matches(">\nepoch\n</text>").count(), 2);
        assert_eq!(svg, draw(&models, &sample::spectrum(&[1.0]), "train").unwrap());
    }

    #[test]
    fn runs_are_averaged_at_equal_epochs() {
        let models = sample::models(&["fc"]);
        let curves = curves(&models, &Runs::of(&models).unwrap()).unwrap();
        let points = &curves[0].points;
        assert_eq!(points.len(), STEPS + 1);
        assert_eq!((points[0].epoch, points[STEPS].epoch), (0.0, 30.0));
        assert!(points.iter().all(|point| point.low <= point.mean && point.mean <= point.high));
        assert!(points[0].mean < 0.1 && points[STEPS].mean > 0.7);
    }

    #[test]
    fn names_keep_apart_and_inside() {
        assert_eq!(apart(&[10.0, 50.0], 19.0, 0.0, 100.0), [10.0, 50.0]);
        assert_eq!(apart(&[90.0, 95.0, 96.0], 20.0, 0.0, 100.0), [60.0, 80.0, 100.0]);
        assert_eq!(apart(&[1.0, 2.0, 3.0], 60.0, 0.0, 100.0), [0.0, 60.0, 120.0]);
        assert!(apart(&[], 20.0, 0.0, 1.0).is_empty());
    }
}
