//! Each measure, summed over the samples of a few tensors.

use geometry::Measure;
use geometry::reference::{EMPTY_OVERLAP, PROBABILITY_FLOOR};
use tch::{Kind, TchError, Tensor};

/// Samples whose overlaps are multiplied before a logarithm is taken. In f64 the product of so many stays a normal number,
/// from that of the smallest scaled overlaps, 2^-109, to that of the largest, 2^40.
pub(crate) const GROUP: usize = 8;

/// Overlaps are computed times 2^40: then even the smallest of two f32 probabilities (2^-149) is a normal f32, with all its
/// digits.
const SCALE_EXPONENT: i32 = 40;
const SCALE: f64 = (1u64 << SCALE_EXPONENT) as f64;

/// Sums over samples of the distances of all pairs, f64 [m, n], of f32 probabilities [m, S, C] and [n, S, C].
pub(crate) fn sums(measure: Measure, rows: &Tensor, cols: &Tensor) -> Result<Tensor, TchError> {
    match measure {
        Measure::Bhattacharyya => bhattacharyya(rows, cols),
        Measure::Kl => kl(rows, cols),
        Measure::Euclidean => euclidean(rows, cols),
    }
}

/// `-sum_n log sum_c sqrt(p_nc q_nc)`; no overlap counts as more than full, an empty one counts [`EMPTY_OVERLAP`].
fn bhattacharyya(rows: &Tensor, cols: &Tensor) -> Result<Tensor, TchError> {
    let (mut row_roots, col_roots) = (rows.f_sqrt()?, cols.f_sqrt()?);
    let losses = loss(rows, &row_roots)?.f_unsqueeze(1)?.f_add(&loss(cols, &col_roots)?)?;
    row_roots = row_roots.f_multiply_scalar_(SCALE)?;
    let [row_roots, col_roots] = [by_sample(&row_roots)?, by_sample(&col_roots)?];
    // [S, m, n]
    let mut overlaps = row_roots.f_bmm(&col_roots.f_transpose(1, 2)?)?;
    let _ = overlaps.f_clamp_max_(SCALE)?;
    let mut logs = log_of_product(&overlaps)?;
    // Only an empty overlap makes a product 0.
    if logs.f_min()?.f_double_value(&[])? == f64::NEG_INFINITY {
        let _ = overlaps.f_masked_fill_(&overlaps.f_eq(0.0)?, SCALE * (-EMPTY_OVERLAP).exp())?;
        logs = log_of_product(&overlaps)?;
    }
    let samples = rows.size()[1] as f64;
    let scale = samples * f64::from(SCALE_EXPONENT) * std::f64::consts::LN_2;
    logs.f_neg_()?.f_sub_(&losses)?.f_add_scalar_(scale)
}

/// Sum over samples of the logarithms of [S, m, n], in f64 [m, n].
fn log_of_product(overlaps: &Tensor) -> Result<Tensor, TchError> {
    let (_, rows, cols) = overlaps.size3()?;
    let mut sum = Tensor::f_zeros([rows, cols], (Kind::Double, overlaps.device()))?;
    for group in overlaps.f_split(GROUP as i64, 0)? {
        sum = sum.f_add_(&group.f_prod_dim_int(0, false, Kind::Double)?.f_log_()?)?;
    }
    Ok(sum)
}

/// By how much a model's distance from one like it is too large because square roots are rounded, [m]:
/// `1/2 sum_nc (p_nc - r_nc^2)`. It is little, but not where distances are as little.
fn loss(values: &Tensor, roots: &Tensor) -> Result<Tensor, TchError> {
    let squares = double(roots)?.f_square_()?;
    double(values)?
        .f_sub_(&squares)?
        .f_sum_dim_intlist(&[1, 2][..], false, Kind::Double)?
        .f_multiply_scalar_(0.5)
}

/// `1/2 sum_nc (p - q) (log p - log q)` of probabilities floored at [`PROBABILITY_FLOOR`], multiplied out: products of
/// matrices [m, S C].
fn kl(rows: &Tensor, cols: &Tensor) -> Result<Tensor, TchError> {
    let prepare = |values: &Tensor| {
        let values = double(values)?.f_flatten(1, 2)?.f_clamp_min_(PROBABILITY_FLOOR)?;
        let logs = values.f_log()?.f_multiply_scalar_(0.5)?;
        let own = values.f_multiply(&logs)?.f_sum_dim_intlist(1, false, Kind::Double)?;
        Ok::<_, TchError>((values, logs, own))
    };
    let ((p, log_p, own_p), (q, log_q, own_q)) = (prepare(rows)?, prepare(cols)?);
    let mut crossed = p.f_mm(&log_q.f_tr()?)?;
    crossed = crossed.f_addmm_(&log_p, &q.f_tr()?)?;
    crossed.f_neg_()?.f_add_(&own_p.f_unsqueeze(1)?)?.f_add_(&own_q)
}

/// `sum_n |p_n - q_n|`, by `|p|^2 + |q|^2 - 2 p q`.
fn euclidean(rows: &Tensor, cols: &Tensor) -> Result<Tensor, TchError> {
    let prepare = |values: &Tensor| {
        let values = by_sample(&double(values)?)?;
        let squares = values.f_square()?.f_sum_dim_intlist(2, false, Kind::Double)?;
        Ok::<_, TchError>((values, squares))
    };
    let ((p, p_squares), (q, q_squares)) = (prepare(rows)?, prepare(cols)?);
    // [S, m, n]
    let mut squares = p.f_bmm(&q.f_transpose(1, 2)?)?.f_multiply_scalar_(-2.0)?;
    squares = squares.f_add_(&p_squares.f_unsqueeze(2)?)?.f_add_(&q_squares.f_unsqueeze(1)?)?;
    squares.f_clamp_min_(0.0)?.f_sqrt_()?.f_sum_dim_intlist(0, false, Kind::Double)
}

/// [m, S, C] to [S, m, C], so that what is multiplied lies together.
fn by_sample(values: &Tensor) -> Result<Tensor, TchError> {
    values.f_transpose(0, 1)?.f_contiguous()
}

fn double(values: &Tensor) -> Result<Tensor, TchError> {
    values.f_to_kind(Kind::Double)
}
