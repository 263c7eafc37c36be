//! A job as a worker gets it: everything resolved.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::pool::Gone;
use super::process::Launch;
use crate::graph::JobId;
use crate::hash::Key;
use crate::pipeline::{Labels, Output};
use crate::store::Artifact;

/// A job as a worker gets it: everything resolved.
#[derive(Debug)]
pub struct Assignment {
    /// Which job.
    pub id: JobId,
    /// Its name, for the record.
    pub name: String,
    /// Its stage's name.
    pub stage: String,
    /// Its labels, for the record.
    pub labels: Labels,
    /// Its key.
    pub key: Key,
    /// Parameters.
    pub params: Map<String, Value>,
    /// Inputs by name.
    pub inputs: Vec<(String, AssignedInput)>,
    /// Outputs by name, sorted.
    pub outputs: Vec<(String, Output)>,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Threads.
    pub threads: u32,
    /// Whether its outputs are there for their consumers only, for the record.
    pub intermediate: bool,
    /// Whether only to look what it makes: nothing of it is stored, and its log is not kept.
    pub discard: bool,
    /// What its key is made of, for the record.
    pub ingredients: Vec<(String, String)>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// How often it runs again when it was killed.
    pub retries: u32,
    /// Whether it goes on from what an interrupted one left.
    pub resume: bool,
    /// What runs it.
    pub program: Program,
    /// Processes that keep what it is to have, and are ending.
    pub after: Vec<Arc<Gone>>,
}

/// What runs a job.
#[derive(Debug, Clone)]
pub enum Program {
    /// A process that takes job after job.
    Worker(Launch),
    /// A process a job; `{inputs.NAME}` and the like in its arguments are replaced.
    Command(Launch),
}

/// An input of an assignment.
#[derive(Debug)]
pub enum AssignedInput {
    /// One artifact.
    One(Placed),
    /// A list, with labels.
    Many(Vec<(Placed, Labels)>),
}

/// An artifact, and where to take it from.
#[derive(Debug)]
pub struct Placed {
    /// What it is.
    pub artifact: Artifact,
    /// The file's name.
    pub file: String,
    /// A file or folder of the project; otherwise it is in the store.
    pub source: Option<PathBuf>,
}

impl Program {
    /// What to start.
    pub fn launch(&self) -> &Launch {
        let (Program::Worker(launch) | Program::Command(launch)) = self;
        launch
    }
}

impl Assignment {
    /// The input of a name; none if the profile does not have it.
    pub fn input(&self, name: &str) -> Option<&AssignedInput> {
        self.inputs.iter().find_map(|(input, assigned)| (input == name).then_some(assigned))
    }
}

impl AssignedInput {
    /// What it consists of.
    pub fn placed(&self) -> Box<dyn Iterator<Item = &Placed> + '_> {
        match self {
            AssignedInput::One(placed) => Box::new(std::iter::once(placed)),
            AssignedInput::Many(list) => Box::new(list.iter().map(|(placed, _)| placed)),
        }
    }
}
