//! Colours that figures and pages share: one per architecture everywhere.

use std::collections::{BTreeMap, BTreeSet};

/// A colour: red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

impl Colour {
    /// As style sheets write it: `#0072b2`.
    pub fn hex(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

/// Axes whose eigenvalue is negative.
pub const TIME_LIKE: Colour = Colour(0xC8, 0x10, 0x2E);

/// What has no colour of its own.
pub const MUTED: Colour = Colour(0x6B, 0x6B, 0x6B);

/// The architectures of the paper and of the quick profile, each with its colour in all figures: Okabe and Ito's
/// palette, which readers with a colour vision deficiency can tell apart. Each of the two wide residual networks has one
/// colour in all its sizes.
const ARCHITECTURES: [(&str, Colour); 8] = [
    ("allcnn", Colour(0x00, 0x72, 0xB2)),
    ("convmixer", Colour(0x00, 0x9E, 0x73)),
    ("fc", Colour(0xD5, 0x5E, 0x00)),
    ("vit", Colour(0xCC, 0x79, 0xA7)),
    ("wr-10-1-8", Colour(0x56, 0xB4, 0xE9)),
    ("wr-10-4-8", Colour(0x56, 0xB4, 0xE9)),
    ("wr-16-1-8", Colour(0xE6, 0x9F, 0x00)),
    ("wr-16-4-64", Colour(0xE6, 0x9F, 0x00)),
];

/// Colours for further architectures, in this order.
const FURTHER: [Colour; 6] = [
    Colour(0x66, 0x11, 0x00),
    Colour(0x99, 0x99, 0x33),
    Colour(0x33, 0x22, 0x88),
    Colour(0x77, 0x55, 0x44),
    Colour(0x44, 0xAA, 0x99),
    Colour(0x8A, 0x8A, 0x8A),
];

/// The colour of each architecture of a figure.
///
/// ```
/// let palette = palette::Palette::of(["fc", "vit"]);
/// assert_eq!(palette.colour("fc").hex(), "#d55e00");
/// ```
#[derive(Debug, Default)]
pub struct Palette(BTreeMap<String, Colour>);

impl Palette {
    /// Colours for these architectures: the known ones have theirs; others, in alphabetical order, get further colours
    /// (from the first again when there are more than colours), and so does the second of two that share a colour.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Palette {
        let mut colours: BTreeMap<String, Colour> = BTreeMap::new();
        let mut further = FURTHER.iter().cycle();
        for name in names.into_iter().collect::<BTreeSet<_>>() {
            let known = ARCHITECTURES.iter().find(|(known, _)| *known == name).map(|(_, colour)| *colour);
            let free = known.filter(|colour| colours.values().all(|taken| taken != colour));
            colours.insert(name.to_owned(), free.or_else(|| further.next().copied()).unwrap_or(MUTED));
        }
        Palette(colours)
    }

    /// The colour of an architecture; grey for one that was not announced.
    pub fn colour(&self, name: &str) -> Colour {
        self.0.get(name).copied().unwrap_or(MUTED)
    }

    /// All of them, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Colour)> {
        self.0.iter().map(|(name, colour)| (name.as_str(), *colour))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: [&str; 6] = ["allcnn", "convmixer", "fc", "vit", "wr-10-1-8", "wr-16-1-8"];

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
}
