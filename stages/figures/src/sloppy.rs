//! Figure: data of several sloppinesses: the eigenvalues of their covariance, and the stress that the dimensions of their
//! networks' InPCA explain.

use anyhow::{Result, ensure};
use kit::Artifact;
use tables::Table;

use crate::ink::{Ink, Spot};
use crate::inpca::Spectrum;
use crate::legend::{Entry, ROW, Sample, legend};
use crate::page::{HEAD, MARGIN, page};
use crate::panel::{Axis, Panel};
use crate::spectrum::curve;
use crate::style;

const WIDTH: f64 = 1180.0;
const PANEL: (f64, f64) = ((WIDTH - 2.0 * MARGIN) / 2.0, 420.0);
/// Eigenvalues below this share of the largest are not drawn.
const LEAST: f64 = 1e-10;
/// Numbers of dimensions whose explained stress the legend has.
const TOLD: [usize; 4] = [1, 3, 10, 50];

/// Networks of one data set.
pub struct Networks {
    /// The labels that tell the data set from others: `c = 0.5`.
    pub name: String,
    /// Eigenvalues of the covariance, largest first: by the formula, and of the train inputs.
    pub eigenvalues: [Vec<f64>; 2],
    /// The InPCA of their checkpoints.
    pub spectrum: Spectrum,
}

/// Reads the eigenvalues of data sets and the spectra of their networks, which have the same labels.
///
/// # Errors
/// When they have not, or a file lacks something.
pub fn read(data: &[Artifact], spectra: &[Artifact]) -> Result<Vec<Networks>> {
    let labels = |list: &[Artifact]| list.iter().map(|it| it.labels.clone()).collect::<Vec<_>>();
    ensure!(
        labels(data) == labels(spectra),
        "the data sets and the spectra have other labels: {:?} and {:?}",
        labels(data),
        labels(spectra)
    );
    let networks = |(data, spectrum): (&Artifact, &Artifact)| {
        let name: Vec<String> = data.labels.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let eigenvalues = Table::read(&data.path)?;
        Ok(Networks {
            name: name.join(", "),
            eigenvalues: [eigenvalues.values("formula")?, eigenvalues.values("sample")?],
            spectrum: Spectrum::of(&Table::read(&spectrum.path)?)?,
        })
    };
    data.iter().zip(spectra).map(networks).collect()
}

/// Draws the figure.
///
/// # Errors
/// When there are no data sets, or plotters cannot draw.
pub fn draw(all: &[Networks], split: &str) -> Result<String> {
    ensure!(!all.is_empty(), "there are no data sets to compare");
    let below = HEAD + PANEL.1;
    let height = below + ROW * all.len() as f64 + MARGIN;
    let title =
        format!("Sloppy and other data, and the networks that fit them{}", crate::runs::split_name(split));
    let sizes: Vec<String> =
        all.iter().map(|one| format!("{}: {}", one.name, one.spectrum.size("models"))).collect();
    page((WIDTH, height), &title, &sizes.join("; "), |ink| {
        let size = (PANEL.0 - 20.0, PANEL.1 - 10.0);
        let (left, right) = ((MARGIN, HEAD), (MARGIN + PANEL.0 + 10.0, HEAD));
        eigenvalues(ink, left, (left.0 + size.0, left.1 + size.1), all)?;
        stress(ink, right, (right.0 + size.0, right.1 + size.1), all)?;
        for (i, (one, colour)) in all.iter().zip(style::NAMED.iter().cycle()).enumerate() {
            let y = below + ROW * (i as f64 + 0.5);
            let entries: [Entry; 2] = [
                (Sample::Line(*colour, 2.0), format!("{}, the formula", one.name)),
                (Sample::Trace(*colour), "of the train inputs".to_owned()),
            ];
            legend(ink, (left.0, y), size.0, &entries)?;
            legend(ink, (right.0, y), size.0, &[(Sample::Trace(*colour), words(one))])?;
        }
        Ok(())
    })
}

/// What a data set's curve of explained stress says.
fn words(one: &Networks) -> String {
    let stress = |&dimensions: &usize| {
        let stress = one.spectrum.stress.get(dimensions - 1)?;
        Some(format!("{stress:.3} with {dimensions}"))
    };
    let told: Vec<String> = TOLD.iter().filter_map(stress).collect();
    format!("{}: {}", one.name, told.join(", "))
}

fn eigenvalues(ink: &Ink, from: Spot, to: Spot, all: &[Networks]) -> Result<()> {
    let values = || all.iter().flat_map(|one| &one.eigenvalues).flatten().copied();
    let high = values().fold(f64::MIN_POSITIVE, f64::max);
    let low = values().filter(|value| *value > LEAST * high).fold(high, f64::min);
    let count = all.iter().flat_map(|one| &one.eigenvalues).map(Vec::len).max().unwrap_or(1);
    let x = Axis::new("number of the eigenvalue", 0.0..count as f64 + 1.0);
    let y = Axis::new("eigenvalue of the data's covariance", low / 2.0..high * 2.0);
    let panel = Panel::logarithmic(ink, from, to, &x, &y)?;
    for (one, colour) in all.iter().zip(style::NAMED.iter().cycle()) {
        let spots = |values: &[f64]| -> Vec<Spot> {
            let shown = values.iter().enumerate().filter(|(_, value)| **value >= low);
            shown.map(|(i, value)| panel.at(i as f64 + 1.0, *value)).collect()
        };
        let [formula, sample] = &one.eigenvalues;
        ink.line(&spots(formula), *colour, 0.9, 2.0)?;
        spots(sample).into_iter().try_for_each(|spot| ink.dot(spot, 2.0, *colour, 0.6))?;
    }
    Ok(())
}

fn stress(ink: &Ink, from: Spot, to: Spot, all: &[Networks]) -> Result<()> {
    let dimensions = all.iter().map(|one| one.spectrum.stress.len()).max().unwrap_or(1);
    let x = Axis::new("number of dimensions", 0.0..dimensions as f64 + 1.0);
    let panel = Panel::new(ink, from, to, &x, &Axis::new("explained stress", 0.0..1.04))?;
    all.iter()
        .zip(style::NAMED.iter().cycle())
        .try_for_each(|(one, colour)| curve(ink, &panel, &one.spectrum, *colour))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;
    use tables::Column;

    use super::*;
    use crate::sample;

    fn artifacts(folder: &Path) -> [Vec<Artifact>; 2] {
        let mut lists = [Vec::new(), Vec::new()];
        for (c, eigenvalues) in [("0.001", [3.0, 2.0, 1.0]), ("0.5", [4.0, 0.5, 0.1])] {
            let falling: Vec<f64> =
                (0..20).map(|i| (-c.parse::<f64>().unwrap() * f64::from(i)).exp()).collect();
            let (data, spectrum) = (folder.join(format!("data-{c}")), folder.join(format!("spectrum-{c}")));
            let columns = ["formula", "sample"].map(|name| Column::new(name.into(), falling.clone()));
            Table::new(columns.into()).unwrap().write(&data).unwrap();
            sample::spectrum(&eigenvalues).write(&spectrum).unwrap();
            for (list, path) in lists.iter_mut().zip([data, spectrum]) {
                let artifact = json!({"path": path, "hash": "h", "labels": {"c": c}});
                list.push(serde_json::from_value(artifact).unwrap());
            }
        }
        lists
    }

    #[test]
    fn the_figure_says_what_it_shows() {
        let folder = tempfile::tempdir().unwrap();
        let [data, spectra] = artifacts(folder.path());
        let svg = draw(&read(&data, &spectra).unwrap(), "train").unwrap();
        sample::check(
            &svg,
            &[
                "Sloppy and other data, and the networks that fit them, train set",
                "c = 0.001: N = 1,000 samples, M = 152 models; c = 0.5: N = 1,000 samples, M = 152 models",
                "eigenvalue of the data's covariance",
                "number of the eigenvalue",
                "explained stress",
                "number of dimensions",
                "c = 0.5, the formula",
                "of the train inputs",
                // 1 - sqrt(1 - 9/14).
                "c = 0.001: 0.402 with 1, 1.000 with 3",
            ],
        );
        assert_eq!(svg, draw(&read(&data, &spectra).unwrap(), "train").unwrap());
    }

    #[test]
    fn data_and_spectra_of_other_labels_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [data, spectra] = artifacts(folder.path());
        let message = read(&data, &spectra[..1]).err().unwrap().to_string();
        assert!(message.starts_with("the data sets and the spectra have other labels: "), "{message}");
    }
}
