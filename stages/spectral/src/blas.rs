//! Products of dense matrices, by OpenBLAS.

use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use ndarray::{ArrayView2, ArrayViewMut2, Axis};

// OpenBLAS has LAPACK in it: this links what lapack-sys declares too. The system's library, as it is found by the linker;
// the usual crate for this, openblas-src, brings a TLS library to download what is never downloaded here.
#[link(name = "openblas")]
unsafe extern "C" {
    fn openblas_set_num_threads(threads: c_int);
    fn cblas_dgemm(
        layout: c_int,
        transpose_a: c_int,
        transpose_b: c_int,
        m: c_int,
        n: c_int,
        k: c_int,
        alpha: f64,
        a: *const f64,
        lda: c_int,
        b: *const f64,
        ldb: c_int,
        beta: f64,
        c: *mut f64,
        ldc: c_int,
    );
}

// As CBLAS numbers them.
const ROW_MAJOR: c_int = 101;
const AS_IT_IS: c_int = 111;
const TRANSPOSED: c_int = 112;

/// Its number of threads, which results may follow, is the whole process's.
static OPENBLAS: Mutex<()> = Mutex::new(());

/// OpenBLAS, held for one computation.
pub(crate) struct Blas {
    threads: usize,
    _held: MutexGuard<'static, ()>,
}

impl Blas {
    /// Waits until no other thread computes. Each call of OpenBLAS has so many threads of its own.
    pub(crate) fn threaded(threads: usize) -> Blas {
        Blas::hold(threads, threads)
    }

    /// Waits until no other thread computes. Each call of OpenBLAS takes the caller's thread alone, and who computes has so many
    /// of them: those of OpenBLAS turn round and round between its calls, which takes a core from others.
    pub(crate) fn single(threads: usize) -> Blas {
        Blas::hold(threads, 1)
    }

    fn hold(threads: usize, each: usize) -> Blas {
        let held = OPENBLAS.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: takes any number; OpenBLAS bounds it by what it was built for.
        unsafe { openblas_set_num_threads(c_int::try_from(each).unwrap_or(c_int::MAX).max(1)) };
        Blas { threads, _held: held }
    }

    /// As [`product`], on all threads: each has some rows of `c`, or some columns if there are more of these.
    pub(crate) fn product(
        &self,
        factor: f64,
        a: ArrayView2<f64>,
        b: ArrayView2<f64>,
        keep: f64,
        mut c: ArrayViewMut2<f64>,
    ) {
        let axis = if c.nrows() > c.ncols() { Axis(0) } else { Axis(1) };
        let some = c.len_of(axis).div_ceil(self.threads.max(1)).max(1);
        let parts: Vec<_> = match axis {
            Axis(0) => a.axis_chunks_iter(axis, some).map(|a| (a, b)).collect(),
            _ => b.axis_chunks_iter(axis, some).map(|b| (a, b)).collect(),
        };
        let mut parts = parts.into_iter().zip(c.axis_chunks_iter_mut(axis, some));
        let mine = parts.next();
        thread::scope(|scope| {
            for ((a, b), c) in parts {
                scope.spawn(move || product(factor, a, b, keep, c));
            }
            if let Some(((a, b), c)) = mine {
                product(factor, a, b, keep, c);
            }
        });
    }
}

/// `c = factor a b + keep c`. Takes matrices, transposed matrices and rectangles of these as they lie.
///
/// # Panics
/// When shapes do not fit, a matrix has neither rows nor columns that lie together, or `c` has no such rows.
pub(crate) fn product(
    factor: f64,
    a: ArrayView2<f64>,
    b: ArrayView2<f64>,
    keep: f64,
    mut c: ArrayViewMut2<f64>,
) {
    let ((m, k), (inner, n)) = (a.dim(), b.dim());
    assert!(k == inner && c.dim() == (m, n), "{m} x {k} times {inner} x {n} into {:?}", c.dim());
    if m == 0 || n == 0 {
        return;
    }
    let ((a_order, lda), (b_order, ldb)) = (order(&a.view()), order(&b.view()));
    let (c_order, ldc) = order(&c.view());
    assert!(c_order == AS_IT_IS, "the result is written by rows");
    let int = |number| c_int::try_from(number).expect("lengths that a C integer holds");
    // SAFETY: `order` told how far apart rows or columns lie, so that all of a, b and c are reached and nothing else.
    unsafe {
        cblas_dgemm(
            ROW_MAJOR,
            a_order,
            b_order,
            int(m),
            int(n),
            int(k),
            factor,
            a.as_ptr(),
            lda,
            b.as_ptr(),
            ldb,
            keep,
            c.as_mut_ptr(),
            ldc,
        );
    }
}

/// Whether the rows of a matrix lie together or its columns, and how far one lies from the next.
fn order(matrix: &ArrayView2<f64>) -> (c_int, c_int) {
    let (rows, cols) = matrix.dim();
    let far = |stride: isize, least: usize| {
        let stride = usize::try_from(stride).expect("rows and columns in rising order").max(least).max(1);
        c_int::try_from(stride).expect("lengths that a C integer holds")
    };
    // Of a single row or column ndarray may give any stride.
    match *matrix.strides() {
        [next, 1] => (AS_IT_IS, if rows > 1 { far(next, cols) } else { far(0, cols) }),
        [1, next] => (TRANSPOSED, if cols > 1 { far(next, rows) } else { far(0, rows) }),
        [next, _] if cols <= 1 => (AS_IT_IS, far(next, cols)),
        [_, next] if rows <= 1 => (TRANSPOSED, far(next, rows)),
        _ => panic!("neither the rows nor the columns of the matrix lie together"),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;

    fn numbers(rows: usize, cols: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, cols), |(i, j)| ((7 * i + 3 * j) as f64).sin())
    }

    /// The sums themselves.
    fn plain(a: ArrayView2<f64>, b: ArrayView2<f64>) -> Array2<f64> {
        Array2::from_shape_fn((a.nrows(), b.ncols()), |(i, j)| {
            a.row(i).iter().zip(b.column(j)).map(|(a, b)| a * b).sum()
        })
    }

    #[test]
    fn products_are_those_of_the_definition_however_the_matrices_lie() {
        let blas = Blas::single(3);
        let (wide, tall) = (numbers(9, 12), numbers(12, 9));
        for (a, b) in [
            (wide.view(), tall.view()),
            (wide.slice(s![2..5, 3..10]), tall.slice(s![1..8, 4..6])),
            (tall.t(), wide.t()),
            (tall.slice(s![..5, 1..4]).reversed_axes(), wide.slice(s![3..7, ..5]).reversed_axes()),
            (wide.slice(s![4..5, ..]), tall.slice(s![.., 2..3])),
            (wide.slice(s![.., 1..2]), wide.slice(s![3..4, ..])),
        ] {
            let expected = plain(a, b) * 2.0 + 0.5;
            let mut found = Array2::ones(expected.dim());
            let mut parts = found.clone();
            product(2.0, a, b, 0.5, found.view_mut());
            blas.product(2.0, a, b, 0.5, parts.view_mut());
            for found in [found, parts] {
                assert!((found - &expected).iter().all(|error| error.abs() < 1e-12), "{:?} {:?}", a, b);
            }
        }
    }
}
