//! A panel: a plotters chart in a part of a page, with named axes, a thin grid, and a place for every value.

use std::ops::Range;

use anyhow::Result;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::{IntoLogRange, RGBColor, SVGBackend, TRANSPARENT};

use crate::ink::{Area, Ink, Letters, Spot, UNITS, stroke, units};
use crate::style;

/// Pixels left of and under a panel's inner frame, for labels.
pub const LEFT: f64 = 66.0;
/// Pixels under a panel's inner frame, for labels.
pub const BELOW: f64 = 50.0;

/// One axis of a panel.
#[derive(Debug, Clone)]
pub struct Axis {
    name: String,
    range: Range<f64>,
    colour: RGBColor,
    ticks: usize,
}

impl Axis {
    /// An axis over exactly this range.
    pub fn new(name: impl Into<String>, range: Range<f64>) -> Axis {
        Axis { name: name.into(), range, colour: style::INK, ticks: 8 }
    }

    /// An axis over these values and a little more on both sides.
    pub fn around(name: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Axis {
        Axis::new(name, padded(values))
    }

    /// The same in another colour.
    pub fn colour(self, colour: RGBColor) -> Axis {
        Axis { colour, ..self }
    }

    /// The same with about so many ticks.
    pub fn ticks(self, ticks: usize) -> Axis {
        Axis { ticks, ..self }
    }

    /// The same without grid lines, ticks and labels.
    pub fn bare(self) -> Axis {
        Axis { ticks: 0, ..self }
    }
}

/// The range of these values and a little more on both sides, never empty.
pub fn padded(values: impl IntoIterator<Item = f64>) -> Range<f64> {
    let (low, high) =
        values.into_iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return 0.0..1.0;
    }
    let extent = high - low;
    let more =
        if extent > 1e-9 * high.abs().max(low.abs()) { 0.05 * extent } else { 0.1 * high.abs() + 1e-3 };
    low - more..high + more
}

/// A panel: knows where on the page a value lies.
pub struct Panel {
    x: Scale,
    y: Scale,
    /// The top left corner of the inner frame.
    pub from: Spot,
    /// Its bottom right corner.
    pub to: Spot,
}

/// What plotters maps an axis with, for values between its pixels.
struct Scale {
    range: Range<f64>,
    logarithmic: bool,
}

impl Scale {
    /// Where a value lies: 0 at the axis' start, 1 at its end.
    fn share(&self, value: f64) -> f64 {
        let Range { start, end } = self.range;
        if self.logarithmic {
            (value / start).ln() / (end / start).ln()
        } else {
            (value - start) / (end - start)
        }
    }
}

impl Panel {
    /// A panel with linear axes between two corners of the page, labels included.
    ///
    /// # Errors
    /// Here and below, when plotters cannot draw.
    pub fn new(ink: &Ink, from: Spot, to: Spot, x: &Axis, y: &Axis) -> Result<Panel> {
        let area = ink.part(from, to);
        let chart = builder(&area).build_cartesian_2d(x.range.clone(), y.range.clone())?;
        Panel::finish(ink, chart, x, y, false)
    }

    /// The same with a logarithmic y axis: its range must be positive.
    pub fn logarithmic(ink: &Ink, from: Spot, to: Spot, x: &Axis, y: &Axis) -> Result<Panel> {
        let area = ink.part(from, to);
        let chart = builder(&area).build_cartesian_2d(x.range.clone(), y.range.clone().log_scale())?;
        Panel::finish(ink, chart, x, y, true)
    }

    fn finish<X, Y>(
        ink: &Ink,
        mut chart: ChartContext<SVGBackend, Cartesian2d<X, Y>>,
        x: &Axis,
        y: &Axis,
        logarithmic: bool,
    ) -> Result<Panel>
    where
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let tick = |axis: &Axis| Letters::new(style::TICK, axis.colour).style();
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT)
            .bold_line_style(stroke(style::GRID, 1.0, 0.8))
            .axis_style(stroke(style::INK, 1.0, 1.0))
            .x_label_style(tick(x))
            .y_label_style(tick(y))
            .x_label_formatter(&number)
            .y_label_formatter(if logarithmic { &power } else { &number })
            .set_all_tick_mark_size(units(4.0))
            .x_labels(x.ticks)
            .y_labels(y.ticks);
        if x.ticks == 0 {
            mesh.disable_x_mesh().disable_x_axis();
        }
        if y.ticks == 0 {
            mesh.disable_y_mesh().disable_y_axis();
        }
        mesh.draw()?;

        let (across, down) = chart.plotting_area().get_pixel_range();
        let pixels = |units: i32| f64::from(units) / UNITS;
        let (from, to) = ((pixels(across.start), pixels(down.start)), (pixels(across.end), pixels(down.end)));
        let name = |axis: &Axis| Letters::new(style::LABEL, axis.colour).centred();
        ink.text(&x.name, ((from.0 + to.0) / 2.0, to.1 + BELOW - 14.0), name(x))?;
        ink.text(&y.name, (from.0 - LEFT + 10.0, (from.1 + to.1) / 2.0), name(y).upright())?;
        if x.colour != style::INK {
            ink.line(&[(from.0, to.1), to], x.colour, 1.0, 1.6)?;
        }
        if y.colour != style::INK {
            ink.line(&[from, (from.0, to.1)], y.colour, 1.0, 1.6)?;
        }
        let x = Scale { range: x.range.clone(), logarithmic: false };
        let y = Scale { range: y.range.clone(), logarithmic };
        Ok(Panel { x, y, from, to })
    }

    /// Writes a title above it, for which a figure leaves some 20 pixels.
    pub fn title(&self, ink: &Ink, words: &str) -> Result<()> {
        let letters = Letters::new(style::LABEL, style::INK).bold();
        ink.text(words, (self.from.0, self.from.1 - 12.0), letters)
    }

    /// Where a value lies on the page.
    pub fn at(&self, x: f64, y: f64) -> Spot {
        let (across, up) = (self.x.share(x), self.y.share(y));
        (self.from.0 + across * (self.to.0 - self.from.0), self.to.1 - up * (self.to.1 - self.from.1))
    }
}

fn builder<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'static, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.x_label_area_size(units(BELOW)).y_label_area_size(units(LEFT));
    builder
}

/// A tick's number on a linear axis: a multiple of a step, up to rounding.
fn number(value: &f64) -> String {
    written(format!("{value:.9}").parse().unwrap_or(*value))
}

/// A tick's number on a logarithmic axis, where the smallest counts as much as the largest.
fn power(value: &f64) -> String {
    written(format!("{value:.9e}").parse().unwrap_or(*value))
}

/// No more digits than it has, and a true minus sign.
fn written(rounded: f64) -> String {
    let size = rounded.abs();
    let text = if size != 0.0 && !(1e-4..1e6).contains(&size) {
        format!("{rounded:e}")
    } else {
        format!("{}", rounded + 0.0)
    };
    text.replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::page;

    #[test]
    fn values_lie_where_the_axes_say() {
        page((400.0, 300.0), "", "", |ink| {
            let (x, y) = (Axis::new("x", 0.0..10.0), Axis::new("y", 0.01..100.0));
            let linear = Panel::new(ink, (20.0, 10.0), (390.0, 290.0), &x, &y)?;
            assert_eq!((linear.from, linear.to), ((20.0 + LEFT, 10.0), (390.0, 290.0 - BELOW)));
            assert_eq!(linear.at(0.0, 0.01), (linear.from.0, linear.to.1));
            let decades = Panel::logarithmic(ink, (20.0, 10.0), (390.0, 290.0), &x, &y)?;
            let (_, middle) = decades.at(5.0, 1.0);
            assert!((middle - (decades.from.1 + decades.to.1) / 2.0).abs() < 1e-9, "{middle}");
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn axes_name_themselves_and_their_ticks() {
        let draw = |x: Axis| {
            page((400.0, 300.0), "", "", |ink| {
                let y = Axis::new("height (m)", -2.0..2.0);
                Panel::new(ink, (20.0, 10.0), (390.0, 290.0), &x, &y).map(|_| ())
            })
            .unwrap()
        };
        let svg = draw(Axis::new("length", 0.0..1.0));
        for label in ["length", "height (m)", "0.2", "0.8", "\u{2212}1"] {
            assert!(svg.contains(&format!(">\n{label}\n</text>")), "no label {label}");
        }
        assert!(!draw(Axis::new("length", 0.0..1.0).bare()).contains("0.2"));
        assert!(draw(Axis::new("t", 0.0..1.0).colour(style::TIME_LIKE)).contains("#C8102E"));
    }

    #[test]
    fn a_range_is_never_empty() {
        assert_eq!(padded([]), 0.0..1.0);
        for value in [0.0, 3.0, -1e-12] {
            let range = padded([value, value]);
            assert!(range.start < value && value < range.end, "{range:?}");
        }
        assert_eq!(padded([0.0, 10.0]), -0.5..10.5);
    }

    #[test]
    fn ticks_have_no_more_digits_than_they_need() {
        let shown = [0.30000000000000004, -0.0, -1.5, 2.0, 1e-5, 2e7].map(|value| number(&value));
        assert_eq!(shown, ["0.3", "0", "\u{2212}1.5", "2", "1e\u{2212}5", "2e7"]);
        assert_eq!(
            [1.0000000000000001e-11, 0.1, 1.0].map(|value| power(&value)),
            ["1e\u{2212}11", "0.1", "1"]
        );
    }
}
