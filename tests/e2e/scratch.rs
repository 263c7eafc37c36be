//! A workspace for one test: its files, the real program, and what its jobs told of themselves.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Nothing here takes this long, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(120);

/// A project, and beside it the home that its jobs see: what they append to `$HOME/ran` is [`Scratch::told`], no part
/// of any key, and shared by all clones.
pub struct Scratch {
    folder: Rc<TempDir>,
    /// In shared memory, where jobs may write that are in a sandbox.
    home: Rc<TempDir>,
    root: PathBuf,
    variables: BTreeMap<String, String>,
    started: Cell<u32>,
}

impl Scratch {
    /// A project of these files: (path, text).
    pub fn new(files: &[(&str, &str)]) -> Scratch {
        let folder = Rc::new(tempfile::tempdir().unwrap());
        let home = Rc::new(tempfile::tempdir_in("/dev/shm").unwrap());
        let root = folder.path().join("project");
        let scratch = Scratch { folder, home, root, variables: BTreeMap::new(), started: Cell::new(0) };
        files.iter().for_each(|(path, text)| scratch.write(path, text));
        scratch
    }

    /// Another project with the same committed files: no state, nothing published, nothing built.
    pub fn clone_as(&self, name: &str) -> Scratch {
        let root = self.folder.path().join(name);
        copy_committed(&self.root, &root);
        let variables = self.variables.clone();
        let (folder, home) = (self.folder.clone(), self.home.clone());
        Scratch { folder, home, root, variables, started: Cell::new(0) }
    }

    /// Sets a variable for the commands that follow.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    /// Makes every start of cargo an error, for the commands that follow.
    pub fn forbid_cargo(&mut self) {
        self.set("CARGO", "/nowhere/cargo");
    }

    /// A path in the project.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A path in the home that jobs see.
    pub fn home(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    /// Whether there is such a file or folder in the project.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The text of a file of the project.
    pub fn read(&self, path: &str) -> String {
        read(&self.path(path))
    }

    /// Writes a file of the project, and makes the folders it needs.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces a piece of a file, which must be there once.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {path}:\n{text}");
        self.write(path, &text.replace(from, to));
    }

    /// Removes a file or a folder.
    pub fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    /// Starts `ribbon` with these words and does not wait.
    pub fn start(&self, words: &str) -> Running {
        self.start_in("", words)
    }

    /// Starts `ribbon` in a folder of the project.
    pub fn start_in(&self, folder: &str, words: &str) -> Running {
        self.start_by(&[env!("CARGO_BIN_EXE_ribbon")], folder, words)
    }

    /// Starts `ribbon` by a command, which ends with its path.
    pub fn start_by(&self, by: &[&str], folder: &str, words: &str) -> Running {
        let number = self.started.get();
        self.started.set(number + 1);
        let name = self.root.file_name().unwrap().to_string_lossy();
        let [out, err] = ["out", "err"].map(|end| self.folder.path().join(format!("{name}-{number}.{end}")));
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).args(words.split_whitespace()).current_dir(self.path(folder)).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.home(""));
        let tools = [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")];
        for (variable, folder) in tools {
            let default = || std::env::home_dir().unwrap().join(folder).into_os_string();
            command.env(variable, std::env::var_os(variable).unwrap_or_else(default));
        }
        command.envs(&self.variables).stdin(Stdio::null());
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Running { child: command.spawn().unwrap(), out, err }
    }

    /// `ribbon` with these words, to its end.
    pub fn ribbon(&self, words: &str) -> Run {
        self.start(words).end()
    }

    /// `ribbon run --json` with these words, to its end.
    pub fn run(&self, words: &str) -> Run {
        self.ribbon(&format!("run --json {words}"))
    }

    /// What jobs told of themselves since the last time this was asked, sorted.
    pub fn told(&self) -> Vec<String> {
        let mut lines = self.told_so_far();
        let _ = fs::remove_file(self.home("ran"));
        lines.sort();
        lines
    }

    /// What jobs have told, in order; it is told again.
    pub fn told_so_far(&self) -> Vec<String> {
        let text = fs::read_to_string(self.home("ran")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The words of a job's line in pipeline.lock: profile, job, key, outputs.
    pub fn locked(&self, job: &str) -> Vec<String> {
        let text = self.read("pipeline.lock");
        let mut lines = text.lines().map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        lines.find(|words| words[1] == job).unwrap_or_else(|| panic!("no line of {job} in\n{text}"))
    }

    /// Where the store keeps the first output of a job, as pipeline.lock has it.
    pub fn object(&self, job: &str) -> PathBuf {
        let words = self.locked(job);
        let hash = words[3].split(['=', ':']).nth(1).unwrap();
        self.path(".ribbon/store/objects").join(&hash[..2]).join(&hash[2..])
    }
}

/// `ribbon`, running. Ends with the test.
pub struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    /// What it has written on standard error so far.
    pub fn err(&self) -> String {
        read(&self.err)
    }

    /// The number of its process.
    pub fn id(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends it, and not its jobs, a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id()), signal).unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Run {
        let mut status = None;
        wait_until("ribbon ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        // None when a signal ended it.
        let code = status.unwrap().code();
        Run { code, out: read(&self.out), err: read(&self.err) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `ribbon` that has ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    /// The events of `run --json`.
    pub fn events(&self) -> Vec<Value> {
        let event =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{self:?}"));
        self.out.lines().map(event).collect()
    }

    /// The events of one kind.
    pub fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == kind).collect()
    }

    /// The names of the jobs that an event of this kind tells of, sorted.
    pub fn jobs(&self, kind: &str) -> Vec<String> {
        let name = |event: &Value| event["job"].as_str().unwrap().to_owned();
        let mut jobs: Vec<String> = self.events_of(kind).iter().map(name).collect();
        jobs.sort();
        jobs
    }

    /// The jobs that ran well, counted by stage in the order of the pipeline: `train 4, predict 4`.
    pub fn made(&self) -> String {
        let done = self.jobs("done");
        let count = |stage: &str| done.iter().filter(|job| job.split('[').next() == Some(stage)).count();
        let stages = self.events_of("stage");
        let stages = stages.iter().map(|event| event["stage"].as_str().unwrap());
        let counts: Vec<String> = stages
            .map(|stage| (stage, count(stage)))
            .filter(|(_, count)| *count > 0)
            .map(|(stage, count)| format!("{stage} {count}"))
            .collect();
        assert_eq!(self.count("ran"), done.len(), "the summary agrees with the events");
        if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") }
    }

    /// A count of the summary, which must be the last line.
    pub fn count(&self, name: &str) -> usize {
        let summary = self.events().pop().unwrap_or_else(|| panic!("no events: {self:?}"));
        assert_eq!(summary["event"], "summary", "{self:?}");
        summary[name].as_u64().unwrap() as usize
    }
}

/// Waits until something has come about.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn copy_committed(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match name {
            ".ribbon" | "outputs" | "target" => {}
            _ if path.is_dir() => copy_committed(&path, &to.join(name)),
            _ => drop(fs::copy(&path, to.join(name)).unwrap()),
        }
    }
}
