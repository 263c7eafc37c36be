//! The register tile of the Bhattacharyya kernel: products of overlaps for a few rows and columns at a time.
//!
//! A distance is `-1/N log prod_n overlap_n`. The product is carried as a mantissa in f64 and an exponent in an
//! integer, so that a pair takes one logarithm in all instead of one per sample, and nothing is lost: each overlap is
//! an f32 sum over classes, everything after it is f64.

/// Models side by side in a tile of rows, and of columns: as many sums as stay in the 16 vector registers of any
/// x86-64, beside the operands.
pub(crate) const ROWS: usize = 4;
/// See [`ROWS`].
pub(crate) const COLS: usize = 8;

/// A value per pair of the tile.
type Block<T> = [[T; COLS]; ROWS];

/// Square roots are multiplied by this, overlaps are so by its square, 2^40: then even the smallest overlap of two f32
/// probabilities (2^-149) is a normal f32, with all its digits.
pub(crate) const SCALE: f32 = (1u64 << 20) as f32;
const OVERLAP_EXPONENT: i64 = 40;
/// A full overlap; more than that is rounding.
const FULL: f32 = (1u64 << OVERLAP_EXPONENT) as f32;
/// What takes the place of an empty overlap: exp(-100) of [`crate::reference::EMPTY_OVERLAP`], times [`FULL`].
const EMPTY: f64 = 3.720075976020836e-44 * FULL as f64;

/// Samples whose overlaps are multiplied before mantissa and exponent are told apart again. The factors lie between
/// 2^-109 and 2^40, so eight of them stay normal f64 numbers.
pub(crate) const GROUP: usize = 8;

/// Classes that are summed one after the other; the rounding of a sum of a thousand would be too much.
const PARTIAL_SUM: usize = 32;

const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
const MANTISSA: u64 = (1 << MANTISSA_BITS) - 1;
const ONE: u64 = 1f64.to_bits();

/// The products of overlaps so far, of a tile's pairs: `mantissa` in [1, 2) times 2 to the `exponent`.
#[derive(Clone)]
pub(crate) struct Tile {
    mantissa: Block<f64>,
    exponent: Block<i64>,
}

impl Tile {
    /// Empty products.
    pub(crate) fn new() -> Tile {
        Tile { mantissa: [[1.0; COLS]; ROWS], exponent: [[0; COLS]; ROWS] }
    }

    /// Multiplies the overlaps of some samples in. `rows` and `cols` hold the scaled square roots, class by class within
    /// sample by sample.
    pub(crate) fn absorb(&mut self, rows: &[[f32; ROWS]], cols: &[[f32; COLS]], classes: usize) {
        let groups = rows.chunks(GROUP * classes).zip(cols.chunks(GROUP * classes));
        for (rows, cols) in groups {
            let mut product = self.mantissa;
            for (rows, cols) in rows.chunks_exact(classes).zip(cols.chunks_exact(classes)) {
                let overlap = overlaps(rows, cols);
                for (product, overlap) in product.as_flattened_mut().iter_mut().zip(overlap.as_flattened()) {
                    *product *= factor(*overlap);
                }
            }
            let mantissas = self.mantissa.as_flattened_mut().iter_mut();
            let exponents = self.exponent.as_flattened_mut().iter_mut();
            for ((mantissa, exponent), product) in mantissas.zip(exponents).zip(product.as_flattened()) {
                let bits = product.to_bits();
                *exponent += (bits >> MANTISSA_BITS) as i64 - (ONE >> MANTISSA_BITS) as i64;
                *mantissa = f64::from_bits(bits & MANTISSA | ONE);
            }
        }
    }

    /// The distance of row `i` and column `j` of the tile after `samples` samples.
    pub(crate) fn distance(&self, i: usize, j: usize, samples: usize) -> f64 {
        let exponent = self.exponent[i][j] - OVERLAP_EXPONENT * samples as i64;
        let log = self.mantissa[i][j].ln() + exponent as f64 * std::f64::consts::LN_2;
        // Not `max`, which may keep a negative zero.
        if log < 0.0 { -log / samples as f64 } else { 0.0 }
    }
}

/// Sums over classes of one sample, for all pairs of the tile.
#[inline(always)]
fn overlaps(rows: &[[f32; ROWS]], cols: &[[f32; COLS]]) -> Block<f32> {
    let mut total = [[0.0; COLS]; ROWS];
    for (rows, cols) in rows.chunks(PARTIAL_SUM).zip(cols.chunks(PARTIAL_SUM)) {
        let mut sums = [[0.0; COLS]; ROWS];
        for (row, col) in rows.iter().zip(cols) {
            for i in 0..ROWS {
                for j in 0..COLS {
                    sums[i][j] += row[i] * col[j];
                }
            }
        }
        for (total, sum) in total.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            *total += sum;
        }
    }
    total
}

/// What a sample multiplies the product by: the rules for full and empty overlaps are per sample.
#[inline(always)]
fn factor(overlap: f32) -> f64 {
    let capped = if overlap < FULL { overlap } else { FULL };
    if overlap == 0.0 { EMPTY } else { f64::from(capped) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::assert_close;
    use crate::reference::EMPTY_OVERLAP;

    /// The distance of two models of one class, given the overlap of each sample.
    fn distance(overlaps: &[f32]) -> f64 {
        let rows: Vec<_> = overlaps.iter().map(|&overlap| [overlap * SCALE; ROWS]).collect();
        let cols = vec![[SCALE; COLS]; overlaps.len()];
        let mut tile = Tile::new();
        tile.absorb(&rows, &cols, 1);
        tile.distance(ROWS - 1, COLS - 1, overlaps.len())
    }

    #[test]
    fn a_sample_without_overlap_counts_a_hundred() {
        assert_close(distance(&[0.0]), EMPTY_OVERLAP, 0.0, 1e-15);
        assert_close(distance(&[0.0; 100]), EMPTY_OVERLAP, 0.0, 1e-15);
        assert_close(distance(&[1.0, 0.0, 1.0, 1.0]), EMPTY_OVERLAP / 4.0, 0.0, 1e-15);
    }

    #[test]
    fn a_sample_with_too_much_overlap_counts_zero() {
        assert_eq!(distance(&[1.0 + 1e-6, 1.5]).to_bits(), 0f64.to_bits());
        assert_close(distance(&[2.0, 0.5]), 2f64.ln() / 2.0, 0.0, 1e-15);
    }

    #[test]
    fn the_smallest_overlaps_neither_vanish_nor_lose_digits() {
        let tiny = f32::from_bits(1);
        assert_close(distance(&[tiny; 17]), 149.0 * 2f64.ln(), 0.0, 1e-15);
        let rough = f32::from_bits(0b101);
        let root = rough.sqrt() * SCALE;
        let mut tile = Tile::new();
        tile.absorb(&[[root; ROWS]], &[[root; COLS]], 1);
        assert_close(tile.distance(0, 0, 1), 149.0 * 2f64.ln() - 5f64.ln(), 2e-7, 0.0);
    }

    #[test]
    fn a_product_of_very_many_samples_keeps_its_precision() {
        let overlaps = vec![0.3f32; 50_000];
        assert_close(distance(&overlaps), -f64::from(0.3f32).ln(), 0.0, 1e-13);
    }
}
