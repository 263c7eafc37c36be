//! The predictions of networks as stages read them: runs, their groups, their places along the geodesic.
//!
//! A **run** is one network with its seed. Of the predictions only what is asked for is read, by [`Predictions::model`],
//! so that memory does not follow the number of samples.

mod groups;
mod placed;
mod predictions;
mod run;
#[cfg(test)]
mod tests;

pub use groups::{Group, groups};
pub use placed::Placed;
pub use predictions::Predictions;
pub use run::{Run, Scalars, open, read, truth};
