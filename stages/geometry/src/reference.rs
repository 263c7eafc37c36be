//! Distances of two models straight from their definitions, in f64: what the fast forms are tested and timed against.

use ndarray::{ArrayView1, ArrayView2, Zip};

use crate::geodesic::Weights;
use crate::truth::Truth;

/// What a sample counts whose two distributions do not overlap at all (the distance would be infinite).
pub const EMPTY_OVERLAP: f64 = 100.0;

/// The smallest probability the Kullback-Leibler divergence sees.
pub const PROBABILITY_FLOOR: f64 = 1e-10;

/// Bhattacharyya distance, `1/N sum_n -log sum_c sqrt(p_nc q_nc)`; a sample without overlap counts
/// [`EMPTY_OVERLAP`], one below 0 by rounding counts 0. NaN without samples.
///
/// # Panics
/// Here and below, when the shapes differ.
pub fn bhattacharyya<P, Q>(p: ArrayView2<P>, q: ArrayView2<Q>) -> f64
where
    P: Copy + Into<f64>,
    Q: Copy + Into<f64>,
{
    mean(p, q, |p, q| {
        let overlap: f64 = p.iter().zip(q).map(|(&p, &q)| p.into().sqrt() * q.into().sqrt()).sum();
        if overlap == 0.0 { EMPTY_OVERLAP } else { (-overlap.ln()).max(0.0) }
    })
}

/// Mean Euclidean distance of the probability vectors, `1/N sum_n |p_n - q_n|`.
pub fn euclidean<P, Q>(p: ArrayView2<P>, q: ArrayView2<Q>) -> f64
where
    P: Copy + Into<f64>,
    Q: Copy + Into<f64>,
{
    mean(p, q, |p, q| p.iter().zip(q).map(|(&p, &q)| (p.into() - q.into()).powi(2)).sum::<f64>().sqrt())
}

/// Symmetrised Kullback-Leibler divergence, `1/N sum_n 1/2 (KL(p_n, q_n) + KL(q_n, p_n))`, of the probabilities floored
/// at [`PROBABILITY_FLOOR`].
pub fn kl<P, Q>(p: ArrayView2<P>, q: ArrayView2<Q>) -> f64
where
    P: Copy + Into<f64>,
    Q: Copy + Into<f64>,
{
    mean(p, q, |p, q| {
        let terms = p.iter().zip(q).map(|(&p, &q)| {
            let (p, q) = (p.into().max(PROBABILITY_FLOOR), q.into().max(PROBABILITY_FLOOR));
            (p - q) * (p / q).ln()
        });
        0.5 * terms.sum::<f64>()
    })
}

/// Halvings of [0, 1] in [`progress`]: to within 6e-11.
const HALVINGS: u32 = 34;

/// The progress of a model [N, C]: the t in [0, 1] whose point of the geodesic is nearest by the sum over samples of the
/// great-circle angle, by halving the interval in which the sum's derivative changes its sign.
pub fn progress<P: Copy + Into<f64>>(model: ArrayView2<P>, truth: &Truth) -> f64 {
    let uniform = (1.0 / truth.classes() as f64).sqrt();
    let overlaps = model.rows().into_iter().zip(truth.labels()).map(|(sample, &label)| {
        let whole = sample.iter().map(|&p| p.into()).sum::<f64>().sqrt();
        let roots = sample.iter().map(|&p| p.into().sqrt()).sum::<f64>();
        (uniform * roots / whole, sample[label].into().sqrt() / whole)
    });
    let overlaps: Vec<(f64, f64)> = overlaps.collect();
    let slope = |t: f64| {
        let (at, by) = (Weights::at(t, truth), Weights::slope_at(t, truth));
        let samples = overlaps.iter().map(|(ignorance, own)| {
            let overlap = at.ignorance * ignorance + at.truth * own;
            let gap = 1.0 - overlap * overlap;
            let slope = by.ignorance * ignorance + by.truth * own;
            if gap > 0.0 { -slope / gap.sqrt() } else { 0.0 }
        });
        samples.sum::<f64>()
    };
    if slope(0.0) >= 0.0 {
        return 0.0;
    }
    if slope(1.0) <= 0.0 {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if slope(middle) < 0.0 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

fn mean<P, Q>(
    p: ArrayView2<P>,
    q: ArrayView2<Q>,
    sample: impl Fn(ArrayView1<P>, ArrayView1<Q>) -> f64,
) -> f64 {
    let total = Zip::from(p.rows()).and(q.rows()).fold(0.0, |total, p, q| total + sample(p, q));
    total / p.nrows() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{assert_close, golden};

    #[test]
    fn distances_agree_with_the_golden_values() {
        let p = golden::<f32, 3>("bhattacharyya_p");
        let q = golden::<f32, 3>("bhattacharyya_q");
        let (pp, qp) = (golden::<f64, 2>("bhattacharyya_pp"), golden::<f64, 2>("bhattacharyya_qp"));
        let euclid = golden::<f64, 2>("euclidean_pp");
        for (j, column) in p.outer_iter().enumerate() {
            for (i, row) in q.outer_iter().enumerate() {
                assert_close(bhattacharyya(row, column), qp[[i, j]], 1e-12, 1e-10);
            }
            for (i, row) in p.outer_iter().enumerate().filter(|&(i, _)| i != j) {
                assert_close(bhattacharyya(row, column), pp[[i, j]], 1e-12, 1e-10);
                // The golden values come from |p|^2 + |q|^2 - 2 p.q, which cancels.
                assert_close(euclidean(row, column), euclid[[i, j]], 1e-8, 0.0);
            }
        }
    }

    #[test]
    fn symmetrised_kl_is_half_the_sum_of_both_directions() {
        let p = ndarray::array![[0.5, 0.5], [1.0, 0.0]];
        let q = ndarray::array![[0.25, 0.75], [1.0, 0.0]];
        let forward = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
        let backward = 0.25 * (0.25f64 / 0.5).ln() + 0.75 * (0.75f64 / 0.5).ln();
        assert_close(kl(p.view(), q.view()), 0.5 * (forward + backward) / 2.0, 1e-15, 0.0);
    }

    #[test]
    fn a_probability_of_zero_costs_a_finite_divergence() {
        let (p, q) = (ndarray::array![[1.0f32, 0.0]], ndarray::array![[0.0f32, 1.0]]);
        assert_close(kl(p.view(), q.view()), (1.0 - 1e-10) * 1e10f64.ln(), 0.0, 1e-12);
    }
}
