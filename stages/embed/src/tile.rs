//! A tile: distances between the models of some runs and those of others, in a file that is read where it is needed.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use kit::{Artifact, Tensors, TensorsError};
use serde::Deserialize;

/// A run of a side of a tile.
#[derive(Deserialize)]
pub struct Member {
    pub run: String,
    /// How many models of it there are, one row or column each.
    pub checkpoints: usize,
}

/// What a tile says of itself.
#[derive(Deserialize)]
pub struct About {
    pub rows: Vec<Member>,
    pub cols: Vec<Member>,
    /// How many samples the distances are means over.
    pub samples: i64,
    pub measure: String,
}

/// A tile, closed: there may be more of them than a process may have files open.
pub struct Tile {
    /// The labels of the job that made it, or its path: for messages.
    name: String,
    path: PathBuf,
    /// Where its distances begin, in bytes.
    start: u64,
    element: Element,
    /// The number of columns.
    width: usize,
    pub about: About,
}

/// What distances are written as.
#[derive(Clone, Copy)]
enum Element {
    /// Between models.
    F32,
    /// Between trajectories.
    F64,
}

/// A tile, opened.
pub struct OpenTile<'a> {
    tile: &'a Tile,
    file: File,
}

impl Tile {
    /// Reads what the tile says of itself, and checks that its distances are as many as it says.
    pub fn new(artifact: &Artifact) -> Result<Tile> {
        let labels: Vec<String> =
            artifact.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        let name = match labels.is_empty() {
            true => artifact.path.display().to_string(),
            false => format!("[{}]", labels.join(",")),
        };
        let file = Tensors::open(&artifact.path)?;
        let about: About = file.metadata()?;
        let (shape, element) = match file.f32s("distances") {
            Err(TensorsError::Dtype { .. }) => {
                (file.f64s("distances").with_context(|| format!("tile {name}"))?.shape, Element::F64)
            }
            tensor => (tensor.with_context(|| format!("tile {name}"))?.shape, Element::F32),
        };
        let expected = [models(&about.rows), models(&about.cols)];
        ensure!(shape == expected, "tile {name}: `distances` is {shape:?}, its metadata says {expected:?}");
        let tensors = file.names();
        ensure!(
            tensors.len() == 1,
            "tile {name}: a tile has one tensor, this one has {}",
            tensors.join(", ")
        );
        // The only tensor of a file is all that comes after the header.
        let size = element.size() * (expected[0] * expected[1]) as u64;
        let start = artifact.path.metadata()?.len() - size;
        Ok(Tile { name, path: artifact.path.clone(), start, element, width: expected[1], about })
    }

    /// Opens it for reading.
    pub fn open(&self) -> io::Result<OpenTile<'_>> {
        let wrong = |error: io::Error| io::Error::new(error.kind(), format!("tile {self}: {error}"));
        Ok(OpenTile { tile: self, file: File::open(&self.path).map_err(wrong)? })
    }
}

impl OpenTile<'_> {
    /// Reads some columns of a row.
    pub fn row(&self, row: usize, cols: Range<usize>, out: &mut [f64]) -> io::Result<()> {
        let Tile { start, element, width, .. } = *self.tile;
        let wrong = |error: io::Error| io::Error::new(error.kind(), format!("tile {}: {error}", self.tile));
        let mut bytes = vec![0; cols.len() * element.size() as usize];
        let place = start + element.size() * (row * width + cols.start) as u64;
        self.file.read_exact_at(&mut bytes, place).map_err(wrong)?;
        match element {
            Element::F32 => {
                let values = bytes.as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes)));
                out.iter_mut().zip(values).for_each(|(out, value)| *out = value);
            }
            Element::F64 => {
                let values = bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
                out.iter_mut().zip(values).for_each(|(out, value)| *out = value);
            }
        }
        Ok(())
    }
}

impl Element {
    fn size(self) -> u64 {
        match self {
            Element::F32 => 4,
            Element::F64 => 8,
        }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The models of a side.
fn models(side: &[Member]) -> usize {
    side.iter().map(|member| member.checkpoints).sum()
}
