//! Tiles of the matrix of distances, as the stages that compute them write them.

use std::ops::Range;

use anyhow::{Context, Result};
use kit::{Artifact, Tensors};
use ndarray::ArrayView2;
use serde::Deserialize;

/// A run on a side of a tile.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// Its name.
    pub run: String,
    /// Its models: so many rows or columns.
    pub checkpoints: usize,
}

impl Member {
    /// Of each run of a side, its name and its rows or columns.
    pub fn places(side: &[Member]) -> impl Iterator<Item = (&str, Range<usize>)> {
        side.iter().scan(0, |end, member| {
            let start = std::mem::replace(end, *end + member.checkpoints);
            Some((member.run.as_str(), start..*end))
        })
    }
}

/// Distances between the models of some runs and those of others, mapped.
#[derive(Debug)]
pub struct Tile {
    file: Tensors,
    sides: Sides,
}

#[derive(Debug, Deserialize)]
struct Sides {
    rows: Vec<Member>,
    cols: Vec<Member>,
}

impl Tile {
    /// Maps a tile.
    ///
    /// # Errors
    /// When it cannot be read, or its distances are not as many as its runs have.
    pub fn open(tile: &Artifact) -> Result<Tile> {
        let file = Tensors::open(&tile.path)?;
        let sides = file.metadata()?;
        let tile = Tile { file, sides };
        tile.view()?;
        Ok(tile)
    }

    /// The runs of its rows, one after the other.
    pub fn rows(&self) -> &[Member] {
        &self.sides.rows
    }

    /// The runs of its columns.
    pub fn cols(&self) -> &[Member] {
        &self.sides.cols
    }

    /// The distances \[rows, columns\].
    pub fn distances(&self) -> ArrayView2<'_, f32> {
        self.view().expect("it was looked at when the tile was opened")
    }

    fn view(&self) -> Result<ArrayView2<'_, f32>> {
        let tensor = self.file.f32s("distances")?;
        let [rows, cols] = [self.rows(), self.cols()]
            .map(|side| side.iter().map(|member| member.checkpoints).sum::<usize>());
        let view = ArrayView2::from_shape((rows, cols), tensor.values).ok();
        view.filter(|_| tensor.shape == [rows, cols]).with_context(|| {
            format!("`distances` of a tile is {:?}, its metadata says {rows} x {cols}", tensor.shape)
        })
    }
}
