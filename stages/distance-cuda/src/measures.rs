//! Each measure of the samples that a block's scratch was filled with, added to its sums.

use geometry::Measure;
use geometry::reference::{EMPTY_OVERLAP, PROBABILITY_FLOOR};
use tch::{Kind, TchError, Tensor};

use crate::scratch::{Scratch, Side};

/// Samples whose overlaps are multiplied before a logarithm is taken. In f64 the product of so many stays a normal number,
/// from that of the smallest scaled overlaps, 2^-109, to that of the largest, 2^40.
pub(crate) const GROUP: usize = 8;

/// Overlaps are computed times 2^40, square roots times 2^20: then even the smallest overlap of two f32 probabilities
/// (2^-149) is a normal f32, with all its digits.
const SCALE_EXPONENT: i32 = 40;
const SCALE: f64 = (1u64 << SCALE_EXPONENT) as f64;
const ROOT_SCALE: f64 = (1u64 << (SCALE_EXPONENT / 2)) as f64;

/// Adds to `sums`, f64 [m, n], the distances of all pairs for the first `count` samples of the scratch.
pub(crate) fn add(
    measure: Measure,
    scratch: &mut Scratch,
    count: usize,
    sums: &mut Tensor,
) -> Result<(), TchError> {
    match measure {
        Measure::Bhattacharyya => bhattacharyya(scratch, count, sums),
        Measure::Kl => kl(scratch, sums),
        Measure::Euclidean => euclidean(scratch, count, sums),
    }
}

/// `-sum_n log sum_c sqrt(p_nc q_nc)`; no overlap counts as more than full, an empty one counts [`EMPTY_OVERLAP`].
fn bhattacharyya(scratch: &mut Scratch, count: usize, sums: &mut Tensor) -> Result<(), TchError> {
    let (rows, cols) = scratch.sides();
    let row_loss = roots(rows, count)?;
    let col_loss = cols.map(|cols| roots(cols, count)).transpose()?;
    let _ = sums.f_sub_(&row_loss.f_unsqueeze(1)?)?;
    let _ = sums.f_sub_(col_loss.as_ref().unwrap_or(&row_loss))?;
    // [S, m, n]
    let mut overlaps = first(&scratch.pairs, count)?;
    let cols = first(&scratch.cols().roots, count)?.f_transpose(1, 2)?;
    let _ = first(&scratch.rows.roots, count)?.f_bmm_out(&overlaps, &cols)?;
    let _ = overlaps.f_clamp_max_(SCALE)?.f_threshold_(0.0, SCALE * (-EMPTY_OVERLAP).exp())?;
    let product = &mut scratch.product;
    for group in (0..count).step_by(GROUP) {
        product.f_copy_(&overlaps.f_get(group as i64)?)?;
        for sample in group + 1..count.min(group + GROUP) {
            let _ = product.f_mul_(&overlaps.f_get(sample as i64)?)?;
        }
        let _ = sums.f_sub_(&product.f_log_()?)?;
    }
    let _ = sums.f_add_scalar_(count as f64 * f64::from(SCALE_EXPONENT) * std::f64::consts::LN_2)?;
    Ok(())
}

/// Takes the scaled square roots of a side. Says by how much a model's distance from one like it is too large because
/// they are rounded, f64 [m]: `1/2 sum_nc (p_nc - r_nc^2)`. It is little, but not where distances are as little.
fn roots(side: &mut Side, count: usize) -> Result<Tensor, TchError> {
    let [values, mut roots] = [first(&side.values, count)?, first(&side.roots, count)?];
    let [mut doubles, mut others] = [first(&side.doubles, count)?, first(&side.others, count)?];
    let _ = values.f_sqrt_out(&roots)?;
    doubles.f_copy_(&values)?;
    others.f_copy_(&roots)?;
    let _ = doubles.f_sub_(&others.f_square_()?)?;
    let _ = roots.f_multiply_scalar_(ROOT_SCALE)?;
    doubles.f_sum_dim_intlist(&[0, 2][..], false, Kind::Double)?.f_multiply_scalar_(0.5)
}

/// `1/2 sum_nc (p - q) (log p - log q)` of probabilities floored at [`PROBABILITY_FLOOR`], multiplied out: products of
/// matrices [m, S C]. Samples that are missing are equal everywhere, and add nothing.
fn kl(scratch: &mut Scratch, sums: &mut Tensor) -> Result<(), TchError> {
    let (rows, cols) = scratch.sides();
    let row_own = logarithms(rows)?;
    let col_own = cols.map(logarithms).transpose()?;
    let _ = sums.f_add_(&row_own.f_unsqueeze(1)?)?;
    let _ = sums.f_add_(col_own.as_ref().unwrap_or(&row_own))?;
    let flat = |values: &Tensor| values.f_flatten(1, 2);
    let (rows, cols) = (&scratch.rows, scratch.cols());
    let _ = flat(&rows.doubles)?.f_mm_out(&scratch.product, &flat(&cols.others)?.f_tr()?)?;
    let _ = sums.f_sub_(&scratch.product)?;
    let _ = flat(&rows.others)?.f_mm_out(&scratch.product, &flat(&cols.doubles)?.f_tr()?)?;
    let _ = sums.f_sub_(&scratch.product)?;
    Ok(())
}

/// Floors the probabilities of a side and takes half of their logarithms; of each model the sum of their products, f64 [m].
fn logarithms(side: &mut Side) -> Result<Tensor, TchError> {
    side.doubles.f_copy_(&side.values)?;
    let _ = side.doubles.f_clamp_min_(PROBABILITY_FLOOR)?;
    let _ = side.doubles.f_log_out(&side.others)?;
    let _ = side.others.f_multiply_scalar_(0.5)?;
    let models = side.doubles.size3()?.0;
    let [row, col] = [[models, 1, -1], [models, -1, 1]];
    side.doubles.f_view(row)?.f_bmm(&side.others.f_view(col)?)?.f_view([models])
}

/// `sum_n |p_n - q_n|`, by `|p|^2 + |q|^2 - 2 p q`.
fn euclidean(scratch: &mut Scratch, count: usize, sums: &mut Tensor) -> Result<(), TchError> {
    let (rows, cols) = scratch.sides();
    let row_squares = squares(rows, count)?;
    let col_squares = cols.map(|cols| squares(cols, count)).transpose()?;
    // [S, m, n]
    let mut squares = first(&scratch.pairs, count)?;
    let cols = first(&scratch.cols().doubles, count)?.f_transpose(1, 2)?;
    let _ = first(&scratch.rows.doubles, count)?.f_bmm_out(&squares, &cols)?;
    let _ = squares.f_multiply_scalar_(-2.0)?.f_add_(&row_squares.f_unsqueeze(2)?)?;
    let _ = squares.f_add_(&col_squares.as_ref().unwrap_or(&row_squares).f_unsqueeze(1)?)?;
    let _ = squares.f_clamp_min_(0.0)?.f_sqrt_()?;
    let _ = squares.f_sum_intlist_out(&scratch.product, &[0][..], false, Kind::Double)?;
    let _ = sums.f_add_(&scratch.product)?;
    Ok(())
}

/// Of each sample and model of a side `|p|^2`, f64 [S, m].
fn squares(side: &mut Side, count: usize) -> Result<Tensor, TchError> {
    side.doubles.f_copy_(&side.values)?;
    let others = first(&side.others, count)?;
    let _ = first(&side.doubles, count)?.f_square_out(&others)?;
    others.f_sum_dim_intlist(&[2][..], false, Kind::Double)
}

/// The first samples of [S, ..].
fn first(values: &Tensor, count: usize) -> Result<Tensor, TchError> {
    values.f_narrow(0, 0, count as i64)
}
