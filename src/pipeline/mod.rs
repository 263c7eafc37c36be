//! pipeline.yaml, read and checked: every name in it resolves, every value has its type.
//!
//! Everything here is for one profile. Positions in the file live only in errors: what leaves this module is right.

mod command;
mod costs;
mod document;
mod error;
mod fanout;
mod inputs;
mod literal;
mod load;
mod params;
mod parquet;
mod positions;
mod presence;
mod reference;
mod shape;
mod share;
mod stage;
mod sweep;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

pub use costs::{Cost, Costs};
pub use document::schema;
pub(crate) use error::nearest;
pub use error::{PipelineError, Problem};
pub(crate) use fanout::by_number;
pub use load::{Listed, profiles};
pub use positions::Position;
pub use reference::bytes;
pub(crate) use reference::{Piece, PlaceholderKind, is_plain, pieces};
pub use share::{Address, Cloud, Share, Trust};
pub use sweep::Condition;

/// A job's or a configuration's labels, sorted by name; values as people write them (`arch` = `fc`, `seed` = `42`).
pub type Labels = BTreeMap<String, String>;

/// What a group is called: the values of the labels it is grouped by, `fc+adam`.
pub fn group_name(labels: &Labels, by: &[String]) -> String {
    by.iter().filter_map(|label| labels.get(label)).map(String::as_str).collect::<Vec<_>>().join("+")
}

/// A pipeline for one profile.
#[derive(Debug)]
pub struct Pipeline {
    /// The folder pipeline.yaml stands in; every path in it is relative to this.
    pub root: PathBuf,
    /// The folder of the cargo workspace that the stages' crates are in: `root`, unless the file says otherwise.
    pub workspace: PathBuf,
    /// The profile's name.
    pub profile: String,
    /// Sweeps, their configurations in the order of the file.
    pub sweeps: Vec<Sweep>,
    /// Stages, each after those it takes inputs from.
    pub stages: Vec<Stage>,
    /// The stages that this profile does not have, each with the profiles that do.
    pub elsewhere: BTreeMap<String, Vec<String>>,
    /// Where finished work is exchanged with others, if anywhere.
    pub share: Option<Share>,
    /// Whose work counts beside one's own.
    pub trust: Trust,
}

/// Index of a sweep in [`Pipeline::sweeps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepId(pub usize);

/// Index of a stage in [`Pipeline::stages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId(pub usize);

/// A named set of configurations.
#[derive(Debug)]
pub struct Sweep {
    /// Its name.
    pub name: String,
    /// At least one; no two with equal labels; all with the same label names.
    pub configurations: Vec<Configuration>,
}

impl Sweep {
    /// The names of its configurations' labels, sorted.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.configurations.first().into_iter().flat_map(|each| each.labels.keys()).map(String::as_str)
    }
}

/// One combination of a sweep.
#[derive(Debug)]
pub struct Configuration {
    /// What tells it from the others.
    pub labels: Labels,
    /// Labels and settings, numbers in canonical form: what `$network` stands for.
    pub values: Map<String, Value>,
}

/// A stage.
#[derive(Debug)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// A line for people; may be empty.
    pub about: String,
    /// What runs.
    pub program: Program,
    /// How it fans out; none makes one job.
    pub each: Vec<Each>,
    /// Parameters; references to the profile's are already replaced.
    pub params: BTreeMap<String, Param>,
    /// Inputs by name.
    pub inputs: BTreeMap<String, Input>,
    /// Outputs by name.
    pub outputs: BTreeMap<String, Output>,
    /// Outputs that are placed under outputs/PROFILE/: output name to path, with `{label}` in it.
    pub publish: BTreeMap<String, String>,
    /// Whether published pages tell where they came from.
    pub provenance: bool,
    /// Outputs that are not published are there for their consumers only, and go when these have records.
    pub intermediate: bool,
    /// What a job needs to run.
    pub needs: Needs,
    /// What the profile says that jobs take.
    pub costs: Vec<Cost>,
    /// Whether a light run leaves it as it is.
    pub heavy: bool,
    /// Pin files of tools (relative to the root), by the tool's name; their content is part of the key.
    pub tools: BTreeMap<String, PathBuf>,
    /// Environment variables that pass, and whose values are part of the key.
    pub env: Vec<String>,
    /// Folders that jobs may read beside their inputs, absolute; they need not be there.
    pub reads: Vec<PathBuf>,
    /// Whether jobs may reach the network.
    pub network: bool,
    /// How long a job may take.
    pub timeout: Option<Duration>,
    /// How often a job runs again that was killed.
    pub retries: u32,
    /// Whether a job has a folder that outlives it.
    pub resume: bool,
}

/// What runs a stage's jobs.
#[derive(Debug)]
pub enum Program {
    /// A crate, by its folder relative to [`Pipeline::workspace`]; the runner builds it.
    Crate(PathBuf),
    /// Any command.
    Command {
        /// The program and its arguments, with `{inputs.NAME}` and the like in them.
        command: Vec<String>,
        /// The files that are its code, relative to the root.
        code: Vec<PathBuf>,
    },
}

/// One way to fan out.
#[derive(Debug)]
pub enum Each {
    /// `each: network in networks`: a job a configuration.
    Configuration {
        /// The name it is bound to.
        variable: String,
        /// Of this sweep.
        sweep: SweepId,
    },
    /// `each: group in networks by arch`: a job a group of configurations that agree on the labels.
    Group {
        /// The name it is bound to.
        variable: String,
        /// Of this sweep.
        sweep: SweepId,
        /// At least one of the sweep's label names.
        by: Vec<String>,
    },
    /// `pairs: rows, cols in networks by arch`: a job an unordered pair of groups.
    Pairs {
        /// The names the two are bound to.
        variables: [String; 2],
        /// Of this sweep.
        sweep: SweepId,
        /// At least one of the sweep's label names.
        by: Vec<String>,
    },
}

/// A parameter as the file gives it: a literal, or something that the job's configuration decides.
#[derive(Debug, Clone)]
pub enum Param {
    /// The same for every job; numbers in canonical form.
    Literal(Value),
    /// `$network`: all values of the configuration bound to that name.
    Configuration(String),
    /// `$network.seed`: one value of it (its name, then the value's).
    Value(String, String),
    /// A mapping with references somewhere in it.
    Mapping(BTreeMap<String, Param>),
    /// A list with references somewhere in it.
    List(Vec<Param>),
}

/// An input of a stage.
#[derive(Debug)]
pub enum Input {
    /// One artifact.
    One(Source),
    /// A list of artifacts, from these sources in order.
    Many(Vec<Source>),
}

impl Input {
    /// Where it comes from, in the order of the file.
    pub fn sources(&self) -> &[Source] {
        match self {
            Input::One(source) => std::slice::from_ref(source),
            Input::Many(sources) => sources,
        }
    }

    /// Whether a job gets it as a list: it is written as one, or takes all jobs of a stage or of a group.
    pub fn is_list(&self) -> bool {
        match self {
            Input::Many(_) => true,
            Input::One(Source::Jobs { select, .. }) => select.all || select.group.is_some(),
            Input::One(Source::File(_) | Source::Files { .. }) => false,
        }
    }
}

/// Where an input comes from.
#[derive(Debug)]
pub enum Source {
    /// A file or folder of the project, relative to the root.
    File(PathBuf),
    /// A file or folder of the project for each configuration of a sweep.
    Files {
        /// The name the configuration is bound to.
        variable: String,
        /// As written, with `{variable.value}` in it.
        text: String,
        /// Of each configuration in the order of the sweep, relative to the root.
        paths: Vec<PathBuf>,
    },
    /// An output of another stage's jobs.
    Jobs {
        /// The stage.
        stage: StageId,
        /// The output's name; the stage has it.
        output: String,
        /// Which of its jobs, beside agreeing with the consumer on common labels.
        select: Select,
    },
}

/// Which jobs of a stage an input takes.
#[derive(Debug, Default)]
pub struct Select {
    /// `[*]`: all of them, as a list.
    pub all: bool,
    /// `[rows]`: those of the group bound to that name, as a list.
    pub group: Option<String>,
    /// `[split=test]`: those with these labels, whatever the consumer's own are.
    pub labels: Labels,
}

/// An output of a stage.
#[derive(Debug, Clone)]
pub struct Output {
    /// The file's name in the job's output folder.
    pub file: String,
    /// File or folder.
    pub kind: Kind,
}

/// Whether an artifact is a file or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder of regular files and folders.
    Folder,
}

/// What a job needs to run.
#[derive(Debug, Clone)]
pub struct Needs {
    /// CPU threads; part of the key, since arithmetic may follow it.
    pub threads: u32,
    /// Bytes of memory; 0 when not told.
    pub memory: u64,
    /// Whether it uses a GPU.
    pub gpu: Gpu,
    /// How many of these jobs may share a card.
    pub per_gpu: u32,
}

/// Whether a job uses a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gpu {
    /// No.
    None,
    /// Where there is one.
    Prefer,
    /// Not without.
    Require,
}
