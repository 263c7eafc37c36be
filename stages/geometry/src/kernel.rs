//! The register tile of the Bhattacharyya kernel: products of overlaps for a few rows and columns at a time, compiled for
//! each vector instruction set and chosen at run time.
//!
//! A distance is `-1/N log prod_n overlap_n`. Overlaps, f32 sums over classes, are multiplied a [`GROUP`] of samples at a
//! time; then the product is split into its exponent, which joins an integer sum, and its mantissa, with which the next
//! group begins. So a pair takes one logarithm in all. A multiplication rounds by at most 2^-24, so the mean over samples
//! is off by at most that, and by far less where roundings cancel.
//!
//! No overlap is above 1, so that a product only falls: when it is large enough at the end of a group it always was, and
//! no overlap in it was empty. When it is not, the group is done again, each overlap split by itself and as large as it
//! is, however small.

/// Models side by side in a tile of rows.
pub(crate) const ROWS: usize = 4;

/// Samples that are multiplied before a product is looked at.
pub(crate) const GROUP: usize = 16;

/// A value per model of a tile of columns. Vectors that lie across two cache lines take twice as long to load.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Lanes<T, const COLS: usize>(pub [T; COLS]);

/// A value per pair of a tile.
type Block<T, const COLS: usize> = [Lanes<T, COLS>; ROWS];

/// Below this a product may have lost digits on its way.
const SMALL: f32 = 1.0 / (1u128 << 100) as f32;

/// In a group that is done again, overlaps are multiplied by 2^40: then even the smallest overlap of two f32 probabilities
/// (2^-149) is a normal f32, with all its digits.
const SCALE: f32 = (1u64 << SCALE_EXPONENT) as f32;
const SCALE_EXPONENT: i32 = 40;
/// What takes the place of an empty overlap: exp(-100) of [`crate::reference::EMPTY_OVERLAP`], scaled.
const EMPTY: f32 = (3.720075976020836e-44 * SCALE as f64) as f32;

/// Classes that are summed one after the other at most where there are no more, and where there are.
const FEW: usize = 10;
const CHAIN: usize = 8;

/// Sums that become one of the next level, and levels above the first two: all branches of 2,000 classes find a place below
/// the last.
const FAN: usize = 4;
const LEVELS: usize = 4;
/// Classes whose sum is in registers.
const BRANCH: usize = FAN * CHAIN;

/// Sums that are not whole yet, by level.
type Levels<const COLS: usize, const HEIGHT: usize> = [Block<f32, COLS>; HEIGHT];

const MANTISSA_BITS: u32 = f32::MANTISSA_DIGITS - 1;
const MANTISSA: u32 = (1 << MANTISSA_BITS) - 1;
const ONE: u32 = 1f32.to_bits();
const BIAS: i32 = (ONE >> MANTISSA_BITS) as i32;

/// The products of overlaps so far, of a tile's pairs: `product * 2^exponent`.
#[derive(Clone)]
pub(crate) struct Tile<const COLS: usize> {
    /// In [1, 2).
    product: Block<f32, COLS>,
    exponent: Block<i32, COLS>,
}

/// A tile, its rows and its columns, and the number of classes.
type Absorb<const COLS: usize> = fn(&mut Tile<COLS>, &[[f32; ROWS]], &[Lanes<f32, COLS>], usize);

/// What is compiled for each vector instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Functions<const COLS: usize> {
    /// Multiplies the overlaps of some samples into a tile. Rows and columns hold square roots, class by class within sample
    /// by sample.
    pub(crate) absorb: Absorb<COLS>,
    /// Square roots of probabilities, and how much they lose by rounding: the sum of `p - r^2`, which is no number if one of
    /// them is no probability.
    pub(crate) roots: fn(&[f32], &mut [f32]) -> f64,
    /// Of each pair of a tile, the sum over samples of its distances.
    pub(crate) sums: fn(&Tile<COLS>) -> Block<f64, COLS>,
}

/// A vector instruction set, with as many columns in a tile as leave its registers room for sums, products and operands:
/// the more there are, the less has to be loaded for a multiply-add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// 32 registers of 16 numbers; 48 columns.
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
pub(crate) const AVX512: Functions<48> = {
    #[target_feature(enable = "avx512f")]
    fn absorb_inner(tile: &mut Tile<48>, rows: &[[f32; ROWS]], cols: &[Lanes<f32, 48>], classes: usize) {
        absorb::<48, true>(tile, rows, cols, classes);
    }
    #[target_feature(enable = "avx512f")]
    fn roots_inner(values: &[f32], to: &mut [f32]) -> f64 {
        roots::<true>(values, to)
    }
    #[target_feature(enable = "avx512f")]
    fn sums_inner(tile: &Tile<48>) -> Block<f64, 48> {
        sums::<48, true>(tile)
    }
    // SAFETY: the caller has a `Kernel::Avx512`, which there is only where the processor has the instructions.
    Functions {
        absorb: |tile, rows, cols, classes| unsafe { absorb_inner(tile, rows, cols, classes) },
        // SAFETY: as above.
        roots: |values, to| unsafe { roots_inner(values, to) },
        // SAFETY: as above.
        sums: |tile| unsafe { sums_inner(tile) },
    }
};

/// For [`Kernel::Avx2`].
#[cfg(target_arch = "x86_64")]
pub(crate) const AVX2: Functions<16> = {
    #[target_feature(enable = "avx2,fma")]
    fn absorb_inner(tile: &mut Tile<16>, rows: &[[f32; ROWS]], cols: &[Lanes<f32, 16>], classes: usize) {
        absorb::<16, true>(tile, rows, cols, classes);
    }
    #[target_feature(enable = "avx2,fma")]
    fn roots_inner(values: &[f32], to: &mut [f32]) -> f64 {
        roots::<true>(values, to)
    }
    #[target_feature(enable = "avx2,fma")]
    fn sums_inner(tile: &Tile<16>) -> Block<f64, 16> {
        sums::<16, true>(tile)
    }
    // SAFETY: the caller has a `Kernel::Avx2`, which there is only where the processor has the instructions.
    Functions {
        absorb: |tile, rows, cols, classes| unsafe { absorb_inner(tile, rows, cols, classes) },
        // SAFETY: as above.
        roots: |values, to| unsafe { roots_inner(values, to) },
        // SAFETY: as above.
        sums: |tile| unsafe { sums_inner(tile) },
    }
};

/// For [`Kernel::Portable`].
pub(crate) const PORTABLE: Functions<16> =
    Functions { absorb: absorb::<16, IS_FUSED>, roots: roots::<IS_FUSED>, sums: sums::<16, IS_FUSED> };

/// Whether multiplication and addition are one instruction on every processor of this architecture. Where they are not, a
/// fused operation is a slow function.
const IS_FUSED: bool = cfg!(target_arch = "aarch64");

impl<const COLS: usize> Tile<COLS> {
    /// Empty products.
    pub(crate) fn new() -> Self {
        Tile { product: [Lanes([1.0; COLS]); ROWS], exponent: [Lanes([0; COLS]); ROWS] }
    }

    /// Asks for what will be needed next, while there is other work to do.
    #[inline]
    pub(crate) fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        for line in (0..size_of::<Self>()).step_by(64) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: the address is within this tile.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(self).cast::<i8>().add(line)) };
        }
    }

    /// Takes products whose value is at most 2 and at least the smallest normal number, with `added` to their exponents.
    #[inline(always)]
    fn split(&mut self, product: &Block<f32, COLS>, added: i32) {
        for ((held, exponent), product) in self.product.iter_mut().zip(&mut self.exponent).zip(product) {
            for j in 0..COLS {
                let bits = product.0[j].to_bits();
                exponent.0[j] += (bits >> MANTISSA_BITS) as i32 + (added - BIAS);
                held.0[j] = f32::from_bits(bits & MANTISSA | ONE);
            }
        }
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
    // Clearing what is not needed would take a twentieth of the time.
    if classes > BRANCH {
        let mut levels = [[Lanes([0f32; COLS]); ROWS]; LEVELS];
        absorb_groups::<COLS, FUSED, LEVELS>(tile, rows, cols, classes, &mut levels);
    } else {
        absorb_groups::<COLS, FUSED, 0>(tile, rows, cols, classes, &mut []);
    }
}

/// Of samples of at most [`BRANCH`] classes, without levels, or of any number, with all [`LEVELS`].
#[inline(always)]
fn absorb_groups<const COLS: usize, const FUSED: bool, const HEIGHT: usize>(
    tile: &mut Tile<COLS>,
    rows: &[[f32; ROWS]],
    cols: &[Lanes<f32, COLS>],
    classes: usize,
    levels: &mut Levels<COLS, HEIGHT>,
) {
    let group = GROUP * classes;
    for (rows, cols) in rows.chunks(group).zip(cols.chunks(group)) {
        let mut product = tile.product;
        for (row, col) in rows.chunks_exact(classes).zip(cols.chunks_exact(classes)) {
            let overlap = overlaps::<COLS, FUSED, HEIGHT>(row, col, 1.0, levels);
            for (product, overlap) in product.iter_mut().zip(&overlap) {
                for j in 0..COLS {
                    product.0[j] *= capped(overlap.0[j], 1.0);
                }
            }
        }
        // Without a way out, so that many are looked at at a time; and in loops, which are compiled for the vector
        // instructions as they stand here.
        let mut small = [0u32; COLS];
        for product in &product {
            for (small, product) in small.iter_mut().zip(&product.0) {
                *small |= u32::from(*product < SMALL);
            }
        }
        let mut any = 0;
        for small in small {
            any |= small;
        }
        if any == 0 {
            tile.split(&product, 0);
        } else {
            absorb_one_by_one::<COLS, FUSED, HEIGHT>(tile, rows, cols, classes, levels);
        }
    }
}

/// The same for overlaps of any size.
#[inline(always)]
fn absorb_one_by_one<const COLS: usize, const FUSED: bool, const HEIGHT: usize>(
    tile: &mut Tile<COLS>,
    rows: &[[f32; ROWS]],
    cols: &[Lanes<f32, COLS>],
    classes: usize,
    levels: &mut Levels<COLS, HEIGHT>,
) {
    for (row, col) in rows.chunks_exact(classes).zip(cols.chunks_exact(classes)) {
        let mut overlap = overlaps::<COLS, FUSED, HEIGHT>(row, col, SCALE, levels);
        for (overlap, product) in overlap.iter_mut().zip(&tile.product) {
            for j in 0..COLS {
                let found = overlap.0[j];
                overlap.0[j] = product.0[j] * if found == 0.0 { EMPTY } else { capped(found, SCALE) };
            }
        }
        tile.split(&overlap, -SCALE_EXPONENT);
    }
}

/// No overlap is more than full; what is above is rounding. The bits of numbers that are not negative are in the numbers'
/// order, and integers are compared where the multiplications are not done.
#[inline(always)]
fn capped(overlap: f32, full: f32) -> f32 {
    f32::from_bits(overlap.to_bits().min(full.to_bits()))
}

/// Sums over classes of one sample, for all pairs of the tile, times `scale`.
///
/// Equal terms are all rounded to the same side while a sum grows from one power of two to the next. So more than a few
/// classes are summed as a tree: sums of [`CHAIN`], of [`FAN`] of these, and so on. `levels` is room for what is not in
/// registers.
#[inline(always)]
fn overlaps<const COLS: usize, const FUSED: bool, const HEIGHT: usize>(
    rows: &[[f32; ROWS]],
    cols: &[Lanes<f32, COLS>],
    scale: f32,
    levels: &mut Levels<COLS, HEIGHT>,
) -> Block<f32, COLS> {
    if HEIGHT == 0 {
        return match rows.len() <= FEW {
            true => chain::<COLS, FUSED>(rows, cols, scale),
            false => branch::<COLS, FUSED>(rows, cols, scale),
        };
    }
    let mut branches = 0;
    for (rows, cols) in rows.chunks(BRANCH).zip(cols.chunks(BRANCH)) {
        branches += 1;
        carry(levels, branches, branch::<COLS, FUSED>(rows, cols, scale));
    }
    // From the top, so that the last class comes last.
    let mut total = [Lanes([0f32; COLS]); ROWS];
    for (level, sum) in levels.iter().enumerate().rev() {
        let count = branches / FAN.pow(level as u32);
        if level + 1 == HEIGHT && count > 0 || !count.is_multiple_of(FAN) {
            add(&mut total, sum);
        }
    }
    total
}

/// Adds the sum of a branch, of which it is the `count`-th; what it makes whole goes up a level.
#[inline(always)]
fn carry<const COLS: usize, const HEIGHT: usize>(
    levels: &mut Levels<COLS, HEIGHT>,
    mut count: usize,
    mut sum: Block<f32, COLS>,
) {
    let mut level = 0;
    while level + 1 < HEIGHT && count.is_multiple_of(FAN) {
        add(&mut sum, &levels[level]);
        (level, count) = (level + 1, count / FAN);
    }
    if count % FAN == 1 && (level + 1 < HEIGHT || count == 1) {
        levels[level] = sum;
    } else {
        add(&mut levels[level], &sum);
    }
}

#[inline(always)]
fn add<const COLS: usize>(total: &mut Block<f32, COLS>, sum: &Block<f32, COLS>) {
    for (total, sum) in total.iter_mut().zip(sum) {
        for j in 0..COLS {
            total.0[j] += sum.0[j];
        }
    }
}

/// The sum of [`BRANCH`] classes at most, as sums of chains.
#[inline(always)]
fn branch<const COLS: usize, const FUSED: bool>(
    rows: &[[f32; ROWS]],
    cols: &[Lanes<f32, COLS>],
    scale: f32,
) -> Block<f32, COLS> {
    let ((row_chains, last_rows), (col_chains, last_cols)) =
        (rows.as_chunks::<CHAIN>(), cols.as_chunks::<CHAIN>());
    let mut total = [Lanes([0f32; COLS]); ROWS];
    for (rows, cols) in row_chains.iter().zip(col_chains) {
        add(&mut total, &chain::<COLS, FUSED>(rows, cols, scale));
    }
    if !last_rows.is_empty() {
        add(&mut total, &chain::<COLS, FUSED>(last_rows, last_cols, scale));
    }
    total
}

/// The sum of some classes, one after the other.
#[inline(always)]
fn chain<const COLS: usize, const FUSED: bool>(
    rows: &[[f32; ROWS]],
    cols: &[Lanes<f32, COLS>],
    scale: f32,
) -> Block<f32, COLS> {
    let mut sum = [Lanes([0f32; COLS]); ROWS];
    for (row, col) in rows.iter().zip(cols) {
        for i in 0..ROWS {
            let row = row[i] * scale;
            for j in 0..COLS {
                sum[i].0[j] =
                    if FUSED { row.mul_add(col.0[j], sum[i].0[j]) } else { sum[i].0[j] + row * col.0[j] };
            }
        }
    }
    sum
}

/// A logarithm of each product, by its mantissa m in [1, 2) and its exponent: log m is 2 atanh((m - 1) / (m + 1)), whose
/// series is short once m is in [sqrt 1/2, sqrt 2].
#[inline(always)]
fn sums<const COLS: usize, const FUSED: bool>(tile: &Tile<COLS>) -> Block<f64, COLS> {
    /// Terms of the series: the next one is less than 2^-54 of the first.
    const TERMS: i32 = 10;
    let plus = |sum: f64, a: f64, b: f64| if FUSED { a.mul_add(b, sum) } else { sum + a * b };
    let mut sums = [Lanes([0.0; COLS]); ROWS];
    for (i, sums) in sums.iter_mut().enumerate() {
        for j in 0..COLS {
            let mantissa = f64::from(tile.product[i].0[j]);
            let is_high = mantissa > std::f64::consts::SQRT_2;
            let mantissa = if is_high { 0.5 * mantissa } else { mantissa };
            let exponent = tile.exponent[i].0[j] + i32::from(is_high);
            let s = (mantissa - 1.0) / (mantissa + 1.0);
            let square = s * s;
            let mut series = 1.0 / f64::from(2 * TERMS - 1);
            for k in (1..TERMS).rev() {
                series = plus(1.0 / f64::from(2 * k - 1), series, square);
            }
            let log = plus(2.0 * s * series, f64::from(exponent), std::f64::consts::LN_2);
            // Not `max`, which may keep a negative zero.
            sums.0[j] = if log < 0.0 { -log } else { 0.0 };
        }
    }
    sums
}

/// The loss is a sum of remainders, each of which f32 holds exactly.
#[inline(always)]
fn roots<const FUSED: bool>(values: &[f32], to: &mut [f32]) -> f64 {
    // Several sums, so that one does not wait for the other.
    const LANES: usize = 16;
    let root = |p: f32, to: &mut f32| {
        let root = p.sqrt();
        *to = root;
        if FUSED { root.mul_add(-root, p) } else { (f64::from(p) - f64::from(root).powi(2)) as f32 }
    };
    let ((values, last_values), (to, last_to)) = (values.as_chunks::<LANES>(), to.as_chunks_mut::<LANES>());
    let mut sums = [0f32; LANES];
    for (values, to) in values.iter().zip(to) {
        for i in 0..LANES {
            sums[i] += root(values[i], &mut to[i]);
        }
    }
    let last = last_values.iter().zip(last_to).map(|(p, to)| root(*p, to));
    sums.into_iter().chain(last).map(f64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::assert_close;
    use crate::reference::EMPTY_OVERLAP;

    /// The distance of two models of one class, given the square roots of each sample.
    fn distance_of<const COLS: usize>(roots: &[(f32, f32)], functions: Functions<COLS>) -> f64 {
        let rows: Vec<_> = roots.iter().map(|(p, _)| [*p; ROWS]).collect();
        let cols: Vec<_> = roots.iter().map(|(_, q)| Lanes([*q; COLS])).collect();
        let mut tile = Tile::new();
        (functions.absorb)(&mut tile, &rows, &cols, 1);
        (functions.sums)(&tile)[ROWS - 1].0[COLS - 1] / roots.len() as f64
    }

    /// Of each kernel that this processor has.
    fn distances(roots: &[(f32, f32)]) -> Vec<f64> {
        let of = |kernel| match kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 => distance_of(roots, AVX512),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => distance_of(roots, AVX2),
            Kernel::Portable => distance_of(roots, PORTABLE),
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
    fn logarithms_have_all_digits_of_f64() {
        for step in 0..1_000 {
            let overlap = 1.0 - 0.000_9 * step as f32;
            assert_distance(&[overlap], -f64::from(overlap).ln(), 0.0, 4e-16);
        }
    }

    #[test]
    fn a_product_of_very_many_samples_keeps_its_precision() {
        assert_distance(&vec![0.3f32; 50_000], -f64::from(0.3f32).ln(), 1e-8, 0.0);
        // All that f32 can tell of these from 1 is a few digits; multiplying them loses no more.
        assert_distance(&vec![1.0 - 1e-5f32; 50_000], -f64::from(1.0 - 1e-5f32).ln(), 0.0, 5e-3);
    }
}
