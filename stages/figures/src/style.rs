//! How figures look: colours, sizes, widths. Every figure takes them from here.

use std::collections::{BTreeMap, BTreeSet};

use plotters::style::RGBColor;

/// Text and axes.
pub const INK: RGBColor = RGBColor(0x26, 0x26, 0x26);
/// Captions, and marks that stand back.
pub const MUTED: RGBColor = RGBColor(0x6B, 0x6B, 0x6B);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(0xE3, 0xE3, 0xE3);
/// The page.
pub const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
/// The geodesic, with its ends P0 and P*.
pub const GEODESIC: RGBColor = RGBColor(0x00, 0x00, 0x00);
/// Axes whose eigenvalue is negative.
pub const TIME_LIKE: RGBColor = RGBColor(0xC8, 0x10, 0x2E);
/// Train and test, where they are drawn together.
pub const SPLITS: [RGBColor; 2] = [RGBColor(0x33, 0x22, 0x88), RGBColor(0xDD, 0x77, 0x33)];

/// Series that are neither architectures nor splits, in this order.
pub const SERIES: [RGBColor; 6] = [
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0xBB, 0x55, 0x66),
    RGBColor(0xDD, 0xAA, 0x33),
    RGBColor(0xAA, 0x33, 0x77),
    RGBColor(0x00, 0x44, 0x88),
    RGBColor(0x88, 0xCC, 0xEE),
];

/// Text sizes in pixels: of titles, of a panel's axis names and direct labels, of tick labels, of captions.
pub const TITLE: f64 = 19.0;
/// Axis names, direct labels, legends.
pub const LABEL: f64 = 13.0;
/// Tick labels.
pub const TICK: f64 = 11.5;
/// Captions under a title.
pub const CAPTION: f64 = 13.0;

/// The architectures of the paper and of the quick profile, each with its colour in all figures: Okabe and Ito's
/// palette, which readers with a colour vision deficiency can tell apart. Each of the two wide residual networks has one
/// colour in all its sizes.
const ARCHITECTURES: [(&str, RGBColor); 8] = [
    ("allcnn", RGBColor(0x00, 0x72, 0xB2)),
    ("convmixer", RGBColor(0x00, 0x9E, 0x73)),
    ("fc", RGBColor(0xD5, 0x5E, 0x00)),
    ("vit", RGBColor(0xCC, 0x79, 0xA7)),
    ("wr-10-1-8", RGBColor(0x56, 0xB4, 0xE9)),
    ("wr-10-4-8", RGBColor(0x56, 0xB4, 0xE9)),
    ("wr-16-1-8", RGBColor(0xE6, 0x9F, 0x00)),
    ("wr-16-4-64", RGBColor(0xE6, 0x9F, 0x00)),
];

/// Colours for further architectures, in this order.
const FURTHER: [RGBColor; 6] = [
    RGBColor(0x66, 0x11, 0x00),
    RGBColor(0x99, 0x99, 0x33),
    RGBColor(0x33, 0x22, 0x88),
    RGBColor(0x77, 0x55, 0x44),
    RGBColor(0x44, 0xAA, 0x99),
    RGBColor(0x8A, 0x8A, 0x8A),
];

/// The colour of each architecture of a figure.
#[derive(Debug, Default)]
pub struct Palette(BTreeMap<String, RGBColor>);

impl Palette {
    /// Colours for these architectures: the known ones have theirs; others, in alphabetical order, get further colours
    /// (from the first again when there are more than colours), and so does the second of two that share a colour.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Palette {
        let mut colours: BTreeMap<String, RGBColor> = BTreeMap::new();
        let mut further = FURTHER.iter().cycle();
        for name in names.into_iter().collect::<BTreeSet<_>>() {
            let known = ARCHITECTURES.iter().find(|(known, _)| *known == name).map(|(_, colour)| *colour);
            let free = known.filter(|colour| colours.values().all(|taken| taken != colour));
            colours.insert(name.to_owned(), free.or_else(|| further.next().copied()).unwrap_or(MUTED));
        }
        Palette(colours)
    }

    /// The colour of an architecture; grey for one that was not announced.
    pub fn colour(&self, name: &str) -> RGBColor {
        self.0.get(name).copied().unwrap_or(MUTED)
    }

    /// All of them, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, RGBColor)> {
        self.0.iter().map(|(name, colour)| (name.as_str(), *colour))
    }
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

    /// A colour as a reader without M cones sees it, in linear RGB (Viénot, Brettel and Mollon 1999).
    fn deuteranope(RGBColor(r, g, b): RGBColor) -> [f64; 3] {
        let [r, g, b] = [r, g, b].map(|value| (f64::from(value) / 255.0).powf(2.2));
        let red_green = 0.29275 * r + 0.70725 * g;
        [red_green, red_green, -0.02234 * r + 0.02234 * g + b]
    }

    /// Distance of two linear RGB colours in CIE Lab: 2 is just noticeable.
    fn lab_distance(one: [f64; 3], two: [f64; 3]) -> f64 {
        let lab = |[r, g, b]: [f64; 3]| {
            let f = |t: f64| if t > 0.008856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
            let x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505);
            let y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
            let z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089);
            [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
        };
        let (one, two) = (lab(one), lab(two));
        one.iter().zip(two).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    const QUICK: [&str; 6] = ["allcnn", "convmixer", "fc", "vit", "wr-10-1-8", "wr-16-1-8"];

    #[test]
    fn architectures_can_be_told_apart_without_m_cones() {
        let palette = Palette::of(QUICK);
        let mut colours: Vec<_> = palette.entries().collect();
        colours.push(("geodesic", GEODESIC));
        for (i, (name, colour)) in colours.iter().enumerate() {
            for (other, other_colour) in &colours[..i] {
                let distance = lab_distance(deuteranope(*colour), deuteranope(*other_colour));
                assert!(distance > 12.0, "{name} and {other} are {distance:.1} apart");
            }
        }
    }

    #[test]
    fn series_can_be_told_apart_without_m_cones() {
        for (i, colour) in SERIES.iter().enumerate() {
            for (j, other) in SERIES[..i].iter().enumerate() {
                let distance = lab_distance(deuteranope(*colour), deuteranope(*other));
                assert!(distance > 12.0, "{i} and {j} are {distance:.1} apart");
            }
        }
    }

    #[test]
    fn a_known_architecture_has_its_colour_whatever_others_there_are() {
        let fc = Palette::of(QUICK).colour("fc");
        assert_eq!(Palette::of(["aaa", "fc", "zzz"]).colour("fc"), fc);
        assert_ne!(Palette::of(["vit"]).colour("vit"), fc);
    }

    #[test]
    fn two_sizes_of_a_network_in_one_figure_differ() {
        let palette = Palette::of(["wr-10-1-8", "wr-10-4-8"]);
        assert_eq!(palette.colour("wr-10-1-8"), Palette::of(["wr-10-4-8"]).colour("wr-10-4-8"));
        assert_ne!(palette.colour("wr-10-1-8"), palette.colour("wr-10-4-8"));
    }

    #[test]
    fn unknown_architectures_get_further_colours_by_their_order() {
        let palette = Palette::of(["zeta", "fc", "alpha"]);
        assert_eq!(palette.colour("alpha"), FURTHER[0]);
        assert_eq!(palette.colour("zeta"), FURTHER[1]);
        assert_eq!(palette.colour("alpha"), Palette::of(["alpha", "zeta", "beta"]).colour("alpha"));
    }

    #[test]
    fn shades_darken_and_text_stays_readable_on_them() {
        assert!(shade(0, 3).0 > shade(1, 3).0 && shade(1, 3).0 > shade(2, 3).0);
        assert_eq!(shade(0, 1), shade(0, 3));
        assert_eq!((text_on(shade(0, 3)), text_on(shade(2, 3))), (INK, PAPER));
    }
}
