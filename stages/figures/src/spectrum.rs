//! Figure: explained stress against the number of dimensions, and the eigenvalues with their signs.

use anyhow::Result;
use plotters::prelude::RGBColor;
use tables::Table;

use crate::ink::{Ink, Letters, Mark, Spot};
use crate::inpca::Spectrum;
use crate::legend::{Entry, ROW, Sample, legend};
use crate::page::{HEAD, MARGIN, page};
use crate::panel::{Axis, Panel};
use crate::style;

/// Explained stress as published for CIFAR-10, train set: number of dimensions, share.
const PUBLISHED: [(usize, f64); 2] = [(3, 0.76), (50, 0.98)];
const WIDTH: f64 = 1180.0;
const PANEL: (f64, f64) = ((WIDTH - 2.0 * MARGIN) / 2.0, 400.0);
/// Radius of the marks.
const RADIUS: f64 = 3.4;

/// Draws the figure from the spectra of the train and the test embedding.
///
/// # Errors
/// When a table lacks columns, or has no dimension.
pub fn draw(train: &Table, test: &Table) -> Result<String> {
    let spectra = [("train", Spectrum::of(train)?), ("test", Spectrum::of(test)?)];
    let dimensions = spectra.iter().map(|(_, spectrum)| spectrum.stress.len()).max().unwrap_or(1);
    let below = HEAD + PANEL.1;
    let caption = spectra
        .iter()
        .map(|(name, spectrum)| format!("{name}: {}", spectrum.size("models")))
        .collect::<Vec<_>>()
        .join("; ");
    page((WIDTH, below + 2.0 * ROW + MARGIN), "Spectrum of the InPCA of every checkpoint", &caption, |ink| {
        let (left, right) = ((MARGIN, HEAD), (MARGIN + PANEL.0 + 10.0, HEAD));
        let size = (PANEL.0 - 20.0, PANEL.1 - 10.0);
        stress(ink, left, (left.0 + size.0, left.1 + size.1), &spectra, dimensions)?;
        eigenvalues(ink, right, (right.0 + size.0, right.1 + size.1), &spectra, dimensions)?;
        let at = |x: f64, row: f64| (x, below + ROW * (row + 0.5));
        let [train, test] = [0, 1].map(|i| stress_entry(spectra[i].0, &spectra[i].1, style::SPLITS[i]));
        legend(ink, at(left.0, 0.0), size.0, &[train])?;
        legend(ink, at(left.0, 1.0), size.0, &[test])?;
        let mut signs = Vec::new();
        for ((name, _), colour) in spectra.iter().zip(style::SPLITS) {
            signs.push((Sample::Mark(Mark::Disc, RADIUS, colour, colour), format!("{name}, positive")));
            signs.push((
                Sample::Mark(Mark::Disc, RADIUS, style::PAPER, colour),
                format!("{name}, negative (time-like)"),
            ));
        }
        legend(ink, at(right.0, 0.0), size.0, &signs[..2])?;
        legend(ink, at(right.0, 1.0), size.0, &signs[2..])
    })
}

/// Names a curve, with its values where the published ones are.
fn stress_entry(name: &str, spectrum: &Spectrum, colour: RGBColor) -> Entry {
    let values: Vec<String> = PUBLISHED
        .iter()
        .filter_map(|(dimensions, _)| {
            let stress = spectrum.stress.get(dimensions - 1)?;
            Some(format!("{stress:.3} with {dimensions} dimensions"))
        })
        .collect();
    let colon = if values.is_empty() { "" } else { ": " };
    (Sample::Trace(colour), format!("{name}{colon}{}", values.join(", ")))
}

fn stress(ink: &Ink, from: Spot, to: Spot, spectra: &[(&str, Spectrum)], dimensions: usize) -> Result<()> {
    let x = Axis::new("number of dimensions", 0.0..dimensions.max(50) as f64 + 1.5);
    let panel = Panel::new(ink, from, to, &x, &Axis::new("explained stress", 0.0..1.04))?;
    let small = Letters::new(style::TICK, style::MUTED);
    for (dimension, stress) in PUBLISHED {
        let at = panel.at(dimension as f64, stress);
        ink.line(&[(panel.from.0, at.1), at], style::MUTED, 0.8, 0.8)?;
        ink.line(&[(at.0, panel.to.1), at], style::MUTED, 0.8, 0.8)?;
    }
    for ((_, spectrum), colour) in spectra.iter().zip(style::SPLITS) {
        curve(ink, &panel, spectrum, colour)?;
    }
    for (dimension, stress) in PUBLISHED {
        ink.mark(Mark::Diamond, panel.at(dimension as f64, stress), 4.0, style::PAPER, style::INK)?;
    }
    let words = "published (CIFAR-10, train): 0.76 with 3, 0.98 with 50";
    let at = panel.at(dimensions.max(50) as f64 * 0.26, 0.08);
    ink.mark(Mark::Diamond, at, 4.0, style::PAPER, style::INK)?;
    ink.text(words, (at.0 + 12.0, at.1), small)
}

/// Draws the stress that the first dimensions explain, from none on.
///
/// # Errors
/// When plotters cannot draw.
pub fn curve(ink: &Ink, panel: &Panel, spectrum: &Spectrum, colour: RGBColor) -> Result<()> {
    let values = std::iter::once(0.0).chain(spectrum.stress.iter().copied());
    let spots: Vec<Spot> = values.enumerate().map(|(i, stress)| panel.at(i as f64, stress)).collect();
    ink.line(&spots, colour, 0.8, 1.4)?;
    spots[1..].iter().try_for_each(|&spot| ink.dot(spot, 2.4, colour, 1.0))
}

fn eigenvalues(
    ink: &Ink,
    from: Spot,
    to: Spot,
    spectra: &[(&str, Spectrum)],
    dimensions: usize,
) -> Result<()> {
    let sizes = spectra.iter().flat_map(|(_, spectrum)| spectrum.eigenvalues.iter().map(|value| value.abs()));
    let (low, high) = sizes
        .filter(|size| *size > 0.0)
        .fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), size| (low.min(size), high.max(size)));
    // Numerical zeros far below the rest would leave it no room.
    let low = low.max(high * 1e-9).min(high);
    let x = Axis::new("dimension", 0.0..dimensions as f64 + 1.5);
    let y = Axis::new(format!("|eigenvalue|{}", spectra[0].1.unit()), low / 2.0..high * 2.0);
    let panel = Panel::logarithmic(ink, from, to, &x, &y)?;
    for ((_, spectrum), colour) in spectra.iter().zip(style::SPLITS) {
        for (i, value) in spectrum.eigenvalues.iter().enumerate().filter(|(_, value)| value.abs() >= low) {
            let fill = if *value < 0.0 { style::PAPER } else { colour };
            ink.mark(Mark::Disc, panel.at(i as f64 + 1.0, value.abs()), RADIUS, fill, colour)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_figure_says_what_it_shows() {
        let train = sample::spectrum(&[4.0, -2.0, 1.0]);
        let test = sample::spectrum(&[3.0, 1.0]);
        let svg = draw(&train, &test).unwrap();
        sample::check(
            &svg,
            &[
                "train: N = 1,000 samples, M = 152 models; test: N = 1,000 samples, M = 152 models",
                "explained stress",
                "|eigenvalue| (nats)",
                "train: 1.000 with 3 dimensions",
                "test",
                "train, positive",
                "train, negative (time-like)",
                "test, positive",
                "test, negative (time-like)",
                "published (CIFAR-10, train): 0.76 with 3, 0.98 with 50",
            ],
        );
        assert_eq!(svg, draw(&train, &test).unwrap());
    }

    #[test]
    fn an_eigenvalue_of_zero_is_left_out_of_a_logarithmic_axis() {
        let with = draw(&sample::spectrum(&[1.0, 0.0]), &sample::spectrum(&[1.0])).unwrap();
        assert!(!with.contains("NaN") && !with.contains("-2147483648"));
    }

    #[test]
    fn a_spectrum_of_zeros_can_be_drawn() {
        let zeros = sample::spectrum(&[0.0, 0.0]);
        assert!(draw(&zeros, &zeros).is_ok());
    }
}
