//! Products of a block of distances with vectors, compiled for each vector instruction set and chosen at run time.
//!
//! Distances stay f32 as they are held, and are made f64 on their way into a multiply-add, or some rows and columns at a time,
//! which stay in the first cache: no whole block is copied together first, as a product of dense matrices has to, which for so
//! few vectors takes as long as the product.

use std::ops::Range;

/// Vectors of a panel.
pub(crate) const WIDTH: usize = 16;

/// What the vectors of a panel have for one point.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(align(64))]
pub(crate) struct Point(pub [f64; WIDTH]);

impl Point {
    pub(crate) const ZERO: Point = Point([0.0; WIDTH]);
}

/// A block of a matrix, row by row, or its mirror image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    values: &'a [f32],
    rows: usize,
    cols: usize,
    /// From one row to the next.
    down: usize,
    /// From one column to the next.
    across: usize,
}

impl<'a> Block<'a> {
    /// # Panics
    /// When there are not as many values as rows and columns have.
    pub(crate) fn new(values: &'a [f32], rows: usize, cols: usize) -> Block<'a> {
        assert_eq!(values.len(), rows * cols, "a block of {rows} x {cols}");
        Block { values, rows, cols, down: cols, across: 1 }
    }

    pub(crate) fn mirrored(self) -> Block<'a> {
        Block { rows: self.cols, cols: self.rows, down: self.across, across: self.down, ..self }
    }

    /// The rows of a block that is none's mirror image.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'a [f32]> {
        assert_eq!(self.across, 1, "a row lies together");
        self.values.chunks_exact(self.cols)
    }

    /// Its rows from this one on.
    fn rest(self, row: usize) -> Block<'a> {
        Block { values: &self.values[row * self.down..], rows: self.rows - row, ..self }
    }

    pub(crate) fn at(&self, row: usize, col: usize) -> f64 {
        f64::from(self.values[row * self.down + col * self.across])
    }
}

/// What adds the product of a block with a panel to another.
type Add = fn(&mut [Point], Block, &[Point]);

/// Adds the product of a block with a panel to another: to `sums` \[rows\] the sum over columns of the block's values times
/// `panel` \[cols\]. Of the same block and panel it adds the same bits every time on the same machine.
///
/// # Panics
/// When panels and block do not fit.
pub(crate) fn add(sums: &mut [Point], block: Block, panel: &[Point]) {
    assert!(sums.len() == block.rows && panel.len() == block.cols, "panels that do not fit a block");
    all().next().unwrap_or(PORTABLE)(sums, block, panel);
}

/// For each vector instruction set that this processor has, the best first.
fn all() -> impl Iterator<Item = Add> {
    #[cfg(target_arch = "x86_64")]
    let special = {
        #[target_feature(enable = "avx2,fma")]
        fn avx2(sums: &mut [Point], block: Block, panel: &[Point]) {
            add_tiles::<2, 16, true>(sums, block, panel);
        }
        // SAFETY: they are given out only where the processor has the instructions.
        let (avx512, avx2): (Add, Add) = (
            |sums, block, panel| unsafe { avx512::add(sums, block, panel) },
            |sums, block, panel| unsafe { avx2(sums, block, panel) },
        );
        [
            is_x86_feature_detected!("avx512f").then_some(avx512),
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(avx2),
        ]
    };
    #[cfg(not(target_arch = "x86_64"))]
    let special = [None; 0];
    special.into_iter().flatten().chain([PORTABLE])
}

/// By AVX-512, in tiles of 8 rows and all vectors. Written out: from loops over a tile's rows the compiler makes vectors that
/// are gathered from all over memory.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Block, Point, WIDTH, add_tiles};

    /// Rows of a tile, and numbers of a vector register.
    const ROWS: usize = 8;
    /// Columns whose values are made f64 at a time.
    const STRIP: usize = 80;

    #[target_feature(enable = "avx512f")]
    pub(super) fn add(sums: &mut [Point], block: Block, panel: &[Point]) {
        let mut values = [[0.0; STRIP]; ROWS];
        let (tiles, last) = sums.as_chunks_mut::<ROWS>();
        for (tile, sums) in tiles.iter_mut().enumerate() {
            // A mirror image, or else its rows lie together; `down` is 1 in both where there is one column.
            if block.across != 1 {
                down(sums, &block.values[tile * ROWS..], block.across, panel);
                continue;
            }
            for (strip, panel) in panel.chunks(STRIP).enumerate() {
                for (row, to) in values.iter_mut().enumerate() {
                    let from = &block.values[(tile * ROWS + row) * block.down + strip * STRIP..];
                    to.iter_mut().zip(&from[..panel.len()]).for_each(|(to, value)| *to = f64::from(*value));
                }
                across(sums, &values, panel);
            }
        }
        let rest = block.rest(tiles.len() * ROWS);
        add_tiles::<1, WIDTH, true>(last, rest, panel);
    }

    /// A tile of values that lie column by column, `step` from one to the next.
    #[target_feature(enable = "avx512f")]
    fn down(sums: &mut [Point; ROWS], values: &[f32], step: usize, panel: &[Point]) {
        // Of each vector, for all rows.
        let mut found = [_mm512_setzero_pd(); WIDTH];
        for (values, point) in values.chunks(step).zip(panel) {
            let values: &[f32; ROWS] = values.first_chunk().expect("as many rows as the tile has");
            // SAFETY: there are as many values as are read.
            let values = _mm512_cvtps_pd(unsafe { _mm256_loadu_ps(values.as_ptr()) });
            for (found, x) in found.iter_mut().zip(&point.0) {
                *found = _mm512_fmadd_pd(values, _mm512_set1_pd(*x), *found);
            }
        }
        for (vector, found) in found.into_iter().enumerate() {
            let mut rows = [0.0; ROWS];
            // SAFETY: there is room for what is written.
            unsafe { _mm512_storeu_pd(rows.as_mut_ptr(), found) };
            sums.iter_mut().zip(rows).for_each(|(sum, found)| sum.0[vector] += found);
        }
    }

    /// A tile of values that are f64 already, row by row.
    #[target_feature(enable = "avx512f")]
    fn across(sums: &mut [Point; ROWS], values: &[[f64; STRIP]; ROWS], panel: &[Point]) {
        let mut found = [[_mm512_setzero_pd(); 2]; ROWS];
        for (col, point) in panel.iter().enumerate().take(STRIP) {
            // SAFETY: a point is 16 numbers from a multiple of 64 bytes on: two halves, both aligned.
            let x = unsafe { [_mm512_load_pd(point.0.as_ptr()), _mm512_load_pd(point.0.as_ptr().add(8))] };
            for (found, values) in found.iter_mut().zip(values) {
                let value = _mm512_set1_pd(values[col]);
                *found = [_mm512_fmadd_pd(value, x[0], found[0]), _mm512_fmadd_pd(value, x[1], found[1])];
            }
        }
        for (sum, [low, high]) in sums.iter_mut().zip(found) {
            let to = sum.0.as_mut_ptr();
            // SAFETY: as above.
            unsafe {
                _mm512_store_pd(to, _mm512_add_pd(_mm512_load_pd(to), low));
                _mm512_store_pd(to.add(8), _mm512_add_pd(_mm512_load_pd(to.add(8)), high));
            }
        }
    }
}

/// By what every processor of this architecture has (SSE2, NEON). Where multiplication and addition are not one instruction, a
/// fused operation is a slow function.
const PORTABLE: Add = add_tiles::<3, 8, { cfg!(target_arch = "aarch64") }>;

/// In tiles of `ROWS` rows and `COLS` vectors, as many as leave the registers room for operands. Plain loops, which become
/// vector instructions of the function they are inlined into; `FUSED`, if that has a multiply-add.
#[inline(always)]
fn add_tiles<const ROWS: usize, const COLS: usize, const FUSED: bool>(
    sums: &mut [Point],
    block: Block,
    panel: &[Point],
) {
    for (tile, sums) in sums.chunks_mut(ROWS).enumerate() {
        // Of a tile that is cut short the last row fills the rest.
        let rows: [usize; ROWS] = std::array::from_fn(|row| tile * ROWS + row.min(sums.len() - 1));
        for from in (0..WIDTH).step_by(COLS) {
            let found = tile_of::<ROWS, COLS, FUSED>(block, rows, panel, from..from + COLS);
            for (sum, found) in sums.iter_mut().zip(&found) {
                for (sum, found) in sum.0[from..from + COLS].iter_mut().zip(found) {
                    *sum += found;
                }
            }
        }
    }
}

#[inline(always)]
fn tile_of<const ROWS: usize, const COLS: usize, const FUSED: bool>(
    block: Block,
    rows: [usize; ROWS],
    panel: &[Point],
    vectors: Range<usize>,
) -> [[f64; COLS]; ROWS] {
    let mut sums = [[0.0; COLS]; ROWS];
    for (col, point) in panel.iter().enumerate() {
        let point: &[f64; COLS] =
            point.0[vectors.clone()].as_array().expect("as many vectors as the tile has");
        for (sums, row) in sums.iter_mut().zip(rows) {
            let value = block.at(row, col);
            for (sum, x) in sums.iter_mut().zip(point) {
                *sum = if FUSED { value.mul_add(*x, *sum) } else { value * x + *sum };
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(row: usize, col: usize) -> f32 {
        ((5 * row + 3 * col) as f32).sin()
    }

    #[test]
    fn products_are_those_of_the_definition_for_tiles_of_every_kind() {
        for (rows, cols) in [(1, 1), (1, 9), (9, 1), (2, 9), (6, 7), (13, 5), (40, 33), (17, 170)] {
            let values: Vec<f32> =
                (0..rows).flat_map(|row| (0..cols).map(move |col| value(row, col))).collect();
            let block = Block::new(&values, rows, cols);
            for (block, is_mirrored) in [(block, false), (block.mirrored(), true)] {
                let panel: Vec<Point> = (0..block.cols)
                    .map(|col| Point(std::array::from_fn(|vector| ((7 * col + vector) as f64).cos())))
                    .collect();
                let added = |add: Add| {
                    let mut sums = vec![Point([1.0; WIDTH]); block.rows];
                    add(&mut sums, block, &panel);
                    sums
                };
                let found: Vec<Vec<Point>> = all().chain([add as Add]).map(added).collect();
                for vector in 0..WIDTH {
                    for row in 0..block.rows {
                        let terms = panel.iter().enumerate().map(|(col, point)| {
                            let (row, col) = if is_mirrored { (col, row) } else { (row, col) };
                            f64::from(value(row, col)) * point.0[vector]
                        });
                        let expected = 1.0 + terms.sum::<f64>();
                        for found in &found {
                            assert!(
                                (found[row].0[vector] - expected).abs() < 1e-12,
                                "{rows} x {cols}: {row}"
                            );
                        }
                    }
                }
            }
        }
    }
}
