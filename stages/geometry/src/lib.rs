//! Distances, geodesics, progress and trajectories in the space of predictions.
//!
//! A **model** is a view `[N, C]`: for each of N samples a distribution over C classes. A **trajectory** is the sequence
//! of one network's checkpoints, each a model. Everything here is a pure function of its arguments: no files, no
//! randomness, and the same bits whatever the number of rayon's threads. The definitions are those of Mao et
//! al., PNAS 121(12) 2024.
//!
//! ```
//! use geometry::{Measure, Truth, between};
//! # fn main() -> Result<(), geometry::GeometryError> {
//! let truth = Truth::new(&[1, 0, 2], 3)?;
//! let ends = geometry::geodesic(&truth, &[0.0, 1.0]);
//! let ends: Vec<geometry::Model> = ends.outer_iter().collect();
//! let distances = between(Measure::Bhattacharyya, &ends, &ends)?;
//! assert!((distances[[0, 1]] - 0.5 * 3f64.ln()).abs() < 1e-6); // the overlap of every sample is sqrt(1/3)
//! # Ok(())
//! # }
//! ```

mod bhattacharyya;
mod centroids;
mod distance;
mod error;
mod frechet;
mod geodesic;
#[cfg(test)]
mod golden;
mod kernel;
mod plain;
mod progress;
pub mod reference;
mod tangent;
mod trajectory;
mod tree;
mod truth;

pub use centroids::Centroid;
pub use distance::{Distances, Measure, Model, between, check, mirror, within};
pub use error::GeometryError;
pub use frechet::frechet;
pub use geodesic::{geodesic, great_circle};
pub use progress::{Alignment, Place};
pub use tangent::velocity;
pub use trajectory::Trajectory;
pub use tree::{Merge, Tree, complete_linkage};
pub use truth::Truth;
