//! Figure: trajectories from other starts among the ordinary ones, and how far they are from the nearest of these.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use plotters::prelude::RGBColor;
use tables::Table;

use crate::curves::{Point, interpolated, quantile, rising, thinned};
use crate::embedding::{CELL, frame_entries, geodesic};
use crate::ink::{Ink, Mark, Spot};
use crate::inpca::{Spectrum, coordinates};
use crate::legend::{Entry, ROW, Sample, legend, rows};
use crate::page::{HEAD, MARGIN, page, several};
use crate::panel::{Axis, Panel, padded};
use crate::runs::{Run, Runs, split_name};
use crate::style;

/// A panel with its labels, in pixels.
const PANEL: (f64, f64) = (560.0, 420.0);
/// The ordinary trajectories.
const PALE: RGBColor = RGBColor(0xC9, 0xC9, 0xC9);
/// The mark of a first checkpoint: shape and radius.
const FIRST: (Mark, f64) = (Mark::Square, 4.6);
/// Places of an axis at which runs are compared.
const STEPS: usize = 100;
/// The band holds the ordinary models between these quantiles.
const BAND: (f64, f64) = (0.1, 0.9);
/// Distances below this share of the largest are drawn at the bottom: the axis is logarithmic.
const LEAST: f64 = 1e-4;

/// The runs of a table: ordinary ones, and those of each start.
struct Kinds<'a> {
    ordinary: Vec<&'a Run>,
    starts: Vec<(&'a str, RGBColor, Vec<&'a Run>)>,
}

impl<'a> Kinds<'a> {
    /// Splits runs by the column `from`, which ordinary ones do not have.
    fn of(runs: &'a Runs, points: &'a Table) -> Result<Kinds<'a>> {
        let from = points.optional::<&str>("from")?;
        let mut ordinary = Vec::new();
        let mut kinds: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
        for run in &runs.runs {
            match from[run.rows[0]] {
                Some(kind) => kinds.entry(kind).or_default().push(run),
                None => ordinary.push(run),
            }
        }
        ensure!(!kinds.is_empty(), "no run has another start: column `from` is empty");
        ensure!(!ordinary.is_empty(), "every run has another start: there is nothing to compare with");
        let colours = style::NAMED.iter().cycle();
        let starts = kinds.into_iter().zip(colours).map(|((name, runs), colour)| (name, *colour, runs));
        Ok(Kinds { ordinary, starts: starts.collect() })
    }

    /// The runs of all starts by turns, each with its colour, so that no start lies on top of the others.
    fn by_turns(&self) -> impl Iterator<Item = (&'a Run, RGBColor)> {
        let longest = self.starts.iter().map(|(.., runs)| runs.len()).max().unwrap_or(0);
        (0..longest).flat_map(|turn| {
            self.starts.iter().filter_map(move |(_, colour, runs)| Some((*runs.get(turn)?, *colour)))
        })
    }
}

/// Draws the figure from a table of points and its spectrum.
///
/// # Errors
/// When a table lacks columns, or has no run of another start or no ordinary one.
pub fn draw(points: &Table, spectrum: &Table, split: &str) -> Result<String> {
    let spectrum = Spectrum::of(spectrum)?;
    let runs = Runs::of(points)?;
    let kinds = Kinds::of(&runs, points)?;
    let pc = coordinates(points, 3)?;
    let nearest = runs.numbers(points, "nearest")?;
    let (epoch, progress) = (runs.numbers(points, "epoch")?, runs.numbers(points, "progress")?);

    let entries = entries(&kinds, &runs, &spectrum, &nearest);
    let width = 2.0 * MARGIN + 2.0 * PANEL.0;
    let below = HEAD - 10.0 + 2.0 * PANEL.1;
    let height = below + ROW * rows(width - 2.0 * MARGIN, &entries)? as f64 + MARGIN;
    let title = format!("Trajectories from other starts among the ordinary ones{}", split_name(split));
    let caption = format!(
        "{} from {} and {}; {}; nearest: of the checkpoints of (other) ordinary runs; thin lines: runs; bold: the median of a \
         start, where most of its runs are",
        several(runs.runs.len() - kinds.ordinary.len(), "run"),
        several(kinds.starts.len(), "other start"),
        several(kinds.ordinary.len(), "ordinary run"),
        spectrum.size("models")
    );
    page((width, height), &title, &caption, |ink| {
        let corners = |i: usize| {
            let from = (MARGIN + (i % 2) as f64 * PANEL.0, HEAD - 10.0 + (i / 2) as f64 * PANEL.1);
            (from, (from.0 + PANEL.0 - 16.0, from.1 + PANEL.1 - 14.0))
        };
        for (i, y) in [2, 3].into_iter().enumerate() {
            let axis = |number: usize| spectrum.axis(number, pc[number - 1].iter().copied());
            let (from, to) = corners(i);
            let panel = Panel::new(ink, from, to, &axis(1), &axis(y))?;
            embedded(ink, &panel, &runs, &kinds, |row| panel.at(pc[0][row], pc[y - 1][row]))?;
        }
        let along = [("epoch", &epoch), ("progress along the geodesic", &progress)];
        for (i, (name, at)) in along.into_iter().enumerate() {
            near(ink, corners(2 + i), &kinds, (name, spectrum.unit()), |row| (at[row], nearest[row]))?;
        }
        legend(ink, (MARGIN, below + ROW / 2.0), width - 2.0 * MARGIN, &entries)
    })
}

fn entries(kinds: &Kinds, runs: &Runs, spectrum: &Spectrum, nearest: &[f64]) -> Vec<Entry> {
    let median = |runs: &[&Run], row: fn(&Run) -> Option<usize>| {
        let mut values: Vec<f64> = runs.iter().filter_map(|run| Some(nearest[row(run)?])).collect();
        values.sort_by(f64::total_cmp);
        quantile(&values, 0.5)
    };
    let (first, last) = (|run: &Run| run.rows.first().copied(), |run: &Run| run.rows.last().copied());
    let mut entries = vec![(Sample::Heading, "Start (runs; median distance to the nearest)".to_owned())];
    for (name, colour, runs) in &kinds.starts {
        let (from, to) = (median(runs, first), median(runs, last));
        entries.push((
            Sample::Trace(*colour),
            format!("{name} ({}; {from:.3} at first, {to:.3} at last)", runs.len()),
        ));
    }
    let (count, end) = (kinds.ordinary.len(), median(&kinds.ordinary, last));
    entries.push((Sample::Trace(PALE), format!("ordinary ({count}; {end:.3} at last)")));
    entries.push((Sample::Mark(FIRST.0, FIRST.1, style::PAPER, style::INK), "first checkpoint".to_owned()));
    let band = format!("ordinary models, {:.0} % to {:.0} %", 100.0 * BAND.0, 100.0 * BAND.1);
    entries.push((Sample::Swatch(PALE), band));
    entries.extend(frame_entries(runs, &[spectrum], 3));
    entries
}

/// Two dimensions of the embedding: ordinary trajectories in pale, those from other starts over them.
fn embedded(ink: &Ink, panel: &Panel, runs: &Runs, kinds: &Kinds, at: impl Fn(usize) -> Spot) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut is_new = |spot: Spot, colour: RGBColor| {
        let RGBColor(r, g, b) = colour;
        seen.insert(((spot.0 / CELL) as i32, (spot.1 / CELL) as i32, [r, g, b]))
    };
    for run in &kinds.ordinary {
        ink.line(&thinned(run.rows.iter().map(|&row| at(row)), CELL), PALE, 0.5, 0.8)?;
    }
    for spot in kinds.ordinary.iter().flat_map(|run| &run.rows).map(|&row| at(row)) {
        if is_new(spot, PALE) {
            ink.dot(spot, 1.6, PALE, 0.7)?;
        }
    }
    geodesic(ink, panel, &runs.geodesic.iter().map(|&row| at(row)).collect::<Vec<_>>())?;
    for (run, colour) in kinds.by_turns() {
        ink.line(&thinned(run.rows.iter().map(|&row| at(row)), CELL), colour, 0.6, 1.0)?;
    }
    for (run, colour) in kinds.by_turns() {
        for spot in run.rows.iter().map(|&row| at(row)) {
            if is_new(spot, colour) {
                ink.dot(spot, 1.9, colour, 0.8)?;
            }
        }
    }
    firsts(ink, kinds, at)
}

/// Marks the first checkpoint of each run from another start.
fn firsts(ink: &Ink, kinds: &Kinds, at: impl Fn(usize) -> Spot) -> Result<()> {
    kinds
        .by_turns()
        .try_for_each(|(run, colour)| ink.mark(FIRST.0, at(run.rows[0]), FIRST.1, colour, style::INK))
}

/// The distance to the nearest ordinary model along an axis: a band of the ordinary ones, a line a run from another start, and
/// the median of each start.
fn near(
    ink: &Ink,
    (from, to): (Spot, Spot),
    kinds: &Kinds,
    (name, unit): (&str, &str),
    value: impl Fn(usize) -> Point,
) -> Result<()> {
    let points = |run: &Run| run.rows.iter().map(|&row| value(row)).collect::<Vec<Point>>();
    let all = kinds.ordinary.iter().copied().chain(kinds.by_turns().map(|(run, _)| run)).flat_map(points);
    let all: Vec<Point> = all.collect();
    let high = all.iter().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    let least = all.iter().map(|point| point.1).filter(|distance| *distance > LEAST * high);
    let low = least.fold(high, f64::min);
    // As far as they get: ordinary runs may be longer by much.
    let end = kinds.by_turns().flat_map(|(run, _)| points(run)).map(|point| point.0).fold(0.0, f64::max);
    let x = Axis::new(name, padded([0.0, if end > 0.0 { end } else { 1.0 }]));
    let y = Axis::new(format!("distance to the nearest ordinary model{unit}"), 0.8 * low..1.3 * high);
    let panel = Panel::logarithmic(ink, from, to, &x, &y)?;
    let spot = |(x, y): Point| panel.at(x, y.max(low));

    let places = (0..=STEPS).map(|step| end * step as f64 / STEPS as f64);
    // Progress may turn back; a curve that does is compared where it gets further.
    let rises = |runs: &[&Run]| runs.iter().map(|run| rising(&points(run))).collect::<Vec<_>>();
    let ordinary = rises(&kinds.ordinary);
    let (mut upper, mut lower): (Vec<Spot>, Vec<Spot>) = (Vec::new(), Vec::new());
    for place in places.clone() {
        let values = reached(&ordinary, place);
        if 2 * values.len() >= ordinary.len() {
            lower.push(spot((place, quantile(&values, BAND.0))));
            upper.push(spot((place, quantile(&values, BAND.1))));
        }
    }
    ink.fill(&upper.into_iter().chain(lower.into_iter().rev()).collect::<Vec<_>>(), PALE, 0.7)?;
    for (run, colour) in kinds.by_turns() {
        let spots: Vec<Spot> = points(run).into_iter().map(spot).collect();
        ink.line(&spots, colour, 0.35, 0.9)?;
    }
    for (_, colour, runs) in &kinds.starts {
        let curves = rises(runs);
        let at = |place: f64| {
            let values = reached(&curves, place);
            (2 * values.len() > curves.len()).then(|| spot((place, quantile(&values, 0.5))))
        };
        let spots: Vec<Spot> = places.clone().filter_map(at).collect();
        ink.line(&spots, style::PAPER, 0.85, 4.4)?;
        ink.line(&spots, *colour, 1.0, 2.4)?;
    }
    firsts(ink, kinds, |row| spot(value(row)))
}

/// The values at a place of the curves that reach it, sorted.
fn reached(curves: &[Vec<Point>], place: f64) -> Vec<f64> {
    let reaches = |curve: &&Vec<Point>| {
        curve.first().is_some_and(|first| first.0 <= place)
            && curve.last().is_some_and(|last| place <= last.0)
    };
    let mut values: Vec<f64> =
        curves.iter().filter(reaches).map(|curve| interpolated(curve, place)).collect();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use tables::Column;

    use super::*;
    use crate::sample;

    #[test]
    fn the_figure_says_what_it_shows() {
        let (points, spectrum) = (sample::starts(), sample::spectrum(&[5.0, 2.0, -1.0]));
        let svg = draw(&points, &spectrum, "train").unwrap();
        sample::check(
            &svg,
            &[
                "Trajectories from other starts among the ordinary ones, train set",
                "12 runs from 2 other starts and 6 ordinary runs; N = 1,000 samples, M = 152 models; nearest: of the \
                 checkpoints of (other) ordinary runs; thin lines: runs; bold: the median of a start, where most of its runs \
                 are",
                "Start (runs; median distance to the nearest)",
                "random-labels (6; 1.000 at first, 0.100 at last)",
                "subset-200 (6; 1.000 at first, 0.100 at last)",
                "ordinary (6; 0.020 at last)",
                "first checkpoint",
                "ordinary models, 10 % to 90 %",
                "epoch",
                "progress along the geodesic",
                "distance to the nearest ordinary model (nats)",
                "P0, ignorance",
                "time-like dimension (negative eigenvalue)",
            ],
        );
        assert_eq!(svg, draw(&points, &spectrum, "train").unwrap());
    }

    #[test]
    fn each_start_has_its_colour_and_a_mark_for_each_first_checkpoint() {
        let svg = draw(&sample::starts(), &sample::spectrum(&[5.0, 2.0, 1.0]), "train").unwrap();
        for RGBColor(r, g, b) in &style::NAMED[..2] {
            let fill = format!("fill=\"#{r:02X}{g:02X}{b:02X}\"");
            let marks =
                svg.lines().filter(|line| line.starts_with("<polygon") && line.contains(&fill)).count();
            assert_eq!(marks, 4 * 6, "{fill}");
        }
    }

    #[test]
    fn ordinary_runs_that_are_longer_by_much_do_not_push_the_others_to_the_side() {
        let points = sample::starts();
        let arch = points.values::<&str>("arch").unwrap();
        let epochs = points.optional::<f64>("epoch").unwrap().into_iter().zip(&arch);
        let longer: Vec<_> = epochs
            .map(|(epoch, arch)| if *arch == "fc" { epoch.map(|it| 15.0 * it) } else { epoch })
            .collect();
        let mut columns = points.columns().to_vec();
        *columns.iter_mut().find(|column| column.name() == "epoch").unwrap() =
            Column::new("epoch".into(), longer);
        let starts = |points: &Table| {
            let svg = draw(points, &sample::spectrum(&[5.0, 2.0, 1.0]), "train").unwrap();
            let colours = style::NAMED[..2].iter().map(|RGBColor(r, g, b)| format!("#{r:02X}{g:02X}{b:02X}"));
            let colours: Vec<String> = colours.collect();
            let is_of_starts = |line: &&str| colours.iter().any(|colour| line.contains(colour));
            svg.lines().filter(is_of_starts).map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(starts(&points) == starts(&Table::new(columns).unwrap()));
    }

    #[test]
    fn a_table_without_other_starts_is_told() {
        let points = sample::starts();
        let from = points.optional::<&str>("from").unwrap();
        let ordinary: Vec<usize> = (0..points.height()).filter(|&row| from[row].is_none()).collect();
        let spectrum = sample::spectrum(&[1.0]);
        let message = draw(&points.rows(&ordinary).unwrap(), &spectrum, "train").unwrap_err().to_string();
        assert_eq!(message, "no run has another start: column `from` is empty");
        let others: Vec<usize> = (0..points.height()).filter(|&row| from[row].is_some()).collect();
        let message = draw(&points.rows(&others).unwrap(), &spectrum, "train").unwrap_err().to_string();
        assert_eq!(message, "every run has another start: there is nothing to compare with");
    }
}
