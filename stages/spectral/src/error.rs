//! Why a matrix of distances cannot be embedded.

/// Why a matrix of distances cannot be embedded.
#[derive(Debug, thiserror::Error)]
pub enum SpectralError {
    /// It is not square.
    #[error("a matrix of distances is square; this one is {rows} x {cols}")]
    NotSquare {
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
    },
    /// It has fewer than two points.
    #[error("an embedding needs at least two points; there are {0}")]
    TooFew(usize),
    /// It has more points than LAPACK's integers count.
    #[error("{0} points are more than LAPACK's 32-bit integers can count")]
    TooMany(usize),
    /// A distance is NaN or infinite.
    #[error("the distance between points {row} and {col} (from 0) is {value}")]
    NotFinite {
        /// One point.
        row: usize,
        /// The other point.
        col: usize,
        /// The distance.
        value: f64,
    },
    /// All points lie in one place.
    #[error("all {0} points lie in one place: there is no axis to find")]
    OnePlace(usize),
    /// LAPACK gave up on a small matrix.
    #[error(transparent)]
    Small(#[from] ndarray_linalg::error::LinalgError),
    /// LAPACK gave up.
    #[error("LAPACK's {routine} ended with info = {info}")]
    Lapack {
        /// The routine.
        routine: &'static str,
        /// What it said; its documentation tells what that means.
        info: i32,
    },
}
