//! Eigenvalues of a covariance matrix whose variances may differ by tens of orders of magnitude.
//!
//! Jacobi's rotations find each of them to a small relative error if the matrix, scaled to a diagonal of ones, is well
//! conditioned (Demmel and Veselić 1992); LAPACK's usual ways lose all that are below 1e-16 of the largest.

/// Of a pair that counts as uncorrelated.
const TOLERANCE: f64 = 1e-14;

/// Sweeps over all pairs; about eight are needed.
const SWEEPS: usize = 60;

/// The eigenvalues, largest first, of the covariance about the mean (divided by N) of samples [N, n], row-major.
pub fn of_covariance(samples: &[f32], n: usize) -> Vec<f64> {
    let mut matrix = covariance(samples, n);
    for _ in 0..SWEEPS {
        let mut rotated = false;
        for p in 0..n {
            for q in p + 1..n {
                rotated |= rotate(&mut matrix, n, p, q);
            }
        }
        if !rotated {
            break;
        }
    }
    let mut values: Vec<f64> = (0..n).map(|i| matrix[i * n + i]).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

/// [n, n], row-major.
fn covariance(samples: &[f32], n: usize) -> Vec<f64> {
    let count = (samples.len() / n) as f64;
    let mut mean = vec![0.0; n];
    for sample in samples.chunks_exact(n) {
        mean.iter_mut().zip(sample).for_each(|(mean, &x)| *mean += f64::from(x) / count);
    }
    let mut matrix = vec![0.0; n * n];
    let mut centred = vec![0.0; n];
    for sample in samples.chunks_exact(n) {
        for ((centred, &x), mean) in centred.iter_mut().zip(sample).zip(&mean) {
            *centred = f64::from(x) - mean;
        }
        for (row, &x) in matrix.chunks_exact_mut(n).zip(&centred) {
            row.iter_mut().zip(&centred).for_each(|(value, &y)| *value += x * y / count);
        }
    }
    matrix
}

/// Makes entry (p, q) of a symmetric matrix zero by a rotation of the two axes, if it is not negligible.
fn rotate(matrix: &mut [f64], n: usize, p: usize, q: usize) -> bool {
    let (pp, qq, pq) = (matrix[p * n + p], matrix[q * n + q], matrix[p * n + q]);
    if pq.abs() <= TOLERANCE * pp.abs().sqrt() * qq.abs().sqrt() {
        return false;
    }
    // The smaller of the two angles.
    let zeta = (qq - pp) / (2.0 * pq);
    let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    for k in (0..n).filter(|&k| k != p && k != q) {
        let (kp, kq) = (matrix[k * n + p], matrix[k * n + q]);
        let (new_p, new_q) = (cosine * kp - sine * kq, sine * kp + cosine * kq);
        (matrix[k * n + p], matrix[p * n + k]) = (new_p, new_p);
        (matrix[k * n + q], matrix[q * n + k]) = (new_q, new_q);
    }
    matrix[p * n + p] = pp - tangent * pq;
    matrix[q * n + q] = qq + tangent * pq;
    (matrix[p * n + q], matrix[q * n + p]) = (0.0, 0.0);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_eigenvalues_are_as_exact_as_large_ones() {
        // Of the samples (±a, ±b) the covariance is diagonal; mixed by (x + y/2, y/2), it has determinant a² b² / 4.
        let (a, b) = (2f32, 1e-12f32);
        let samples: Vec<f32> =
            [(a, b), (a, -b), (-a, b), (-a, -b)].iter().flat_map(|&(x, y)| [x, y]).collect();
        let found = of_covariance(&samples, 2);
        assert!((found[0] - 4.0).abs() < 1e-15, "{found:?}");
        assert!((found[1] / f64::from(b).powi(2) - 1.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn correlated_axes_are_taken_apart() {
        // (1, 2), (3, 5), (5, 2), (7, 11), with covariance [[5, 6], [6, 13.5]].
        let found = of_covariance(&[1.0, 2.0, 3.0, 5.0, 5.0, 2.0, 7.0, 11.0], 2);
        let (half, root) = (18.5 / 2.0, (8.5f64.powi(2) / 4.0 + 36.0).sqrt());
        assert!((found[0] - (half + root)).abs() < 1e-12, "{found:?}");
        assert!((found[1] - (half - root)).abs() < 1e-12, "{found:?}");
    }
}
