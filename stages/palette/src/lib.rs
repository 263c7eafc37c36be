//! Colours that figures and pages share: one per architecture everywhere.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// A colour: red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

impl Colour {
    /// As style sheets write it: `#0072b2`.
    pub fn hex(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }

    /// The colour at `t` of the way to another.
    fn towards(self, other: Colour, t: f64) -> Colour {
        let mix = |from: u8, to: u8| (f64::from(from) + t * (f64::from(to) - f64::from(from))).round() as u8;
        Colour(mix(self.0, other.0), mix(self.1, other.1), mix(self.2, other.2))
    }
}

/// Axes whose eigenvalue is negative.
pub const TIME_LIKE: Colour = Colour(0xC8, 0x10, 0x2E);

/// What has no colour of its own.
pub const MUTED: Colour = Colour(0x6B, 0x6B, 0x6B);

/// Series that are neither architectures nor splits, in this order.
pub const SERIES: [Colour; 6] = [
    Colour(0x00, 0x00, 0x00),
    Colour(0xBB, 0x55, 0x66),
    Colour(0xDD, 0xAA, 0x33),
    Colour(0xAA, 0x33, 0x77),
    Colour(0x00, 0x44, 0x88),
    Colour(0x88, 0xCC, 0xEE),
];

/// The families of the paper's architectures, each with its colour and a darker one for larger sizes. The colours are Okabe
/// and Ito's, which readers with a colour vision deficiency can tell apart; the darker ones were chosen to be as far from all
/// others as these are from each other, for readers without L or M cones too.
const FAMILIES: [(&str, Colour, Colour); 7] = [
    ("allcnn", Colour(0x00, 0x72, 0xB2), Colour(0x03, 0x49, 0x7C)),
    ("convmixer", Colour(0x00, 0x9E, 0x73), Colour(0x00, 0x6C, 0x5F)),
    ("fc", Colour(0xD5, 0x5E, 0x00), Colour(0x8F, 0x1D, 0x04)),
    ("resnet", Colour(0x94, 0xA0, 0x3A), Colour(0x2A, 0x1A, 0x9E)),
    ("vit", Colour(0xCC, 0x79, 0xA7), Colour(0xBC, 0x00, 0xA0)),
    ("wr-10", Colour(0x56, 0xB4, 0xE9), Colour(0x12, 0x54, 0x68)),
    ("wr-16", Colour(0xE6, 0x9F, 0x00), Colour(0x8A, 0x6C, 0x3F)),
];

/// Colours for architectures of no known family, in this order.
const FURTHER: [Colour; 6] = [
    Colour(0x66, 0x11, 0x00),
    Colour(0x77, 0x55, 0x44),
    Colour(0x33, 0x22, 0x88),
    Colour(0xAA, 0xAA, 0x00),
    Colour(0x44, 0xAA, 0x99),
    Colour(0x8A, 0x8A, 0x8A),
];

/// What the sizes of an architecture have in common: `fc-64` and `fc-256` are `fc`, `wr-16-4-64` is `wr-16`. An architecture
/// that the paper does not have is a family by itself.
pub fn family(name: &str) -> &str {
    known(name).map_or(name, |(family, ..)| family)
}

fn known(name: &str) -> Option<(&'static str, Colour, Colour)> {
    let is_of = |family: &str| {
        let rest = name.strip_prefix(family);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
    };
    FAMILIES.into_iter().find(|(family, ..)| is_of(family))
}

/// The colour of each architecture of a figure.
///
/// ```
/// let palette = palette::Palette::of(["fc", "vit-32", "vit-64"]);
/// assert_eq!(palette.colour("fc").hex(), "#d55e00");
/// let names: Vec<&str> = palette.entries().map(|(name, _)| name).collect();
/// assert_eq!(names, ["fc", "vit-32", "vit-64"]);
/// ```
#[derive(Debug, Default)]
pub struct Palette(Vec<(String, Colour)>);

impl Palette {
    /// Colours for these architectures. The sizes of a family go from its colour to the darker one, in the order of their
    /// names, in which numbers count by size; an only one has the family's colour. Others, in this order, get further colours,
    /// from the first again when there are more than colours.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Palette {
        let names: BTreeMap<Vec<Part>, &str> = names.into_iter().map(|name| (parts(name), name)).collect();
        let mut further = FURTHER.iter().cycle();
        let mut colours = Vec::new();
        for name in names.values() {
            let colour = match known(name) {
                Some((family, colour, darker)) => {
                    let sizes: Vec<&&str> =
                        names.values().filter(|name| self::family(name) == family).collect();
                    let place = sizes.iter().position(|size| *size == name).unwrap_or(0);
                    colour.towards(darker, place as f64 / (sizes.len() - 1).max(1) as f64)
                }
                None => further.next().copied().unwrap_or(MUTED),
            };
            colours.push(((*name).to_owned(), colour));
        }
        Palette(colours)
    }

    /// The same for some of these architectures, each with the colour that it has among all.
    pub fn restricted<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Palette {
        let names: BTreeSet<&str> = names.into_iter().collect();
        self.0.retain(|(name, _)| names.contains(name.as_str()));
        self
    }

    /// The colour of an architecture; grey for one that was not announced.
    pub fn colour(&self, name: &str) -> Colour {
        self.0.iter().find(|(known, _)| known == name).map_or(MUTED, |(_, colour)| *colour)
    }

    /// All of them, by name: words by alphabet, numbers by size.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Colour)> {
        self.0.iter().map(|(name, colour)| (name.as_str(), *colour))
    }
}

/// The order of names: words by alphabet, numbers by size.
pub fn compare(one: &str, other: &str) -> Ordering {
    parts(one).cmp(&parts(other))
}

/// A piece of a name: a number, or what stands between numbers.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64, String),
    Words(String),
}

/// `fc-64` is `fc-` and 64.
fn parts(name: &str) -> Vec<Part> {
    name.as_bytes()
        .chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
        .map(|part| {
            let text = String::from_utf8_lossy(part).into_owned();
            text.parse()
                .map_or_else(|_| Part::Words(text.clone()), |number| Part::Number(number, text.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's architectures in two sizes each.
    const SIZES: [&str; 14] = [
        "allcnn-8",
        "allcnn-16",
        "convmixer-32",
        "convmixer-48",
        "fc-128",
        "fc-256",
        "resnet-18",
        "resnet-50",
        "vit-32",
        "vit-64",
        "wr-10-1-8",
        "wr-10-2-8",
        "wr-16-1-8",
        "wr-16-2-8",
    ];

    /// Linear RGB as all cones see it, as readers without M cones do, and as those without L cones (Viénot, Brettel and
    /// Mollon 1999).
    fn seen(Colour(r, g, b): Colour) -> [[f64; 3]; 3] {
        let [r, g, b] = [r, g, b].map(|value| (f64::from(value) / 255.0).powf(2.2));
        let (without_m, without_l) = (0.29275 * r + 0.70725 * g, 0.11238 * r + 0.88762 * g);
        [
            [r, g, b],
            [without_m, without_m, -0.02234 * r + 0.02234 * g + b],
            [without_l, without_l, 0.00401 * r - 0.00401 * g + b],
        ]
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

    /// Checks that all readers can tell these apart.
    fn check(colours: &[(&str, Colour)], least: f64) {
        for (i, (name, colour)) in colours.iter().enumerate() {
            for (other, other_colour) in &colours[..i] {
                for (one, two) in seen(*colour).into_iter().zip(seen(*other_colour)) {
                    let distance = lab_distance(one, two);
                    assert!(distance > least, "{name} and {other} are {distance:.1} apart");
                }
            }
        }
    }

    #[test]
    fn two_sizes_of_all_architectures_can_be_told_apart_without_l_or_m_cones() {
        let palette = Palette::of(SIZES);
        let black = ("geodesic", Colour(0, 0, 0));
        check(&palette.entries().chain([black]).collect::<Vec<_>>(), 15.0);
    }

    #[test]
    fn series_can_be_told_apart_without_l_or_m_cones() {
        check(&SERIES.map(|colour| ("a series", colour)), 12.0);
    }

    #[test]
    fn a_known_architecture_has_its_colour_whatever_others_there_are() {
        let fc = Palette::of(SIZES).colour("fc-128");
        assert_eq!(Palette::of(["aaa", "fc", "zzz"]).colour("fc"), fc);
        assert_eq!(Palette::of(["fc-1024", "vit"]).colour("fc-1024"), fc);
        assert_ne!(Palette::of(["vit"]).colour("vit"), fc);
    }

    #[test]
    fn sizes_go_from_light_to_dark_and_stand_in_the_order_of_their_numbers() {
        let palette = Palette::of(["wr-10-4-8", "wr-10-16-8", "wr-10-1-8", "fc-96", "fc-128"]);
        let names: Vec<&str> = palette.entries().map(|(name, _)| name).collect();
        assert_eq!(names, ["fc-96", "fc-128", "wr-10-1-8", "wr-10-4-8", "wr-10-16-8"]);
        let (_, colour, darker) = FAMILIES[5];
        assert_eq!((palette.colour("wr-10-1-8"), palette.colour("wr-10-16-8")), (colour, darker));
        let between = palette.colour("wr-10-4-8");
        assert!(darker.1 < between.1 && between.1 < colour.1, "{between:?}");
        let some = palette.restricted(["wr-10-4-8", "vit"]);
        assert_eq!(some.entries().collect::<Vec<_>>(), [("wr-10-4-8", between)]);
    }

    #[test]
    fn a_family_is_what_sizes_have_in_common() {
        let families = ["fc", "fc-64", "wr-10-1-8", "wr-16-4-64", "vit-s-16", "resnet-18", "fcn", "mine-3"];
        let expected = ["fc", "fc", "wr-10", "wr-16", "vit", "resnet", "fcn", "mine-3"];
        assert_eq!(families.map(family), expected);
    }

    #[test]
    fn unknown_architectures_get_further_colours_by_their_order() {
        let palette = Palette::of(["zeta", "fc", "alpha"]);
        assert_eq!(palette.colour("alpha"), FURTHER[0]);
        assert_eq!(palette.colour("zeta"), FURTHER[1]);
        assert_eq!(palette.colour("alpha"), Palette::of(["alpha", "zeta", "beta"]).colour("alpha"));
    }
}
