//! pipeline.yaml as it is written: what serde reads, and what editors get as a schema.
//!
//! The comments of the fields are the schema's descriptions.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::literal::{Literal, Scalar};

/// The JSON schema of pipeline.yaml, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}

/// A paper as a graph: profiles, sweeps, stages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "pipeline.yaml")]
pub(super) struct Document {
    /// The format of this file: 1.
    pub version: u32,
    /// The profile that runs when --profile is not given.
    pub profile: Option<String>,
    /// The folder whose cargo workspace has the crates of `crate`, when it is not this one: `../..`.
    pub workspace: Option<String>,
    /// Parameters of every profile; `$name` stands for one.
    #[serde(default)]
    pub params: IndexMap<String, Literal>,
    /// Sweeps that all profiles share.
    #[serde(default)]
    pub sweeps: IndexMap<String, Sweep>,
    /// Ways to run the pipeline: small and large.
    pub profiles: IndexMap<String, Profile>,
    /// What is run.
    pub stages: IndexMap<String, Stage>,
    /// Where finished work is exchanged with others; RIBBON_SHARE names another place.
    pub share: Option<Share>,
    /// Whose work counts beside one's own: names with public keys (`ada: ed25519:..`), or `any`.
    pub trust: Option<Trust>,
}

/// A place that others reach too.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Share {
    /// A folder, or a URL: s3://bucket/path, gs://, az://, davs://host/path, sftp://user@host/path.
    Url(String),
    /// The same, and how to reach it.
    Full(ShareOptions),
}

/// A place that others reach too, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ShareOptions {
    /// A folder, or a URL: s3://bucket/path, gs://, az://, davs://host/path, sftp://user@host/path.
    pub url: String,
    /// The server's URL, for stores that are compatible with S3 (or Google, or Azure) and stand elsewhere.
    pub endpoint: Option<String>,
    /// The region of a bucket.
    pub region: Option<String>,
    /// Whether everybody may read the bucket: who has no credentials then asks without.
    #[serde(default)]
    pub public: bool,
    /// Requests in flight at most: 32 if not told, over SSH 6.
    #[schemars(range(min = 1, max = 256))]
    pub connections: Option<u32>,
    /// Seconds a request may take before the share is given up: 20 if not told. Much data gets more.
    #[schemars(range(min = 1, max = 3600))]
    pub timeout: Option<u32>,
}

/// Whose work counts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Trust {
    /// `any`: everybody's, signed or not.
    Word(String),
    /// Public keys, as `ribbon key show` prints them, by their owners' names.
    Keys(IndexMap<String, String>),
}

/// A way to run the pipeline.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// A line for people.
    #[serde(default)]
    pub about: String,
    /// Parameters; each replaces the one of all profiles as a whole.
    #[serde(default)]
    pub params: IndexMap<String, Literal>,
    /// Sweeps; each replaces the one of all profiles as a whole.
    #[serde(default)]
    pub sweeps: IndexMap<String, Sweep>,
    /// What jobs of each stage take until some have shown it, for `ribbon run --dry-run`: factors, of which those whose
    /// conditions a job meets are multiplied. Not in any key.
    #[serde(default)]
    pub costs: IndexMap<String, Vec<Cost>>,
}

/// Factors of what jobs take that meet a condition; `$name` and `$name.value` stand for parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cost {
    /// The condition, on the job's labels; without it, all jobs meet it.
    #[serde(default)]
    pub when: Condition,
    /// Of the seconds that a job runs.
    pub seconds: Option<Scalar>,
    /// Of the bytes that its outputs have together.
    pub bytes: Option<Scalar>,
}

/// A set of configurations.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sweep {
    /// Every combination of these is a configuration; the keys are its labels.
    #[serde(default)]
    pub matrix: IndexMap<String, Values>,
    /// Instead of a matrix: a CSV file (names in its first line) or a Parquet file, whose rows are configurations.
    pub table: Option<String>,
    /// The columns of `table` that tell its rows apart; the others are settings.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Combinations to leave out, by some or all of their labels.
    #[serde(default)]
    pub exclude: Vec<Condition>,
    /// Further configurations, with all labels.
    #[serde(default)]
    pub include: Vec<IndexMap<String, Scalar>>,
    /// Values that follow from the labels; later ones win.
    #[serde(default)]
    pub settings: Vec<Setting>,
}

/// The values of a label.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct Values(#[schemars(length(min = 1))] pub Vec<Scalar>);

/// Labels, each with the value, or a list of the values, that meet the condition.
pub(super) type Condition = IndexMap<String, OneOrMany<Scalar>>;

/// Values of the configurations that meet a condition.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Setting {
    /// The condition; without it, all configurations meet it.
    #[serde(default)]
    pub when: Condition,
    /// The values; `$name` stands for a parameter.
    pub set: IndexMap<String, Literal>,
}

/// One, or a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum OneOrMany<T> {
    /// A list.
    Many(Vec<T>),
    /// One.
    One(T),
}

impl<T> OneOrMany<T> {
    /// All of them.
    pub fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::Many(list) => list,
            OneOrMany::One(one) => std::slice::from_ref(one),
        }
    }
}

/// A stage: what is run, on what, for what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Stage {
    /// A line for people.
    #[serde(default)]
    pub about: String,
    /// The profiles that have the stage; all, if not told. Not in the key.
    #[schemars(length(min = 1))]
    pub profiles: Option<Vec<String>>,
    /// The folder of the crate whose program does the jobs, from `workspace`; or say `run`.
    #[serde(rename = "crate")]
    pub krate: Option<String>,
    /// The command that does a job, with {inputs.NAME}, {outputs.NAME} and {params.NAME} in it; or say `crate`.
    pub run: Option<Vec<String>>,
    /// The files that are the code of `run`.
    #[serde(default)]
    pub code: Vec<String>,
    /// A job a configuration: `network in networks`; or a group: `group in networks by arch, optimizer`.
    pub each: Option<OneOrMany<String>>,
    /// A job an unordered pair of groups: `rows, cols in networks by arch, optimizer`.
    pub pairs: Option<String>,
    /// What the stage gets to know; `$name` stands for a parameter or a configuration, `$name.value` for one value of it.
    #[serde(default)]
    pub params: IndexMap<String, Literal>,
    /// `stage.output`, `stage[*].output`, `stage[label=value].output`, `stage[group].output`, `./path`, or a list of them;
    /// `./folder/{network.file}` names a file for each configuration.
    #[serde(default)]
    pub inputs: IndexMap<String, OneOrMany<String>>,
    /// Names of files; with a trailing `/`, of folders.
    #[schemars(extend("minProperties" = 1))]
    pub outputs: IndexMap<String, String>,
    /// Outputs to place under outputs/PROFILE/, as output: path, with `{label}` in it.
    #[serde(default)]
    pub publish: IndexMap<String, String>,
    /// Whether the published copies of its outputs, HTML pages, get a section after them that tells where they came from:
    /// the graph with keys, parameters and run times. Not in the key.
    #[serde(default)]
    pub provenance: bool,
    /// Whether the content of outputs stays when all that takes it is up to date. What is published always stays; the rest
    /// is made again if something needs it.
    #[serde(default = "yes")]
    pub keep: bool,
    /// What a job needs to run.
    #[serde(default)]
    pub needs: Needs,
    /// Whether its jobs take so long that `ribbon run --light` goes on from what they made before; not in the key.
    #[serde(default)]
    pub heavy: bool,
    /// Pin files of tools; their content is part of the key.
    #[serde(default)]
    pub tools: IndexMap<String, String>,
    /// Environment variables that pass, and whose values are part of the key.
    #[serde(default)]
    pub env: Vec<String>,
    /// Folders that jobs may read beside their inputs, like a virtual environment; `~` is the home. Not in the key.
    #[serde(default)]
    pub reads: Vec<String>,
    /// Whether jobs may reach the network; not, if not told. Not in the key.
    #[serde(default)]
    pub network: bool,
    /// How long a job may take, as `90s` or `2h 30m`; a longer one is ended and fails. Not in the key.
    pub timeout: Option<String>,
    /// How often a job runs again that was ended by a signal or for lack of memory; 0 if not told. Not in the key.
    #[serde(default)]
    pub retries: u32,
    /// Whether a job gets a folder that outlives it, to go on from after an interruption; not, if not told. Not in the key.
    #[serde(default)]
    pub resume: bool,
}

fn yes() -> bool {
    true
}

/// What a job needs to run.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Needs {
    /// CPU threads, 1 if not told; part of the key, since arithmetic may follow it.
    #[schemars(range(min = 1))]
    pub threads: Option<u32>,
    /// Memory: bytes, or a number with K, M, G, T (powers of 1000) or KiB, MiB, GiB, TiB (of 1024); or a parameter, `$name`.
    pub memory: Option<Memory>,
    /// Whether it uses a GPU; not, if not told.
    #[serde(default)]
    pub gpu: Gpu,
    /// How many of these jobs may share a card, 1 if not told; or a parameter, `$name`.
    #[serde(rename = "per-gpu")]
    pub per_gpu: Option<Count>,
}

/// How many.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Count {
    /// So many.
    Number(#[schemars(range(min = 1))] u32),
    /// As a parameter says.
    Reference(String),
}

/// An amount of memory.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Memory {
    /// Bytes.
    Bytes(u64),
    /// With a unit: `1G`, `500M`, `2GiB`; or `$name`.
    Text(String),
}

/// Whether a job uses a GPU.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Gpu {
    /// No.
    #[default]
    None,
    /// Where there is one.
    Prefer,
    /// Not without.
    Require,
}

#[cfg(test)]
mod tests {
    use super::schema;

    #[test]
    fn the_schema_describes_keys_and_refuses_others() {
        let schema = schema();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"], serde_json::json!(["version", "profiles", "stages"]));
        assert_eq!(schema["$defs"]["Stage"]["additionalProperties"], false);
        assert_eq!(schema["$defs"]["Stage"]["properties"]["about"]["description"], "A line for people.");
        assert_eq!(schema["$defs"]["Count"]["anyOf"][0]["minimum"], 1);
        assert!(schema["properties"]["profile"]["description"].as_str().unwrap().contains("--profile"));
    }
}
