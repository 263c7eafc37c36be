//! Tiles of the matrix of distances, as stages write them and read them: distances between the models of some runs and
//! those of others, the tensor `distances` of a file whose metadata is an [`About`].

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use kit::{Artifact, Tensors, TensorsError};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// A run on a side of a tile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub run: String,
    /// Its models: so many rows or columns.
    pub checkpoints: usize,
}

/// What a tile says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About<M = String> {
    /// The runs of its rows, one after the other.
    pub rows: Vec<Member>,
    /// The runs of its columns.
    pub cols: Vec<Member>,
    /// How many samples the distances are means over.
    pub samples: usize,
    /// By which measure; whatever is written as a text.
    pub measure: M,
}

/// A tile, closed: there may be more of them than a process may have files open.
#[derive(Debug)]
pub struct Tile {
    /// The labels of the job that made it, or its path: for messages.
    name: String,
    path: PathBuf,
    /// Where its distances begin, in bytes.
    start: u64,
    element: Element,
    /// The number of columns.
    width: usize,
    /// What it says of itself.
    pub about: About,
}

/// What distances are written as.
#[derive(Debug, Clone, Copy)]
enum Element {
    /// Between models.
    F32,
    /// Between trajectories.
    F64,
}

/// A tile, opened.
#[derive(Debug)]
pub struct OpenTile<'a> {
    tile: &'a Tile,
    file: File,
}

impl Tile {
    /// Reads what the tile says of itself, and checks that its distances are as many as it says.
    ///
    /// # Errors
    /// When it cannot be read, or they are not.
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
    ///
    /// # Errors
    /// When that fails; here and below the tile is named.
    pub fn open(&self) -> io::Result<OpenTile<'_>> {
        let wrong = |error: io::Error| io::Error::new(error.kind(), format!("tile {self}: {error}"));
        Ok(OpenTile { tile: self, file: File::open(&self.path).map_err(wrong)? })
    }

    /// All distances \[rows, columns\].
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn distances(&self) -> io::Result<Array2<f64>> {
        self.open()?.block(0..models(&self.about.rows), 0..self.width)
    }

    /// Whether rows and columns are the same runs.
    pub fn is_symmetric(&self) -> bool {
        self.about.rows == self.about.cols
    }
}

impl OpenTile<'_> {
    /// Reads some columns of a row to where there is room for so many.
    ///
    /// # Errors
    /// When they cannot be read.
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

    /// Reads a rectangle \[rows, columns\].
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn block(&self, rows: Range<usize>, cols: Range<usize>) -> io::Result<Array2<f64>> {
        let mut block = Array2::zeros((rows.len(), cols.len()));
        for (row, mut out) in rows.zip(block.rows_mut()) {
            self.row(row, cols.clone(), out.as_slice_mut().expect("a new array has its rows in one piece"))?;
        }
        Ok(block)
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

/// How many models a side has.
pub fn models(side: &[Member]) -> usize {
    side.iter().map(|member| member.checkpoints).sum()
}

/// Of each run of a side, its name and its rows or columns.
pub fn places(side: &[Member]) -> impl Iterator<Item = (&str, Range<usize>)> {
    side.iter().scan(0, |end, member| {
        let start = std::mem::replace(end, *end + member.checkpoints);
        Some((member.run.as_str(), start..*end))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kit::TensorsWriter;
    use serde_json::{Value, json};

    use super::*;

    fn artifact(path: &Path) -> Artifact {
        serde_json::from_value(json!({"path": path, "hash": "h"})).unwrap()
    }

    fn about(checkpoints: usize) -> Value {
        let rows = json!([{"run": "a", "checkpoints": 1}, {"run": "b", "checkpoints": checkpoints}]);
        json!({"rows": rows, "cols": [{"run": "c", "checkpoints": 3}], "samples": 9, "measure": "kl"})
    }

    #[test]
    fn a_tile_is_read_a_piece_at_a_time_whatever_it_is_written_as() {
        let folder = tempfile::tempdir().unwrap();
        let (single, double) = (folder.path().join("f32"), folder.path().join("f64"));
        let values = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0];
        let singles = values.map(|value| value as f32);
        TensorsWriter::new().f32s("distances", &[2, 3], &singles).write(&single, &about(1)).unwrap();
        TensorsWriter::new().f64s("distances", &[2, 3], &values).write(&double, &about(1)).unwrap();
        for path in [single, double] {
            let tile = Tile::new(&artifact(&path)).unwrap();
            assert_eq!(tile.distances().unwrap().into_raw_vec_and_offset().0, values);
            assert_eq!(tile.open().unwrap().block(1..2, 1..3).unwrap(), ndarray::array![[2.5, 3.0]]);
            assert_eq!(serde_json::to_value(&tile.about).unwrap(), about(1));
            assert!(!tile.is_symmetric());
        }
    }

    #[test]
    fn a_tile_with_other_distances_than_it_says_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tile");
        TensorsWriter::new().f32s("distances", &[2, 3], &[0.0; 6]).write(&path, &about(2)).unwrap();
        let message = Tile::new(&artifact(&path)).unwrap_err().to_string();
        assert!(message.ends_with("`distances` is [2, 3], its metadata says [3, 3]"), "{message}");
    }

    #[test]
    fn runs_lie_one_after_the_other() {
        let About { rows, .. } = serde_json::from_value::<About>(about(2)).unwrap();
        assert_eq!(places(&rows).collect::<Vec<_>>(), [("a", 0..1), ("b", 1..3)]);
        assert_eq!(models(&rows), 3);
    }
}
