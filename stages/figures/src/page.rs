//! A page: title, caption, what a figure draws below them; as SVG with its fonts inside, and as PNG.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use plotters::prelude::{IntoDrawingArea, SVGBackend};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, fontdb};
use tables::count;

use crate::indexed::encode;
use crate::ink::{BOLD, Ink, Letters, REGULAR, UNITS, units};
use crate::style;

/// Pixels of the PNG to a pixel of the SVG.
pub const DENSITY: f32 = 2.0;
/// Free pixels on all sides of a page.
pub const MARGIN: f64 = 24.0;
/// Pixels from the top of a page to what a figure draws.
pub const HEAD: f64 = 92.0;

/// A page of this size in pixels, with a title, a caption and what `draw` draws, as SVG.
///
/// # Errors
/// Those of `draw`.
pub fn page(
    (width, height): (f64, f64),
    title: &str,
    caption: &str,
    draw: impl FnOnce(&Ink) -> Result<()>,
) -> Result<String> {
    let (width, height) = (width.ceil(), height.ceil());
    let mut drawn = String::new();
    {
        let size = (units(width).unsigned_abs(), units(height).unsigned_abs());
        let area = SVGBackend::with_string(&mut drawn, size).into_drawing_area();
        area.fill(&style::PAPER)?;
        let ink = Ink::new(area.clone());
        ink.text(title, (MARGIN, 30.0), Letters::new(style::TITLE, style::INK).bold())?;
        let letters = Letters::new(style::CAPTION, style::MUTED);
        for (i, line) in wrapped(caption, width - 2.0 * MARGIN, letters)?.into_iter().enumerate() {
            ink.text(&line, (MARGIN, 53.0 + 17.0 * i as f64), letters)?;
        }
        draw(&ink)?;
        area.present()?;
    }
    // plotters' own first line knows neither the scale nor the fonts.
    let (_, elements) = drawn.split_once('\n').context("plotters drew nothing")?;
    Ok(format!("{}{elements}", opening(width, height, title)))
}

/// A caption in lines of so many pixels, broken after semicolons.
fn wrapped(caption: &str, width: f64, letters: Letters) -> Result<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    for piece in caption.split_inclusive("; ") {
        match lines.last_mut() {
            Some(line) if letters.width(&format!("{line}{}", piece.trim_end()))? <= width => {
                line.push_str(piece)
            }
            _ => lines.push(piece.to_owned()),
        }
    }
    Ok(lines.iter().map(|line| line.trim_end().to_owned()).collect())
}

/// A page that says why there is nothing to draw.
///
/// # Errors
/// When plotters cannot draw.
pub fn nothing(title: &str, why: &str) -> Result<String> {
    page((900.0, HEAD), title, why, |_| Ok(()))
}

/// The first tag of a page: in pixels outside, in backend units inside, with the fonts.
fn opening(width: f64, height: f64, title: &str) -> String {
    let face = |weight: &str, font: &[u8]| {
        let font = BASE64_STANDARD.encode(font);
        format!(
            "@font-face{{font-family:\"Open Sans\";font-weight:{weight};src:url(data:font/ttf;base64,{font})}}"
        )
    };
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {} {}\">\n\
         <title>{title}</title>\n<style>{}\n{}</style>\n",
        width * UNITS,
        height * UNITS,
        face("normal", REGULAR),
        face("bold", BOLD),
    )
}

/// A page as PNG: the same drawing, at twice the density, with 256 colours at most.
///
/// # Errors
/// When the SVG is not one that `page` made.
pub fn png(svg: &str) -> Result<Vec<u8>> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let fonts = FONTS.get_or_init(|| {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(REGULAR.to_vec());
        fonts.load_font_data(BOLD.to_vec());
        Arc::new(fonts)
    });
    let options = usvg::Options { fontdb: fonts.clone(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options).context("the SVG cannot be read")?;
    let size = tree.size().to_int_size().scale_by(DENSITY).context("a page without area")?;
    let mut pixels = Pixmap::new(size.width(), size.height()).context("a page too large for memory")?;
    resvg::render(&tree, Transform::from_scale(DENSITY, DENSITY), &mut pixels.as_mut());
    encode(&pixels).context("the PNG cannot be encoded")
}

/// A number and its noun, with the plural's s: `1 run`, `72 runs`.
pub fn several(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A number of parameters in short: `77 k`, `3.84 M`.
pub fn magnitude(number: f64) -> String {
    match number {
        n if n >= 1e8 => format!("{:.0} M", n / 1e6),
        n if n >= 1e7 => format!("{:.1} M", n / 1e6),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e4 => format!("{:.0} k", n / 1e3),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n => format!("{n}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(draw: impl FnOnce(&Ink) -> Result<()>) -> String {
        page((300.0, 120.0), "Title & <all>", "caption", draw).unwrap()
    }

    #[test]
    fn the_png_is_the_svg_at_twice_the_density() {
        let empty = plain(|_| Ok(()));
        let drawn = plain(|ink| ink.block((150.0, 80.0), (160.0, 90.0), style::TIME_LIKE));
        let bytes = png(&drawn).unwrap();
        let empty = Pixmap::decode_png(&png(&empty).unwrap()).unwrap();
        let drawn = Pixmap::decode_png(&bytes).unwrap();
        assert_eq!((drawn.width(), drawn.height()), (600, 240));
        let again = plain(|ink| ink.block((150.0, 80.0), (160.0, 90.0), style::TIME_LIKE));
        assert_eq!(png(&again).unwrap(), bytes);
        let red = |image: &Pixmap, x, y| {
            let pixel = image.pixel(x, y).unwrap();
            (pixel.red(), pixel.green(), pixel.blue()) == (0xC8, 0x10, 0x2E)
        };
        let paper = empty.pixel(0, 0).unwrap();
        assert_eq!([paper.red(), paper.green(), paper.blue(), paper.alpha()], [255; 4]);
        assert!(red(&drawn, 310, 170) && !red(&drawn, 310, 182) && !red(&empty, 310, 170));
        let dark = |image: &Pixmap| image.pixels().iter().filter(|pixel| pixel.red() < 100).count();
        assert!(dark(&empty) > 300, "the title has {} dark pixels", dark(&empty));
    }

    #[test]
    fn titles_are_escaped_and_fonts_inside() {
        let svg = plain(|_| Ok(()));
        assert!(svg.contains("<title>Title &amp; &lt;all></title>"));
        assert_eq!(svg.matches("@font-face").count(), 2);
    }

    #[test]
    fn long_captions_are_broken_after_semicolons() {
        let lines = |width| {
            wrapped("two runs; N = 5; a line is a run", width, Letters::new(13.0, style::INK)).unwrap()
        };
        assert_eq!(lines(500.0), ["two runs; N = 5; a line is a run"]);
        assert_eq!(lines(130.0), ["two runs; N = 5;", "a line is a run"]);
        assert_eq!(lines(1.0).len(), 3);
        assert!(wrapped("", 1.0, Letters::new(13.0, style::INK)).unwrap().is_empty());
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!((count(7), count(1872), count(151_407)), ("7".into(), "1,872".into(), "151,407".into()));
        assert_eq!((several(1, "run"), several(72, "run")), ("1 run".into(), "72 runs".into()));
        let shown = [950.0, 7_712.0, 77_123.0, 3_837_066.0, 43_890_122.0].map(magnitude);
        assert_eq!(shown, ["950", "7.7 k", "77 k", "3.84 M", "43.9 M"]);
    }
}
