//! InPCA: coordinates of points from the distances between them, where an axis may be time-like.
//!
//! Everything here is dense f64 through LAPACK of OpenBLAS. No program that links this may also link libtorch: both
//! bring a BLAS under the same names.

mod eigen;
mod error;
mod inpca;

pub use error::SpectralError;
pub use inpca::{Inpca, inpca};
