//! A content-hashed DAG runner: `pipeline.yaml` in, figures out, and nothing computed twice.
//!
//! Data flows one way: [`cli`] -> [`pipeline`] (YAML to a checked specification) -> [`graph`] (jobs) -> [`code`] and
//! [`key`] (all that a result depends on) -> [`store`] and [`lockfile`] (what was made) -> [`plan`] (what has to run),
//! [`usage`] and [`rehearsal`] (how long, in what [`slots`]) and [`space`] (on how much disk) -> [`build`] and [`run`], with
//! [`share`] -> [`explain`], [`gc`].
//! docs/ARCHITECTURE.md draws the map.

pub mod accept;
pub mod build;
mod cgroups;
pub mod cli;
pub mod code;
pub mod explain;
mod folder;
pub mod gc;
pub mod graph;
pub mod hash;
#[cfg(any(test, fuzzing))]
pub mod hostile;
pub mod key;
pub mod lockfile;
pub mod pipeline;
pub mod plan;
pub mod project;
pub mod rehearsal;
pub mod ro_crate;
pub mod run;
mod seal;
pub mod share;
pub mod slots;
pub mod space;
pub mod store;
pub mod target;
pub mod usage;
