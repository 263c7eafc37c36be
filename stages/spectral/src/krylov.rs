//! The eigenpairs of largest magnitude of a symmetric operator that is known by what it makes of vectors.
//!
//! Block Lanczos with full orthogonalisation and thick restarts (Wu and Simon, "Thick-restart Lanczos method for large
//! symmetric eigenvalue problems", SIAM J. Matrix Anal. Appl. 22, 2000): a basis V grows by what the operator makes of its
//! last block, so that one pass over a matrix serves a whole block. The eigenpairs of V A V' (Rayleigh-Ritz) approach those
//! of A, from both ends of its spectrum at once; a basis that is full shrinks to the leading ones.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use ndarray_linalg::{Cholesky, Diag, QR, SolveTriangularInto, UPLO};

use crate::SpectralError;
use crate::blas::Blas;
use crate::eigen::{self, Eigenpairs};
use crate::panel;

/// Vectors that the operator is given at a time. With 8 a matrix in memory takes as long, with 32 a third longer; and one that
/// is read for each pass wants few passes.
const BLOCK: usize = panel::WIDTH;

/// A residual that Rayleigh and Ritz tell, relative to the largest eigenvalue, at which a pair is good.
const GOOD: f64 = 1e-8;

/// A block shrinks the residual by no more than this, as a rule: by 2 to 10, where it was seen.
const FASTEST: f64 = 30.0;

/// What is promised of the residuals of the pairs that are given back, computed from the operator itself.
const PROMISED: f64 = 1e-6;

/// The operator is applied to no more blocks than this.
const BLOCKS: usize = 500;

/// Rows of the basis when it is full.
fn room(count: usize) -> usize {
    3 * count + 4 * BLOCK
}

/// Vectors that are there at a time, each of as many numbers as the operator takes.
pub(crate) fn vectors(count: usize) -> usize {
    // The basis, what it shrinks to, and the block that comes next: made, put together, and made orthonormal.
    room(count) + count + BLOCK + 4 * count.max(BLOCK)
}

/// The `count` eigenpairs of largest magnitude. `apply` takes vectors as rows \[b, M\] and gives what the operator makes of
/// them; it makes nothing of `null` \[M\], and no pair with that vector is sought.
///
/// # Errors
/// Those of `apply`, and when residuals stay larger than 1e-6 of the largest eigenvalue.
///
/// # Panics
/// When vectors are not longer than the basis is large: that is a matrix to decompose whole.
pub(crate) fn leading(
    null: ArrayView1<f64>,
    count: usize,
    blas: &Blas,
    mut apply: impl FnMut(ArrayView2<f64>) -> Result<Array2<f64>, SpectralError>,
) -> Result<Eigenpairs, SpectralError> {
    let room = room(count);
    assert!(null.len() > room, "{} is too small an order for a basis of {room}", null.len());
    let mut basis = Array2::zeros((room, null.len()));
    let mut projected = Array2::zeros((room, room));
    let (mut filled, mut due) = (0, 0);
    let null = &null / null.dot(&null).sqrt();
    let mut next = Beside::new(blas, null.view().insert_axis(Axis(0)), random(null.len()))?.orthonormal;
    let mut worst = f64::INFINITY;
    for block in 1..=BLOCKS {
        let from = filled;
        filled += next.nrows();
        basis.slice_mut(s![from..filled, ..]).assign(&next);
        let there = basis.slice(s![..filled, ..]);
        let image = Beside::new(blas, there, apply(next.view())?)?;
        projected.slice_mut(s![..filled, from..filled]).assign(&image.within);
        projected.slice_mut(s![from..filled, ..filled]).assign(&image.within.t());

        // Rayleigh and Ritz are asked when the basis is full, or the residual may have become small enough since they last
        // were, and at the last block: what is promised by then is enough.
        let is_full = filled + BLOCK > room;
        let (is_last, enough) = if block == BLOCKS { (true, PROMISED) } else { (false, GOOD) };
        if filled < count || !is_full && !is_last && block < due {
            next = image.orthonormal;
            continue;
        }
        // Some more than are wanted: after a restart they keep the last of those from coming late.
        let kept = (count + BLOCK).min(filled);
        let mut matrix = projected.slice(s![..filled, ..filled]).to_owned();
        let Eigenpairs { values, vectors } = eigen::leading(&mut matrix, kept, blas)?;
        let largest = values[0].abs();
        // Of A v - λ v only what lies outside the basis is left: the image of the last block's share of v.
        let mut outside = Array2::zeros((count, null.len()));
        blas.product(1.0, vectors.slice(s![..count, from..]), image.outside.view(), 0.0, outside.view_mut());
        worst = longest(outside.view()) / largest;
        if worst <= enough {
            let mut leading = outside;
            blas.product(1.0, vectors.slice(s![..count, ..]), there, 0.0, leading.view_mut());
            let pairs = Eigenpairs { values: values.slice_move(s![..count]), vectors: leading };
            let residual = residual(&pairs, apply)?;
            return match residual <= PROMISED {
                true => Ok(pairs),
                false => Err(SpectralError::NotConverged { blocks: block, residual }),
            };
        }
        due = block + ((worst / GOOD).ln() / FASTEST.ln()).ceil().max(1.0) as usize;
        next = image.orthonormal;
        if is_full {
            let mut best = Array2::zeros((kept, null.len()));
            blas.product(1.0, vectors.view(), there, 0.0, best.view_mut());
            basis.slice_mut(s![..kept, ..]).assign(&best);
            projected.fill(0.0);
            projected.diag_mut().slice_mut(s![..kept]).assign(&values);
            filled = kept;
        }
    }
    Err(SpectralError::NotConverged { blocks: BLOCKS, residual: worst })
}

/// Numbers without a pattern, the same every time \[block, M\].
fn random(order: usize) -> Array2<f64> {
    let mut state = 42_u64;
    Array2::from_shape_simple_fn((BLOCK, order), || {
        // Knuth's linear congruential generator; its upper bits.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    })
}

/// Takes from `rows` what lies in the span of a basis, and returns it: rows of the basis by `rows`.
fn remove(blas: &Blas, basis: ArrayView2<f64>, rows: &mut Array2<f64>) -> Array2<f64> {
    let mut found = Array2::zeros((basis.nrows(), rows.nrows()));
    blas.product(1.0, basis, rows.t(), 0.0, found.view_mut());
    blas.product(-1.0, found.t(), basis, 1.0, rows.view_mut());
    found
}

/// What rows are beside a basis.
struct Beside {
    /// Their products with the rows of the basis: rows of the basis by rows.
    within: Array2<f64>,
    /// The rows without what lies in the span of the basis, but for rounding.
    outside: Array2<f64>,
    /// A basis of that; where it spans less than its rows are, there are other vectors in it too.
    orthonormal: Array2<f64>,
}

impl Beside {
    fn new(blas: &Blas, basis: ArrayView2<f64>, rows: Array2<f64>) -> Result<Beside, SpectralError> {
        let mut outside = rows;
        let mut within = remove(blas, basis, &mut outside);
        let (mut scaled, factor) = factored(blas, outside.view(), 1e-6)?;
        // The first removal leaves its own rounding, and of rows that are short beside others that is most, once they are scaled.
        within += &remove(blas, basis, &mut scaled).dot(&factor);
        let is_short = scaled.rows().into_iter().any(|row| row.dot(&row) < 0.25);
        let (mut orthonormal, _) = factored(blas, scaled.view(), 0.9)?;
        // Twice is enough, but where nothing was left to scale but rounding.
        if is_short {
            remove(blas, basis, &mut orthonormal);
            (orthonormal, _) = factored(blas, orthonormal.view(), 0.9)?;
        }
        Ok(Beside { within, outside, orthonormal })
    }
}

/// Orthonormal rows Q and an upper triangle R, so that the rows that are given are R'Q.
///
/// By the Cholesky factor of the rows' products, which takes two matrix products; where its diagonal spans more than 1 to
/// `least`, by reflections. What is lost of orthogonality is about the rounding of a number over the square of `least`, so that
/// a rough Q, factored once more, is as good as one by reflections (Yamamoto et al., "Roundoff error analysis of the CholeskyQR2
/// algorithm", ETNA 44, 2015).
fn factored(
    blas: &Blas,
    rows: ArrayView2<f64>,
    least: f64,
) -> Result<(Array2<f64>, Array2<f64>), SpectralError> {
    let mut products = Array2::zeros((rows.nrows(), rows.nrows()));
    blas.product(1.0, rows, rows.t(), 0.0, products.view_mut());
    // Where they are not positive there is no factor.
    if let Ok(factor) = products.cholesky(UPLO::Lower)
        && factor
            .diag()
            .iter()
            .all(|value| *value > least * factor[[0, 0]] && least * *value < factor[[0, 0]])
    {
        let inverse = factor.solve_triangular_into(UPLO::Lower, Diag::NonUnit, Array2::eye(rows.nrows()))?;
        let mut orthonormal = Array2::zeros(rows.dim());
        blas.product(1.0, inverse.view(), rows, 0.0, orthonormal.view_mut());
        return Ok((orthonormal, factor.reversed_axes()));
    }
    let (columns, factor) = rows.t().qr()?;
    Ok((columns.reversed_axes().as_standard_layout().into_owned(), factor))
}

/// The largest length of A v - λ v, by the operator itself, relative to the largest eigenvalue.
fn residual(
    pairs: &Eigenpairs,
    mut apply: impl FnMut(ArrayView2<f64>) -> Result<Array2<f64>, SpectralError>,
) -> Result<f64, SpectralError> {
    let mut image = apply(pairs.vectors.view())?;
    for ((mut image, vector), value) in
        image.rows_mut().into_iter().zip(pairs.vectors.rows()).zip(&pairs.values)
    {
        image.scaled_add(-value, &vector);
    }
    Ok(longest(image.view()) / pairs.values[0].abs())
}

/// The largest length of a row; NaN if one has no length.
fn longest(rows: ArrayView2<f64>) -> f64 {
    let lengths = rows.rows().into_iter().map(|row| row.dot(&row).sqrt());
    lengths.fold(0.0, |longest, length| if length <= longest { longest } else { length })
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;

    use super::*;

    /// A diagonal matrix with these values but for a last one of 0, whose vector is `null`.
    fn of_diagonal(values: &Array1<f64>, count: usize) -> Result<Eigenpairs, SpectralError> {
        let mut null = Array1::zeros(values.len());
        null[values.len() - 1] = 2.0;
        leading(null.view(), count, &Blas::single(1), |x| Ok(&x * values))
    }

    #[test]
    fn leading_pairs_of_both_signs_are_found_also_where_they_crowd() {
        // Neighbours in magnitude differ by one part in a thousand, with alternating signs: this takes restarts.
        let mut values =
            Array1::from_shape_fn(900, |i| 0.999_f64.powi(i as i32) * if i % 2 == 0 { 1.0 } else { -1.0 });
        values[899] = 0.0;
        let Eigenpairs { values: found, vectors } = of_diagonal(&values, 20).unwrap();
        for k in 0..20 {
            assert!((found[k] - values[k]).abs() < 1e-12, "{k}: {}", found[k]);
            assert!((vectors[[k, k]].abs() - 1.0).abs() < 1e-9, "{k}: {}", vectors[[k, k]]);
        }
    }

    #[test]
    fn an_eigenvalue_with_several_vectors_is_found_with_all_of_them() {
        let mut values = Array1::from_shape_fn(400, |i| if i < 7 { 3.0 } else { 1.0 / i as f64 });
        values[399] = 0.0;
        let found = of_diagonal(&values, 9).unwrap().values;
        assert!(
            (0..7).all(|k| (found[k] - 3.0).abs() < 1e-12) && (found[7] - 1.0 / 7.0).abs() < 1e-12,
            "{found}"
        );
    }

    #[test]
    fn a_matrix_of_lower_rank_than_pairs_are_wanted_has_zeros_beyond_it() {
        let values = Array1::from_shape_fn(400, |i| if i < 3 { 3.0 - i as f64 } else { 0.0 });
        let Eigenpairs { values, vectors } = of_diagonal(&values, 10).unwrap();
        assert!((0..3).all(|k| (values[k] - (3.0 - k as f64)).abs() < 1e-12), "{values}");
        assert!((3..10).all(|k| values[k].abs() < 1e-12), "{values}");
        let products = vectors.dot(&vectors.t()) - Array2::<f64>::eye(10);
        assert!(products.iter().all(|product| product.abs() < 1e-12));
    }

    #[test]
    fn pairs_as_good_as_promised_are_given_where_they_settle_too_slowly_to_be_better() {
        // Very many that hardly differ, and others far from them.
        let values = Array1::from_shape_fn(900, |i| match i {
            0..600 => 1.0 - 1e-9 * i as f64,
            899 => 0.0,
            _ => 0.99 * (1.0 - (i - 600) as f64 / 150.0),
        });
        let mut null = Array1::zeros(900);
        null[899] = 1.0;
        let mut calls = 0;
        let found = leading(null.view(), 9, &Blas::single(1), |x| {
            calls += 1;
            Ok(&x * &values)
        });
        assert!(found.unwrap().values.iter().all(|value| (value - 1.0).abs() < PROMISED));
        assert_eq!(calls, BLOCKS + 1, "it went on to the last block, and checked");
    }

    #[test]
    fn pairs_that_do_not_settle_are_an_error() {
        // Another operator each time.
        let mut calls = 0.0;
        let null = Array1::ones(400);
        let error = leading(null.view(), 4, &Blas::single(1), |x| {
            calls += 1.0;
            Ok(x.mapv(|value| (value * 1e3 * calls).sin()))
        });
        assert!(matches!(error, Err(SpectralError::NotConverged { .. })));
    }
}
