//! Sums of Bhattacharyya distances: models packed side by side, pairs and samples in blocks that stay in cache.

use std::ops::Range;

use ndarray::{Array2, s};
use rayon::prelude::*;

use crate::distance::{Model, Sums};
use crate::kernel::{self, Functions, Kernel, Lanes, ROWS, Tile};

/// Bytes of a chunk of a tile of columns: it stays in the first-level cache, with the rows that pass over it.
const CHUNK: usize = 24 << 10;

/// Samples of a chunk at most; a number of samples that is a multiple of it is a number of whole chunks.
pub(crate) const CHUNK_SAMPLES: usize = 16;

/// Bytes of chunks that are packed at a time, and stay in the last cache.
const PACKED: usize = 3 << 20;

/// Tiles of rows and of columns of which the pairs' products, and a chunk of the models, stay in the second-level cache.
const BLOCK_ROWS: usize = 32;
const BLOCK_COLS: usize = 8;

/// Sums of the distances between `rows` and `cols` models.
pub(crate) fn between(rows: usize, cols: usize) -> Box<dyn Sums> {
    sums(Kernel::best(), rows, cols, false)
}

/// Sums of the distances among so many models; of each pair once, the diagonal exactly 0.
pub(crate) fn within(models: usize) -> Box<dyn Sums> {
    sums(Kernel::best(), models, models, true)
}

fn sums(kernel: Kernel, rows: usize, cols: usize, is_half: bool) -> Box<dyn Sums> {
    match kernel {
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512 => Box::new(Overlaps::new(kernel::AVX512, rows, cols, is_half)),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => Box::new(Overlaps::new(kernel::AVX2, rows, cols, is_half)),
        Kernel::Portable => Box::new(Overlaps::new(kernel::PORTABLE, rows, cols, is_half)),
    }
}

/// Products of the overlaps of all pairs. A pair's product runs over samples in order, in one thread at a time: how blocks
/// are shared out among threads does not show in the result.
struct Overlaps<const COLS: usize> {
    functions: Functions<COLS>,
    /// Whether rows and columns are the same models, so that only pairs above the diagonal count.
    is_half: bool,
    blocks: Vec<Block<COLS>>,
    row_loss: Vec<f64>,
    col_loss: Vec<f64>,
}

/// Some tiles of rows beside some tiles of columns.
struct Block<const COLS: usize> {
    first_row: usize,
    first_col: usize,
    /// Of each tile of columns: its tiles of rows.
    tiles: Vec<Vec<Tile<COLS>>>,
}

impl<const COLS: usize> Overlaps<COLS> {
    fn new(functions: Functions<COLS>, rows: usize, cols: usize, is_half: bool) -> Self {
        let (height, width) = (rows.div_ceil(ROWS), cols.div_ceil(COLS));
        let mut blocks = Vec::new();
        for first_row in (0..height).step_by(BLOCK_ROWS) {
            for first_col in (0..width).step_by(BLOCK_COLS) {
                let tiles = (first_col..width.min(first_col + BLOCK_COLS)).map(|col| {
                    // A tile that lies below the diagonal as a whole is not computed.
                    let end = if is_half { height.min((col + 1) * COLS / ROWS) } else { height };
                    vec![Tile::new(); end.saturating_sub(first_row).min(BLOCK_ROWS)]
                });
                let tiles: Vec<Vec<_>> = tiles.collect();
                if tiles.iter().any(|tiles| !tiles.is_empty()) {
                    blocks.push(Block { first_row, first_col, tiles });
                }
            }
        }
        Overlaps { functions, is_half, blocks, row_loss: vec![0.0; rows], col_loss: vec![0.0; cols] }
    }
}

impl<const COLS: usize> Sums for Overlaps<COLS> {
    fn add(&mut self, rows: &[Model], cols: &[Model]) {
        let Some((samples, classes)) = rows.first().map(Model::dim) else { return };
        let cols = if self.is_half { &[] } else { cols };
        // A power of two, as the most is: whole chunks again.
        let length = (CHUNK / (classes * size_of::<Lanes<f32, COLS>>())).clamp(1, CHUNK_SAMPLES);
        let length = length.next_power_of_two().min(CHUNK_SAMPLES);
        let bytes = (2 * rows.len() + cols.len()) * length * classes * size_of::<f32>();
        let ranges: Vec<Range<usize>> =
            (0..samples).step_by(length).map(|start| start..samples.min(start + length)).collect();
        let mut chunks = vec![Chunk::default(); (PACKED / bytes).clamp(1, ranges.len())];
        for ranges in ranges.chunks(chunks.len()) {
            let Overlaps { functions, is_half, blocks, row_loss, col_loss } = &mut *self;
            let chunks = &mut chunks[..ranges.len()];
            chunks.par_iter_mut().zip(ranges).for_each(|(chunk, range)| {
                chunk.pack(functions, rows, cols, *is_half, range.clone());
            });
            // In order, so that the sums are the same however many threads there are.
            for chunk in &*chunks {
                add_all(row_loss, &chunk.row_loss);
                add_all(col_loss, &chunk.col_loss);
            }
            blocks.par_iter_mut().for_each(|block| {
                chunks.iter().for_each(|chunk| block.absorb(functions, chunk, classes));
            });
        }
    }

    fn over(&self, divisor: f64) -> Array2<f64> {
        let mut distances = Array2::zeros((self.row_loss.len(), self.col_loss.len()));
        let lines = distances.as_slice_mut().expect("a new array is contiguous");
        let lines = lines.par_chunks_mut((BLOCK_ROWS * ROWS * self.col_loss.len()).max(1));
        let blocks: Vec<&[Block<COLS>]> = self.blocks.chunk_by(|a, b| a.first_row == b.first_row).collect();
        lines.zip(blocks).for_each(|(lines, blocks)| {
            for block in blocks {
                block.write(lines, divisor, &self.row_loss, &self.col_loss);
            }
        });
        if self.is_half {
            distances.diag_mut().fill(0.0);
        }
        distances
    }
}

impl<const COLS: usize> Block<COLS> {
    fn absorb(&mut self, functions: &Functions<COLS>, chunk: &Chunk<COLS>, classes: usize) {
        let length = chunk.samples * classes;
        let cols = chunk.cols.chunks_exact(length).skip(self.first_col);
        for (tiles, cols) in self.tiles.iter_mut().zip(cols) {
            let rows = chunk.rows.chunks_exact(length).skip(self.first_row);
            for (tile, rows) in tiles.iter_mut().zip(rows) {
                (functions.absorb)(tile, rows, cols, classes);
            }
        }
    }

    /// Writes the block's sums, divided, to where they belong among the `lines` of its rows.
    fn write(&self, lines: &mut [f64], divisor: f64, row_loss: &[f64], col_loss: &[f64]) {
        let width = col_loss.len();
        for (col, tiles) in (self.first_col..).zip(&self.tiles) {
            let cols = col * COLS..width.min((col + 1) * COLS);
            for (row, tile) in tiles.iter().enumerate() {
                let row_loss = row_loss[(self.first_row + row) * ROWS..].iter().take(ROWS);
                for (i, row_loss) in row_loss.enumerate() {
                    let line = &mut lines[(row * ROWS + i) * width..][cols.clone()];
                    for ((j, sum), col_loss) in line.iter_mut().enumerate().zip(&col_loss[cols.clone()]) {
                        *sum = (tile.sum(i, j) - (row_loss + col_loss)).max(0.0) / divisor;
                    }
                }
            }
        }
    }
}

/// Square roots of some samples, models side by side in tiles, one tile after the other: what a block reads lies together.
#[derive(Clone, Default)]
struct Chunk<const COLS: usize> {
    samples: usize,
    rows: Vec<[f32; ROWS]>,
    cols: Vec<Lanes<f32, COLS>>,
    row_loss: Vec<f64>,
    col_loss: Vec<f64>,
}

impl<const COLS: usize> Chunk<COLS> {
    fn pack(
        &mut self,
        functions: &Functions<COLS>,
        rows: &[Model],
        cols: &[Model],
        is_half: bool,
        range: Range<usize>,
    ) {
        self.samples = range.len();
        pack(functions, rows, range.clone(), &mut self.cols, &mut self.row_loss);
        self.rows.clear();
        for tile in self.cols.chunks_exact(range.len() * rows[0].ncols()) {
            // The models of a tile of columns are so many tiles of rows.
            for row in 0..COLS / ROWS {
                self.rows.extend(tile.iter().map(|values| values.0.as_chunks().0[row]));
            }
        }
        if is_half {
            self.col_loss.clone_from(&self.row_loss);
        } else {
            pack(functions, cols, range, &mut self.cols, &mut self.col_loss);
        }
    }
}

/// Square roots, models side by side in tiles; and of each model, by how much its distance from a model like it is too
/// large because square roots are rounded to f32: `1/2 sum_c (p_c - r_c^2)`.
///
/// Roots of probabilities just below 1 are rounded down more often than up (those of `1 - k 2^-24` with odd k always),
/// which makes the distances of certain models too large by 3e-8; that is not little where they are 1e-5. Between unlike
/// models this correction is only as wrong as it is large, at most 2^-24.
fn pack<const COLS: usize>(
    functions: &Functions<COLS>,
    models: &[Model],
    range: Range<usize>,
    packed: &mut Vec<Lanes<f32, COLS>>,
    losses: &mut Vec<f64>,
) {
    losses.clear();
    packed.clear();
    let Some(model) = models.first() else { return };
    let length = range.len() * model.ncols();
    // Lanes without a model have a full overlap with all others.
    packed.resize(models.len().div_ceil(COLS) * length, Lanes([1.0; COLS]));
    let mut roots = vec![0.0; length];
    for (models, packed) in models.chunks(COLS).zip(packed.chunks_exact_mut(length)) {
        for (lane, model) in models.iter().enumerate() {
            let values = model.slice(s![range.clone(), ..]);
            let values = values.as_standard_layout();
            let values = values.as_slice().expect("it has the standard layout");
            // Roots first, many at a time: the places they go to are far apart.
            losses.push(0.5 * (functions.roots)(values, &mut roots));
            for (packed, root) in packed.iter_mut().zip(&roots) {
                packed.0[lane] = *root;
            }
        }
    }
}

fn add_all(sums: &mut [f64], values: &[f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
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

    /// Means over samples.
    fn matrix(kernel: Kernel, rows: &[Model], cols: &[Model], is_half: bool) -> Array2<f64> {
        let mut sums = sums(kernel, rows.len(), cols.len(), is_half);
        sums.add(rows, cols);
        sums.over(rows[0].nrows() as f64)
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
                let found = matrix(kernel, &views[..m], &views[m..], false);
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
            let found = matrix(kernel, &views, &views, false);
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
        let [straight, turned] = [&all, &turned].map(|models| {
            let views: Vec<Model> = models.outer_iter().collect();
            matrix(Kernel::best(), &views, &views, true)
        });
        assert_eq!(turned, straight);
    }
}
