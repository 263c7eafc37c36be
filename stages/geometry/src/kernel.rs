//! The register tile of the Bhattacharyya kernel: products of overlaps for a few rows and columns at a time, compiled for
//! each vector instruction set and chosen at run time.
//!
//! A distance is `-1/N log prod_n overlap_n`. Each overlap, an f32 sum over classes, is split into its exponent, which
//! joins an integer sum, and its mantissa, which joins an f32 product: a pair takes one logarithm in all instead of one a
//! sample, and no overlap is too small for the product. A multiplication rounds by at most 2^-24, so the mean over samples
//! is off by at most that, and by far less where roundings cancel.

/// Models side by side in a tile of rows.
pub(crate) const ROWS: usize = 4;

/// A value per column of a tile. Vectors that lie across two cache lines take twice as long to load.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Lanes<T, const COLS: usize>(pub [T; COLS]);

impl<const COLS: usize> AsMut<[f32]> for Lanes<f32, COLS> {
    fn as_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

/// A value per pair of a tile.
type Block<T, const COLS: usize> = [Lanes<T, COLS>; ROWS];

/// Square roots are multiplied by this, overlaps are so by its square, 2^40: then even the smallest overlap of two f32
/// probabilities (2^-149) is a normal f32, with all its digits.
pub(crate) const SCALE: f32 = (1u64 << 20) as f32;
const OVERLAP_EXPONENT: i64 = 40;
/// A full overlap; more than that is rounding.
const FULL: f32 = (1u64 << OVERLAP_EXPONENT) as f32;
/// What takes the place of an empty overlap: exp(-100) of [`crate::reference::EMPTY_OVERLAP`], times [`FULL`].
const EMPTY: f32 = (3.720075976020836e-44 * FULL as f64) as f32;

/// Samples that a tile absorbs at most at once: so many mantissas below 2 have a product that is a number.
pub(crate) const MOST_SAMPLES: usize = 96;

/// Classes that are summed one after the other; the rounding of a sum of a thousand would be too much.
const PARTIAL_SUM: usize = 32;

const MANTISSA_BITS: u32 = f32::MANTISSA_DIGITS - 1;
const MANTISSA: u32 = (1 << MANTISSA_BITS) - 1;
const ONE: u32 = 1f32.to_bits();
const BIAS: i64 = (ONE >> MANTISSA_BITS) as i64;

/// The products of overlaps so far, of a tile's pairs.
#[derive(Clone)]
pub(crate) struct Tile<const COLS: usize> {
    /// In [1, 2).
    product: Block<f32, COLS>,
    /// The exponents as the overlaps' bits hold them, with their bias.
    exponent: Block<i32, COLS>,
    samples: i64,
}

/// Multiplies the overlaps of at most [`MOST_SAMPLES`] samples into a tile. Rows and columns hold the scaled square
/// roots, class by class within sample by sample; the last argument is the number of classes.
pub(crate) type Absorb<const COLS: usize> = fn(&mut Tile<COLS>, &[[f32; ROWS]], &[Lanes<f32, COLS>], usize);

/// A vector instruction set, with as many columns in a tile as leave its registers room for sums, products and operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// 32 registers of 16 numbers; 32 columns.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 16 registers of 8 numbers, with fused multiplication and addition; 16 columns.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every processor of this architecture has (SSE2, NEON); 16 columns.
    Portable,
}

impl Kernel {
    /// The best that this processor has.
    pub(crate) fn best() -> Kernel {
        Kernel::all().next().unwrap_or(Kernel::Portable)
    }

    /// All that this processor has, the best first.
    pub(crate) fn all() -> impl Iterator<Item = Kernel> {
        #[cfg(target_arch = "x86_64")]
        let special = [
            is_x86_feature_detected!("avx512f").then_some(Kernel::Avx512),
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Kernel::Avx2),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let special = [None; 0];
        special.into_iter().flatten().chain([Kernel::Portable])
    }
}

/// For [`Kernel::Avx512`].
#[cfg(target_arch = "x86_64")]
pub(crate) fn avx512(tile: &mut Tile<32>, rows: &[[f32; ROWS]], cols: &[Lanes<f32, 32>], classes: usize) {
    #[target_feature(enable = "avx512f")]
    fn inner(tile: &mut Tile<32>, rows: &[[f32; ROWS]], cols: &[Lanes<f32, 32>], classes: usize) {
        absorb::<32, true>(tile, rows, cols, classes);
    }
    debug_assert!(is_x86_feature_detected!("avx512f"));
    // SAFETY: the caller has a `Kernel::Avx512`, which there is only where the processor has the instructions.
    unsafe { inner(tile, rows, cols, classes) }
}

/// For [`Kernel::Avx2`].
#[cfg(target_arch = "x86_64")]
pub(crate) fn avx2(tile: &mut Tile<16>, rows: &[[f32; ROWS]], cols: &[Lanes<f32, 16>], classes: usize) {
    #[target_feature(enable = "avx2,fma")]
    fn inner(tile: &mut Tile<16>, rows: &[[f32; ROWS]], cols: &[Lanes<f32, 16>], classes: usize) {
        absorb::<16, true>(tile, rows, cols, classes);
    }
    debug_assert!(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"));
    // SAFETY: the caller has a `Kernel::Avx2`, which there is only where the processor has the instructions.
    unsafe { inner(tile, rows, cols, classes) }
}

/// For [`Kernel::Portable`].
pub(crate) fn portable(tile: &mut Tile<16>, rows: &[[f32; ROWS]], cols: &[Lanes<f32, 16>], classes: usize) {
    absorb::<16, { cfg!(target_arch = "aarch64") }>(tile, rows, cols, classes);
}

impl<const COLS: usize> Tile<COLS> {
    /// Empty products.
    pub(crate) fn new() -> Self {
        Tile { product: [Lanes([1.0; COLS]); ROWS], exponent: [Lanes([0; COLS]); ROWS], samples: 0 }
    }

    /// The distance of row `i` and column `j` of the tile.
    pub(crate) fn distance(&self, i: usize, j: usize) -> f64 {
        let exponent = i64::from(self.exponent[i].0[j]) - (BIAS + OVERLAP_EXPONENT) * self.samples;
        let log = f64::from(self.product[i].0[j]).ln() + exponent as f64 * std::f64::consts::LN_2;
        // Not `max`, which may keep a negative zero.
        if log < 0.0 { -log / self.samples as f64 } else { 0.0 }
    }
}

/// The body of every kernel: plain loops, which become vector instructions of the function they are inlined into.
#[inline(always)]
fn absorb<const COLS: usize, const FUSED: bool>(
    tile: &mut Tile<COLS>,
    rows: &[[f32; ROWS]],
    cols: &[Lanes<f32, COLS>],
    classes: usize,
) {
    let (mut product, mut exponent) = (tile.product, tile.exponent);
    for (rows, cols) in rows.chunks_exact(classes).zip(cols.chunks_exact(classes)) {
        let overlap = overlaps::<COLS, FUSED>(rows, cols);
        for i in 0..ROWS {
            for j in 0..COLS {
                let bits = factor(overlap[i].0[j]).to_bits();
                exponent[i].0[j] += (bits >> MANTISSA_BITS) as i32;
                product[i].0[j] *= f32::from_bits(bits & MANTISSA | ONE);
            }
        }
    }
    for i in 0..ROWS {
        for j in 0..COLS {
            let bits = product[i].0[j].to_bits();
            tile.exponent[i].0[j] = exponent[i].0[j] + (bits >> MANTISSA_BITS) as i32 - BIAS as i32;
            tile.product[i].0[j] = f32::from_bits(bits & MANTISSA | ONE);
        }
    }
    tile.samples += (rows.len() / classes) as i64;
}

/// Sums over classes of one sample, for all pairs of the tile.
#[inline(always)]
fn overlaps<const COLS: usize, const FUSED: bool>(
    rows: &[[f32; ROWS]],
    cols: &[Lanes<f32, COLS>],
) -> Block<f32, COLS> {
    let (first_rows, rows) = rows.split_at(rows.len().min(PARTIAL_SUM));
    let (first_cols, cols) = cols.split_at(cols.len().min(PARTIAL_SUM));
    let mut total = partial_sum::<COLS, FUSED>(first_rows, first_cols);
    for (rows, cols) in rows.chunks(PARTIAL_SUM).zip(cols.chunks(PARTIAL_SUM)) {
        let sum = partial_sum::<COLS, FUSED>(rows, cols);
        for i in 0..ROWS {
            for j in 0..COLS {
                total[i].0[j] += sum[i].0[j];
            }
        }
    }
    total
}

#[inline(always)]
fn partial_sum<const COLS: usize, const FUSED: bool>(
    rows: &[[f32; ROWS]],
    cols: &[Lanes<f32, COLS>],
) -> Block<f32, COLS> {
    let mut sum = [Lanes([0f32; COLS]); ROWS];
    for (row, col) in rows.iter().zip(cols) {
        for i in 0..ROWS {
            for j in 0..COLS {
                // Where it is not one instruction, a fused operation is a slow function.
                sum[i].0[j] = if FUSED {
                    row[i].mul_add(col.0[j], sum[i].0[j])
                } else {
                    sum[i].0[j] + row[i] * col.0[j]
                };
            }
        }
    }
    sum
}

/// What a sample multiplies the product by: the rules for full and empty overlaps are per sample.
#[inline(always)]
fn factor(overlap: f32) -> f32 {
    let capped = if overlap < FULL { overlap } else { FULL };
    if overlap == 0.0 { EMPTY } else { capped }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::assert_close;
    use crate::reference::EMPTY_OVERLAP;

    /// The distance of two models of one class, given the square roots of each sample.
    fn distance_of<const COLS: usize>(roots: &[(f32, f32)], absorb: Absorb<COLS>) -> f64 {
        let rows: Vec<_> = roots.iter().map(|(p, _)| [p * SCALE; ROWS]).collect();
        let cols: Vec<_> = roots.iter().map(|(_, q)| Lanes([q * SCALE; COLS])).collect();
        let mut tile = Tile::new();
        for (rows, cols) in rows.chunks(MOST_SAMPLES).zip(cols.chunks(MOST_SAMPLES)) {
            absorb(&mut tile, rows, cols, 1);
        }
        tile.distance(ROWS - 1, COLS - 1)
    }

    /// Of each kernel that this processor has.
    fn distances(roots: &[(f32, f32)]) -> Vec<f64> {
        let of = |kernel| match kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => distance_of(roots, avx512),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => distance_of(roots, avx2),
            Kernel::Portable => distance_of(roots, portable),
        };
        Kernel::all().map(of).collect()
    }

    /// The distance, given the overlap of each sample.
    fn assert_distance(overlaps: &[f32], expected: f64, absolute: f64, relative: f64) {
        let roots: Vec<_> = overlaps.iter().map(|&overlap| (overlap, 1.0)).collect();
        for distance in distances(&roots) {
            assert_close(distance, expected, absolute, relative);
        }
    }

    #[test]
    fn a_sample_without_overlap_counts_a_hundred() {
        assert_distance(&[0.0], EMPTY_OVERLAP, 0.0, 1e-9);
        assert_distance(&[0.0; 100], EMPTY_OVERLAP, 0.0, 1e-9);
        assert_distance(&[1.0, 0.0, 1.0, 1.0], EMPTY_OVERLAP / 4.0, 0.0, 1e-9);
    }

    #[test]
    fn a_sample_with_too_much_overlap_counts_zero() {
        for distance in distances(&[(1.0 + 1e-6, 1.0), (1.5, 1.0)]) {
            assert_eq!(distance.to_bits(), 0f64.to_bits());
        }
        assert_distance(&[2.0, 0.5], 2f64.ln() / 2.0, 0.0, 1e-15);
    }

    #[test]
    fn the_smallest_overlaps_neither_vanish_nor_lose_digits() {
        let tiny = f32::from_bits(1);
        assert_distance(&[tiny; 17], 149.0 * 2f64.ln(), 0.0, 1e-15);
        let root = f32::from_bits(0b101).sqrt();
        for distance in distances(&[(root, root)]) {
            assert_close(distance, 149.0 * 2f64.ln() - 5f64.ln(), 2e-7, 0.0);
        }
    }

    #[test]
    fn a_product_of_very_many_samples_keeps_its_precision() {
        assert_distance(&vec![0.3f32; 50_000], -f64::from(0.3f32).ln(), 1e-8, 0.0);
        // All that f32 can tell of these from 1 is a few digits; multiplying them loses no more.
        assert_distance(&vec![1.0 - 1e-5f32; 50_000], -f64::from(1.0 - 1e-5f32).ln(), 0.0, 5e-3);
    }
}
