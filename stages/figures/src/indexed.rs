//! PNG with a palette: a sixth of the size, and a report holds all figures.

use std::cmp::Reverse;
use std::collections::HashMap;

use anyhow::Result;
use resvg::tiny_skia::Pixmap;

type Colour = [u8; 3];

/// How many colours a palette has.
const COLOURS: usize = 256;

/// How many of them are taken as they are, the most frequent ones: what is drawn in one colour keeps it. The others are
/// mixtures, of edges and of what lies over each other, and come near enough.
const EXACT: usize = 128;

/// A page, which nothing shines through, as PNG.
///
/// # Errors
/// When it has no pixels.
pub fn encode(page: &Pixmap) -> Result<Vec<u8>> {
    let pixels: Vec<Colour> = page.pixels().iter().map(|it| [it.red(), it.green(), it.blue()]).collect();
    let colours = by_frequency(&pixels);
    let palette = palette(&colours)?;
    let places: HashMap<Colour, u8> = colours.into_iter().map(|it| (it, nearest(&palette, it))).collect();
    let image: Vec<u8> = pixels.iter().map(|pixel| places[pixel]).collect();

    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, page.width(), page.height());
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(palette.concat());
    encoder.set_compression(png::Compression::Best);
    // Places in a palette are no numbers whose differences are small.
    encoder.set_filter(png::FilterType::NoFilter);
    encoder.write_header()?.write_image_data(&image)?;
    Ok(bytes)
}

/// All colours of a picture, the most frequent first.
fn by_frequency(pixels: &[Colour]) -> Vec<Colour> {
    let mut counts: HashMap<Colour, usize> = HashMap::new();
    for pixel in pixels {
        *counts.entry(*pixel).or_default() += 1;
    }
    let mut colours: Vec<(Colour, usize)> = counts.into_iter().collect();
    colours.sort_unstable_by_key(|&(colour, count)| (Reverse(count), colour));
    colours.into_iter().map(|(colour, _)| colour).collect()
}

fn palette(colours: &[Colour]) -> Result<Vec<Colour>> {
    let (exact, mixed) =
        colours.split_at(colours.len().min(if colours.len() > COLOURS { EXACT } else { COLOURS }));
    let mut palette = exact.to_vec();
    if !mixed.is_empty() {
        // Each once, however frequent: what is rare would be given up for shades of what is not.
        let pixels: Vec<u8> = mixed.iter().flat_map(|&[red, green, blue]| [red, green, blue, 255]).collect();
        let mut options = quantizr::Options::default();
        options.set_max_colors((COLOURS - EXACT) as i32)?;
        let image = quantizr::Image::new(&pixels, mixed.len(), 1)?;
        let quantized = quantizr::QuantizeResult::quantize(&image, &options);
        let found = quantized.get_palette();
        palette.extend(found.entries[..found.count as usize].iter().map(|it| [it.r, it.g, it.b]));
    }
    Ok(palette)
}

/// The place of the colour that is nearest to this one.
fn nearest(palette: &[Colour], colour: Colour) -> u8 {
    let distance = |other: &Colour| -> u32 {
        other.iter().zip(colour).map(|(&a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
    };
    let place = (0..palette.len()).min_by_key(|&place| distance(&palette[place]));
    place.unwrap_or_default() as u8
}

#[cfg(test)]
mod tests {
    use resvg::tiny_skia::{Color, Paint, Rect, Transform};

    use super::*;

    fn fill(page: &mut Pixmap, x: f32, y: f32, side: f32, [red, green, blue]: Colour) {
        let mut paint = Paint::default();
        paint.set_color_rgba8(red, green, blue, 255);
        paint.anti_alias = false;
        page.fill_rect(Rect::from_xywh(x, y, side, side).unwrap(), &paint, Transform::identity(), None);
    }

    fn colour(page: &Pixmap, x: u32, y: u32) -> Colour {
        let pixel = page.pixel(x, y).unwrap();
        [pixel.red(), pixel.green(), pixel.blue()]
    }

    #[test]
    fn colours_of_architectures_stay_as_they_are_among_thousands_of_others() {
        let mut page = Pixmap::new(320, 400).unwrap();
        page.fill(Color::WHITE);
        // 6,400 mixtures of all hues, and below them a dot each of the architectures, some pixels large.
        let mixture = |x: u32, y: u32| [3 * x as u8, 3 * y as u8, (x * y % 251) as u8];
        for (x, y) in (0..80).flat_map(|x| (0..80).map(move |y| (x, y))) {
            fill(&mut page, 4.0 * x as f32, 4.0 * y as f32, 4.0, mixture(x, y));
        }
        let names = [
            "allcnn",
            "convmixer-48",
            "convmixer-64",
            "fc-128",
            "fc-256",
            "vit-32",
            "vit-64",
            "wr-10-1-8",
            "wr-16-1-8",
        ];
        let architectures = palette::Palette::of(names);
        let colours = names.map(|name| architectures.colour(name)).map(|it| [it.0, it.1, it.2]);
        for (i, &colour) in colours.iter().enumerate() {
            fill(&mut page, 30.0 * i as f32, 350.0, 6.0, colour);
        }
        let read = Pixmap::decode_png(&encode(&page).unwrap()).unwrap();
        for (i, &expected) in colours.iter().enumerate() {
            assert_eq!(colour(&read, 30 * i as u32 + 2, 352), expected, "{}", names[i]);
        }
        let far = |x: u32, y: u32| {
            let found = colour(&read, 4 * x + 1, 4 * y + 1);
            found.iter().zip(mixture(x, y)).map(|(a, b)| a.abs_diff(b)).max().unwrap()
        };
        let farthest = (0..80).flat_map(|x| (0..80).map(move |y| (x, y))).map(|(x, y)| far(x, y)).max();
        assert!(farthest.unwrap() < 48, "a mixture is off by {farthest:?}");
    }

    #[test]
    fn a_picture_of_few_colours_is_as_it_was() {
        let mut page = Pixmap::new(255, 4).unwrap();
        page.fill(Color::WHITE);
        for x in 0..255 {
            fill(&mut page, x as f32, 0.0, 1.0, [x as u8, 255 - x as u8, 7]);
        }
        let read = Pixmap::decode_png(&encode(&page).unwrap()).unwrap();
        assert!((0..255).all(|x| colour(&read, x, 0) == [x as u8, 255 - x as u8, 7]));
    }
}
