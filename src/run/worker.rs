//! A worker: the thread that drives a stage's process through its jobs, one after the other.
//!
//! One job: link the inputs into a folder of its own, hand over the job file, read events until the end, check and
//! store the outputs, write the record.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::RunError;
use super::assignment::{AssignedInput, Assignment, Placed, Program};
use super::ended;
use super::failure::Failure;
use super::hints;
use super::log::Log;
use super::memory::OutOfMemory;
use super::process::{Group, Launch, Line, Processes};
use super::scheduler::Finished;
use crate::folder;
use crate::graph::JobId;
use crate::hash::Key;
use crate::pipeline::is_plain;
use crate::project::Project;
use crate::space;
use crate::store::{Artifacts, Machine, Memo, Slot, Store, StoreError, link_source, unlink_source};

/// With less than this free, a disk is full.
const FULL: u64 = 1 << 20;

/// How often a job's progress is told at most.
const READABLE: Duration = Duration::from_millis(50);

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
    /// What a share says about a key: what it made, if that counts. It is noted in the store then.
    Asked {
        /// The key.
        key: Key,
        /// What it made.
        made: Option<Artifacts>,
        /// How long the share took to say so.
        took: Duration,
    },
    /// Content of a job has come from a share, or is not to be had.
    Fetched(JobId),
    /// A job's work was brought to a share; or which could not be.
    Published(Option<Finished>),
    /// A line that the build of a stage's program prints.
    Building(String),
    /// A build has ended: what runs stages, by their places.
    Built(Result<Vec<(usize, Program)>, RunError>),
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

/// How a stage's process ends what it says of a job.
enum Heard {
    /// It told the job's end.
    End(Result<(), Failure>),
    /// It closed its standard output before.
    Silence,
}

/// A worker's thread.
pub struct Worker<'a> {
    /// Its number in the run.
    pub number: usize,
    /// Its folder.
    pub folder: PathBuf,
    /// The place of what its jobs go on from.
    pub slot: Slot,
    /// What its jobs are of.
    pub project: &'a Project,
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
    /// How many jobs it has begun.
    pub begun: u64,
}

impl Worker<'_> {
    /// Does jobs until there are no more.
    pub fn work(mut self, assignments: Receiver<Assignment>) {
        let mut processes = None;
        for assignment in assignments {
            assignment.after.iter().for_each(|other| other.wait());
            let started = Instant::now();
            let mut log = Log::new(self.store, &assignment);
            // A run waits for the end of each job: it has to come, whatever happens here.
            let perform = || self.perform(&assignment, &mut processes, &mut log, started);
            let result = panic::catch_unwind(AssertUnwindSafe(perform)).unwrap_or(Err(Failure::Broken));
            let result = result.map_err(|failure| {
                let mut tail = log.take_tail();
                let mark = if self.group.was_asked() { ended::INTERRUPTED } else { ended::FAILED };
                log.end(mark, &failure.to_string());
                tail.extend(self.hints(&assignment, &failure, &tail));
                (failure, tail)
            });
            let (id, worker, seconds) = (assignment.id, self.number, started.elapsed().as_secs_f64());
            // The run has ended when nobody listens.
            let _ = self.told.send(Told::Ended { id, worker, result, seconds });
        }
    }

    /// Does a job, again if it was killed and may be tried again.
    fn perform(
        &mut self,
        job: &Assignment,
        processes: &mut Option<Processes>,
        log: &mut Log,
        started: Instant,
    ) -> Result<Artifacts, Failure> {
        let mut retries = 0;
        loop {
            self.begun += 1;
            let resume = self.take_resume(job)?;
            let ran = self.attempt(job, resume.as_deref(), processes, log, started);
            // Before its outputs go and leave room again.
            if ran.is_err()
                && let Some(free) = space::free(self.store.root()).filter(|free| *free < FULL)
            {
                let store = self.store.root().display();
                log.line(&format!("the disk that holds {store} is full: {free} bytes are free"));
            }
            self.clear(job);
            match (&resume, &ran) {
                (Some(folder), Ok(_)) => drop(folder::remove(folder)),
                // Where it is left, it is found as well.
                (Some(folder), Err(_)) => drop(self.slot.put_aside(folder)),
                (None, _) => {}
            }
            match ran {
                Err(failure)
                    if retries < job.retries && failure.came_from_outside() && !self.group.was_asked() =>
                {
                    retries += 1;
                    log.line(&format!("[{failure}; running again, {retries} of {} retries]", job.retries));
                }
                ran => return ran,
            }
        }
    }

    fn attempt(
        &self,
        job: &Assignment,
        resume: Option<&Path>,
        processes: &mut Option<Processes>,
        log: &mut Log,
        started: Instant,
    ) -> Result<Artifacts, Failure> {
        let before = self.files_written(job)?;
        let file = self.prepare(job, resume)?;
        let memory = OutOfMemory::watch();
        let deadline = job.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut ready = match processes.take() {
            Some(ready) => ready,
            None => self.processes(job.program.launch())?,
        };
        let ran = match &job.program {
            Program::Worker(launch) => self.hand_over(job, launch, &file, &mut ready, deadline, log),
            Program::Command(launch) => self.run_command(job, launch, &file, &mut ready, deadline, log),
        };
        if !matches!(ran, Err(Failure::Launcher(_))) {
            *processes = Some(ready);
        }
        match ran {
            Ok(()) => self.collect(job, &before, started),
            Err(Failure::Died { status, .. }) => {
                Err(Failure::Died { status, out_of_memory: memory.killed_something() })
            }
            Err(failure) => Err(failure),
        }
    }

    /// The folder of what the job goes on from, if it is one that does.
    fn take_resume(&self, job: &Assignment) -> Result<Option<PathBuf>, Failure> {
        Ok(job.resume.then(|| self.slot.take(job.key, &self.machine.on(&job.device))).transpose()?)
    }

    /// Makes the job's folders, links its inputs and writes its job file.
    fn prepare(&self, job: &Assignment, resume: Option<&Path>) -> Result<PathBuf, Failure> {
        // Also before: a run may have been at work for days since it made its keys.
        if let Some(path) = self.changed_file(job)? {
            return Err(Failure::Outdated(path));
        }
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
        let written = serde_json::to_vec(&self.job_file(job, resume)).map_err(io::Error::from);
        written
            .and_then(|text| folder::write_over(&path, &text))
            .map_err(|source| Failure::Folder { path: path.clone(), source })?;
        Ok(path)
    }

    fn job_file(&self, job: &Assignment, resume: Option<&Path>) -> Value {
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
        let mut file = json!({
            "stage": job.stage, "key": job.key, "params": job.params, "inputs": inputs, "outputs": outputs,
            "device": job.device, "threads": job.threads,
        });
        if let Some(folder) = resume {
            file["resume"] = json!(folder);
        }
        file
    }

    /// Gives the job to the stage's process, which is started if there is none.
    fn hand_over(
        &self,
        job: &Assignment,
        launch: &Launch,
        file: &Path,
        processes: &mut Processes,
        deadline: Option<Instant>,
        log: &mut Log,
    ) -> Result<(), Failure> {
        self.empty_scratch()?;
        let request = json!({"job": file}).to_string();
        let is_known = processes.is_running();
        if is_known {
            // What it said after its last job's end is no answer to this one.
            processes.drain().unwrap_or_default().iter().for_each(|line| log.line(line));
            // A process that ended after its last job gets a successor; one that ends during this job does not.
            if processes.write_line(&request).is_err() {
                processes.end().map_err(Failure::Launcher)?;
            }
        }
        if !processes.is_running() {
            self.started(launch, processes.start_worker(&launch.command))?;
            let _ = processes.write_line(&request);
        }
        match self.listen(job, processes, deadline, log)? {
            Heard::End(result) => {
                // What still ran would see the next job's files.
                self.note_left(processes.sweep().map_err(Failure::Launcher)?, log);
                processes.drain().unwrap_or_default().iter().for_each(|line| log.line(line));
                if result.is_err() && job.device.starts_with("cuda") {
                    // After some failures of a card nothing works any more in the process that had them.
                    processes.end().map_err(Failure::Launcher)?;
                }
                result
            }
            Heard::Silence => {
                let ended = processes.end().map_err(Failure::Launcher)?;
                self.note_left(ended.left, log);
                if is_known && ended.status.success() && !ended.was_killed {
                    // A program that does one job was still on its way out when it was given this one.
                    return self.hand_over(job, launch, file, processes, deadline, log);
                }
                match ended.was_killed {
                    true => Err(Failure::Closed),
                    false => Err(Failure::Died { status: ended.status, out_of_memory: false }),
                }
            }
        }
    }

    /// Runs a job's own process.
    fn run_command(
        &self,
        job: &Assignment,
        launch: &Launch,
        file: &Path,
        processes: &mut Processes,
        deadline: Option<Instant>,
        log: &mut Log,
    ) -> Result<(), Failure> {
        let command = self.fill_in(job, &launch.command);
        self.empty_scratch()?;
        self.started(launch, processes.start_command(&command, file))?;
        let mut said = Ok(());
        while let Heard::End(result) = self.listen(job, processes, deadline, log)? {
            said = said.and(result);
        }
        let ended = match processes.join(deadline).map_err(Failure::Launcher)? {
            Some(ended) => ended,
            None => return Err(self.time_out(job, processes, log)),
        };
        self.note_left(ended.left, log);
        let status = ended.status;
        said.and_then(|()| match status.success() {
            true => Ok(()),
            false => Err(Failure::Died { status, out_of_memory: false }),
        })
    }

    /// What the last job left for itself there would be an input of the next.
    fn empty_scratch(&self) -> Result<(), Failure> {
        let path = self.scratch();
        match folder::empty(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Failure::Folder { path, source }),
            _ => Ok(()),
        }
    }

    fn processes(&self, launch: &Launch) -> Result<Processes, Failure> {
        if let Some(gone) = launch.reach.iter().flat_map(|reach| &reach.declared).find(|path| !path.exists())
        {
            return Err(Failure::NoReads(gone.clone()));
        }
        self.started(launch, Processes::new(launch, &self.folder, self.slot.path(), &self.group))
    }

    fn started<T>(&self, launch: &Launch, started: io::Result<T>) -> Result<T, Failure> {
        started.map_err(|source| match source.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
                Failure::Launcher(source)
            }
            _ => Failure::Start {
                program: launch.command[0].to_string_lossy().into_owned(),
                source: hints::why_not_started(&self.scratch().join(&launch.command[0]), source),
            },
        })
    }

    /// Ends a job that took too long.
    fn time_out(&self, job: &Assignment, processes: &mut Processes, log: &mut Log) -> Failure {
        let ended = processes.stop().and_then(|()| {
            loop {
                match processes.next_line(None)? {
                    Line::Out(text) | Line::Err(text) => log.line(&text),
                    Line::End | Line::Late => return processes.join(None),
                }
            }
        });
        match ended {
            Ok(_) => Failure::TimedOut(job.timeout.unwrap_or_default()),
            Err(error) => Failure::Launcher(error),
        }
    }

    fn note_left(&self, left: u32, log: &mut Log) {
        match left {
            0 => {}
            1 => log.line("[it left a process running, which was killed]"),
            left => log.line(&format!("[it left {left} processes running, which were killed]")),
        }
    }

    /// Reads until the job's end.
    fn listen(
        &self,
        job: &Assignment,
        processes: &mut Processes,
        deadline: Option<Instant>,
        log: &mut Log,
    ) -> Result<Heard, Failure> {
        let mut told_at: Option<Instant> = None;
        loop {
            let text = match processes.next_line(deadline).map_err(Failure::Launcher)? {
                Line::End => return Ok(Heard::Silence),
                Line::Late => return Err(self.time_out(job, processes, log)),
                Line::Err(text) => {
                    log.line(&text);
                    continue;
                }
                Line::Out(text) => text,
            };
            let event = if text.starts_with('{') { serde_json::from_str(&text).ok() } else { None };
            match event {
                Some(Event::Progress { done, of, note }) => {
                    // More often nobody can read it, and a flood of it would fill the memory.
                    if told_at.is_none_or(|at| at.elapsed() >= READABLE) {
                        told_at = Some(Instant::now());
                        let _ = self.told.send(Told::Progress { id: job.id, done, of, note });
                    }
                }
                Some(Event::Log { text }) => log.line(&text),
                Some(Event::Done) => return Ok(Heard::End(Ok(()))),
                Some(Event::Error { what }) => return Ok(Heard::End(Err(Failure::Said(what)))),
                None => log.line(&text),
            }
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
            // The folders stay: the sandbox of a process that runs knows them. What is left in one, the next job's end
            // tells of.
            let _ = folder::empty(&folder);
        }
    }

    fn inputs(&self) -> PathBuf {
        self.folder.join("in")
    }

    /// Where a command works.
    pub(super) fn scratch(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    pub(super) fn outputs(&self) -> PathBuf {
        self.folder.join("out")
    }

    pub(super) fn input_path(&self, name: &str, i: usize, placed: &Placed) -> PathBuf {
        // For people only: a shell takes it for one word.
        let file = placed.file.replace(|c| !is_plain(c), "_");
        // No two jobs of a worker have an input by the same path: who keeps one finds nothing there, not another's.
        self.inputs().join(format!("{}.{name}.{i}.{file}", self.begun))
    }
}
