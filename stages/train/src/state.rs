//! What a run needs to go on after an interruption, in a folder that outlives it.
//!
//! The folder has the file of checkpoints as it grows, and a state: the weights, what the optimizer remembers, how far
//! the run is. What is random is drawn again. A state is named by the hash of its content, and has the hashes of the
//! checkpoints: what was damaged, or half written when the power went, is not gone on from.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kit::{Layout, TensorFile, Tensors};
use networks::Weights;
use serde::{Deserialize, Serialize};

use crate::optimizer::Optimizer;
use crate::start::Reached;

/// What names of states begin with.
const STATE: &str = "state-";

/// A run's folder.
#[derive(Debug)]
pub struct States {
    folder: PathBuf,
    /// At least so long between two states.
    every: Duration,
    saved: Instant,
}

/// How far a run is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mark {
    /// Steps done: of the start, if there is one that has not ended.
    pub step: u64,
    /// How the start ended.
    pub start: Option<Reached>,
    /// The hash of each checkpoint.
    pub checkpoints: Vec<String>,
}

/// A state that was found.
#[derive(Debug)]
pub struct State {
    /// How far the run was.
    pub mark: Mark,
    file: Tensors,
}

impl States {
    /// The states of a run in its folder, at most one in a while.
    pub fn new(folder: &Path, every: Duration) -> States {
        States { folder: folder.to_owned(), every, saved: Instant::now() }
    }

    /// Where the file of checkpoints grows.
    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    /// The last state that is whole, if there is one; `is_usable` says whether its checkpoints are there.
    pub fn find(&self, is_usable: impl Fn(&Mark) -> bool) -> Option<State> {
        let states = self.paths().ok()?.into_iter().filter_map(|path| read(&path));
        let mut states: Vec<State> = states.filter(|state| is_usable(&state.mark)).collect();
        states.sort_by_key(|State { mark, .. }| (mark.start.is_some(), mark.step));
        states.pop()
    }

    /// Whether the last state is old enough for a new one.
    pub fn is_due(&self) -> bool {
        self.saved.elapsed() >= self.every
    }

    /// Keeps a state in place of those before. The checkpoints that it knows of are on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&mut self, mark: &Mark, weights: &Weights, optimizer: &Optimizer) -> Result<()> {
        let write = || -> Result<()> {
            let before = self.paths()?;
            let path = self.folder.join("unfinished");
            let mut layout = Layout::new();
            for (name, shape, _) in weights.export() {
                layout.f32s(&weight(name), &shape);
            }
            optimizer.plan(&mut layout);
            let file = TensorFile::create(&path, &layout, mark)?;
            for (name, _, values) in weights.export() {
                file.f32s(&weight(name), 0, &values)?;
            }
            optimizer.export(&file)?;
            file.sync()?;
            let name = format!("{STATE}{}", hash(&path)?);
            fs::rename(&path, self.folder.join(&name))?;
            let mut others = before.iter().filter(|path| !path.ends_with(&name));
            Ok(others.try_for_each(fs::remove_file)?)
        };
        write().with_context(|| format!("keeping the state in {}", self.folder.display()))?;
        self.saved = Instant::now();
        Ok(())
    }

    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.folder)?.collect::<io::Result<Vec<_>>>()?;
        let is_state =
            |path: &PathBuf| path.file_name().is_some_and(|it| it.to_string_lossy().starts_with(STATE));
        Ok(entries.iter().map(fs::DirEntry::path).filter(is_state).collect())
    }
}

impl State {
    /// Puts weights and optimizer where they were.
    ///
    /// # Errors
    /// When the state is of another network.
    pub fn restore(&self, weights: &Weights, optimizer: &mut Optimizer) -> Result<()> {
        weights.import(|name| {
            let tensor = self.file.f32s(&weight(name))?;
            Ok::<_, anyhow::Error>((tensor.shape, tensor.values))
        })?;
        Ok(optimizer.import(self.mark.step, &self.file)?)
    }
}

/// A state, if it is whole.
fn read(path: &Path) -> Option<State> {
    let name = path.file_name()?.to_str()?;
    if name.strip_prefix(STATE)? != hash(path).ok()? {
        return None;
    }
    let file = Tensors::open(path).ok()?;
    Some(State { mark: file.metadata().ok()?, file })
}

fn weight(name: &str) -> String {
    format!("weights/{name}")
}

fn hash(path: &Path) -> io::Result<String> {
    Ok(blake3::Hasher::new().update_reader(File::open(path)?)?.finalize().to_string())
}
