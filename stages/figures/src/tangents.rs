//! Figure: the embedding that four points span beside the full one, and the directions at both ends.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use plotters::prelude::RGBColor;
use tables::Table;

use crate::cosines::{self, Cosines};
use crate::embedding::{self, IGNORANCE, TRUTH, geodesic, trajectories};
use crate::ink::{Ink, Letters, Mark, Spot};
use crate::inpca::{Spectrum, coordinates};
use crate::legend::{Entry, ROW, Sample, legend, rows};
use crate::page::{HEAD, MARGIN, nothing, page, several};
use crate::panel::{Axis, Panel, padded};
use crate::runs::{Runs, split_name};
use crate::style;

const DIMENSIONS: usize = 3;
/// The panels of both embeddings: dimension across, dimension up.
const PAIRS: [(usize, usize); 3] = [(1, 2), (1, 3), (2, 3)];
/// A panel of the embeddings with its labels, in pixels.
const PANEL: (f64, f64) = (412.0, 350.0);
/// The row of panels under them: its height, the width of the first panel and of the other two.
const LAST: (f64, f64, f64) = (420.0, 300.0, 468.0);
const WIDTH: f64 = 2.0 * MARGIN + 3.0 * PANEL.0;
/// The curves of the errors: column, words, mark.
const MISFITS: [(&str, &str, Mark); 3] = [
    ("four", "four points against true distances", Mark::Disc),
    ("full", "all models against true distances", Mark::Square),
    ("four_to_full", "four points against all models", Mark::Triangle),
];

/// The tables that the figure is drawn from.
pub struct Tables {
    /// The four points and every checkpoint, by the distances to the four.
    pub four: Table,
    /// The errors of embeddings in 1, 2, 3 dimensions.
    pub misfit: Table,
    /// The cosines between groups.
    pub tangents: Table,
    /// The embedding of every checkpoint, and its spectrum.
    pub points: Table,
    /// The spectrum of that.
    pub spectrum: Table,
}

/// The marks of the means of models: shape, radius, fill, outline.
const MEAN: (Mark, f64, RGBColor, RGBColor) = (Mark::Diamond, 5.0, style::PAPER, style::GEODESIC);

/// One of the two embeddings.
struct Embedding {
    runs: Runs,
    spectrum: Spectrum,
    /// Coordinates of all rows, a vector a dimension.
    pc: Vec<Vec<f64>>,
    /// The four points with their names, where they span the embedding.
    four: Vec<(String, Vec<f64>)>,
}

/// Draws the figure.
///
/// # Errors
/// When a table lacks columns, or has no run.
pub fn draw(tables: &Tables, split: &str) -> Result<String> {
    let title = format!("What four points span, and the directions at both ends{}", split_name(split));
    if tables.four.height() == 0 {
        return nothing(
            &title,
            "No model is near the points between ignorance and truth: there are no four points.",
        );
    }
    let mut full = Embedding::of_all(&tables.points, &tables.spectrum)?;
    let mut four = Embedding::of_four(&tables.four, &tables.misfit)?;
    four.spectrum.is_in_nats = full.spectrum.is_in_nats;
    full.turn_to(&four, &tables.points, &tables.four)?;
    let (start, end) = (Cosines::of(&tables.tangents, "ignorance")?, Cosines::of(&tables.tangents, "truth")?);

    // Below: of the embeddings, and of what is under them.
    let legends = [embedding_entries(&four, &full), other_entries()];
    let room = WIDTH - 2.0 * MARGIN;
    let top = HEAD + 10.0;
    let below = top + 2.0 * PANEL.1 + LAST.0;
    let first = ROW * rows(room, &legends[0])? as f64;
    let height = below + first + ROW * rows(room, &legends[1])? as f64 + MARGIN;
    let caption = format!(
        "{} of {}; {}; tangents: means over {} near ignorance, {} near truth",
        several(four.runs.runs.iter().map(|run| run.rows.len()).sum(), "checkpoint"),
        several(four.runs.runs.len(), "run"),
        full.spectrum.size("models in the full embedding"),
        several(start.runs, "run"),
        several(end.runs, "run")
    );
    page((WIDTH, height), &title, &caption, |ink| {
        let rows = [
            (&four, "all models by their distances to four points"),
            (&full, "embedding of all models, axes turned as above"),
        ];
        for (row, (embedding, words)) in rows.into_iter().enumerate() {
            for (i, pair) in PAIRS.into_iter().enumerate() {
                let from = (MARGIN + i as f64 * PANEL.0, top + row as f64 * PANEL.1);
                let to = (from.0 + PANEL.0 - 14.0, from.1 + PANEL.1 - 28.0);
                let axis = |number: usize| embedding.spectrum.axis(number, embedding.values(number));
                let panel = Panel::new(ink, from, to, &axis(pair.0), &axis(pair.1))?;
                if i == 0 {
                    panel.title(ink, words)?;
                }
                embedding.draw(ink, &panel, pair)?;
            }
        }
        let top = top + 2.0 * PANEL.1 + 8.0;
        let bottom = top + LAST.0 - 30.0;
        misfit(ink, ((MARGIN, top), (MARGIN + LAST.1, bottom)), &tables.misfit)?;
        for (i, (cosines, words)) in [(&start, "ignorance"), (&end, "truth")].into_iter().enumerate() {
            let from = (MARGIN + LAST.1 + 14.0 + i as f64 * LAST.2, top);
            let to = (from.0 + LAST.2 - 20.0, bottom);
            let words = format!("cosines between tangents at {words}");
            cosines.draw(ink, (from, to), &words, &full.runs.palette)?;
        }
        legend(ink, (MARGIN, below + ROW / 2.0), room, &legends[0])?;
        legend(ink, (MARGIN, below + first + ROW / 2.0), room, &legends[1])
    })
}

fn embedding_entries(four: &Embedding, full: &Embedding) -> Vec<Entry> {
    let mut entries = embedding::entries(&full.runs, &[&four.spectrum, &full.spectrum], DIMENSIONS);
    let means = four.four.iter().skip(1).take(four.four.len().saturating_sub(2));
    let at: Vec<&str> = means.map(|(name, _)| name.as_str()).collect();
    let (mark, radius, fill, outline) = MEAN;
    let words = format!("mean of models at progress {}", at.join(", "));
    entries.push((Sample::Mark(mark, radius, fill, outline), words));
    entries
}

fn other_entries() -> Vec<Entry> {
    let mut entries = vec![(Sample::Heading, "Error of distances".to_owned())];
    let curves = MISFITS.iter().zip(style::SERIES);
    entries.extend(
        curves.map(|((_, words, mark), colour)| (Sample::Marked(*mark, 4.0, colour), (*words).to_owned())),
    );
    entries.extend(cosines::entries());
    entries
}

impl Embedding {
    /// The embedding by four points, which are the rows without an architecture.
    fn of_four(table: &Table, misfit: &Table) -> Result<Embedding> {
        let arch = table.optional::<&str>("arch")?;
        let (models, points): (Vec<usize>, Vec<usize>) =
            (0..arch.len()).partition(|&row| arch[row].is_some());
        ensure!(points.len() > 2, "the table of four points has {} of them", points.len());
        let pc = coordinates(table, DIMENSIONS)?;
        let name = table.values::<&str>("run")?;
        let four =
            points.iter().map(|&row| (name[row].to_owned(), pc.iter().map(|axis| axis[row]).collect()));
        let of_models = |axis: &Vec<f64>| models.iter().map(|&row| axis[row]).collect();
        // What four points explain of all models is in `misfit`, not in their own stress.
        let spectrum = Spectrum {
            eigenvalues: misfit.numbers("eigenvalue")?,
            stress: Vec::new(),
            models: points.len(),
            samples: 0,
            is_in_nats: true,
        };
        Ok(Embedding {
            runs: Runs::of(&table.rows(&models)?)?,
            spectrum,
            four: four.collect(),
            pc: pc.iter().map(of_models).collect(),
        })
    }

    fn of_all(points: &Table, spectrum: &Table) -> Result<Embedding> {
        Ok(Embedding {
            runs: Runs::of(points)?,
            spectrum: Spectrum::of(spectrum)?,
            pc: coordinates(points, DIMENSIONS)?,
            four: Vec::new(),
        })
    }

    /// All coordinates along a dimension, counted from 1.
    fn values(&self, number: usize) -> impl Iterator<Item = f64> {
        let four = self.four.iter().map(move |(_, point)| point[number - 1]);
        self.pc[number - 1].iter().copied().chain(four)
    }

    /// Mirrors the axes along which the models lie the other way round than in `other`: signs of eigenvectors are
    /// arbitrary.
    fn turn_to(&mut self, other: &Embedding, own_table: &Table, other_table: &Table) -> Result<()> {
        let rows = |table: &Table| -> Result<Vec<(String, i64)>> {
            let models = table.values::<&str>("run")?.into_iter().map(str::to_owned);
            Ok(models
                .zip(table.optional::<i64>("checkpoint")?.into_iter().map(|at| at.unwrap_or(-1)))
                .collect())
        };
        let own: HashMap<(String, i64), usize> =
            rows(own_table)?.into_iter().enumerate().map(|(row, model)| (model, row)).collect();
        let arch = other_table.optional::<&str>("arch")?;
        let models = rows(other_table)?.into_iter().zip(arch).filter(|(_, arch)| arch.is_some());
        let pairs: Vec<(usize, usize)> =
            models.enumerate().filter_map(|(row, (model, _))| Some((row, *own.get(&model)?))).collect();
        for (axis, turned) in other.pc.iter().zip(&mut self.pc) {
            let count = pairs.len().max(1) as f64;
            let mean = pairs.iter().map(|&(row, _)| axis[row]).sum::<f64>() / count;
            let product: f64 = pairs.iter().map(|&(row, own)| (axis[row] - mean) * turned[own]).sum();
            if product < 0.0 {
                turned.iter_mut().for_each(|value| *value = -*value);
            }
        }
        Ok(())
    }

    fn draw(&self, ink: &Ink, panel: &Panel, (x, y): (usize, usize)) -> Result<()> {
        let at = |row: usize| panel.at(self.pc[x - 1][row], self.pc[y - 1][row]);
        trajectories(ink, &self.runs, at)?;
        geodesic(ink, panel, &self.runs.geodesic.iter().map(|&row| at(row)).collect::<Vec<_>>())?;
        let last = self.four.len().saturating_sub(1);
        for (i, (name, point)) in self.four.iter().enumerate() {
            let spot = panel.at(point[x - 1], point[y - 1]);
            let (mark, radius, fill, outline) = match i {
                0 => IGNORANCE,
                i if i == last => TRUTH,
                _ => MEAN,
            };
            ink.mark(mark, spot, radius, fill, outline)?;
            let name = match i {
                0 => "P0",
                i if i == last => "P*",
                _ => name,
            };
            beside(ink, panel, spot, name)?;
        }
        Ok(())
    }
}

/// Writes a name beside its spot, within the panel.
fn beside(ink: &Ink, panel: &Panel, spot: Spot, name: &str) -> Result<()> {
    let letters = Letters::new(style::LABEL, style::GEODESIC).bold();
    let width = letters.width(name)?;
    let x = if spot.0 + 10.0 + width < panel.to.0 { spot.0 + 10.0 } else { spot.0 - 10.0 - width };
    let y = (spot.1 - 12.0).max(panel.from.1 + 9.0);
    let block =
        [(x - 1.0, y - 8.0), (x + width + 1.0, y - 8.0), (x + width + 1.0, y + 8.0), (x - 1.0, y + 8.0)];
    ink.fill(&block, style::PAPER, 0.7)?;
    ink.text(name, (x, y), letters)
}

/// The errors of embeddings against their number of dimensions.
fn misfit(ink: &Ink, (from, to): (Spot, Spot), table: &Table) -> Result<()> {
    let dimensions = table.numbers("dimensions")?;
    let columns = MISFITS.map(|(column, _, _)| table.numbers(column));
    let columns = columns.into_iter().collect::<Result<Vec<_>, _>>()?;
    let high = padded(columns.iter().flatten().copied().chain([0.0])).end;
    let last = dimensions.iter().copied().fold(1.0, f64::max);
    let x = Axis::new("number of dimensions", 0.7..last + 0.3).ticks(3);
    let panel = Panel::new(ink, from, to, &x, &Axis::new("relative error of distances", 0.0..high))?;
    panel.title(ink, "error of distances")?;
    for ((values, (_, _, mark)), colour) in columns.iter().zip(MISFITS).zip(style::SERIES) {
        let spots: Vec<Spot> = dimensions.iter().zip(values).map(|(x, y)| panel.at(*x, *y)).collect();
        ink.line(&spots, colour, 0.9, 1.6)?;
        spots.iter().try_for_each(|spot| ink.mark(mark, *spot, 4.5, colour, style::PAPER))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn tables(tangents: Table) -> Tables {
        Tables {
            four: sample::four_points(&["fc", "vit"]),
            misfit: sample::misfit(),
            tangents,
            points: sample::points(&["fc", "vit"]),
            spectrum: sample::spectrum(&[5.0, 2.0, 1.0]),
        }
    }

    #[test]
    fn the_figure_says_what_it_shows() {
        let tables = tables(sample::tangents(&["fc", "vit"]));
        let svg = draw(&tables, "train").unwrap();
        sample::check(
            &svg,
            &[
                "What four points span, and the directions at both ends, train set",
                "132 checkpoints of 12 runs; N = 1,000 samples, M = 152 models in the full embedding; tangents: means over \
                 12 runs near ignorance, 0 runs near truth",
                "all models by their distances to four points",
                "embedding of all models, axes turned as above",
                "PC3 (√nats), time-like",
                "time-like dimension (negative eigenvalue)",
                "mean of models at progress 0.3, 0.7",
                "0.3",
                "relative error of distances",
                "four points against all models",
                "cosines between tangents at ignorance",
                "vit, sgd",
                "no run has a checkpoint this near",
            ],
        );
        assert_eq!(svg, draw(&tables, "train").unwrap());
    }

    #[test]
    fn four_points_that_are_not_there_make_a_page_that_says_so() {
        let mut tables = tables(sample::tangents(&["fc"]));
        tables.four = tables.four.rows(&[]).unwrap();
        let svg = draw(&tables, "test").unwrap();
        assert!(svg.contains("No model is near the points between ignorance and truth"));
    }

    #[test]
    fn axes_are_turned_to_match() {
        let tables = tables(sample::tangents(&["fc"]));
        let four = Embedding::of_four(&tables.four, &tables.misfit).unwrap();
        let read = || Embedding::of_all(&tables.points, &tables.spectrum).unwrap();
        let mut full = read();
        full.turn_to(&four, &tables.points, &tables.four).unwrap();
        // The sample's four-point coordinates are the others, the second of them mirrored.
        assert_eq!(full.pc[0], read().pc[0]);
        assert!(full.pc[1].iter().zip(&read().pc[1]).all(|(turned, read)| *turned == -*read));
    }

    #[test]
    fn a_table_without_the_points_is_told() {
        let all = sample::four_points(&["fc"]);
        let models = all.rows(&(4..all.height()).collect::<Vec<_>>()).unwrap();
        let error = Embedding::of_four(&models, &sample::misfit()).err().unwrap();
        assert_eq!(error.to_string(), "the table of four points has 0 of them");
    }
}
