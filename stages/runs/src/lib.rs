//! The predictions of networks as stages read them: runs, their groups, their places along the geodesic.
//!
//! A **run** is one network with its seed. Files stay mapped and are read where they are used; [`Run::release`] lets go
//! of what was read.

mod columns;
mod groups;
mod placed;
mod run;
#[cfg(test)]
mod tests;
mod tile;

pub use columns::columns;
pub use groups::{Group, groups};
pub use placed::Placed;
pub use run::{Run, Scalars, open, read, truth};
pub use tile::{Member, Tile};
