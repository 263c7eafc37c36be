//! Matrices of Bhattacharyya distances: models packed side by side, samples in chunks that stay in cache.

use std::ops::Range;

use ndarray::{Array2, s};
use rayon::prelude::*;

use crate::distance::{Model, mirror};
use crate::kernel::{COLS, GROUP, ROWS, SCALE, Tile};

/// Probabilities per model that are packed at a time: a tile of columns then takes 20 KB, and stays in the first-level
/// cache while the rows pass over it.
const CHUNK_VALUES: usize = 640;

/// Distances between `rows` and `cols`, whose shapes agree.
pub(crate) fn between(rows: &[Model], cols: &[Model]) -> Array2<f64> {
    let mut distances = Array2::zeros((rows.len(), cols.len()));
    fill(&mut distances, rows, cols, |_| 0);
    distances
}

/// Distances among `models`, whose shapes agree.
pub(crate) fn within(models: &[Model]) -> Array2<f64> {
    let mut distances = Array2::zeros((models.len(), models.len()));
    // The first tile of columns that reaches right of the diagonal.
    fill(&mut distances, models, models, |row_tile| row_tile * ROWS / COLS);
    distances.diag_mut().fill(0.0);
    mirror(&mut distances);
    distances
}

/// Computes tiles of columns from `first(row tile)` on. A pair's sum runs over samples in order, in one thread at a
/// time: how tiles are shared out among threads does not show in the result.
fn fill(distances: &mut Array2<f64>, rows: &[Model], cols: &[Model], first: impl Fn(usize) -> usize + Sync) {
    let Some(model) = rows.first() else { return };
    let (samples, classes) = model.dim();
    let width = cols.len().div_ceil(COLS);
    let mut lines: Vec<Vec<Tile>> =
        (0..rows.len().div_ceil(ROWS)).map(|line| vec![Tile::new(); width - first(line)]).collect();
    let chunk = CHUNK_VALUES.div_ceil(classes).next_multiple_of(GROUP);
    for start in (0..samples).step_by(chunk) {
        let range = start..samples.min(start + chunk);
        let (rows, cols) = (pack::<ROWS>(rows, &range), pack::<COLS>(cols, &range));
        lines.par_iter_mut().zip(&rows).enumerate().for_each(|(line, (tiles, row))| {
            for (tile, col) in tiles.iter_mut().zip(&cols[first(line)..]) {
                tile.absorb(row, col, classes);
            }
        });
    }
    for ((i, j), distance) in distances.indexed_iter_mut() {
        let line = i / ROWS;
        if let Some(tile) = (j / COLS).checked_sub(first(line)) {
            *distance = lines[line][tile].distance(i % ROWS, j % COLS, samples);
        }
    }
}

/// Scaled square roots of some samples, `LANES` models side by side; the last tile is filled up with zeros.
fn pack<const LANES: usize>(models: &[Model], range: &Range<usize>) -> Vec<Vec<[f32; LANES]>> {
    let tile = |models: &[Model]| {
        let mut packed = vec![[0.0; LANES]; range.len() * models[0].ncols()];
        for (lane, model) in models.iter().enumerate() {
            let values = model.slice(s![range.clone(), ..]);
            for (packed, value) in packed.iter_mut().zip(values) {
                packed[lane] = value.sqrt() * SCALE;
            }
        }
        packed
    };
    models.par_chunks(LANES).map(tile).collect()
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
        for (m, n, samples, classes) in
            [(1, 1, 1, 1), (4, 8, 8, 10), (5, 9, 65, 10), (13, 3, 200, 3), (9, 17, 30, 1000)]
        {
            let all = models(m + n, samples, classes);
            let views: Vec<Model> = all.outer_iter().collect();
            let found = between(&views[..m], &views[m..]);
            assert_eq!(found.dim(), (m, n));
            for ((i, j), &distance) in found.indexed_iter() {
                let expected = reference::bhattacharyya(views[i], views[m + j]);
                assert_close(distance, expected, 2e-7, 1e-6);
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
