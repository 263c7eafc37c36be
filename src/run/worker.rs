//! A worker: the thread that drives a stage's process through its jobs, one after the other.
//!
//! One job: link the inputs into a folder of its own, hand over the job file, read events until the end, check and
//! store the outputs, write the record.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::folder::{empty, write_over};
use super::process::{Group, Launch, Line, Process};
use crate::graph::JobId;
use crate::hash::Key;
use crate::pipeline::{Labels, Output};
use crate::store::{
    Artifact, Artifacts, Machine, Memo, Record, RecordedOutput, Store, StoreError, link_source, measure,
    unlink_source,
};

/// Lines of a failed job's log that are shown with its failure.
const TAIL: usize = 20;

/// Bytes of a job's log that are kept.
const LOG: u64 = 16 << 20;

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
    /// What its key is made of, for the record.
    pub ingredients: Vec<(String, String)>,
    /// What runs it.
    pub program: Program,
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

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The stage says so.
    #[error("{0}")]
    Said(String),
    /// The program ended in the middle of the job.
    #[error("{}", died(.0))]
    Died(ExitStatus),
    /// The program cannot be started.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// Its name or path.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// An output is not there.
    #[error("it ended without making its output `{name}` ({file})")]
    Missing {
        /// The output.
        name: String,
        /// Its file.
        file: String,
    },
    /// Something is there that is no output.
    #[error("it made `{0}`, which pipeline.yaml does not declare as an output")]
    Undeclared(String),
    /// A source file changed while the job read it.
    #[error("{0} changed while the job ran; run again")]
    Changed(PathBuf),
    /// A placeholder of a command names nothing.
    #[error("the command's `{0}` names no input, output or parameter, or a list inside a longer word")]
    Placeholder(String),
    /// The store cannot take or give something.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The job's folder cannot be used.
    #[error("{path}: {source}")]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn died(status: &ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(9), _) => {
            "it was killed (signal 9); if nobody did that, the system ran out of memory".to_owned()
        }
        (Some(signal), _) => format!("it was ended by signal {signal}"),
        (None, Some(code)) => format!("it ended with exit status {code}"),
        (None, None) => "it ended".to_owned(),
    }
}

/// What a worker tells the run.
#[derive(Debug)]
pub enum Told {
    /// How far a job is.
    Progress {
        /// Which job.
        id: JobId,
        /// Steps done.
        done: u64,
        /// Of so many.
        of: u64,
        /// A few words.
        note: String,
    },
    /// A job ended; the worker is free.
    Ended {
        /// Which job.
        id: JobId,
        /// The worker's number.
        worker: usize,
        /// What it made, or why not, with the last lines of its log.
        result: Result<Artifacts, (Failure, Vec<String>)>,
        /// How long it ran, in seconds.
        seconds: f64,
    },
    /// Somebody wants the run to end.
    Interrupt,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event {
    Progress {
        done: u64,
        of: u64,
        #[serde(default)]
        note: String,
    },
    Log {
        text: String,
    },
    Done,
    Error {
        what: String,
    },
}

/// A worker's thread.
pub struct Worker<'a> {
    /// Its number in the run.
    pub number: usize,
    /// Its folder.
    pub folder: PathBuf,
    /// The store that inputs come from and outputs go to.
    pub store: &'a Store,
    /// Hashes of files.
    pub memo: &'a Memo,
    /// What records say jobs ran on, but for the device.
    pub machine: Arc<Machine>,
    /// By which the run can end its process.
    pub group: Group,
    /// Where it reports to.
    pub told: Sender<Told>,
}

/// A job's log: a file that is made with the first line, and the last lines.
struct Log<'a> {
    store: &'a Store,
    key: Key,
    file: Option<File>,
    written: u64,
    tail: VecDeque<String>,
}

impl Worker<'_> {
    /// Does jobs until there are no more.
    pub fn work(self, assignments: Receiver<Assignment>) {
        let mut process = None;
        for assignment in assignments {
            let started = Instant::now();
            let mut log = Log::new(self.store, assignment.key);
            let result = self.perform(&assignment, &mut process, &mut log, started);
            let result = result.map_err(|failure| {
                let tail = std::mem::take(&mut log.tail).into();
                log.line(&format!("failed: {failure}"));
                (failure, tail)
            });
            let (id, worker, seconds) = (assignment.id, self.number, started.elapsed().as_secs_f64());
            // The run has ended when nobody listens.
            let _ = self.told.send(Told::Ended { id, worker, result, seconds });
        }
    }

    fn perform(
        &self,
        job: &Assignment,
        process: &mut Option<Process>,
        log: &mut Log,
        started: Instant,
    ) -> Result<Artifacts, Failure> {
        let ran = self.prepare(job).and_then(|file| {
            match &job.program {
                Program::Worker(launch) => self.hand_over(job.id, launch, &file, process, log),
                Program::Command(launch) => self.run_command(job, launch, &file, log),
            }?;
            self.collect(job, started)
        });
        self.clear(job);
        ran
    }

    /// Makes the job's folders, links its inputs and writes its job file.
    fn prepare(&self, job: &Assignment) -> Result<PathBuf, Failure> {
        for folder in [self.inputs(), self.outputs()] {
            fs::create_dir_all(&folder).map_err(|source| Failure::Folder { path: folder, source })?;
        }
        for (name, input) in &job.inputs {
            for (i, placed) in input.placed().enumerate() {
                let to = self.input_path(name, i, placed);
                match &placed.source {
                    Some(source) => link_source(source, &to, self.memo).map_err(StoreError::from)?,
                    None => self.store.link(&placed.artifact, &to, self.memo)?,
                }
            }
        }
        let path = self.folder.join("job.json");
        let written = serde_json::to_vec(&self.job_file(job)).map_err(io::Error::from);
        written
            .and_then(|text| write_over(&path, &text))
            .map_err(|source| Failure::Folder { path: path.clone(), source })?;
        Ok(path)
    }

    fn job_file(&self, job: &Assignment) -> Value {
        let one = |name: &str, i: usize, placed: &Placed| json!({"path": self.input_path(name, i, placed), "hash": placed.artifact.hash});
        let inputs: Map<String, Value> = job
            .inputs
            .iter()
            .map(|(name, input)| {
                let value = match input {
                    AssignedInput::One(placed) => one(name, 0, placed),
                    AssignedInput::Many(list) => list
                        .iter()
                        .enumerate()
                        .map(|(i, (placed, labels))| {
                            let mut value = one(name, i, placed);
                            value["labels"] = json!(labels);
                            value
                        })
                        .collect(),
                };
                (name.clone(), value)
            })
            .collect();
        let outputs: BTreeMap<&String, PathBuf> =
            job.outputs.iter().map(|(name, output)| (name, self.outputs().join(&output.file))).collect();
        json!({
            "stage": job.stage, "key": job.key, "params": job.params, "inputs": inputs, "outputs": outputs,
            "device": job.device, "threads": job.threads,
        })
    }

    /// Gives the job to the stage's process, which is started if there is none.
    fn hand_over(
        &self,
        id: JobId,
        launch: &Launch,
        file: &Path,
        process: &mut Option<Process>,
        log: &mut Log,
    ) -> Result<(), Failure> {
        let request = json!({"job": file}).to_string();
        // A process that ended after its last job gets a successor; one that ends during this job does not.
        let kept = process.take().and_then(|mut kept| {
            // What it said after its last job's end is no answer to this one.
            kept.drain().unwrap_or_default().iter().for_each(|line| log.line(line));
            kept.write_line(&request).is_ok().then_some(kept)
        });
        let mut running = match kept {
            Some(running) => running,
            None => {
                let mut running = self.start(launch)?;
                let _ = running.write_line(&request);
                running
            }
        };
        let ended = self.listen(id, &mut running, log)?;
        match ended {
            Some(result) => {
                running.drain().unwrap_or_default().iter().for_each(|line| log.line(line));
                *process = Some(running);
                result
            }
            None => Err(Failure::Died(running.end().map_err(self.folder_error())?)),
        }
    }

    /// Runs a job's own process.
    fn run_command(
        &self,
        job: &Assignment,
        launch: &Launch,
        file: &Path,
        log: &mut Log,
    ) -> Result<(), Failure> {
        let mut launch = launch.clone();
        launch.command = self.fill_in(job, &launch.command)?;
        launch.env.push(("RIBBON_JOB".to_owned(), Some(file.to_string_lossy().into_owned())));
        let mut running = self.start(&launch)?;
        running.close_input();
        let said = loop {
            match self.listen(job.id, &mut running, log)? {
                None => break Ok(()),
                Some(Ok(())) => {}
                Some(Err(failure)) => break Err(failure),
            }
        };
        let status = running.join().map_err(self.folder_error())?;
        said.and_then(|()| if status.success() { Ok(()) } else { Err(Failure::Died(status)) })
    }

    fn start(&self, launch: &Launch) -> Result<Process, Failure> {
        let program = launch.command[0].to_string_lossy().into_owned();
        Process::start(launch, &self.folder, &self.group).map_err(|source| Failure::Start { program, source })
    }

    fn folder_error(&self) -> impl FnOnce(io::Error) -> Failure {
        let path = self.folder.clone();
        |source| Failure::Folder { path, source }
    }

    /// Reads until the job's end as the stage tells it, or none when the process ends first.
    fn listen(
        &self,
        id: JobId,
        running: &mut Process,
        log: &mut Log,
    ) -> Result<Option<Result<(), Failure>>, Failure> {
        loop {
            let line = running.next_line();
            let line = line.map_err(self.folder_error())?;
            let text = match line {
                Line::End => return Ok(None),
                Line::Err(text) => {
                    log.line(&text);
                    continue;
                }
                Line::Out(text) => text,
            };
            match serde_json::from_str(&text) {
                Ok(Event::Progress { done, of, note }) => {
                    let _ = self.told.send(Told::Progress { id, done, of, note });
                }
                Ok(Event::Log { text }) => log.line(&text),
                Ok(Event::Done) => return Ok(Some(Ok(()))),
                Ok(Event::Error { what }) => return Ok(Some(Err(Failure::Said(what)))),
                Err(_) => log.line(&text),
            }
        }
    }

    /// Checks the outputs, moves them into the store and makes them count.
    fn collect(&self, job: &Assignment, started: Instant) -> Result<Artifacts, Failure> {
        for placed in job.inputs.iter().flat_map(|(_, input)| input.placed()) {
            if let Some(source) = &placed.source
                && !measure(source, self.memo).is_ok_and(|now| now == placed.artifact)
            {
                return Err(Failure::Changed(source.clone()));
            }
        }
        let folder = self.outputs();
        let mut made: Vec<OsString> = fs::read_dir(&folder)
            .map_err(|source| Failure::Folder { path: folder.clone(), source })?
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .collect();
        made.sort();
        for (name, output) in &job.outputs {
            if !made.iter().any(|file| *file == *output.file) {
                return Err(Failure::Missing { name: name.clone(), file: output.file.clone() });
            }
        }
        if let Some(file) = made.iter().find(|file| job.outputs.iter().all(|(_, it)| **file != *it.file)) {
            return Err(Failure::Undeclared(file.to_string_lossy().into_owned()));
        }
        let mut artifacts = Vec::new();
        for (_, output) in &job.outputs {
            artifacts.push(self.store.insert(&folder.join(&output.file), output.kind, self.memo)?);
        }
        self.store.commit(&self.record(job, &artifacts, started), artifacts.clone())?;
        Ok(artifacts)
    }

    fn record(&self, job: &Assignment, artifacts: &Artifacts, started: Instant) -> Record {
        let outputs = job.outputs.iter().zip(artifacts);
        Record {
            version: 1,
            key: job.key,
            job: job.name.clone(),
            stage: job.stage.clone(),
            labels: job.labels.clone(),
            ingredients: job.ingredients.clone(),
            outputs: outputs
                .map(|((name, _), artifact)| (name.clone(), RecordedOutput::of(artifact)))
                .collect(),
            ended: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            seconds: started.elapsed().as_secs_f64(),
            machine: Machine { device: job.device.clone(), ..Machine::clone(&self.machine) },
            accepted: None,
        }
    }

    /// Empties the job's folders; the memo learns that links to its inputs are gone.
    ///
    /// The folders stay for the next job: a file system that is told of thousands of new and removed folders a second
    /// comes to spend more on finding places for them than the jobs take.
    fn clear(&self, job: &Assignment) {
        for (name, input) in &job.inputs {
            for (i, placed) in input.placed().enumerate() {
                let from = self.input_path(name, i, placed);
                match &placed.source {
                    Some(source) => unlink_source(source, &from, self.memo),
                    None => self.store.unlink(&placed.artifact, &from, self.memo),
                }
            }
        }
        for folder in [self.inputs(), self.outputs()] {
            // One that cannot be emptied goes as a whole, or the next job says what is wrong with it.
            if empty(&folder).is_err() {
                let _ = fs::remove_dir_all(&folder);
            }
        }
    }

    fn inputs(&self) -> PathBuf {
        self.folder.join("in")
    }

    fn outputs(&self) -> PathBuf {
        self.folder.join("out")
    }

    fn input_path(&self, name: &str, i: usize, placed: &Placed) -> PathBuf {
        self.inputs().join(format!("{name}.{i}.{}", placed.file))
    }

    /// A command's words with `{inputs.NAME}`, `{outputs.NAME}` and `{params.NAME}` replaced. A word that is nothing
    /// but a list input becomes a word an element.
    fn fill_in(&self, job: &Assignment, words: &[OsString]) -> Result<Vec<OsString>, Failure> {
        let mut filled = Vec::new();
        for word in words {
            let Some(text) = word.to_str().filter(|text| text.contains('{')) else {
                filled.push(word.clone());
                continue;
            };
            let list = text.strip_prefix("{inputs.").and_then(|rest| rest.strip_suffix('}'));
            if let Some((name, input @ AssignedInput::Many(_))) =
                job.inputs.iter().find(|(name, _)| Some(name.as_str()) == list)
            {
                let paths = input.placed().enumerate().map(|(i, placed)| self.input_path(name, i, placed));
                filled.extend(paths.map(PathBuf::into_os_string));
                continue;
            }
            let mut rest = text;
            let mut word = String::new();
            while let Some((before, after)) = rest.split_once('{') {
                word.push_str(before);
                let is_ours = ["inputs.", "outputs.", "params."].iter().any(|kind| after.starts_with(kind));
                match after.split_once('}') {
                    Some((placeholder, after)) if is_ours => {
                        let value = self.value_of(job, placeholder);
                        word.push_str(&value.ok_or_else(|| Failure::Placeholder(text.to_owned()))?);
                        rest = after;
                    }
                    // Programs for awk and the like have braces of their own.
                    _ => {
                        word.push('{');
                        rest = after;
                    }
                }
            }
            word.push_str(rest);
            filled.push(word.into());
        }
        Ok(filled)
    }

    fn value_of(&self, job: &Assignment, placeholder: &str) -> Option<String> {
        let (kind, name) = placeholder.split_once('.')?;
        let path = match kind {
            "inputs" => match &job.inputs.iter().find(|(input, _)| input == name)?.1 {
                AssignedInput::One(placed) => self.input_path(name, 0, placed),
                AssignedInput::Many(_) => return None,
            },
            "outputs" => self.outputs().join(&job.outputs.iter().find(|(output, _)| output == name)?.1.file),
            "params" => {
                return job.params.get(name).map(|value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
            }
            _ => return None,
        };
        Some(path.to_string_lossy().into_owned())
    }
}

impl AssignedInput {
    fn placed(&self) -> Box<dyn Iterator<Item = &Placed> + '_> {
        match self {
            AssignedInput::One(placed) => Box::new(std::iter::once(placed)),
            AssignedInput::Many(list) => Box::new(list.iter().map(|(placed, _)| placed)),
        }
    }
}

impl<'a> Log<'a> {
    fn new(store: &'a Store, key: Key) -> Log<'a> {
        let _ = fs::remove_file(store.log_path(key));
        Log { store, key, file: None, written: 0, tail: VecDeque::new() }
    }

    /// Keeps a line. A log that cannot be written is no reason to fail a job.
    fn line(&mut self, text: &str) {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(text.to_owned());
        if self.file.is_none() {
            self.file = self.store.create_log(self.key).ok();
        }
        if let Some(file) = &mut self.file {
            let before = self.written;
            self.written += text.len() as u64 + 1;
            let _ = match () {
                () if self.written <= LOG => writeln!(file, "{text}"),
                () if before <= LOG => writeln!(file, "[cut: a log is kept up to {} MiB]", LOG >> 20),
                () => Ok(()),
            };
        }
    }
}
