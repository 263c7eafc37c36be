//! Figure: distance of runs to the mean trajectory of their configuration against progress, a panel an architecture.

use std::collections::BTreeSet;

use anyhow::Result;
use tables::Table;

use crate::boxes::{self, BoxPlot};
use crate::ink::Ink;
use crate::inpca::Spectrum;
use crate::page::{HEAD, MARGIN, nothing, page, several};
use crate::panel::{Axis, Panel};
use crate::runs::split_name;
use crate::style::Palette;
use crate::values::texts;

/// A panel with its labels, in pixels.
const PANEL: (f64, f64) = (400.0, 330.0);
/// Panels in a row.
const ACROSS: usize = 3;
/// The least width, for the words above.
const WIDTH: f64 = 920.0;
/// Boxes between progress 0 and 1.
const BINS: usize = 10;

/// Draws the figure from a table of runs along progress, the spectrum of the InPCA, which has the numbers of samples and models, and how
/// each run ended: all architectures, trained or not, decide their colours.
///
/// # Errors
/// When the table lacks columns.
pub fn draw(tube: &Table, spectrum: &Table, runs: &Table, split: &str) -> Result<String> {
    let size = Spectrum::of(spectrum)?.size("models in all");
    let title =
        format!("Distance of runs to the mean trajectory of their configuration{}", split_name(split));
    if tube.height() == 0 {
        return nothing(&title, "No configuration has two trained runs: there is nothing to compare.");
    }
    let (run, arch) = (tube.values::<&str>("run")?, texts(tube, "arch")?);
    let (progress, distance) = (tube.numbers("progress")?, tube.numbers("distance")?);
    let all = texts(runs, "arch")?;
    let palette = Palette::of(all.iter().map(String::as_str)).restricted(arch.iter().map(String::as_str));
    let panels: Vec<(&str, Vec<Option<BoxPlot>>)> = palette
        .entries()
        .map(|(name, _)| {
            let mut bins = vec![Vec::new(); BINS];
            for row in (0..tube.height()).filter(|&row| arch[row] == name) {
                bins[bin(progress[row])].push(distance[row]);
            }
            (name, bins.into_iter().map(BoxPlot::of).collect())
        })
        .collect();
    let highest = panels.iter().flat_map(|(_, bins)| bins.iter().flatten()).map(BoxPlot::top);
    let highest = highest.fold(f64::MIN_POSITIVE, f64::max);

    let across = panels.len().min(ACROSS);
    let width = (2.0 * MARGIN + across as f64 * PANEL.0).max(WIDTH);
    let top = HEAD + 10.0;
    let height = top + panels.len().div_ceil(ACROSS) as f64 * PANEL.1 + MARGIN - 20.0;
    let caption = format!(
        "{} of {}; {size}; each tenth of progress; {}; a run is held where it ended",
        several(run.iter().collect::<BTreeSet<_>>().len(), "trained run"),
        several(panels.len(), "architecture"),
        boxes::WORDS
    );
    page((width, height), &title, &caption, |ink| {
        let x = Axis::new("progress along the geodesic", 0.0..1.0);
        let y = Axis::new("distance to the mean trajectory (nats)", 0.0..1.05 * highest);
        for (i, (name, bins)) in panels.iter().enumerate() {
            let from = (MARGIN + (i % ACROSS) as f64 * PANEL.0, top + (i / ACROSS) as f64 * PANEL.1);
            let to = (from.0 + PANEL.0 - 14.0, from.1 + PANEL.1 - 30.0);
            let panel = Panel::new(ink, from, to, &x, &y)?;
            panel.title(ink, name)?;
            draw_boxes(ink, &panel, bins, &palette, name)?;
        }
        Ok(())
    })
}

fn draw_boxes(
    ink: &Ink,
    panel: &Panel,
    bins: &[Option<BoxPlot>],
    palette: &Palette,
    name: &str,
) -> Result<()> {
    let step = 1.0 / BINS as f64;
    for (i, values) in bins.iter().enumerate() {
        let Some(values) = values else { continue };
        values.draw(ink, panel, (i as f64 + 0.5) * step, 0.33 * step, palette.colour(name))?;
    }
    Ok(())
}

/// The box of a progress in 0..=1: the first holds 0.01 to 0.10, the last 0.91 to 1.
fn bin(progress: f64) -> usize {
    // The upper end belongs to the box, up to rounding.
    ((progress - 1e-9) * BINS as f64).clamp(0.0, BINS as f64 - 1.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_figure_says_what_it_shows() {
        let tube = sample::tube(&["fc", "vit"]);
        let svg = draw(&tube, &sample::spectrum(&[1.0]), &tube, "test").unwrap();
        sample::check(
            &svg,
            &[
                "Distance of runs to the mean trajectory of their configuration, test set",
                "12 trained runs of 2 architectures; N = 1,000 samples, M = 152 models in all; each tenth of progress; boxes: quartiles and median; whiskers: 5 % \
                 to 95 %; a run is held where it ended",
                "progress along the geodesic",
                "distance to the mean trajectory (nats)",
                "fc",
                "vit",
            ],
        );
        assert_eq!(svg, draw(&tube, &sample::spectrum(&[1.0]), &tube, "test").unwrap());
    }

    #[test]
    fn an_architecture_has_the_colour_that_it_has_among_all() {
        let (tube, runs) = (sample::tube(&["fc-256"]), sample::tube(&["fc-128", "fc-256"]));
        let svg = draw(&tube, &sample::spectrum(&[1.0]), &runs, "test").unwrap();
        sample::check_larger_of_two(&svg, ["fc-128", "fc-256"]);
    }

    #[test]
    fn tenths_of_progress_hold_their_upper_ends() {
        assert_eq!([0.01, 0.1, 0.11, 0.3, 0.31, 1.0].map(bin), [0, 0, 1, 2, 3, 9]);
    }

    #[test]
    fn single_runs_make_a_page_that_says_so() {
        let none = sample::tube(&["fc"]).rows(&[]).unwrap();
        let svg = draw(&none, &sample::spectrum(&[1.0]), &none, "train").unwrap();
        assert!(svg.contains("No configuration has two trained runs: there is nothing to compare."));
    }
}
