//! Matrices of Bhattacharyya distances: models packed side by side, samples in chunks that stay in cache.

use std::ops::Range;

use ndarray::{Array2, s};
use rayon::prelude::*;

use crate::distance::{Model, mirror};
use crate::kernel::{self, Absorb, Kernel, Lanes, MOST_SAMPLES, ROWS, SCALE, Tile};

/// Bytes of a chunk of a tile of columns: it stays in the first-level cache while a block of rows passes over it.
const CHUNK: usize = 32 << 10;

/// Tiles of rows in a block.
const BLOCK: usize = 8;

/// Distances between `rows` and `cols`, whose shapes agree.
pub(crate) fn between(rows: &[Model], cols: &[Model]) -> Array2<f64> {
    matrix(Kernel::best(), rows, cols, |_| 0)
}

/// Distances among `models`, whose shapes agree.
pub(crate) fn within(models: &[Model]) -> Array2<f64> {
    // Columns from the diagonal on.
    let mut distances = matrix(Kernel::best(), models, models, |row| row);
    distances.diag_mut().fill(0.0);
    mirror(&mut distances);
    distances
}

fn matrix(
    kernel: Kernel,
    rows: &[Model],
    cols: &[Model],
    first: impl Fn(usize) -> usize + Sync,
) -> Array2<f64> {
    let mut distances = Array2::zeros((rows.len(), cols.len()));
    match kernel {
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512 => fill(kernel::avx512, &mut distances, rows, cols, first),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => fill(kernel::avx2, &mut distances, rows, cols, first),
        Kernel::Portable => fill(kernel::portable, &mut distances, rows, cols, first),
    }
    distances
}

/// Computes columns from `first(row)` on, and some before. A pair's sum runs over samples in order, in one thread at a
/// time: how tiles are shared out among threads does not show in the result.
fn fill<const COLS: usize>(
    absorb: Absorb<COLS>,
    distances: &mut Array2<f64>,
    rows: &[Model],
    cols: &[Model],
    first: impl Fn(usize) -> usize + Sync,
) {
    let Some(model) = rows.first() else { return };
    let (samples, classes) = model.dim();
    let width = cols.len().div_ceil(COLS);
    let first_tile = |block: usize| (first(block * BLOCK * ROWS) / COLS).min(width);
    // Of each block: its tiles of columns, and of each of these its tiles of rows.
    let heights = (0..rows.len().div_ceil(ROWS)).step_by(BLOCK);
    let heights = heights.map(|tile| BLOCK.min(rows.len().div_ceil(ROWS) - tile));
    let mut blocks: Vec<Vec<Vec<Tile<COLS>>>> = heights
        .enumerate()
        .map(|(block, height)| vec![vec![Tile::new(); height]; width - first_tile(block)])
        .collect();
    let chunk = (CHUNK / (classes * COLS * size_of::<f32>())).clamp(1, MOST_SAMPLES);
    for start in (0..samples).step_by(chunk) {
        let range = start..samples.min(start + chunk);
        let (rows, cols) = (pack(rows, &range, [0.0; ROWS]), pack(cols, &range, Lanes([0.0; COLS])));
        blocks.par_iter_mut().zip(rows.par_chunks(BLOCK)).enumerate().for_each(|(block, (tiles, rows))| {
            for (tiles, col) in tiles.iter_mut().zip(&cols[first_tile(block)..]) {
                for (tile, row) in tiles.iter_mut().zip(rows) {
                    absorb(tile, row, col, classes);
                }
            }
        });
    }
    let (row_loss, col_loss) = (rounding_losses(rows), rounding_losses(cols));
    let lines = distances.as_slice_mut().expect("a new array is contiguous");
    let lines = lines.par_chunks_mut(BLOCK * ROWS * cols.len().max(1));
    lines.zip(&blocks).enumerate().for_each(|(block, (lines, tiles))| {
        let row_loss = &row_loss[block * BLOCK * ROWS..];
        for (i, line) in lines.chunks_exact_mut(cols.len()).enumerate() {
            for (j, distance) in line.iter_mut().enumerate().skip(first_tile(block) * COLS) {
                let found = tiles[j / COLS - first_tile(block)][i / ROWS].distance(i % ROWS, j % COLS);
                *distance = (found - row_loss[i] - col_loss[j]).max(0.0);
            }
        }
    });
}

/// Of each model, how much its distance from a model like it is too large because square roots are rounded to f32: the
/// mean over samples of `1/2 sum_c (p_c - r_c^2)`.
///
/// Roots of probabilities just below 1 are rounded down more often than up (those of `1 - k 2^-24` with odd k always),
/// which makes the distances of certain models too large by 3e-8; that is not little where they are 1e-5. Between unlike
/// models this correction is only as wrong as it is large, at most 2^-24.
fn rounding_losses(models: &[Model]) -> Vec<f64> {
    let loss = |p: &f32| f64::from(*p) - f64::from(p.sqrt()).powi(2);
    let mean = |model: &Model| {
        let values = model.as_standard_layout();
        let values = values.as_slice().expect("it has the standard layout");
        // Short sums, so that one does not wait for the other.
        0.5 * values.chunks(16).map(|some| some.iter().map(loss).sum::<f64>()).sum::<f64>()
            / model.nrows() as f64
    };
    models.par_iter().map(mean).collect()
}

/// Scaled square roots of some samples, models side by side, as many as `empty` has lanes; the last tile is filled up
/// with zeros.
fn pack<L>(models: &[Model], range: &Range<usize>, mut empty: L) -> Vec<Vec<L>>
where
    L: Copy + Send + Sync + AsMut<[f32]>,
{
    let lanes = empty.as_mut().len();
    let tile = |models: &[Model]| {
        let mut packed = vec![empty; range.len() * models[0].ncols()];
        let mut roots = Vec::with_capacity(packed.len());
        for (lane, model) in models.iter().enumerate() {
            let values = model.slice(s![range.clone(), ..]);
            let root = |value: &f32| value.sqrt() * SCALE;
            roots.clear();
            // Roots first, many at a time: the places they go to are far apart.
            match values.as_slice() {
                Some(values) => roots.extend(values.iter().map(root)),
                None => roots.extend(values.iter().map(root)),
            }
            for (packed, root) in packed.iter_mut().zip(&roots) {
                packed.as_mut()[lane] = *root;
            }
        }
        packed
    };
    models.par_chunks(lanes).map(tile).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::golden::assert_close;
    use crate::reference;

    /// Deterministic models of all kinds of sharpness: softmax of sines.
    fn models(count: usize, samples: usize, classes: usize) -> Array3<f32> {
        let logit = |(m, n, c)| ((1 + m * 31 + n * 17 + c * 7) as f64).sin() * (m + 1) as f64;
        let mut models = Array3::from_shape_fn((count, samples, classes), logit).mapv(f64::exp);
        for mut sample in models.rows_mut() {
            let sum = sample.sum();
            sample /= sum;
        }
        models.mapv(|p| p as f32)
    }

    #[test]
    fn agrees_with_the_definition_whatever_the_shape() {
        // Edges of tiles, of groups and of chunks; many classes; one of everything.
        for (m, n, samples, classes) in [
            (1, 1, 1, 1),
            (4, 8, 8, 10),
            (5, 9, 65, 10),
            (13, 3, 200, 3),
            (9, 17, 30, 1000),
            (70, 40, 41, 10),
        ] {
            let all = models(m + n, samples, classes);
            let views: Vec<Model> = all.outer_iter().collect();
            for kernel in Kernel::all() {
                let found = matrix(kernel, &views[..m], &views[m..], |_| 0);
                assert_eq!(found.dim(), (m, n));
                for ((i, j), &distance) in found.indexed_iter() {
                    let expected = reference::bhattacharyya(views[i], views[m + j]);
                    assert_close(distance, expected, 2e-7, 1e-6);
                }
            }
        }
    }

    #[test]
    fn certain_models_that_nearly_agree_are_within_one_percent() {
        // Two models that give all but about 1e-5 to the same class: in f32, 1 minus the overlap is a few hundred
        // roundings.
        let all = Array3::from_shape_fn((40, 200, 10), |(m, n, c)| {
            let rest = 1e-6 + 4e-6 * ((m * 7 + n * 3 + c * 5) as f64).sin().powi(2);
            if c == n % 10 { (1.0 - 9.0 * rest) as f32 } else { rest as f32 }
        });
        let views: Vec<Model> = all.outer_iter().collect();
        for kernel in Kernel::all() {
            let found = matrix(kernel, &views, &views, |_| 0);
            for ((i, j), &distance) in found.indexed_iter().filter(|((i, j), _)| i != j) {
                let expected = reference::bhattacharyya(views[i], views[j]);
                assert!((1e-6..1e-4).contains(&expected), "{expected}");
                assert_close(distance, expected, 0.0, 0.01);
            }
        }
    }

    #[test]
    fn reads_models_that_do_not_lie_row_by_row() {
        let all = models(6, 70, 10);
        let turned = all.clone().permuted_axes([0, 2, 1]).as_standard_layout().into_owned();
        let turned = turned.permuted_axes([0, 2, 1]);
        let straight = within(&all.outer_iter().collect::<Vec<_>>());
        assert_eq!(within(&turned.outer_iter().collect::<Vec<_>>()), straight);
    }
}
