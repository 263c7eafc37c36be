//! Explanations: why something runs, what is up to date, where a figure came from, what the graph looks like.

mod draw;
mod show;
mod status;
mod why;

pub use draw::{Format, draw};
pub use show::show;
pub use status::{Status, status};
pub use why::{Group, why};
