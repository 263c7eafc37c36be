//! Box plots: quartiles as a box, what lies between two outer quantiles as whiskers.

use anyhow::Result;
use plotters::prelude::RGBColor;

use crate::curves::quantile;
use crate::ink::Ink;
use crate::panel::Panel;
use crate::style;

/// The quantiles of a box, from the end of the lower whisker to that of the upper one.
const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// What a caption says of them.
pub const WORDS: &str = "boxes: quartiles and median; whiskers: 5 % to 95 %";

/// The quantiles of some values.
#[derive(Debug, PartialEq)]
pub struct BoxPlot([f64; 5]);

impl BoxPlot {
    /// The box of these values, in any order; none of no values.
    pub fn of(mut values: Vec<f64>) -> Option<BoxPlot> {
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then(|| BoxPlot(QUANTILES.map(|share| quantile(&values, share))))
    }

    /// The end of the upper whisker.
    pub fn top(&self) -> f64 {
        self.0[4]
    }

    /// Draws it at `x`, reaching `half` to both sides, in the units of the panel.
    ///
    /// # Errors
    /// When plotters cannot draw.
    pub fn draw(&self, ink: &Ink, panel: &Panel, x: f64, half: f64, colour: RGBColor) -> Result<()> {
        let [low, lower, median, upper, high] = self.0;
        let (left, right) = (x - half, x + half);
        for (from, to) in [(low, lower), (upper, high)] {
            ink.line(&[panel.at(x, from), panel.at(x, to)], style::INK, 0.8, 1.0)?;
        }
        for end in [low, high] {
            ink.line(&[panel.at(x - half / 2.0, end), panel.at(x + half / 2.0, end)], style::INK, 0.8, 1.0)?;
        }
        ink.block(panel.at(left, upper), panel.at(right, lower), colour)?;
        let corners = [(left, lower), (left, upper), (right, upper), (right, lower), (left, lower)];
        ink.line(&corners.map(|(x, y)| panel.at(x, y)), style::INK, 0.8, 1.0)?;
        ink.line(&[panel.at(left, median), panel.at(right, median)], style::INK, 1.0, 2.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_holds_the_middle_half() {
        let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(BoxPlot::of(values), Some(BoxPlot([5.0, 25.0, 50.0, 75.0, 95.0])));
        assert_eq!(BoxPlot::of(vec![3.0]).unwrap().top(), 3.0);
        assert_eq!(BoxPlot::of(vec![]), None);
    }
}
