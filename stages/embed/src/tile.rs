//! A tile: distances between the models of some runs and those of others.

use std::fmt;

use anyhow::{Context, Result, ensure};
use kit::{Artifact, Tensor, Tensors, TensorsError};
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

/// An opened tile.
pub struct Tile {
    /// The labels of the job that made it, or its path: for messages.
    name: String,
    file: Tensors,
    pub about: About,
}

/// Distances [m, n], of f32 between models and of f64 between trajectories.
pub enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl Tile {
    /// Maps a tile's file.
    pub fn open(artifact: &Artifact) -> Result<Tile> {
        let file = Tensors::open(&artifact.path)?;
        let about = file.metadata()?;
        let labels: Vec<String> =
            artifact.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        let name = match labels.is_empty() {
            true => artifact.path.display().to_string(),
            false => format!("[{}]", labels.join(",")),
        };
        Ok(Tile { name, file, about })
    }

    /// Its distances, row-major, as many as its metadata says.
    pub fn values(&self) -> Result<Values<'_>> {
        let expected = [models(&self.about.rows), models(&self.about.cols)];
        let check = |shape: &[usize]| {
            ensure!(
                shape == expected,
                "tile {self}: `distances` is {shape:?}, its metadata says {expected:?}"
            );
            Ok(())
        };
        match self.file.f32s("distances") {
            Err(TensorsError::Dtype { .. }) => {
                let Tensor { shape, values } =
                    self.file.f64s("distances").with_context(|| format!("tile {self}"))?;
                check(&shape)?;
                Ok(Values::F64(values))
            }
            tensor => {
                let Tensor { shape, values } = tensor.with_context(|| format!("tile {self}"))?;
                check(&shape)?;
                Ok(Values::F32(values))
            }
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
