//! A job, as the runner describes it in a job file.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Shortest time between two progress events: more would only cost time.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What a stage finds wrong with its job file.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The file cannot be read.
    #[error("cannot read the job file {path}: {source}")]
    Read {
        /// The job file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a job.
    #[error("{path} is not a job file: {source}")]
    Parse {
        /// The job file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The parameters have another shape than the stage wants.
    #[error("stage {stage}: params: {source}")]
    Params {
        /// The stage.
        stage: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The stage wants an input or an output that pipeline.yaml does not give it.
    #[error("stage {stage} needs {kind} `{name}`; pipeline.yaml gives {given}")]
    Missing {
        /// The stage.
        stage: String,
        /// "an input", "one artifact as input" or "an output".
        kind: &'static str,
        /// Its name.
        name: String,
        /// The names there are.
        given: String,
    },
}

/// A file or directory that another job made, or a source file.
#[derive(Debug, Clone, Deserialize)]
pub struct Artifact {
    /// Where it lies for the duration of this job.
    pub path: PathBuf,
    /// Its content hash: what a worker keeps between jobs it keeps by this.
    pub hash: String,
    /// In a list: the labels of the job that made it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    Many(Vec<Artifact>),
    One(Artifact),
}

/// One job: everything a stage may know.
#[derive(Debug, Deserialize)]
pub struct Job {
    /// The stage's name in pipeline.yaml.
    pub stage: String,
    /// The job's key, for messages.
    pub key: String,
    params: Value,
    inputs: BTreeMap<String, Input>,
    outputs: BTreeMap<String, PathBuf>,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Threads the job may use; a declared parameter, so that arithmetic does not follow scheduling.
    pub threads: usize,
    resume: Option<PathBuf>,
    #[serde(skip)]
    reported: Cell<Option<Instant>>,
}

impl Job {
    /// Reads a job file.
    ///
    /// # Errors
    /// When the file cannot be read or is not a job.
    pub fn read(path: &Path) -> Result<Job, JobError> {
        let text = std::fs::read(path).map_err(|source| JobError::Read { path: path.to_owned(), source })?;
        serde_json::from_slice(&text).map_err(|source| JobError::Parse { path: path.to_owned(), source })
    }

    /// The stage's parameters. Derive `Deserialize` with `deny_unknown_fields` to catch misspelt ones.
    ///
    /// # Errors
    /// When they do not have the shape of `T`.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        T::deserialize(&self.params).map_err(|source| JobError::Params { stage: self.stage.clone(), source })
    }

    /// An input that is one artifact.
    ///
    /// # Errors
    /// When there is none of that name, or it is an aggregate.
    pub fn input(&self, name: &str) -> Result<&Artifact, JobError> {
        match self.inputs.get(name) {
            Some(Input::One(artifact)) => Ok(artifact),
            _ => Err(self.missing("one artifact as input", name, self.inputs.keys())),
        }
    }

    /// An input as a list, in the order of labels: an aggregate, or a single artifact as a list of one.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn inputs(&self, name: &str) -> Result<&[Artifact], JobError> {
        match self.inputs.get(name) {
            Some(Input::Many(artifacts)) => Ok(artifacts),
            Some(Input::One(artifact)) => Ok(std::slice::from_ref(artifact)),
            None => Err(self.missing("an input", name, self.inputs.keys())),
        }
    }

    /// Whether the job has an input of that name (for optional ones).
    pub fn has_input(&self, name: &str) -> bool {
        self.inputs.contains_key(name)
    }

    /// Where an output goes. The file or directory does not exist yet.
    ///
    /// # Errors
    /// When pipeline.yaml declares no output of that name.
    pub fn output(&self, name: &str) -> Result<&Path, JobError> {
        match self.outputs.get(name) {
            Some(path) => Ok(path),
            None => Err(self.missing("an output", name, self.outputs.keys())),
        }
    }

    /// A folder, not always empty, that outlives the job: what the job left there before it was interrupted, it finds
    /// there. None when the stage does not say `resume: true`, or the job is run only to see what it makes.
    pub fn resume(&self) -> Option<&Path> {
        self.resume.as_deref()
    }

    /// Says how far the job is, at most ten times a second; `note` is a few words ("loss 0.31").
    pub fn progress(&self, done: u64, of: u64, note: &str) {
        let now = Instant::now();
        let due = self.reported.get().is_none_or(|last| now - last >= PROGRESS_INTERVAL);
        if due || done == of {
            self.reported.set(Some(now));
            emit(&json!({"event": "progress", "done": done, "of": of, "note": note}));
        }
    }

    /// A line for the job's log.
    pub fn log(&self, text: &str) {
        emit(&json!({"event": "log", "text": text}));
    }

    fn missing<'a>(
        &self,
        kind: &'static str,
        name: &str,
        given: impl Iterator<Item = &'a String>,
    ) -> JobError {
        let given: Vec<&str> = given.map(String::as_str).collect();
        let given = if given.is_empty() { "none".to_owned() } else { given.join(", ") };
        JobError::Missing { stage: self.stage.clone(), kind, name: name.to_owned(), given }
    }
}

/// Writes one event for the runner. A runner that has gone away is no reason to stop in the middle of a file.
pub(crate) fn emit(event: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{event}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> Job {
        serde_json::from_str(text).unwrap()
    }

    const JOB: &str = r#"{"stage": "embed", "key": "ab", "params": {"split": "train"},
        "inputs": {"data": {"path": "in/data", "hash": "1"},
                   "tiles": [{"path": "in/0", "hash": "2", "labels": {"seed": "42"}}]},
        "outputs": {"points": "out/points.parquet"}, "device": "cpu", "threads": 2}"#;

    #[test]
    fn inputs_are_one_artifact_or_a_list() {
        let job = job(JOB);
        assert_eq!(job.input("data").unwrap().path, Path::new("in/data"));
        assert_eq!(job.inputs("data").unwrap().len(), 1);
        assert_eq!(job.inputs("tiles").unwrap()[0].labels["seed"], "42");
        assert!(job.input("tiles").is_err());
        assert_eq!(job.resume(), None);
        let resumed = JOB.replace("\"threads\"", "\"resume\": \"again/0\", \"threads\"");
        assert_eq!(self::job(&resumed).resume(), Some(Path::new("again/0")));
    }

    #[test]
    fn a_missing_name_is_told_with_the_names_there_are() {
        let message = job(JOB).input("dta").unwrap_err().to_string();
        assert_eq!(message, "stage embed needs one artifact as input `dta`; pipeline.yaml gives data, tiles");
    }

    #[test]
    fn wrong_params_name_the_stage() {
        #[derive(Debug, Deserialize)]
        #[allow(dead_code)]
        struct Params {
            split: u32,
        }
        let message = job(JOB).params::<Params>().unwrap_err().to_string();
        assert!(message.starts_with("stage embed: params: "), "{message}");
    }
}
