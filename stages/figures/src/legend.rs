//! Legends: rows of samples with their words, wrapped like text.

use anyhow::Result;
use plotters::prelude::RGBColor;

use crate::ink::{Ink, Letters, Mark, Spot};
use crate::style;

/// What stands before an entry's words.
#[derive(Debug, Clone, Copy)]
pub enum Sample {
    /// A piece of line, `width` pixels wide.
    Line(RGBColor, f64),
    /// A piece of line with a dot.
    Trace(RGBColor),
    /// A piece of line with a mark of this radius.
    Marked(Mark, f64, RGBColor),
    /// A mark of this radius: filled, outlined.
    Mark(Mark, f64, RGBColor, RGBColor),
    /// A filled square.
    Swatch(RGBColor),
    /// Nothing: the words head what follows.
    Heading,
}

/// An entry: a sample and its words.
pub type Entry = (Sample, String);

/// Pixels between two rows of a legend.
pub const ROW: f64 = 22.0;
const GAP: f64 = 20.0;
/// More room before a heading.
const BREAK: f64 = 16.0;

impl Sample {
    /// Pixels from the start of an entry to its words.
    fn width(self) -> f64 {
        match self {
            Sample::Heading => 0.0,
            Sample::Line(..) | Sample::Trace(_) | Sample::Marked(..) => 30.0,
            Sample::Mark(_, radius, ..) => 2.0 * radius.max(5.0) + 7.0,
            Sample::Swatch(_) => 18.0,
        }
    }

    fn draw(self, ink: &Ink, (x, y): Spot) -> Result<()> {
        match self {
            Sample::Heading => Ok(()),
            Sample::Line(colour, width) => ink.line(&[(x, y), (x + 23.0, y)], colour, 1.0, width),
            Sample::Trace(colour) => {
                ink.line(&[(x, y), (x + 23.0, y)], colour, 0.8, 1.4)?;
                ink.dot((x + 11.5, y), 3.0, colour, 1.0)
            }
            Sample::Marked(mark, radius, colour) => {
                ink.line(&[(x, y), (x + 23.0, y)], colour, 0.9, 1.6)?;
                ink.mark(mark, (x + 11.5, y), radius, colour, style::PAPER)
            }
            Sample::Mark(mark, radius, fill, outline) => {
                ink.mark(mark, (x + radius.max(5.0), y), radius, fill, outline)
            }
            Sample::Swatch(colour) => ink.block((x, y - 6.0), (x + 12.0, y + 6.0), colour),
        }
    }
}

/// Writes entries into rows of `width` pixels from `at`, the middle of the first row's left end. A heading begins a
/// new row where it would not fit with the entry after it.
///
/// # Errors
/// When plotters cannot draw.
pub fn legend(ink: &Ink, at: Spot, width: f64, entries: &[Entry]) -> Result<()> {
    for ((sample, words), (x, y)) in entries.iter().zip(places(width, entries)?) {
        let spot = (at.0 + x, at.1 + y);
        sample.draw(ink, spot)?;
        ink.text(words, (spot.0 + sample.width(), spot.1), letters(*sample))?;
    }
    Ok(())
}

/// How many rows these entries take in `width` pixels.
///
/// # Errors
/// When the font cannot be used.
pub fn rows(width: f64, entries: &[Entry]) -> Result<usize> {
    let last = places(width, entries)?.last().map_or(0.0, |(_, y)| *y);
    Ok((last / ROW).round() as usize + 1)
}

/// Where each entry begins, from the start of the first row.
fn places(width: f64, entries: &[Entry]) -> Result<Vec<Spot>> {
    let lengths = entries
        .iter()
        .map(|(sample, words)| Ok(sample.width() + letters(*sample).width(words)?))
        .collect::<Result<Vec<f64>>>()?;
    let (mut x, mut y) = (0.0, 0.0);
    let mut places = Vec::new();
    for (i, length) in lengths.iter().enumerate() {
        if x > 0.0 && matches!(entries[i].0, Sample::Heading) {
            x += BREAK;
        }
        let follower = match entries[i].0 {
            Sample::Heading => lengths.get(i + 1).map_or(0.0, |next| GAP + next),
            _ => 0.0,
        };
        if x > 0.0 && x + length + follower > width {
            (x, y) = (0.0, y + ROW);
        }
        places.push((x, y));
        x += length + if matches!(entries[i].0, Sample::Heading) { GAP / 2.0 } else { GAP };
    }
    Ok(places)
}

fn letters(sample: Sample) -> Letters {
    let letters = Letters::new(style::LABEL, style::INK);
    if matches!(sample, Sample::Heading) { letters.bold() } else { letters }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::page;

    fn entries(words: &[&str]) -> Vec<Entry> {
        words.iter().map(|word| (Sample::Swatch(style::INK), (*word).to_owned())).collect()
    }

    #[test]
    fn every_entry_is_there() {
        let mut entries = entries(&["allcnn", "fc", "vit"]);
        entries.insert(0, (Sample::Heading, "architecture".into()));
        let svg = page((600.0, 120.0), "", "", |ink| legend(ink, (20.0, 90.0), 560.0, &entries)).unwrap();
        for word in ["architecture", "allcnn", "fc", "vit"] {
            assert!(svg.contains(&format!(">\n{word}\n</text>")), "no {word}");
        }
    }

    #[test]
    fn rows_wrap_before_they_are_too_long() {
        let entries = entries(&["a long entry", "a long entry", "a long entry"]);
        assert_eq!(rows(1000.0, &entries).unwrap(), 1);
        assert_eq!(rows(250.0, &entries).unwrap(), 2);
        assert_eq!(rows(20.0, &entries).unwrap(), 3);
    }

    #[test]
    fn a_heading_stays_with_what_it_heads() {
        let mut entries = entries(&["first", "second"]);
        entries.insert(1, (Sample::Heading, "heading".into()));
        let places = places(130.0, &entries).unwrap();
        assert_eq!((places[1].1, places[2].1), (ROW, ROW));
    }
}
