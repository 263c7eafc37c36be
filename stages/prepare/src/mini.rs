//! The 1,000 + 200 images of CIFAR-10 that are part of the repository: lossless WebP strips, 32 pixels wide, an image
//! below the other.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use image_webp::WebPDecoder;

use crate::dataset::{Dataset, IMAGE, SIDE, Split, push_planes};

/// Strips of each split, `train-0.webp`, `train-1.webp`, ..
const TRAIN_STRIPS: usize = 2;
const TEST_STRIPS: usize = 1;

/// Reads the folder of strips and labels.
///
/// # Errors
/// When a file is absent or is not what it should be; the message names it.
pub fn read(folder: &Path) -> Result<Dataset> {
    Ok(Dataset {
        name: "cifar10-mini",
        train: read_split(folder, "train", TRAIN_STRIPS)?,
        test: read_split(folder, "test", TEST_STRIPS)?,
    })
}

fn read_split(folder: &Path, name: &str, strips: usize) -> Result<Split> {
    let mut images = Vec::new();
    for strip in 0..strips {
        let path = folder.join(format!("{name}-{strip}.webp"));
        read_strip(&path, &mut images).with_context(|| path.display().to_string())?;
    }
    let path = folder.join(format!("{name}.labels"));
    let labels = std::fs::read(&path).with_context(|| path.display().to_string())?;
    Split::new(images, labels).with_context(|| path.display().to_string())
}

fn read_strip(path: &Path, images: &mut Vec<u8>) -> Result<()> {
    let mut decoder = WebPDecoder::new(BufReader::new(File::open(path)?))?;
    let (width, height) = decoder.dimensions();
    ensure!(
        width as usize == SIDE && (height as usize).is_multiple_of(SIDE) && !decoder.has_alpha(),
        "{width} x {height} pixels; a strip is RGB, {SIDE} wide, and a multiple of {SIDE} high"
    );
    let mut pixels = vec![0; (width * height * 3) as usize];
    decoder.read_image(&mut pixels)?;
    for image in pixels.chunks_exact(IMAGE) {
        push_planes(image, images);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn mini() -> Dataset {
        read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data/cifar10-mini"))).unwrap()
    }

    fn sha256(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // The hashes are those of the first 100 and 20 images of each class in the canonical files.
    #[test]
    fn the_strips_decode_to_the_very_pixels_of_cifar10() {
        let Dataset { train, test, .. } = mini();
        assert_eq!(
            sha256(train.images()),
            "a867f997256a35f67b9321981f6243a2ea9e49a346a0290b31f26dd3c9435b28"
        );
        assert_eq!(sha256(test.images()), "d9b4e5c7ec7a3a2bd26f098c1a17ad303ab478b5eaf2f7b3f0f6ce3925fdb1f5");
    }

    #[test]
    fn every_class_has_100_train_and_20_test_images() {
        let Dataset { train, test, .. } = mini();
        for class in 0..10 {
            assert_eq!(train.labels().iter().filter(|&&label| label == class).count(), 100);
            assert_eq!(test.labels().iter().filter(|&&label| label == class).count(), 20);
        }
    }

    #[test]
    fn an_absent_strip_is_told_by_its_path() {
        let message = format!("{:#}", read(Path::new("nowhere")).unwrap_err());
        assert!(message.starts_with("nowhere/train-0.webp: No such file"), "{message}");
    }
}
