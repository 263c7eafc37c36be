//! Figure: six averages of runs along progress: how far apart they are, and where they lead.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use tables::Table;

use crate::ink::{Ink, Mark, Spot};
use crate::inpca::Spectrum;
use crate::legend::{Entry, ROW, Sample, legend, rows};
use crate::page::{HEAD, MARGIN, nothing, page, several};
use crate::panel::{Axis, Panel, padded};
use crate::runs::split_name;
use crate::style;
use crate::values::texts;

/// The averages in the order of the table, with what a reader calls them.
const CENTROIDS: [(&str, &str); 6] = [
    ("arithmetic", "arithmetic mean"),
    ("geometric", "geometric mean"),
    ("harmonic", "harmonic mean"),
    ("root", "squared mean root, not normalised"),
    ("bhattacharyya", "Bhattacharyya centroid"),
    ("jeffreys", "Jeffreys centroid"),
];
/// The panels: column of the table, name of the axis, whether it is logarithmic.
const PANELS: [(&str, &str, bool); 4] = [
    ("to_arithmetic", "distance to the arithmetic mean (nats)", true),
    ("spread", "mean distance of the runs to the average (nats)", false),
    ("own_progress", "progress of the average itself", false),
    ("geodesic_distance", "distance of the average to the geodesic (nats)", false),
];
const ACROSS: usize = 2;
const PANEL: (f64, f64) = (540.0, 360.0);
/// One of so many points of a curve has a mark.
const MARKED: usize = 3;

/// Values of one average along progress.
type Curve = Vec<(f64, f64)>;

/// Draws the figure from a table of averages and the spectrum of the InPCA, which has the numbers of samples and models.
///
/// # Errors
/// When the table lacks columns.
pub fn draw(centroids: &Table, spectrum: &Table, split: &str) -> Result<String> {
    let size = Spectrum::of(spectrum)?.size("models in all");
    let title = format!("Six averages of runs along progress{}", split_name(split));
    if centroids.height() == 0 {
        return nothing(&title, "No group has two trained runs: there is nothing to average.");
    }
    let names = centroids.values::<&str>("centroid")?;
    let progress = centroids.numbers("progress")?;
    let (arch, optimizer) = (texts(centroids, "arch")?, texts(centroids, "optimizer")?);
    let groups: BTreeMap<_, usize> =
        arch.iter().zip(&optimizer).enumerate().map(|(row, group)| (group, row)).collect();
    let runs = centroids.numbers("runs")?;
    let averaged: f64 = groups.values().map(|&row| runs[row]).sum();

    let present: BTreeSet<&str> = names.iter().copied().collect();
    let shown = || (0..CENTROIDS.len()).filter(|&i| present.contains(CENTROIDS[i].0));
    let entries: Vec<Entry> = shown()
        .map(|i| {
            let colour = style::SERIES[i];
            (Sample::Marked(mark(i), 4.0, colour), CENTROIDS[i].1.to_owned())
        })
        .collect();
    let width = 2.0 * MARGIN + ACROSS as f64 * PANEL.0;
    let below = HEAD + (PANELS.len() / ACROSS) as f64 * PANEL.1;
    let height = below + ROW * rows(width - 2.0 * MARGIN, &entries)? as f64 + MARGIN;
    let caption = format!(
        "{} in {} of one architecture and optimizer, averaged within groups; curves: means over groups; a run is \
         held where it ended; {size}",
        several(averaged as usize, "trained run"),
        several(groups.len(), "group")
    );
    page((width, height), &title, &caption, |ink| {
        for (i, (column, name, logarithmic)) in PANELS.into_iter().enumerate() {
            let values = centroids.numbers(column)?;
            let curves: Vec<(usize, Curve)> = shown()
                .map(|centroid| {
                    let name = CENTROIDS[centroid].0;
                    let rows = (0..names.len()).filter(|&row| names[row] == name);
                    (centroid, means(rows.map(|row| (progress[row], values[row]))))
                })
                .collect();
            let from = (MARGIN + (i % ACROSS) as f64 * PANEL.0, HEAD + (i / ACROSS) as f64 * PANEL.1);
            let to = (from.0 + PANEL.0 - 16.0, from.1 + PANEL.1 - 16.0);
            draw_panel(ink, (from, to), name, logarithmic, &curves)?;
        }
        legend(ink, (MARGIN, below + ROW / 2.0), width - 2.0 * MARGIN, &entries)
    })
}

fn draw_panel(
    ink: &Ink,
    (from, to): (Spot, Spot),
    name: &str,
    logarithmic: bool,
    curves: &[(usize, Curve)],
) -> Result<()> {
    let values = || curves.iter().flat_map(|(_, curve)| curve.iter().map(|point| point.1));
    let x = Axis::new("progress of the runs", 0.0..1.02);
    let panel = if logarithmic {
        // The distance of an average to itself has no place there.
        let positive = || values().filter(|value| *value > 0.0);
        let (low, high) = (positive().fold(f64::MAX, f64::min), positive().fold(f64::MIN_POSITIVE, f64::max));
        // Rounding leaves distances of 1e-17 where there is none.
        let low = low.clamp(high * 1e-5, high);
        Panel::logarithmic(ink, from, to, &x, &Axis::new(name, low / 1.5..high * 1.5))?
    } else {
        Panel::new(ink, from, to, &x, &Axis::new(name, 0.0..padded(values().chain([0.0])).end))?
    };
    for (centroid, curve) in curves {
        let visible = |value: f64| !logarithmic || panel.at(0.0, value).1 < panel.to.1;
        let points = curve.iter().enumerate().filter(|(_, point)| visible(point.1));
        let spots: Vec<(usize, Spot)> = points.map(|(i, point)| (i, panel.at(point.0, point.1))).collect();
        let colour = style::SERIES[*centroid];
        ink.line(&spots.iter().map(|(_, spot)| *spot).collect::<Vec<_>>(), colour, 0.9, 1.6)?;
        // Each curve at its own places, so that marks of curves that coincide can be told apart.
        for (_, spot) in spots.iter().filter(|(i, _)| i % MARKED == centroid % MARKED) {
            ink.mark(mark(*centroid), *spot, 3.6, colour, style::PAPER)?;
        }
    }
    Ok(())
}

fn mark(centroid: usize) -> Mark {
    Mark::CATEGORIES.get(centroid).copied().unwrap_or(Mark::Star)
}

/// The mean at each place, in the order of places.
fn means(points: impl Iterator<Item = (f64, f64)>) -> Curve {
    let mut at: Vec<(f64, f64, f64)> = Vec::new();
    for (x, y) in points {
        match at.iter_mut().find(|place| place.0 == x) {
            Some(place) => (place.1, place.2) = (place.1 + y, place.2 + 1.0),
            None => at.push((x, y, 1.0)),
        }
    }
    at.sort_by(|a, b| a.0.total_cmp(&b.0));
    at.into_iter().map(|(x, sum, count)| (x, sum / count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_figure_says_what_it_shows() {
        let centroids = sample::centroids(&["fc", "vit"]);
        let svg = draw(&centroids, &sample::spectrum(&[1.0]), "train").unwrap();
        let mut texts = vec![
            "Six averages of runs along progress, train set",
            "24 trained runs in 6 groups of one architecture and optimizer, averaged within groups; curves: means over \
             groups; a run is held where it ended; N = 1,000 samples, M = 152 models in all",
            "progress of the runs",
        ];
        texts.extend(PANELS.map(|(_, name, _)| name));
        texts.extend(CENTROIDS.map(|(_, name)| name));
        sample::check(&svg, &texts);
        assert_eq!(svg, draw(&centroids, &sample::spectrum(&[1.0]), "train").unwrap());
    }

    #[test]
    fn curves_are_means_over_groups_in_order() {
        let points = [(0.5, 1.0), (0.1, 3.0), (0.5, 2.0)];
        assert_eq!(means(points.into_iter()), [(0.1, 3.0), (0.5, 1.5)]);
    }

    #[test]
    fn averages_that_coincide_can_be_drawn() {
        let centroids = sample::centroids(&["fc"]);
        let arithmetic: Vec<usize> = (0..centroids.height()).step_by(CENTROIDS.len()).collect();
        let svg = draw(&centroids.rows(&arithmetic).unwrap(), &sample::spectrum(&[1.0]), "train").unwrap();
        assert!(!svg.contains("NaN") && !svg.contains("\ngeometric mean\n"));
    }

    #[test]
    fn single_runs_make_a_page_that_says_so() {
        let svg =
            draw(&sample::centroids(&["fc"]).rows(&[]).unwrap(), &sample::spectrum(&[1.0]), "train").unwrap();
        assert!(svg.contains("No group has two trained runs: there is nothing to average."));
    }
}
