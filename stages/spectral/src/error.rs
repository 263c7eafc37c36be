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
    /// Distances cannot be read.
    #[error(transparent)]
    Read(#[from] std::io::Error),
    /// A weight is not above 0.
    #[error(
        "the weight of point {point} (from 0) is {weight}; weights are above 0. Place a point without weight out-of-sample"
    )]
    Weight {
        /// The point.
        point: usize,
        /// Its weight.
        weight: f64,
    },
    /// There is not a weight for each point.
    #[error("{points} points have {weights} weights")]
    Weights {
        /// How many points there are.
        points: usize,
        /// How many weights.
        weights: usize,
    },
    /// What an embedding needs beside the distances is more than it may take.
    #[error(
        "{points} points need {needed} MB of memory beside their distances, and may have {memory} MB: raise `memory`"
    )]
    Memory {
        /// How many points there are.
        points: usize,
        /// Megabytes that are needed.
        needed: u64,
        /// Megabytes that were given.
        memory: u64,
    },
    /// The eigenpairs do not settle.
    #[error(
        "after {blocks} passes over the distances an eigenpair still has a residual of {residual:e} of the largest eigenvalue: the magnitudes of the eigenvalues wanted last are too close to those that follow; ask for fewer dimensions"
    )]
    NotConverged {
        /// How often the operator was applied.
        blocks: usize,
        /// The largest residual, relative to the largest eigenvalue.
        residual: f64,
    },
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
