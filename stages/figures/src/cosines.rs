//! Cosines between the tangents of groups, as a square of shades beside the groups' names.

use std::collections::BTreeMap;

use anyhow::Result;
use plotters::prelude::RGBColor;
use tables::Table;

use crate::ink::{Ink, Letters, Spot};
use crate::legend::{Entry, Sample};
use crate::style::{self, Palette};
use crate::values::texts;

/// Pixels for the names of groups at the left.
const NAMES: f64 = 142.0;
/// Pixels under the square, for what its columns are.
const BELOW: f64 = 42.0;
/// Pixels of the strips of the architectures' colours.
const STRIP: f64 = 8.0;
/// Shades between cosines of 0 and 1.
const SHADES: usize = 100;
/// Rows this high, in pixels, have names; of lower ones each architecture has one.
const READABLE: f64 = 13.0;

/// The groups whose tangents at one end are compared.
#[derive(Debug, Default, PartialEq)]
pub struct Cosines {
    /// Architecture and optimizer.
    groups: Vec<(String, String)>,
    /// Row by row; none where the table has no such pair.
    between: Vec<Vec<Option<f64>>>,
    /// With the geodesic's tangent.
    geodesic: Vec<f64>,
    /// How many runs all groups have.
    pub runs: usize,
}

impl Cosines {
    /// Reads the rows of one end, `ignorance` or `truth`.
    ///
    /// # Errors
    /// When the table lacks columns.
    pub fn of(table: &Table, end: &str) -> Result<Cosines> {
        let ends = table.values::<&str>("end")?;
        let columns = ["arch", "optimizer", "other_arch", "other_optimizer"].map(|name| texts(table, name));
        let [arch, optimizer, other_arch, other_optimizer] = columns;
        let pairs = |arch: Vec<String>, optimizer| arch.into_iter().zip(optimizer).collect::<Vec<_>>();
        let (group, other) = (pairs(arch?, optimizer?), pairs(other_arch?, other_optimizer?));
        let (cosine, along) = (table.numbers("cosine")?, table.numbers("geodesic_cosine")?);
        let runs = table.numbers("runs")?;

        let rows: Vec<usize> = (0..ends.len()).filter(|&row| ends[row] == end).collect();
        let of_group: BTreeMap<&(String, String), usize> =
            rows.iter().map(|&row| (&group[row], row)).collect();
        let mut of_group: Vec<(&(String, String), usize)> = of_group.into_iter().collect();
        // Stable: optimizers stay in their order.
        of_group.sort_by(|((one, _), _), ((other, _), _)| palette::compare(one, other));
        let places: BTreeMap<_, usize> =
            of_group.iter().enumerate().map(|(i, (name, _))| (*name, i)).collect();
        let mut between = vec![vec![None; places.len()]; places.len()];
        for &row in &rows {
            if let Some(&place) = places.get(&other[row]) {
                between[places[&group[row]]][place] = Some(cosine[row]);
            }
        }
        Ok(Cosines {
            groups: of_group.iter().map(|(name, _)| (*name).clone()).collect(),
            between,
            geodesic: of_group.iter().map(|&(_, row)| along[row]).collect(),
            runs: of_group.iter().map(|&(_, row)| runs[row] as usize).sum(),
        })
    }

    /// Draws the square under a title between two corners of the page, with a column for the geodesic at its right.
    ///
    /// # Errors
    /// When plotters cannot draw.
    pub fn draw(&self, ink: &Ink, (from, to): (Spot, Spot), title: &str, palette: &Palette) -> Result<()> {
        let letters = Letters::new(style::LABEL, style::INK);
        let left = from.0 + NAMES;
        ink.text(title, (left, from.1 - 12.0), letters.bold())?;
        let count = self.groups.len();
        if count == 0 {
            let muted = Letters::new(style::LABEL, style::MUTED);
            return ink.text("no run has a checkpoint this near", (left, from.1 + 20.0), muted);
        }
        // A free half of a column before the geodesic's.
        let across = (to.0 - left - STRIP - 2.0) / (count as f64 + 1.5);
        let down = (to.1 - from.1 - BELOW) / count as f64;
        let cells = left + STRIP + 2.0;
        let cell = |column: f64, i: usize, value: Option<f64>| -> Result<()> {
            let Some(value) = value else { return Ok(()) };
            let (x, y) = (cells + across * column, from.1 + down * i as f64);
            ink.block((x, y), (x + across - 0.8, y + down - 0.8), shade(value))
        };
        let strip = STRIP - 2.0;
        let foot = from.1 + down * count as f64;
        for (i, (arch, optimizer)) in self.groups.iter().enumerate() {
            let (x, y) = (cells + across * i as f64, from.1 + down * i as f64);
            let colour = palette.colour(arch);
            ink.block((left, y), (left + strip, y + down - 0.8), colour)?;
            ink.block((x, foot + 2.0), (x + across - 0.8, foot + 2.0 + strip), colour)?;
            let letters = Letters::new(style::TICK, style::INK);
            let own = self.groups.iter().filter(|(other, _)| other == arch).count();
            if down >= READABLE {
                ink.text(&format!("{arch}, {optimizer}"), (from.0, y + down / 2.0), letters)?;
            } else if down * own as f64 >= READABLE && (i == 0 || self.groups[i - 1].0 != *arch) {
                ink.text(arch, (from.0, y + down * own as f64 / 2.0), letters)?;
            }
            for (column, value) in self.between[i].iter().enumerate() {
                cell(column as f64, i, *value)?;
            }
            cell(count as f64 + 0.5, i, Some(self.geodesic[i]))?;
        }
        let x = cells + across * (count as f64 + 0.5);
        ink.block((x, foot + 2.0), (x + across - 0.8, foot + 2.0 + strip), style::GEODESIC)?;
        let words = "groups in the same order; last: the geodesic";
        ink.text(words, (left, foot + 24.0), Letters::new(style::TICK, style::INK))
    }
}

/// The shade of a cosine; that of 0 for negative ones.
fn shade(cosine: f64) -> RGBColor {
    style::shade((cosine.clamp(0.0, 1.0) * (SHADES - 1) as f64).round() as usize, SHADES)
}

/// What the shades mean, for a legend.
pub fn entries() -> Vec<Entry> {
    let mut entries = vec![(Sample::Heading, "Cosine".to_owned())];
    let swatch = |(cosine, words): (f64, &str)| (Sample::Swatch(shade(cosine)), words.to_owned());
    entries
        .extend([(0.0, "0"), (0.2, "0.2"), (0.4, "0.4"), (0.6, "0.6"), (0.8, "0.8"), (1.0, "1")].map(swatch));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn every_pair_of_groups_has_its_cosine() {
        let cosines = Cosines::of(&sample::tangents(&["fc", "vit"]), "ignorance").unwrap();
        assert_eq!(cosines.groups.len(), 6);
        assert_eq!(cosines.groups[0], ("fc".to_owned(), "adam".to_owned()));
        assert_eq!(cosines.runs, 12);
        // The sample's cosine falls by 0.15 with each group between.
        assert_eq!(cosines.between[1][1], Some(1.0));
        assert_eq!(cosines.between[4][1], Some(1.0 - 0.15 * 3.0));
        assert_eq!(Cosines::of(&sample::tangents(&["fc"]), "truth").unwrap(), Cosines::default());
    }

    #[test]
    fn larger_cosines_are_darker() {
        assert!(shade(0.2).0 > shade(0.8).0);
        assert_eq!((shade(-0.4), shade(1.0)), (shade(0.0), style::shade(1, 2)));
    }
}
