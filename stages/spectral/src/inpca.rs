//! InPCA (intensive principal component analysis) of a matrix of distances.

use ndarray::{Array1, Array2, ArrayView2, Axis, Zip};

use crate::SpectralError;
use crate::blas::Blas;
use crate::eigen::{self, Eigenpairs};

/// An embedding of M points in k dimensions.
///
/// The squared length of `x_i - x_j`, in which dimensions of a negative eigenvalue count as negative ("time-like"),
/// approximates the distance that was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Inpca {
    /// Eigenvalues of the doubly centred matrix, by falling magnitude, with their sign \[k\].
    pub eigenvalues: Array1<f64>,
    /// A row a point \[M, k\]: eigenvectors times the root of the eigenvalue's magnitude. In each dimension the entry
    /// of largest magnitude (the first of several) is positive.
    pub coordinates: Array2<f64>,
    /// 1 - sqrt(1 - sum of the first squared eigenvalues / |W|²): element i is of the first i + 1 dimensions \[k\].
    pub explained_stress: Array1<f64>,
    /// What is left of the distances, |D - D_i| / |D| in Frobenius norms, where D_i are those between the points in
    /// the first i + 1 dimensions and D those in all of them \[k\].
    pub explained_distance: Array1<f64>,
    /// Mean distance of each point from all points, by weight \[M\].
    pub means: Array1<f64>,
    /// What each point counted \[M\]: weights of sum 1, or 1 each where there were none.
    pub weights: Array1<f64>,
}

/// Embeds M points in `dimensions` dimensions, or in the M - 1 there are.
///
/// `distances` \[M, M\] is symmetric and of divergences that behave like squared lengths (Bhattacharyya): it is
/// centred as it is, W = -1/2 L D L with L = I - 11'/M, and W diagonalised. Quinn et al., "Visualizing probabilistic
/// models and data with intensive principal component analysis", PNAS 116(28) 2019. An eigenvalue under M ε times the
/// largest is rounding, and counts as 0.
///
/// LAPACK works in the matrix itself and needs 8 M² bytes altogether. `threads` are those of OpenBLAS; equal
/// `threads` give equal bits on the same machine.
///
/// # Errors
/// When the matrix is not square, has fewer than two points, a value that is not finite, or no two points that differ.
///
/// ```
/// // Three points on a line, at 0, 1 and 3: squared lengths are embedded exactly by one dimension.
/// let squared = ndarray::arr2(&[[0.0, 1.0, 9.0], [1.0, 0.0, 4.0], [9.0, 4.0, 0.0]]);
/// let line = spectral::inpca(squared, 1, 1).unwrap();
/// assert!((line.coordinates[[2, 0]] - line.coordinates[[0, 0]] - 3.0).abs() < 1e-12);
/// assert!(line.explained_distance[0] < 1e-12);
/// ```
pub fn inpca(distances: Array2<f64>, dimensions: usize, threads: usize) -> Result<Inpca, SpectralError> {
    let matrix =
        if distances.is_standard_layout() { distances } else { distances.as_standard_layout().into_owned() };
    whole(matrix, None, dimensions, threads)
}

/// Embeds by a decomposition of the whole matrix, which is row-major. `weights` are above 0 and have the sum 1.
pub(crate) fn whole(
    mut matrix: Array2<f64>,
    weights: Option<Array1<f64>>,
    dimensions: usize,
    threads: usize,
) -> Result<Inpca, SpectralError> {
    check(matrix.view())?;
    let points = matrix.nrows();
    let means = match &weights {
        None => matrix.mean_axis(Axis(1)).expect("there are at least two points"),
        Some(weights) => matrix.dot(weights),
    };
    let mean = match &weights {
        None => means.mean().expect("there are at least two points"),
        Some(weights) => means.dot(weights),
    };
    let mut stress = centre(&mut matrix, &means, mean);
    let diagonal = matrix.diag().to_owned();
    let roots = weights.as_ref().map(|weights| weights.mapv(f64::sqrt));
    if let Some(roots) = &roots {
        stress = weigh(&mut matrix, roots);
    }
    if stress == 0.0 {
        return Err(SpectralError::OnePlace(points));
    }

    let pairs = eigen::leading(&mut matrix, dimensions.min(points - 1), &Blas::threaded(threads))?;
    let (eigenvalues, axes) = axes(pairs, roots.as_ref());
    let explained_distance = match &weights {
        None => distance_left(matrix.view(), &diagonal, &eigenvalues, axes.view()),
        Some(weights) => distance_left_of_pairs(diagonal, weights, stress, &eigenvalues, axes.view()),
    };
    let weights = weights.unwrap_or_else(|| Array1::ones(points));
    Ok(Inpca::new(eigenvalues, axes, stress, explained_distance, means, weights))
}

impl Inpca {
    /// The embedding with these coordinates, a row of `axes` \[k, M\] a dimension, of a matrix with this squared norm.
    pub(crate) fn new(
        eigenvalues: Array1<f64>,
        axes: Array2<f64>,
        stress: f64,
        explained_distance: Array1<f64>,
        means: Array1<f64>,
        weights: Array1<f64>,
    ) -> Inpca {
        let mut explained = 0.0;
        let explained_stress = eigenvalues.mapv(|value| {
            explained += value * value;
            // Rounding may carry the sum past the whole.
            1.0 - (1.0 - explained / stress).max(0.0).sqrt()
        });
        let coordinates = axes.t().as_standard_layout().into_owned();
        Inpca { eigenvalues, coordinates, explained_stress, explained_distance, means, weights }
    }
}

/// Eigenvalues \[k\], and eigenvectors as coordinates \[k, M\], which are divided by the roots of weights if there are any.
pub(crate) fn axes(pairs: Eigenpairs, roots: Option<&Array1<f64>>) -> (Array1<f64>, Array2<f64>) {
    let Eigenpairs { mut values, mut vectors } = pairs;
    let rounding = vectors.ncols() as f64 * f64::EPSILON * values.first().map_or(0.0, |value| value.abs());
    for (value, mut vector) in values.iter_mut().zip(vectors.rows_mut()) {
        if value.abs() < rounding {
            *value = 0.0;
        }
        if let Some(roots) = roots {
            vector /= roots;
        }
        // Strictly larger, so that the first of several stands.
        let largest =
            vector.iter().fold(0.0_f64, |held, &entry| if entry.abs() > held.abs() { entry } else { held });
        let scale = value.abs().sqrt().copysign(largest);
        vector.mapv_inplace(|entry| entry * scale);
    }
    (values, vectors)
}

fn check(distances: ArrayView2<f64>) -> Result<(), SpectralError> {
    let (rows, cols) = distances.dim();
    if rows != cols {
        return Err(SpectralError::NotSquare { rows, cols });
    }
    if rows < 2 {
        return Err(SpectralError::TooFew(rows));
    }
    match distances.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, col), &value)) => Err(SpectralError::NotFinite { row, col, value }),
        None => Ok(()),
    }
}

/// Makes W of D, whose rows have these means, and returns |W|².
fn centre(matrix: &mut Array2<f64>, means: &Array1<f64>, mean: f64) -> f64 {
    let mut stress = 0.0;
    for (mut row, own) in matrix.rows_mut().into_iter().zip(means) {
        row.zip_mut_with(means, |value, other| *value = -0.5 * (*value - own - other + mean));
        stress += sum_of_squares(row.as_slice().expect("the matrix is row-major"));
    }
    stress
}

/// Makes R W R of W, where R is the diagonal matrix of `roots`, and returns its squared norm.
fn weigh(matrix: &mut Array2<f64>, roots: &Array1<f64>) -> f64 {
    let mut stress = 0.0;
    for (mut row, own) in matrix.rows_mut().into_iter().zip(roots) {
        row.zip_mut_with(roots, |value, other| *value *= own * other);
        stress += sum_of_squares(row.as_slice().expect("the matrix is row-major"));
    }
    stress
}

/// |D - D_i| / |D| after each dimension, the dimensions being rows of `axes` \[k, M\], with D_ij = W_ii + W_jj - 2 W_ij.
/// Of W only its diagonal and the half above it are used: LAPACK has been in the other one.
///
/// The residual itself is followed, a row at a time through all dimensions while it is in cache; closed forms in the
/// eigenvectors exist, but they cancel where little is left.
fn distance_left(
    centred: ArrayView2<f64>,
    diagonal: &Array1<f64>,
    eigenvalues: &Array1<f64>,
    axes: ArrayView2<f64>,
) -> Array1<f64> {
    let mut whole = 0.0;
    let mut left = Array1::zeros(eigenvalues.len());
    let mut rest = Vec::with_capacity(diagonal.len());
    for (i, row) in centred.rows().into_iter().enumerate() {
        rest.clear();
        rest.extend(
            row.iter().zip(diagonal).skip(i + 1).map(|(value, other)| diagonal[i] + other - 2.0 * value),
        );
        whole += sum_of_squares(&rest);
        Zip::from(&mut left).and(eigenvalues).and(axes.rows()).for_each(|left, eigenvalue, axis| {
            let axis = axis.to_slice().expect("axes are rows");
            let (sign, here) = (eigenvalue.signum(), axis[i]);
            for (rest, there) in rest.iter_mut().zip(&axis[i + 1..]) {
                *rest -= sign * (here - there) * (here - there);
            }
            *left += sum_of_squares(&rest);
        });
    }
    left.mapv(|left: f64| (left / whole).sqrt())
}

/// As [`distance_left`], with pairs of points counting by both their weights, from no more than W's diagonal, the squared
/// norm of the weighted matrix and its eigenpairs.
///
/// What W has beside its leading pairs, R, has weighted rows of sum 0, as W has, so that the sum of
/// w_i w_j (R_ii + R_jj - 2 R_ij)² is 2 Σw Σ(w R_ii²) + 2 (Σ w R_ii)² + 4 Σ(w_i w_j R_ij²), and the last of these sums is the
/// stress that is left. What is left under about 1e-7 of the whole is rounding.
pub(crate) fn distance_left_of_pairs(
    diagonal: Array1<f64>,
    weights: &Array1<f64>,
    stress: f64,
    eigenvalues: &Array1<f64>,
    axes: ArrayView2<f64>,
) -> Array1<f64> {
    let total = weights.sum();
    let sum = |rest: &Array1<f64>, stress: f64| {
        let trace = weights.dot(rest);
        2.0 * total * weights.dot(&(rest * rest)) + 2.0 * trace * trace + 4.0 * stress.max(0.0)
    };
    let (mut rest, mut stress) = (diagonal, stress);
    let whole = sum(&rest, stress);
    let left = eigenvalues.iter().zip(axes.rows()).map(|(value, axis)| {
        rest.zip_mut_with(&axis, |rest, x| *rest -= value.signum() * x * x);
        stress -= value * value;
        (sum(&rest, stress) / whole).sqrt()
    });
    left.collect()
}

/// In eight sums, so that it runs in vector registers, and always in the same order.
fn sum_of_squares(values: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value * value;
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|value| value * value).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use ndarray::{arr2, s};

    use super::*;
    use crate::golden::{matrix, values};

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-12 + 1e-10 * expected.abs()
    }

    /// Points that differ by `shape` random numbers each, and the squared lengths between them.
    fn scattered(points: usize, shape: usize) -> Array2<f64> {
        let mut state = 7_u64;
        let x = Array2::from_shape_simple_fn((points, shape), || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        });
        Array2::from_shape_fn((points, points), |(i, j)| {
            (&x.row(i) - &x.row(j)).mapv(|difference| difference * difference).sum()
        })
    }

    #[test]
    fn eigenvalues_and_explained_fractions_agree_with_the_reference() {
        let found = inpca(matrix("inpca_distances"), 50, 1).unwrap();
        assert_eq!(found.eigenvalues.len(), 25);
        let [eigenvalues, stress, left] =
            ["inpca_eigenvalues", "explained_stress", "explained_distance"].map(values);
        for k in 0..25 {
            assert!(close(found.eigenvalues[k], eigenvalues[k]), "{k}");
            // The last dimension explains all, but for the root of a rounding.
            let last = k == 24;
            let same =
                |found: f64, expected: f64| close(found, expected) || last && (found - expected).abs() < 1e-7;
            assert!(same(found.explained_stress[k], stress[k]), "{k}");
            assert!(same(found.explained_distance[k], left[k + 1]), "{k}");
        }
    }

    #[test]
    fn coordinates_agree_with_the_reference_up_to_sign() {
        let found = inpca(matrix("inpca_distances"), 25, 1).unwrap().coordinates;
        let expected = matrix("inpca_coordinates");
        for k in 0..25 {
            let sign = found.column(k).dot(&expected.column(k)).signum();
            for i in 0..26 {
                let (found, expected) = (found[[i, k]], sign * expected[[i, k]]);
                assert!(
                    (found - expected).abs() <= 1e-10 * expected.abs().max(1.0),
                    "{i} {k}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn centring_agrees_with_the_reference() {
        let (mut found, expected) = (matrix("inpca_distances"), matrix("inpca_centered"));
        let means = found.mean_axis(Axis(1)).unwrap();
        let mean = means.mean().unwrap();
        let stress = centre(&mut found, &means, mean);
        assert!(found.iter().zip(&expected).all(|(&found, &expected)| close(found, expected)));
        assert!(close(stress, expected.iter().map(|value| value * value).sum()));
    }

    #[test]
    fn the_entry_of_largest_magnitude_is_positive() {
        let found = inpca(scattered(40, 3), 3, 1).unwrap().coordinates;
        for axis in found.columns() {
            let largest = axis.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
            assert!(largest > 0.0);
        }
        // Two points tie: the first is the positive one.
        let pair = inpca(arr2(&[[0.0, 4.0], [4.0, 0.0]]), 1, 1).unwrap().coordinates;
        assert!((pair[[0, 0]] - 1.0).abs() < 1e-12 && (pair[[1, 0]] + 1.0).abs() < 1e-12, "{pair}");
    }

    #[test]
    fn dimensions_beyond_the_rank_are_zero() {
        let found = inpca(scattered(30, 2), 5, 1).unwrap();
        assert!(found.eigenvalues.iter().take(2).all(|&value| value > 0.1));
        assert_eq!(found.eigenvalues.slice(s![2..]).to_vec(), [0.0; 3]);
        assert!(found.coordinates.slice(s![.., 2..]).iter().all(|&x| x == 0.0));
        assert!((found.explained_stress[4] - 1.0).abs() < 1e-7);
    }

    #[test]
    fn distances_that_break_the_triangle_inequality_get_a_time_like_axis() {
        // Three near points and one that is near to none of them but the first.
        let mut squared = Array2::from_elem((4, 4), 1.0);
        squared.diag_mut().fill(0.0);
        for (i, d) in [(0, 0.01), (1, 9.0), (2, 9.0)] {
            squared[[3, i]] = d;
            squared[[i, 3]] = d;
        }
        let found = inpca(squared.clone(), 3, 1).unwrap();
        assert!(found.eigenvalues.iter().any(|&value| value < -0.1), "{}", found.eigenvalues);
        let sign = found.eigenvalues.mapv(f64::signum);
        for ((i, j), &d) in squared.indexed_iter() {
            let step = &found.coordinates.row(i) - &found.coordinates.row(j);
            assert!(close((&step * &step * &sign).sum(), d), "{i} {j}");
        }
    }

    #[test]
    fn equal_distances_and_threads_give_equal_bits() {
        let once = inpca(scattered(300, 8), 20, 2).unwrap();
        assert_eq!(once, inpca(scattered(300, 8), 20, 2).unwrap());
    }

    #[test]
    fn what_cannot_be_embedded_is_told() {
        let message = |distances| inpca(distances, 2, 1).unwrap_err().to_string();
        assert_eq!(message(Array2::zeros((1, 1))), "an embedding needs at least two points; there are 1");
        assert_eq!(message(Array2::zeros((2, 3))), "a matrix of distances is square; this one is 2 x 3");
        assert_eq!(message(Array2::zeros((3, 3))), "all 3 points lie in one place: there is no axis to find");
        let broken = arr2(&[[0.0, f64::NAN], [f64::NAN, 0.0]]);
        assert_eq!(message(broken), "the distance between points 0 and 1 (from 0) is NaN");
    }
}
