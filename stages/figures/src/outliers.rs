//! Figure: where and when models leave the manifold, and which runs are left out because they were not trained.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use plotters::prelude::RGBColor;
use tables::{Table, count};

use crate::curves::thinned;
use crate::embedding::{CELL, entries, geodesic};
use crate::ink::{Ink, Letters, Mark, Spot};
use crate::inpca::{Spectrum, coordinates};
use crate::legend::{Entry, ROW, Sample, legend, rows};
use crate::page::{HEAD, MARGIN, page, several};
use crate::panel::{Axis, BELOW, LEFT, Panel};
use crate::runs::{Runs, split_name};
use crate::style;
use crate::values::{distinct, rank, texts};

/// A panel with its labels, in pixels.
const PANEL: (f64, f64) = (420.0, 430.0);
/// Pixels of the third panel for the names of groups, and at its right for counts.
const NAMES: f64 = 150.0;
const COUNTS: f64 = 84.0;
/// Pixels from top to bottom of the panel of runs.
const RUNS: f64 = 310.0;
/// Radius of marks.
const RADIUS: f64 = 4.2;

/// What the figure is drawn from.
pub struct Tables {
    /// The points of the embedding.
    pub points: Table,
    /// Its spectrum.
    pub spectrum: Table,
    /// How each run ended.
    pub runs: Table,
}

/// Draws the figure: models farther than `far` from truth, and runs whose final train error is over `untrained`.
///
/// The Bhattacharyya distance to truth is half the cross-entropy: truth has all its weight on the label, so that
/// -log sqrt(p) is left of each sample.
///
/// # Errors
/// When a table lacks columns, or has no run.
pub fn draw(tables: &Tables, far: f64, untrained: f64, split: &str) -> Result<String> {
    let points = &tables.points;
    let spectrum = Spectrum::of(&tables.spectrum)?;
    let runs = Runs::of(points)?;
    let pc = coordinates(points, 2)?;
    let epoch = runs.numbers(points, "epoch")?;
    let distance: Vec<f64> = runs.numbers(points, "loss")?.into_iter().map(|loss| loss / 2.0).collect();
    let optimizers = distinct(runs.runs.iter().map(|run| &run.optimizer));
    let outliers = Outliers { runs: &runs, far, distance: &distance, optimizers: &optimizers };

    let mut entries: Vec<Entry> = entries(&runs, &[&spectrum], 2);
    entries.push((Sample::Heading, "Optimizer".to_owned()));
    entries.extend(optimizers.iter().map(|name| {
        (Sample::Mark(outliers.mark(name), RADIUS, style::MUTED, style::INK), (*name).to_owned())
    }));
    let width = 2.0 * MARGIN + 3.0 * PANEL.0;
    let top = HEAD + 10.0;
    let below = top + PANEL.1 + RUNS;
    let height = below + ROW * rows(width - 2.0 * MARGIN, &entries)? as f64 + MARGIN;
    let title = format!("Models farther than {far} from truth, and runs left out{}", split_name(split));
    let ones: BTreeSet<&[usize]> = outliers.rows().map(|(run, _)| runs.runs[run].rows.as_slice()).collect();
    let caption = format!(
        "{}; {} of {} over {far}; {}",
        runs.summary(points)?,
        several(outliers.rows().count(), "checkpoint"),
        several(ones.len(), "run"),
        spectrum.size("models embedded")
    );
    page((width, height), &title, &caption, |ink| {
        let corners = |i: usize| {
            let from = (MARGIN + i as f64 * PANEL.0, top);
            (from, (from.0 + PANEL.0 - 16.0, from.1 + PANEL.1 - 14.0))
        };
        when(ink, corners(0), &outliers, &epoch)?;
        place(ink, corners(1), &outliers, &spectrum, &pc)?;
        shares(ink, corners(2), &outliers)?;
        let from = (MARGIN, top + PANEL.1 + 22.0);
        ends(ink, (from, (width - MARGIN - 16.0, below - 6.0)), &outliers, &tables.runs, untrained)?;
        legend(ink, (MARGIN, below + ROW / 2.0), width - 2.0 * MARGIN, &entries)
    })
}

struct Outliers<'a> {
    runs: &'a Runs,
    /// The distance to truth over which a model is one of them.
    far: f64,
    /// Of each row of the table, to truth; not a number for the geodesic.
    distance: &'a [f64],
    optimizers: &'a [&'a str],
}

impl Outliers<'_> {
    /// The models that are too far from truth: run, row.
    fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        let rows = self.runs.runs.iter().enumerate();
        rows.flat_map(|(i, run)| run.rows.iter().map(move |&row| (i, row)))
            .filter(|(_, row)| self.distance[*row] > self.far)
    }

    fn mark(&self, optimizer: &str) -> Mark {
        let place = self.optimizers.iter().position(|name| *name == optimizer).unwrap_or(0);
        Mark::CATEGORIES[place % Mark::CATEGORIES.len()]
    }

    /// Marks them all.
    fn draw(&self, ink: &Ink, at: impl Fn(usize) -> Spot) -> Result<()> {
        self.rows().try_for_each(|(i, row)| {
            let run = &self.runs.runs[i];
            let colour = self.runs.palette.colour(&run.arch);
            ink.mark(self.mark(&run.optimizer), at(row), RADIUS, colour, style::INK)
        })
    }
}

/// Distance to truth against epoch.
fn when(ink: &Ink, (from, to): (Spot, Spot), outliers: &Outliers, epoch: &[f64]) -> Result<()> {
    let all = || outliers.runs.runs.iter().flat_map(|run| run.rows.iter().copied());
    let highest = all().map(|row| outliers.distance[row]).fold(outliers.far, f64::max);
    let last = all().map(|row| epoch[row]).fold(0.0, f64::max);
    let x = Axis::new("epoch", 0.0..if last > 0.0 { 1.02 * last } else { 1.0 });
    let panel = Panel::new(ink, from, to, &x, &Axis::new("distance to truth (nats)", 0.0..1.08 * highest))?;
    panel.title(ink, "when")?;
    for run in &outliers.runs.runs {
        let spots = run.rows.iter().map(|&row| panel.at(epoch[row], outliers.distance[row]));
        ink.line(&thinned(spots, CELL), outliers.runs.palette.colour(&run.arch), 0.45, 0.9)?;
    }
    let limit = panel.at(0.0, outliers.far).1;
    ink.line(&[(panel.from.0, limit), (panel.to.0, limit)], style::INK, 0.9, 1.2)?;
    outliers.draw(ink, |row| panel.at(epoch[row], outliers.distance[row]))
}

/// The first two dimensions of the embedding.
fn place(
    ink: &Ink,
    (from, to): (Spot, Spot),
    outliers: &Outliers,
    spectrum: &Spectrum,
    pc: &[Vec<f64>],
) -> Result<()> {
    let axis = |number: usize| spectrum.axis(number, pc[number - 1].iter().copied());
    let panel = Panel::new(ink, from, to, &axis(1), &axis(2))?;
    panel.title(ink, "where")?;
    let at = |row: usize| panel.at(pc[0][row], pc[1][row]);
    let mut seen = BTreeSet::new();
    for spot in outliers.runs.runs.iter().flat_map(|run| &run.rows).map(|&row| at(row)) {
        if seen.insert(((spot.0 / CELL) as i32, (spot.1 / CELL) as i32)) {
            ink.dot(spot, 1.7, style::MUTED, 0.3)?;
        }
    }
    geodesic(ink, &panel, &outliers.runs.geodesic.iter().map(|&row| at(row)).collect::<Vec<_>>())?;
    outliers.draw(ink, at)
}

/// How many of the checkpoints of each architecture and optimizer are too far.
fn shares(ink: &Ink, (from, to): (Spot, Spot), outliers: &Outliers) -> Result<()> {
    let mut groups: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for run in &outliers.runs.runs {
        let (far, all) = groups.entry((&run.arch, &run.optimizer)).or_default();
        *far += run.rows.iter().filter(|&&row| outliers.distance[row] > outliers.far).count();
        *all += run.rows.len();
    }
    // Nothing to tell of most groups where there are many.
    if (to.1 - BELOW - from.1) / (groups.len() as f64) < 13.0 {
        groups.retain(|_, (far, _)| *far > 0);
    }
    let share = |(far, all): (usize, usize)| far as f64 / all as f64;
    let highest = groups.values().map(|counts| share(*counts)).fold(0.0, f64::max);
    let x = Axis::new("share of checkpoints", 0.0..if highest > 0.0 { 1.05 * highest } else { 1.0 });
    let y = Axis::new("", 0.0..groups.len().max(1) as f64).bare();
    let (from, to) = ((from.0 + NAMES - LEFT, from.1), (to.0 - COUNTS, to.1));
    let panel = Panel::new(ink, from, to, &x.ticks(4), &y)?;
    panel.title(ink, "whose")?;
    let row = (panel.to.1 - panel.from.1) / groups.len().max(1) as f64;
    let letters = Letters::new(style::TICK, style::INK);
    for (i, ((arch, optimizer), counts)) in groups.into_iter().enumerate() {
        let y = panel.from.1 + row * (i as f64 + 0.5);
        ink.text(&format!("{arch}, {optimizer}"), (panel.from.0 - NAMES + 14.0, y), letters)?;
        let half = (0.36 * row).min(9.0);
        let end = panel.at(share(counts), 0.0).0;
        ink.block((panel.from.0, y - half), (end, y + half), outliers.runs.palette.colour(arch))?;
        let words = format!("{} of {}", count(counts.0), count(counts.1));
        let letters = if counts.0 > 0 { letters } else { Letters::new(style::TICK, style::MUTED) };
        ink.text(&words, (panel.to.0 + 8.0, y), letters)?;
    }
    Ok(())
}

/// The final train error of every run, side by side by architecture and optimizer; the untrained ones stand out.
fn ends(
    ink: &Ink,
    (from, to): (Spot, Spot),
    outliers: &Outliers,
    table: &Table,
    untrained: f64,
) -> Result<()> {
    let (arch, optimizer) = (texts(table, "arch")?, texts(table, "optimizer")?);
    let (error, trained) = (table.numbers("train_error")?, table.values::<bool>("trained")?);
    let archs: Vec<(&str, RGBColor)> = outliers.runs.palette.entries().collect();
    let highest = error.iter().copied().fold(untrained, f64::max);
    let x = Axis::new("", 0.0..archs.len() as f64).bare();
    let y = Axis::new("final train error", -0.03 * highest..1.08 * highest).ticks(5);
    let panel = Panel::new(ink, from, to, &x, &y)?;
    let left_out = trained.iter().filter(|trained| !**trained).count();
    panel.title(
        ink,
        &format!(
            "left out: {left_out} of {} (final train error over {untrained})",
            several(trained.len(), "run")
        ),
    )?;
    let limit = panel.at(0.0, untrained).1;
    ink.line(&[(panel.from.0, limit), (panel.to.0, limit)], style::INK, 0.9, 1.2)?;
    let band = (panel.to.0 - panel.from.0) / archs.len().max(1) as f64;
    for (i, (name, colour)) in archs.iter().enumerate() {
        let left = panel.from.0 + i as f64 * band;
        if i > 0 {
            ink.line(&[(left, panel.from.1), (left, panel.to.1)], style::GRID, 1.0, 0.8)?;
        }
        let letters = Letters::new(style::TICK, style::INK).centred();
        if letters.width(name)? < band {
            ink.text(name, (left + band / 2.0, panel.to.1 + 14.0), letters)?;
        }
        let mut rows: Vec<usize> = (0..table.height()).filter(|&row| arch[row] == *name).collect();
        rows.sort_by_key(|&row| (rank(outliers.optimizers, &optimizer[row]), row));
        let step = band / (rows.len() + 1) as f64;
        for (place, &row) in rows.iter().enumerate() {
            let spot = (left + step * (place + 1) as f64, panel.at(0.0, error[row]).1);
            let mark = outliers.mark(&optimizer[row]);
            let (radius, outline) = if trained[row] { (3.2, style::PAPER) } else { (RADIUS, style::INK) };
            ink.mark(mark, spot, radius, *colour, outline)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn tables(archs: &[&str]) -> Tables {
        Tables {
            points: sample::points(archs),
            spectrum: sample::spectrum(&[5.0, -2.0, 1.0]),
            runs: sample::outcomes(archs),
        }
    }

    #[test]
    fn the_figure_says_what_it_shows() {
        let svg = draw(&tables(&["fc", "vit"]), 2.0, 0.1, "test").unwrap();
        sample::check(
            &svg,
            &[
                "Models farther than 2 from truth, and runs left out, test set",
                // The sample's second architecture begins at a loss of 4.2 in all of its six runs.
                "12 runs of 2 architectures, 1 of them untrained, 132 checkpoints; 6 checkpoints of 6 runs over 2; N = \
                 1,000 samples, M = 152 models embedded",
                "when",
                "where",
                "whose",
                "fc, adam",
                "0 of 22",
                "vit, sgd",
                "2 of 22",
                "Optimizer",
                "left out: 1 of 12 runs (final train error over 0.1)",
                "final train error",
                "PC2 (√nats), +22.6 % of stress, time-like",
            ],
        );
        assert_eq!(svg, draw(&tables(&["fc", "vit"]), 2.0, 0.1, "test").unwrap());
    }

    #[test]
    fn a_sweep_without_outliers_can_be_drawn() {
        let svg = draw(&tables(&["fc"]), 2.0, 0.1, "train").unwrap();
        assert!(svg.contains("0 checkpoints of 0 runs over 2"));
        assert!(!svg.contains("NaN"));
    }
}
