//! InPCA: coordinates of points from the distances between them, where an axis may be time-like.
//!
//! [`inpca`] decomposes a matrix that is in memory; [`embed`] takes one of any size, from wherever it lies. All sums are
//! of f64, products of matrices and small eigenproblems through OpenBLAS. No program that links this may also link libtorch:
//! both bring a BLAS under the same names.

mod blas;
mod blocks;
mod centred;
mod eigen;
mod error;
#[cfg(test)]
mod golden;
mod inpca;
mod krylov;
mod large;
mod panel;
mod place;

pub use blocks::Distances;
pub use error::SpectralError;
pub use inpca::{Inpca, inpca};
pub use large::{Settings, embed};
