//! How far distances in an embedding are from true ones, over all pairs of models, a tile at a time.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use kit::Artifact;
use ndarray::Array2;
use rayon::prelude::*;
use runs::Run;
use tiles::{Member, Tile};

use crate::DIMENSIONS;

/// Coordinates of models, with the sign of each dimension.
pub(crate) struct Embedding {
    coordinates: Array2<f64>,
    signs: Vec<f64>,
}

/// Sums of |difference| over pairs, relative to the sum of distances; by how many dimensions are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Misfit {
    /// sum |D' - D| / sum D, D' the distances in the embedding by four points.
    pub(crate) own: f64,
    /// The same of the embedding of all models.
    pub(crate) full: f64,
    /// sum |D' - D''| / sum |D''|, D'' those in the embedding of all models.
    pub(crate) between: f64,
}

/// Sums over pairs.
#[derive(Clone, Copy, Default)]
struct Sums {
    pairs: usize,
    distance: f64,
    own: [f64; DIMENSIONS],
    full: [f64; DIMENSIONS],
    between: [f64; DIMENSIONS],
    full_distance: [f64; DIMENSIONS],
}

impl Embedding {
    /// Of coordinates [models, 3] and the eigenvalue of each dimension.
    pub(crate) fn new(coordinates: Array2<f64>, eigenvalues: Vec<f64>) -> Embedding {
        // The sign of 0 is that of a dimension in which all coordinates are 0.
        Embedding { coordinates, signs: eigenvalues.into_iter().map(f64::signum).collect() }
    }

    /// The squared length between two models in the first dimension, the first two, all three.
    fn squares(&self, i: usize, j: usize) -> [f64; DIMENSIONS] {
        let mut sum = 0.0;
        std::array::from_fn(|k| {
            sum += self.signs[k] * (self.coordinates[[i, k]] - self.coordinates[[j, k]]).powi(2);
            sum
        })
    }
}

/// The misfits of 1, 2 and 3 dimensions, with the models of `runs` in this order in both embeddings. Tiles are of all
/// pairs of models, each once (a tile of runs with themselves counts once).
///
/// # Errors
/// When a tile is broken or is of other runs, or tiles leave out pairs or have them twice.
pub(crate) fn misfits(
    tiles: &[Artifact],
    runs: &[Run],
    own: &Embedding,
    full: &Embedding,
) -> Result<[Misfit; DIMENSIONS]> {
    let mut starts = HashMap::new();
    let mut models = 0;
    for run in runs {
        starts.insert(&*run.name, (models, run.checkpoints()));
        models += run.checkpoints();
    }
    let parts: Vec<Sums> =
        tiles.par_iter().map(|tile| sums(tile, &starts, own, full)).collect::<Result<_>>()?;
    let sums = parts.into_iter().fold(Sums::default(), Sums::plus);
    let expected = models * models.saturating_sub(1) / 2;
    ensure!(sums.pairs == expected, "the tiles have {} pairs of models, the runs {expected}", sums.pairs);
    Ok(std::array::from_fn(|k| Misfit {
        own: sums.own[k] / sums.distance,
        full: sums.full[k] / sums.distance,
        between: sums.between[k] / sums.full_distance[k],
    }))
}

fn sums(
    tile: &Artifact,
    starts: &HashMap<&str, (usize, usize)>,
    own: &Embedding,
    full: &Embedding,
) -> Result<Sums> {
    let tile = Tile::new(tile)?;
    // The number of each model among those of all runs.
    let places = |members: &[Member]| -> Result<Vec<usize>> {
        let mut places = Vec::new();
        for Member { run, checkpoints } in members {
            let (start, count) = *starts
                .get(&**run)
                .with_context(|| format!("tile {tile} has run {run}, which there is not"))?;
            ensure!(
                count == *checkpoints,
                "run {run}: {checkpoints} checkpoints in tile {tile}, {count} in predictions"
            );
            places.extend(start..start + count);
        }
        Ok(places)
    };
    let (rows, cols) = (places(&tile.about.rows)?, places(&tile.about.cols)?);
    let open = tile.open()?;
    let mut values = vec![0.0; cols.len()];
    let mut sums = Sums::default();
    for (index, &i) in rows.iter().enumerate() {
        open.row(index, 0..cols.len(), &mut values)?;
        let first = if tile.is_symmetric() { index + 1 } else { 0 };
        for (&j, &distance) in cols.iter().zip(&values).skip(first) {
            let (a, b) = (own.squares(i, j), full.squares(i, j));
            sums.pairs += 1;
            sums.distance += distance;
            for k in 0..DIMENSIONS {
                sums.own[k] += (a[k] - distance).abs();
                sums.full[k] += (b[k] - distance).abs();
                sums.between[k] += (a[k] - b[k]).abs();
                sums.full_distance[k] += b[k].abs();
            }
        }
    }
    Ok(sums)
}

impl Sums {
    fn plus(self, other: Sums) -> Sums {
        let add = |a: [f64; DIMENSIONS], b: [f64; DIMENSIONS]| std::array::from_fn(|k| a[k] + b[k]);
        Sums {
            pairs: self.pairs + other.pairs,
            distance: self.distance + other.distance,
            own: add(self.own, other.own),
            full: add(self.full, other.full),
            between: add(self.between, other.between),
            full_distance: add(self.full_distance, other.full_distance),
        }
    }
}
