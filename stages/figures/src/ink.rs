//! Drawing on a page in pixels: text, lines and marks, each one plotters element.

use std::sync::Once;

use anyhow::Result;
use plotters::coord::Shift;
use plotters::element::{Circle, PathElement, Polygon, Rectangle};
use plotters::prelude::{
    Color, DrawingArea, FontStyle, FontTransform, IntoFont, RGBColor, SVGBackend, TextStyle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{ShapeStyle, register_font};

/// The family every text names: the embedded font, and what resembles it where fonts in SVG are ignored.
pub const FAMILY: &str = "Open Sans, Noto Sans, Helvetica, Arial, sans-serif";
/// The embedded font.
pub const REGULAR: &[u8] = include_bytes!("../fonts/OpenSans-Regular.ttf");
/// Its bold.
pub const BOLD: &[u8] = include_bytes!("../fonts/OpenSans-Semibold.ttf");

/// Backend units a pixel: plotters' coordinates are integers, and a pixel is too coarse for a curve.
pub const UNITS: f64 = 10.0;

/// A place on the page in pixels, from its top left.
pub type Spot = (f64, f64);

/// A drawing area in backend units.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Pixels as backend units.
pub fn units(pixels: f64) -> i32 {
    (pixels * UNITS).round() as i32
}

fn place((x, y): Spot) -> (i32, i32) {
    (units(x), units(y))
}

/// How a text looks. Its spot is always at half its height.
#[derive(Debug, Clone, Copy)]
pub struct Letters {
    size: f64,
    colour: RGBColor,
    centred: bool,
    bold: bool,
    upright: bool,
}

impl Letters {
    /// Letters of this size in pixels, to the right of their spot.
    pub fn new(size: f64, colour: RGBColor) -> Letters {
        Letters { size, colour, centred: false, bold: false, upright: false }
    }

    /// The same with their middle at their spot.
    pub fn centred(self) -> Letters {
        Letters { centred: true, ..self }
    }

    /// The same in bold.
    pub fn bold(self) -> Letters {
        Letters { bold: true, ..self }
    }

    /// The same turned to read upwards.
    pub fn upright(self) -> Letters {
        Letters { upright: true, ..self }
    }

    /// The width of a text in pixels.
    ///
    /// # Errors
    /// When the font cannot be used.
    pub fn width(&self, text: &str) -> Result<f64> {
        // plotters sets a font's ascent plus descent to its size, SVG the em; in between, plotters' 1.24 and the
        // font's own ratio, 2789 / 2048.
        const CORRECTION: f64 = 2789.0 / 2048.0 / EM;
        let ((left, _), (right, _)) = self.style().font.layout_box(text)?;
        Ok(f64::from(right - left) / UNITS * CORRECTION)
    }

    /// The style for plotters' own texts, such as tick labels.
    pub fn style(&self) -> TextStyle<'static> {
        static FONTS: Once = Once::new();
        FONTS.call_once(|| {
            for (style, bytes) in [(FontStyle::Normal, REGULAR), (FontStyle::Bold, BOLD)] {
                // A font that is refused shows as "FontUnavailable" where it is used.
                let _ = register_font(FAMILY, style, bytes);
            }
        });
        let weight = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        let turn = if self.upright { FontTransform::Rotate270 } else { FontTransform::None };
        let across = if self.centred { HPos::Center } else { HPos::Left };
        (FAMILY, self.size * UNITS * EM, weight)
            .into_font()
            .transform(turn)
            .color(&self.colour)
            .pos(Pos::new(across, VPos::Center))
    }
}

/// plotters' font size divided by the em it stands for (plotters-svg, `draw_text`).
const EM: f64 = 1.24;

/// The shape of a mark.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mark {
    /// A disc.
    Disc,
    /// A square.
    Square,
    /// A triangle on its base.
    Triangle,
    /// A square on its corner.
    Diamond,
    /// A triangle on its corner.
    Wedge,
    /// A star of five points.
    Star,
}

impl Mark {
    /// Marks for categories, in the order of their use.
    pub const CATEGORIES: [Mark; 5] = [Mark::Disc, Mark::Square, Mark::Triangle, Mark::Diamond, Mark::Wedge];

    /// The corners of a mark about its spot, of about the area of a disc of this radius.
    fn corners(self, radius: f64) -> Vec<Spot> {
        // (number of corners, circumradius, direction of the first, inner circumradius for stars)
        let (count, reach, turn, inner) = match self {
            Mark::Disc => (24, 1.0, 0.0, 1.0),
            Mark::Square => (4, 1.25, 45.0, 1.0),
            Mark::Diamond => (4, 1.3, 0.0, 1.0),
            Mark::Triangle => (3, 1.5, -90.0, 1.0),
            Mark::Wedge => (3, 1.5, 90.0, 1.0),
            Mark::Star => (10, 1.7, -90.0, 0.42),
        };
        let corner = |i: usize| {
            let angle = (turn + 360.0 * i as f64 / count as f64).to_radians();
            let reach = if i % 2 == 1 { reach * inner } else { reach } * radius;
            (reach * angle.cos(), reach * angle.sin())
        };
        (0..count).map(corner).collect()
    }
}

/// A page to draw on, in pixels.
pub struct Ink<'a> {
    area: Area<'a>,
}

impl<'a> Ink<'a> {
    /// Draws on an area that is the whole page.
    pub fn new(area: Area<'a>) -> Ink<'a> {
        Ink { area }
    }

    /// The part of the page between two corners, for plotters' charts.
    pub fn part(&self, from: Spot, to: Spot) -> Area<'a> {
        let ((x0, y0), (x1, y1)) = (place(from), place(to));
        self.area.clone().shrink((x0, y0), ((x1 - x0).max(1), (y1 - y0).max(1)))
    }

    /// Writes a text.
    ///
    /// # Errors
    /// Here and below, when plotters cannot draw.
    pub fn text(&self, text: &str, at: Spot, letters: Letters) -> Result<()> {
        Ok(self.area.draw_text(text, &letters.style(), place(at))?)
    }

    /// Draws a line through the spots, `width` pixels wide.
    pub fn line(&self, spots: &[Spot], colour: RGBColor, alpha: f64, width: f64) -> Result<()> {
        let style = stroke(colour, alpha, width);
        Ok(self.area.draw(&PathElement::new(spots.iter().copied().map(place).collect::<Vec<_>>(), style))?)
    }

    /// Draws a small disc.
    pub fn dot(&self, at: Spot, radius: f64, colour: RGBColor, alpha: f64) -> Result<()> {
        Ok(self.area.draw(&Circle::new(place(at), units(radius), colour.mix(alpha).filled()))?)
    }

    /// Draws a mark filled with one colour and outlined with another.
    pub fn mark(&self, mark: Mark, at: Spot, radius: f64, fill: RGBColor, outline: RGBColor) -> Result<()> {
        let mut corners: Vec<Spot> =
            mark.corners(radius).into_iter().map(|(x, y)| (at.0 + x, at.1 + y)).collect();
        self.fill(&corners, fill, 1.0)?;
        // Twice the first side, so that its corner is joined like the others.
        corners.extend_from_within(..2);
        self.line(&corners, outline, 1.0, 1.0)
    }

    /// Fills a polygon.
    pub fn fill(&self, corners: &[Spot], colour: RGBColor, alpha: f64) -> Result<()> {
        let corners: Vec<_> = corners.iter().copied().map(place).collect();
        Ok(self.area.draw(&Polygon::new(corners, colour.mix(alpha).filled()))?)
    }

    /// Fills a rectangle between two corners.
    pub fn block(&self, from: Spot, to: Spot, colour: RGBColor) -> Result<()> {
        Ok(self.area.draw(&Rectangle::new([place(from), place(to)], colour.filled()))?)
    }
}

/// A style of lines, `width` pixels wide.
pub fn stroke(colour: RGBColor, alpha: f64, width: f64) -> ShapeStyle {
    colour.mix(alpha).stroke_width(units(width).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_font() {
        // "hh" is two advances of 1257 of 2048 units an em.
        let width = Letters::new(20.0, RGBColor(0, 0, 0)).width("hh").unwrap();
        assert!((width - 2.0 * 1257.0 / 2048.0 * 20.0).abs() < 0.2, "{width}");
        assert!(Letters::new(20.0, RGBColor(0, 0, 0)).bold().width("hh").unwrap() > width);
    }

    #[test]
    fn marks_are_about_as_large_as_a_disc() {
        for mark in Mark::CATEGORIES {
            let corners = mark.corners(1.0);
            let next = corners.iter().cycle().skip(1);
            let area: f64 = corners.iter().zip(next).map(|(a, b)| (a.0 * b.1 - b.0 * a.1) / 2.0).sum();
            assert!((2.5..4.0).contains(&area), "{mark:?} has an area of {area}");
        }
    }
}
