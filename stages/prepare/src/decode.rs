//! From the bytes of a JPEG or PNG file to an image of a given size.

use anyhow::{Context, Result, bail, ensure};
use image::imageops::{self, FilterType};
use image::{ImageFormat, RgbImage};
use serde::Deserialize;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// How large images become.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// The shorter side is resized to so many pixels, with a linear filter that spans all pixels it shrinks.
    pub resize: u32,
    /// Then the square in the centre is taken, so many pixels wide.
    pub crop: u32,
}

impl Size {
    /// Whether there is such a square.
    ///
    /// # Errors
    /// When it is empty or larger than the resized image.
    pub fn check(self) -> Result<()> {
        let Size { resize, crop } = self;
        ensure!(0 < crop && crop <= resize, "a crop of {crop} pixels from a shorter side of {resize}");
        Ok(())
    }

    /// Pixels as three planes, red, green, blue, each row by row; grey images have equal ones, transparency is left out.
    ///
    /// # Errors
    /// When the bytes are not a whole image of the two formats.
    pub fn decode(self, bytes: &[u8]) -> Result<Vec<u8>> {
        let image = pixels(bytes)?;
        let (width, height) = image.dimensions();
        let shorter = width.min(height);
        let resized = |side: u32| {
            (u64::from(side) * u64::from(self.resize) / u64::from(shorter))
                .try_into()
                .context("too long a side")
        };
        let image = if shorter == self.resize {
            image
        } else {
            imageops::resize(&image, resized(width)?, resized(height)?, FilterType::Triangle)
        };
        let (width, height) = image.dimensions();
        // As torchvision has it: a half goes to the even pixel.
        let corner = |side: u32| (f64::from(side - self.crop) / 2.0).round_ties_even() as u32;
        let square =
            imageops::crop_imm(&image, corner(width), corner(height), self.crop, self.crop).to_image();
        let mut planes = Vec::with_capacity(square.len());
        crate::dataset::push_planes(&square, &mut planes);
        Ok(planes)
    }
}

/// An image, whatever its file is called: its first bytes say what it is.
fn pixels(bytes: &[u8]) -> Result<RgbImage> {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg(bytes).context("JPEG"),
        Ok(ImageFormat::Png) => {
            let image = image::load_from_memory_with_format(bytes, ImageFormat::Png).context("PNG")?;
            Ok(image.into_rgb8())
        }
        _ => bail!("neither JPEG nor PNG"),
    }
}

/// Not through `image`, which makes what is lacking of a damaged file grey.
fn jpeg(bytes: &[u8]) -> Result<RgbImage> {
    let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let pixels = decoder.decode()?;
    let (width, height) = decoder.dimensions().context("no size")?;
    RgbImage::from_raw(u32::try_from(width)?, u32::try_from(height)?, pixels).context("not three colours")
}

#[cfg(test)]
pub mod tests {
    use jpeg_encoder::{ColorType, Encoder};

    use super::*;

    /// An image whose left half has one colour and whose right half another.
    pub fn halves(width: u16, height: u16, left: [u8; 3], right: [u8; 3]) -> RgbImage {
        let pixel = |x, _| image::Rgb(if x < u32::from(width) / 2 { left } else { right });
        RgbImage::from_fn(width.into(), height.into(), pixel)
    }

    pub fn png(image: &RgbImage) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn encoded(pixels: &[u8], width: u16, height: u16, colours: ColorType) -> Vec<u8> {
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes, 95).encode(pixels, width, height, colours).unwrap();
        bytes
    }

    pub fn jpeg_of(image: &RgbImage) -> Vec<u8> {
        encoded(image, image.width() as u16, image.height() as u16, ColorType::Rgb)
    }

    const SIZE: Size = Size { resize: 8, crop: 8 };

    /// Largest difference of the pixels of a decoded 8x8 image, left and right half, from these colours.
    fn difference(planes: &[u8], left: [u8; 3], right: [u8; 3]) -> u8 {
        let expected = |place: usize| if place % 8 < 4 { left[place / 64] } else { right[place / 64] };
        planes.iter().enumerate().map(|(place, &value)| value.abs_diff(expected(place))).max().unwrap()
    }

    const RED: [u8; 3] = [200, 40, 40];
    const BLUE: [u8; 3] = [30, 60, 180];

    #[test]
    fn a_png_keeps_its_pixels_and_a_jpeg_nearly() {
        let image = halves(8, 8, RED, BLUE);
        let planes = SIZE.decode(&png(&image)).unwrap();
        assert_eq!((planes.len(), difference(&planes, RED, BLUE)), (3 * 64, 0));
        let image = halves(16, 16, RED, BLUE);
        let size = Size { resize: 16, crop: 8 };
        assert!(difference(&size.decode(&jpeg_of(&image)).unwrap(), RED, BLUE) < 12);
    }

    #[test]
    fn the_shorter_side_is_resized_and_the_centre_taken() {
        // 48 x 16 becomes 24 x 8, and its middle third keeps the edge between the halves, a little softer.
        let planes = SIZE.decode(&png(&halves(48, 16, RED, BLUE))).unwrap();
        assert!(difference(&planes, RED, BLUE) < 30, "{planes:?}");
        let size = Size { resize: 8, crop: 6 };
        assert_eq!(size.decode(&png(&halves(9, 31, RED, RED))).unwrap().len(), 3 * 36);
        assert!(Size { resize: 8, crop: 9 }.check().unwrap_err().to_string().starts_with("a crop of 9"));
    }

    #[test]
    fn of_an_odd_rest_the_even_pixel_is_the_corner() {
        // Each column has its number.
        let columns = |width: u32| RgbImage::from_fn(width, 8, |x, _| image::Rgb([x as u8; 3]));
        let first = [(9, 0), (10, 1), (11, 2), (13, 2), (15, 4)];
        for (width, corner) in first {
            assert_eq!(SIZE.decode(&png(&columns(width))).unwrap()[0], corner, "{width}");
        }
    }

    #[test]
    fn what_is_shrunk_is_averaged() {
        let stripes = RgbImage::from_fn(64, 64, |x, _| image::Rgb([if x % 2 == 0 { 0 } else { 200 }; 3]));
        let planes = SIZE.decode(&png(&stripes)).unwrap();
        assert!(planes.iter().all(|value| (90..110).contains(value)), "{planes:?}");
    }

    #[test]
    fn grey_and_four_colour_images_become_red_green_and_blue() {
        let planes = SIZE.decode(&encoded(&[90; 64], 8, 8, ColorType::Luma)).unwrap();
        assert!(difference(&planes, [90; 3], [90; 3]) < 3);
        // No cyan and no black, all magenta and yellow.
        let cmyk: Vec<u8> = [0, 255, 255, 0].repeat(64);
        let planes = SIZE.decode(&encoded(&cmyk, 8, 8, ColorType::Cmyk)).unwrap();
        assert!(difference(&planes, [255, 0, 0], [255, 0, 0]) < 8, "{planes:?}");
    }

    #[test]
    fn damaged_files_are_refused() {
        let noise = RgbImage::from_fn(64, 64, |x, y| {
            image::Rgb([(x * 37 % 256) as u8, (y * 91 % 256) as u8, (x * y % 256) as u8])
        });
        let failure = |bytes: &[u8]| format!("{:#}", SIZE.decode(bytes).unwrap_err());
        for (whole, kind) in [(jpeg_of(&noise), "JPEG: "), (png(&noise), "PNG: ")] {
            assert!(SIZE.decode(&whole).is_ok());
            for share in [4, 2, 3] {
                let message = failure(&whole[..whole.len() * (share - 1) / share]);
                assert!(message.starts_with(kind), "{message}");
            }
        }
        assert_eq!(failure(b"GIF89a, say"), "neither JPEG nor PNG");
        assert_eq!(failure(b""), "neither JPEG nor PNG");
    }
}
