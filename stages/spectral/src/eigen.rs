//! The eigenpairs of largest magnitude of a symmetric matrix, by LAPACK.
//!
//! A small matrix is decomposed whole, by ndarray-linalg. A larger one is reduced to a tridiagonal T = Q'AQ in place
//! (dsytrd); of T all values are found (dsterf, O(M²)), of the leading k of them, from both ends, the vectors (dstemr, O(Mk)),
//! which are carried back by Q (dormtr). A full decomposition, of M = 1,900, takes twice as long and three times the memory by
//! dsyevd, and eight times as long by dsyev (which is ndarray-linalg's).

use std::ffi::{c_char, c_int};
use std::ops::RangeInclusive;

use lapack_sys::{dormtr_, dstemr_, dsterf_, dsytrd_};
use ndarray::{Array1, Array2, Axis};
use ndarray_linalg::{Eigh, UPLO};

use crate::SpectralError;
use crate::blas::Blas;

/// Up to this order the whole decomposition takes no longer than its leading part.
const SMALL: usize = 100;

/// k eigenpairs of a matrix of M rows.
pub struct Eigenpairs {
    /// By falling magnitude, with their sign \[k\].
    pub values: Array1<f64>,
    /// A row an eigenvector of length 1, of either sign \[k, M\].
    pub vectors: Array2<f64>,
}

/// The half of the matrix that LAPACK reads and overwrites: on and below the diagonal of our rows, which LAPACK takes
/// for columns.
const UPPER: c_char = b'U' as c_char;

/// The `count` eigenpairs of largest magnitude. The symmetric matrix is given by its half on and below the diagonal,
/// which is destroyed; what is above stays as it is.
///
/// # Errors
/// When the matrix is too large for LAPACK's integers, or LAPACK gives up.
///
/// # Panics
/// When the matrix is not square and row-major, or has fewer than `count` rows.
pub(crate) fn leading(
    matrix: &mut Array2<f64>,
    count: usize,
    _blas: &Blas,
) -> Result<Eigenpairs, SpectralError> {
    let order = matrix.nrows();
    assert!(matrix.is_square() && matrix.is_standard_layout() && count <= order, "not square, or too small");
    // LAPACK counts elements of its workspace, here at most 64 a row, in 32 bits too.
    let n =
        c_int::try_from(order).ok().filter(|&n| n <= c_int::MAX / 64).ok_or(SpectralError::TooMany(order))?;

    if order <= SMALL {
        // It takes our rows for columns too.
        let (values, vectors) = matrix.eigh(UPLO::Upper)?;
        let pairs = values.into_iter().zip(vectors.axis_iter(Axis(1)).map(|vector| vector.to_vec()));
        return Ok(Eigenpairs::leading(pairs.collect(), count, order));
    }
    let tridiagonal = Tridiagonal::reduce(matrix, n)?;
    let lowest = lowest(&tridiagonal.values()?, count);
    let mut pairs = tridiagonal.pairs(1..=lowest)?;
    pairs.extend(tridiagonal.pairs(order - (count - lowest) + 1..=order)?);
    let mut leading = Eigenpairs::leading(pairs, count, order);
    tridiagonal.carry_back(matrix, &mut leading.vectors)?;
    Ok(leading)
}

/// How many of the `count` values of largest magnitude are at the lower end of rising values; of two that are as large it is
/// the lower that counts.
fn lowest(values: &[f64], count: usize) -> usize {
    let highest = |taken: usize| values[values.len() - 1 - taken].abs();
    (0..count).fold(0, |low, taken| low + usize::from(values[low].abs() >= highest(taken - low)))
}

impl Eigenpairs {
    /// The `count` of largest magnitude among pairs of rising value.
    fn leading(mut pairs: Vec<(f64, Vec<f64>)>, count: usize, order: usize) -> Eigenpairs {
        // A stable sort, and the lower end comes first: the order is the same every time.
        pairs.sort_by(|(a, _), (b, _)| b.abs().total_cmp(&a.abs()));
        pairs.truncate(count);
        let values = pairs.iter().map(|(value, _)| *value).collect();
        let vectors = pairs.into_iter().flat_map(|(_, vector)| vector).collect();
        let vectors =
            Array2::from_shape_vec((count, order), vectors).expect("count vectors of order entries each");
        Eigenpairs { values, vectors }
    }
}

/// T = Q'AQ.
struct Tridiagonal {
    n: c_int,
    diagonal: Vec<f64>,
    /// The last element is room for LAPACK.
    beside: Vec<f64>,
    /// With the reflectors left in the matrix, these are Q.
    scales: Vec<f64>,
}

impl Tridiagonal {
    /// Reduces the matrix in place.
    fn reduce(matrix: &mut Array2<f64>, n: c_int) -> Result<Self, SpectralError> {
        let order = matrix.nrows();
        let (mut diagonal, mut beside, mut scales) = (vec![0.0; order], vec![0.0; order], vec![0.0; order]);
        with_workspace("dsytrd", |work, length, info| {
            // SAFETY: the matrix is n x n, each vector has n elements or more, work has `length` or is only asked about.
            unsafe {
                dsytrd_(
                    &UPPER,
                    &n,
                    matrix.as_mut_ptr(),
                    &n,
                    diagonal.as_mut_ptr(),
                    beside.as_mut_ptr(),
                    scales.as_mut_ptr(),
                    work,
                    length,
                    info,
                );
            }
        })?;
        Ok(Self { n, diagonal, beside, scales })
    }

    /// All eigenvalues of T, rising.
    fn values(&self) -> Result<Vec<f64>, SpectralError> {
        let (mut values, mut beside, mut info) = (self.diagonal.clone(), self.beside.clone(), 0);
        // SAFETY: n elements, and n - 1 or more beside them.
        unsafe { dsterf_(&self.n, values.as_mut_ptr(), beside.as_mut_ptr(), &mut info) };
        if info == 0 { Ok(values) } else { Err(SpectralError::Lapack { routine: "dsterf", info }) }
    }

    /// Eigenvalues number `from..=to` of T (from 1, rising), each with its vector.
    fn pairs(&self, range: RangeInclusive<usize>) -> Result<Vec<(f64, Vec<f64>)>, SpectralError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let order = self.diagonal.len();
        let count = range.end() - range.start() + 1;
        let (mut diagonal, mut beside) = (self.diagonal.clone(), self.beside.clone());
        let (mut values, mut vectors) = (vec![0.0; order], vec![0.0; order * count]);
        let mut support = vec![0; 2 * count];
        let (mut work, mut integers) = (vec![0.0; 18 * order], vec![0; 10 * order]);
        // All at most n, which is a c_int.
        let [from, to, room] = [*range.start(), *range.end(), count].map(|number| number as c_int);
        let (mut found, mut accurate, mut info) = (0, 1, 0);
        // SAFETY: vectors and workspaces have the lengths that dstemr documents for n and `count` pairs.
        unsafe {
            dstemr_(
                &(b'V' as c_char),
                &(b'I' as c_char),
                &self.n,
                diagonal.as_mut_ptr(),
                beside.as_mut_ptr(),
                &0.0,
                &0.0,
                &from,
                &to,
                &mut found,
                values.as_mut_ptr(),
                vectors.as_mut_ptr(),
                &self.n,
                &room,
                support.as_mut_ptr(),
                &mut accurate,
                work.as_mut_ptr(),
                &(18 * self.n),
                integers.as_mut_ptr(),
                &(10 * self.n),
                &mut info,
            );
        }
        if info != 0 || found != room {
            return Err(SpectralError::Lapack { routine: "dstemr", info });
        }
        Ok(values.into_iter().zip(vectors.chunks_exact(order).map(<[f64]>::to_vec)).collect())
    }

    /// Q times each vector (a row of `vectors`), with the matrix as `reduce` left it.
    fn carry_back(&self, matrix: &Array2<f64>, vectors: &mut Array2<f64>) -> Result<(), SpectralError> {
        let count = vectors.nrows() as c_int; // at most n
        with_workspace("dormtr", |work, length, info| {
            // SAFETY: our rows of n are LAPACK's columns; matrix and scales are as dsytrd left them; work as above.
            unsafe {
                dormtr_(
                    &(b'L' as c_char),
                    &UPPER,
                    &(b'N' as c_char),
                    &self.n,
                    &count,
                    matrix.as_ptr(),
                    &self.n,
                    self.scales.as_ptr(),
                    vectors.as_mut_ptr(),
                    &self.n,
                    work,
                    length,
                    info,
                );
            }
        })
    }
}

/// Calls a routine of LAPACK twice: to ask how much workspace it wants, and with that.
fn with_workspace(
    routine: &'static str,
    mut call: impl FnMut(*mut f64, &c_int, &mut c_int),
) -> Result<(), SpectralError> {
    let (mut wanted, mut info) = (0.0, 0);
    call(&mut wanted, &-1, &mut info);
    if info == 0 {
        let mut work = vec![0.0; wanted as usize];
        call(work.as_mut_ptr(), &(wanted as c_int), &mut info);
    }
    if info == 0 { Ok(()) } else { Err(SpectralError::Lapack { routine, info }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symmetric, with eigenvalues of both signs.
    fn symmetric(order: usize) -> Array2<f64> {
        Array2::from_shape_fn((order, order), |(i, j)| ((3 * i.min(j) * i.max(j) + 5 * (i + j)) as f64).sin())
    }

    /// All eigenvalues by Jacobi's rotations: slow, plain, and another way than LAPACK's.
    fn by_rotations(mut a: Array2<f64>) -> Vec<f64> {
        let order = a.nrows();
        for _sweep in 0..30 {
            for p in 0..order {
                for q in p + 1..order {
                    let angle = 0.5 * (2.0 * a[[p, q]]).atan2(a[[q, q]] - a[[p, p]]);
                    let (s, c) = angle.sin_cos();
                    for k in 0..order {
                        (a[[p, k]], a[[q, k]]) =
                            (c * a[[p, k]] - s * a[[q, k]], s * a[[p, k]] + c * a[[q, k]]);
                    }
                    for k in 0..order {
                        (a[[k, p]], a[[k, q]]) =
                            (c * a[[k, p]] - s * a[[k, q]], s * a[[k, p]] + c * a[[k, q]]);
                    }
                }
            }
        }
        a.diag().to_vec()
    }

    #[test]
    fn the_leading_pairs_are_those_of_the_full_decomposition() {
        for (order, count) in [(1, 1), (2, 1), (7, 7), (60, 9), (SMALL, 40), (SMALL + 1, 9), (SMALL + 1, 80)]
        {
            let matrix = symmetric(order);
            let mut all = by_rotations(matrix.clone());
            all.sort_by(|a, b| b.abs().total_cmp(&a.abs()));

            let Eigenpairs { values, vectors } =
                leading(&mut matrix.clone(), count, &Blas::threaded(1)).unwrap();
            assert_eq!(vectors.dim(), (count, order));
            for (k, vector) in vectors.rows().into_iter().enumerate() {
                assert!((values[k] - all[k]).abs() < 1e-11, "{order} {k}: {} {}", values[k], all[k]);
                let error = (matrix.dot(&vector) - &vector * values[k]).mapv(f64::abs).sum();
                assert!(error < 1e-10, "{order} {k}: {error}");
            }
            let products = vectors.dot(&vectors.t()) - Array2::<f64>::eye(count);
            // Of the larger ones dstemr promises no more than a multiple of n times the rounding of a number.
            let bound = if order <= SMALL { 1e-12 } else { 2e-14 * order as f64 };
            assert!(products.iter().all(|product| product.abs() < bound), "{order}");
        }
    }

    #[test]
    fn what_is_above_the_diagonal_is_neither_read_nor_changed() {
        for order in [SMALL, SMALL + 1] {
            let whole = symmetric(order);
            let mut half = whole.clone();
            for ((i, j), value) in half.indexed_iter_mut() {
                if j > i {
                    *value = (i * order + j) as f64;
                }
            }
            let from_half = leading(&mut half, 4, &Blas::threaded(1)).unwrap();
            assert_eq!(from_half.values, leading(&mut whole.clone(), 4, &Blas::threaded(1)).unwrap().values);
            for ((i, j), &value) in half.indexed_iter() {
                assert!(j <= i || value == (i * order + j) as f64);
            }
        }
    }
}
