//! Explanations: why something runs, what is up to date, where a figure came from, what the graph looks like.

mod compare;
mod diff;
mod draw;
mod duration;
mod forecast;
mod html;
mod provenance;
mod show;
mod status;
mod why;

pub use compare::Difference;
pub use diff::{Change, Kind, Lines, diff};
pub use draw::{Format, draw};
pub use forecast::{Forecast, forecast};
pub use provenance::complete;
pub use show::show;
pub use status::{Status, status};
pub(crate) use why::differences;
pub use why::{Group, Groups, why};
