//! Sums of Bhattacharyya distances: models packed side by side, pairs and samples in blocks that stay in cache.

use std::ops::Range;

use ndarray::{Array2, s};
use rayon::prelude::*;

use crate::distance::{Model, Sums};
use crate::kernel::{self, Functions, GROUP, Kernel, Lanes, ROWS, Tile};

/// Values of the models of a tile of columns and of one of rows that stay in the first-level cache: of 48 and 4 models.
const CHUNK: usize = (44 << 10) / size_of::<f32>();
const CHUNK_MODELS: usize = 52;

/// Groups of a chunk at most.
const CHUNK_GROUPS: usize = 4;

/// Bytes of chunks that are packed at a time, and stay in the last cache.
const PACKED: usize = 8 << 20;

/// Multiply-adds of a pair at least that chunks are packed for at a time: the products of all pairs, which may find room in
/// no cache, are read and written once for so many.
pub(crate) const MULTIPLY_ADDS: usize = 512;

/// Rows and columns of which the pairs' products, and a chunk of the models, stay in the second-level cache.
const BLOCK_ROWS: usize = 128;
const BLOCK_COLS: usize = 256;

/// Samples that are packed and multiplied at a time, a power of two: so many that what is done once a chunk is little of
/// all, and so few that a chunk stays in cache. A number of samples that is a multiple of it is a number of whole chunks.
pub(crate) fn chunk(classes: usize) -> usize {
    let samples = (CHUNK / (CHUNK_MODELS * classes.max(1))).clamp(1, CHUNK_GROUPS * GROUP);
    1 << samples.ilog2()
}

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
        let places: Vec<(usize, usize)> = (0..height)
            .step_by(BLOCK_ROWS / ROWS)
            .flat_map(|row| (0..width).step_by(BLOCK_COLS / COLS).map(move |col| (row, col)))
            .collect();
        // By all threads: a third of the memory is touched here for the first time.
        let blocks = places.into_par_iter().filter_map(|(first_row, first_col)| {
            let tiles = (first_col..width.min(first_col + BLOCK_COLS / COLS)).map(|col| {
                // A tile that lies below the diagonal as a whole is not computed.
                let end = if is_half { height.min((col + 1) * COLS / ROWS) } else { height };
                vec![Tile::new(); end.saturating_sub(first_row).min(BLOCK_ROWS / ROWS)]
            });
            let tiles: Vec<Vec<_>> = tiles.collect();
            tiles.iter().any(|tiles| !tiles.is_empty()).then_some(Block { first_row, first_col, tiles })
        });
        let blocks = blocks.collect();
        Overlaps { functions, is_half, blocks, row_loss: vec![0.0; rows], col_loss: vec![0.0; cols] }
    }
}

impl<const COLS: usize> Sums for Overlaps<COLS> {
    fn add(&mut self, rows: &[Model], cols: &[Model], like: Model) -> bool {
        let Some((samples, classes)) = rows.first().map(Model::dim) else { return true };
        let last = largest(like);
        let cols = if self.is_half { &[] } else { cols };
        let length = chunk(classes);
        let bytes = (2 * rows.len() + cols.len()) * length * classes * size_of::<f32>();
        let ranges: Vec<Range<usize>> =
            (0..samples).step_by(length).map(|start| start..samples.min(start + length)).collect();
        let count = (PACKED / bytes).max(MULTIPLY_ADDS.div_ceil(length * classes)).min(ranges.len());
        let mut chunks = vec![Chunk::default(); count];
        let Overlaps { functions, is_half, blocks, row_loss, col_loss } = &mut *self;
        for ranges in ranges.chunks(count) {
            let chunks = &mut chunks[..ranges.len()];
            chunks.iter_mut().zip(ranges).for_each(|(chunk, range)| chunk.samples = range.len());
            let packed = chunks.iter_mut().map(|chunk| &mut chunk.rows);
            pack::<COLS>(functions, rows, &last, ranges, packed, row_loss);
            if !*is_half {
                let packed = chunks.iter_mut().map(|chunk| &mut chunk.others);
                pack::<COLS>(functions, cols, &last, ranges, packed, col_loss);
            }
            chunks.par_iter_mut().for_each(|Chunk { samples, rows, others, cols }| {
                columns(if *is_half { rows } else { others }, *samples * classes, cols);
            });
            let chunks = &*chunks;
            blocks.par_iter_mut().for_each(|block| {
                chunks.iter().for_each(|chunk| block.absorb(functions, chunk, classes));
            });
        }
        if *is_half {
            col_loss.clone_from(row_loss);
        }
        self.row_loss.iter().chain(&self.col_loss).all(|loss| !loss.is_nan())
    }

    fn over(&self, divisor: f64) -> Array2<f64> {
        let mut distances = Array2::zeros((self.row_loss.len(), self.col_loss.len()));
        let lines = distances.as_slice_mut().expect("a new array is contiguous");
        let lines = lines.par_chunks_mut((BLOCK_ROWS * self.col_loss.len()).max(1));
        let blocks: Vec<&[Block<COLS>]> = self.blocks.chunk_by(|a, b| a.first_row == b.first_row).collect();
        lines.zip(blocks).for_each(|(lines, blocks)| {
            for block in blocks {
                block.write(&self.functions, lines, divisor, &self.row_loss, &self.col_loss);
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
            let mut tiles = tiles.iter_mut().zip(rows).peekable();
            while let Some((tile, rows)) = tiles.next() {
                if let Some((next, _)) = tiles.peek() {
                    next.prefetch();
                }
                (functions.absorb)(tile, rows, cols, classes);
            }
        }
    }

    /// Writes the block's sums, divided, to where they belong among the `lines` of its rows.
    fn write(
        &self,
        functions: &Functions<COLS>,
        lines: &mut [f64],
        divisor: f64,
        row_loss: &[f64],
        col_loss: &[f64],
    ) {
        let width = col_loss.len();
        for (col, tiles) in (self.first_col..).zip(&self.tiles) {
            let cols = col * COLS..width.min((col + 1) * COLS);
            for (row, tile) in tiles.iter().enumerate() {
                let sums = (functions.sums)(tile);
                let row_loss = row_loss[(self.first_row + row) * ROWS..].iter().take(ROWS);
                for (i, (row_loss, sums)) in row_loss.zip(&sums).enumerate() {
                    let line = &mut lines[(row * ROWS + i) * width..][cols.clone()];
                    for ((mean, sum), col_loss) in line.iter_mut().zip(&sums.0).zip(&col_loss[cols.clone()]) {
                        *mean = (sum - (row_loss + col_loss)).max(0.0) / divisor;
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
    /// The models of columns as rows, where they are others.
    others: Vec<[f32; ROWS]>,
}

/// The class of each sample to which a model gives most.
fn largest(model: Model) -> Vec<usize> {
    let largest = |probabilities: ndarray::ArrayView1<f32>| {
        let largest = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        largest.map_or(0, |(class, _)| class)
    };
    model.rows().into_iter().map(largest).collect()
}

/// Square roots, models side by side in tiles of rows, as many as make whole tiles of columns. To `losses` of each model it
/// adds by how much its distance from a model like it is too large because square roots are rounded to f32:
/// `1/2 sum_c (p_c - r_c^2)`, no number where one is no probability.
///
/// Roots of probabilities just below 1 are rounded down more often than up (those of `1 - k 2^-24` with odd k always),
/// which makes the distances of certain models too large by 3e-8; that is not little where they are 1e-5. Between unlike
/// models this correction is only as wrong as it is large, at most 2^-24.
///
/// Of each sample the class `last` trades places with the last one: that to which most models probably give most. What is
/// small would be rounded away, always to the same side, if it were added to a sum that is almost 1 already. Models may be
/// certain of another class; so every other sample that is added has the rest in reverse: then no class is early in all of
/// them.
///
/// All chunks of a model are packed in one go: its values lie together, and the processor has most of them before they are
/// asked for.
fn pack<'a, const COLS: usize>(
    functions: &Functions<COLS>,
    models: &[Model],
    last: &[usize],
    ranges: &[Range<usize>],
    chunks: impl Iterator<Item = &'a mut Vec<[f32; ROWS]>>,
    losses: &mut [f64],
) {
    let Some(classes) = models.first().map(Model::ncols) else { return };
    let mut chunks: Vec<(usize, &mut Vec<_>)> =
        ranges.iter().map(|range| range.len() * classes).zip(chunks).collect();
    // By all threads: memory may be touched here for the first time.
    chunks.par_iter_mut().for_each(|(length, chunk)| {
        chunk.resize(models.len().next_multiple_of(COLS) / ROWS * *length, [1.0; ROWS]);
        // Places without a model have a full overlap with all others.
        chunk[models.len() / ROWS * *length..].fill([1.0; ROWS]);
    });
    let mut tiles: Vec<Vec<&mut [[f32; ROWS]]>> = Vec::new();
    tiles.resize_with(models.len().div_ceil(ROWS), Vec::new);
    for (length, chunk) in chunks {
        tiles.iter_mut().zip(chunk.chunks_exact_mut(length)).for_each(|(tile, packed)| tile.push(packed));
    }
    let tiles = tiles.into_par_iter().zip(models.par_chunks(ROWS)).zip(losses.par_chunks_mut(ROWS));
    tiles.for_each_init(
        || [(); ROWS].map(|()| Vec::new()),
        |roots, ((tile, models), losses)| {
            for (range, packed) in ranges.iter().zip(tile) {
                roots.iter_mut().for_each(|roots| roots.resize(packed.len(), 1.0));
                for ((model, loss), roots) in models.iter().zip(&mut *losses).zip(&mut *roots) {
                    *loss += 0.5 * roots_of(functions, *model, range, last, roots);
                }
                roots[models.len()..].iter_mut().for_each(|roots| roots.fill(1.0));
                let [a, b, c, d] = &*roots;
                for (packed, (((a, b), c), d)) in packed.iter_mut().zip(a.iter().zip(b).zip(c).zip(d)) {
                    *packed = [*a, *b, *c, *d];
                }
            }
        },
    );
}

/// Square roots of some samples of a model in the order in which they are summed; returns what all of them lose by rounding.
fn roots_of<const COLS: usize>(
    functions: &Functions<COLS>,
    model: Model,
    range: &Range<usize>,
    last: &[usize],
    roots: &mut [f32],
) -> f64 {
    let classes = model.ncols();
    let loss = match model.as_slice() {
        Some(values) => (functions.roots)(&values[range.start * classes..][..roots.len()], roots),
        None => {
            let values: Vec<f32> = model.slice(s![range.clone(), ..]).iter().copied().collect();
            (functions.roots)(&values, roots)
        }
    };
    for (sample, roots) in range.clone().zip(roots.chunks_exact_mut(classes)) {
        roots.swap(last[sample], classes - 1);
        if sample % 2 == 1 {
            roots[..classes - 1].reverse();
        }
    }
    loss
}

/// Tiles of columns of the models of tiles of rows, each `length` long.
fn columns<const COLS: usize>(rows: &[[f32; ROWS]], length: usize, cols: &mut Vec<Lanes<f32, COLS>>) {
    let tiles = COLS / ROWS;
    cols.resize(rows.len() / tiles, Lanes([0.0; COLS]));
    let tiles = cols.par_chunks_exact_mut(length).zip(rows.par_chunks_exact(tiles * length));
    tiles.for_each(|(cols, rows)| {
        for (place, rows) in rows.chunks_exact(length).enumerate() {
            cols.iter_mut().zip(rows).for_each(|(col, row)| col.0.as_chunks_mut().0[place] = *row);
        }
    });
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::geodesic::geodesic;
    use crate::golden::assert_close;
    use crate::reference;
    use crate::truth::Truth;

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
        sums.add(rows, cols, rows[rows.len() - 1]);
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

    /// Where the class of a sample is to which all models give nearly everything.
    #[derive(Debug, Clone, Copy)]
    enum Label {
        First,
        Any,
        Last,
    }

    /// Models that give all but about `rest` to the same class of a sample; what they give to the others is equal, or of
    /// all sizes.
    fn certain(classes: usize, label: Label, is_equal: bool, rest: f64) -> Array3<f32> {
        let noise = |a: usize, b: usize, c: usize| ((a * 7919 + b * 104_729 + c * 1_299_709) as f64).sin();
        Array3::from_shape_fn((8, 48, classes), |(m, n, c)| {
            let label = match label {
                Label::First => 0,
                Label::Any => (n * 31 + 7) % classes,
                Label::Last => classes - 1,
            };
            let others = (classes - 1) as f64;
            let share = |c: usize| {
                let size = if is_equal { 1.0 } else { (2.0 * noise(m, n, c)).exp() };
                rest * (1.0 + m as f64) * size / others
            };
            match c == label {
                true => 1.0 - (0..classes).filter(|c| *c != label).map(share).sum::<f64>(),
                false => share(c),
            }
        })
        .mapv(|p| p as f32)
    }

    /// All distances of all kernels with what they should be.
    fn each_distance(models: &Array3<f32>, mut check: impl FnMut(f64, f64)) {
        let views: Vec<Model> = models.outer_iter().collect();
        for kernel in Kernel::all() {
            let found = matrix(kernel, &views, &views, false);
            for ((i, j), &distance) in found.indexed_iter().filter(|((i, j), _)| i != j) {
                check(distance, reference::bhattacharyya(views[i], views[j]));
            }
        }
    }

    #[test]
    fn certain_models_that_nearly_agree_are_within_one_percent() {
        // In f32, 1 minus the overlap is a few hundred roundings.
        for classes in [2, 3, 10, 33, 100, 1000] {
            for label in [Label::First, Label::Any, Label::Last] {
                for is_equal in [true, false] {
                    let (mut worst, mut seen) = (0f64, 0);
                    each_distance(&certain(classes, label, is_equal, 3e-5), |found, expected| {
                        if expected > 5e-6 {
                            seen += 1;
                            worst = worst.max((found / expected - 1.0).abs());
                        }
                    });
                    assert!(seen > 10, "{classes} classes, {label:?}: {seen}");
                    assert!(
                        worst < 0.01,
                        "{classes} classes, label {label:?}, equal {is_equal}: off by {worst}"
                    );
                }
            }
        }
    }

    #[test]
    fn equal_probabilities_do_not_add_up_their_roundings() {
        for classes in [2, 10, 11, 32, 33, 64, 100, 700, 1000, 2100] {
            let uniform = Array3::from_elem((2, 16, classes), 1.0 / classes as f32);
            let labels: Vec<i64> = (0..16).map(|n| (n * 31 + 7) % classes as i64).collect();
            let ts: Vec<f64> = (0..100).map(|i| f64::from(i) / 99.0).collect();
            let points = geodesic(&Truth::new(&labels, classes).unwrap(), &ts);
            let (mut worst, mut at) = (0f64, (0.0, 0.0));
            let mut check = |found: f64, expected: f64| {
                let error = (found - expected).abs() / (2e-7 + 1e-6 * expected);
                if error > worst {
                    (worst, at) = (error, (found, expected));
                }
            };
            each_distance(&uniform, &mut check);
            each_distance(&points, &mut check);
            assert!(worst < 1.0, "{classes} classes: {worst} of the bound at {at:?}");
        }
    }

    #[test]
    fn models_that_are_certain_of_another_class_than_most_lose_little() {
        for classes in [2, 3, 9, 10, 11, 14, 20, 32, 33, 100, 1000] {
            let like = Array2::from_shape_fn((16, classes), |(_, c)| f32::from(c + 1 == classes));
            let most = 12.min(classes - 1);
            // From what a sum that is almost 1 always rounds away to twice as much and beyond.
            for (step, class) in (1..=16).flat_map(|step| (0..most).map(move |class| (step, class))) {
                let share = f64::from(step) * 0.73e-8;
                let model = Array2::from_shape_fn((16, classes), |(_, c)| match c == class {
                    true => (1.0 - share * (classes - 1) as f64) as f32,
                    false => share as f32,
                });
                let expected = reference::bhattacharyya(model.view(), model.view());
                for kernel in Kernel::all() {
                    let mut sums = sums(kernel, 1, 1, false);
                    sums.add(&[model.view()], &[model.view()], like.view());
                    assert_close(sums.over(16.0)[[0, 0]], expected, 2e-7, 1e-6);
                }
            }
        }
    }

    #[test]
    fn of_a_symmetric_matrix_little_more_than_half_is_computed() {
        let tiles = |is_half| {
            let overlaps = Overlaps::new(kernel::PORTABLE, 1_000, 1_000, is_half);
            overlaps.blocks.iter().flat_map(|block| &block.tiles).map(Vec::len).sum::<usize>()
        };
        let (half, all) = (tiles(true), tiles(false));
        assert!(2 * half >= all && 100 * half < 52 * all, "{half} of {all} tiles");
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
