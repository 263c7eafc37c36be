//! How figures look: colours and sizes. Every figure takes them from here.

use plotters::style::RGBColor;

/// Text and axes.
pub const INK: RGBColor = RGBColor(0x26, 0x26, 0x26);
/// Captions, and marks that stand back.
pub const MUTED: RGBColor = rgb(palette::MUTED);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(0xE3, 0xE3, 0xE3);
/// The page.
pub const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
/// The geodesic, with its ends P0 and P*.
pub const GEODESIC: RGBColor = RGBColor(0x00, 0x00, 0x00);
/// Axes whose eigenvalue is negative.
pub const TIME_LIKE: RGBColor = rgb(palette::TIME_LIKE);
/// Train and test, where they are drawn together.
pub const SPLITS: [RGBColor; 2] = [RGBColor(0x33, 0x22, 0x88), RGBColor(0xDD, 0x77, 0x33)];

/// Series that are neither architectures nor splits, in this order.
pub const SERIES: [RGBColor; palette::SERIES.len()] = {
    let mut colours = [INK; palette::SERIES.len()];
    let mut i = 0;
    while i < colours.len() {
        colours[i] = rgb(palette::SERIES[i]);
        i += 1;
    }
    colours
};

/// Those of [`SERIES`] for what has names of its own: starts, data sets, optimizers. In this order.
pub const NAMED: [RGBColor; 5] = [SERIES[4], SERIES[1], SERIES[2], SERIES[3], SERIES[5]];

/// Text sizes in pixels: of titles, of a panel's axis names and direct labels, of tick labels, of captions.
pub const TITLE: f64 = 19.0;
/// Axis names, direct labels, legends.
pub const LABEL: f64 = 13.0;
/// Tick labels.
pub const TICK: f64 = 11.5;
/// Captions under a title.
pub const CAPTION: f64 = 13.0;

/// The colour of each architecture of a figure.
#[derive(Debug, Default)]
pub struct Palette(palette::Palette);

impl Palette {
    /// The colours that these architectures have in all figures and pages.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Palette {
        Palette(palette::Palette::of(names))
    }

    /// The colours of some of these architectures.
    pub fn restricted<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Palette {
        Palette(self.0.restricted(names))
    }

    /// The colour of an architecture; grey for one that was not announced.
    pub fn colour(&self, name: &str) -> RGBColor {
        rgb(self.0.colour(name))
    }

    /// All of them, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, RGBColor)> {
        self.0.entries().map(|(name, colour)| (name, rgb(colour)))
    }
}

/// A shared colour as plotters takes it.
const fn rgb(palette::Colour(red, green, blue): palette::Colour) -> RGBColor {
    RGBColor(red, green, blue)
}

/// The `step`-th of `steps` shades of one hue, from light to dark, for values that have an order.
pub fn shade(step: usize, steps: usize) -> RGBColor {
    const LIGHT: RGBColor = RGBColor(0xD6, 0xE2, 0xEC);
    const DARK: RGBColor = RGBColor(0x2B, 0x4C, 0x6F);
    let t = if steps < 2 { 0.0 } else { step as f64 / (steps - 1) as f64 };
    let mix = |from: u8, to: u8| (f64::from(from) + t * (f64::from(to) - f64::from(from))).round() as u8;
    RGBColor(mix(LIGHT.0, DARK.0), mix(LIGHT.1, DARK.1), mix(LIGHT.2, DARK.2))
}

/// Black or white, whichever reads better on a colour (relative luminance of ITU-R BT.709).
pub fn text_on(RGBColor(r, g, b): RGBColor) -> RGBColor {
    let linear = |value: u8| (f64::from(value) / 255.0).powf(2.2);
    let luminance = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    if luminance > 0.3 { INK } else { PAPER }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_darken_and_text_stays_readable_on_them() {
        assert!(shade(0, 3).0 > shade(1, 3).0 && shade(1, 3).0 > shade(2, 3).0);
        assert_eq!(shade(0, 1), shade(0, 3));
        assert_eq!((text_on(shade(0, 3)), text_on(shade(2, 3))), (INK, PAPER));
    }
}
