//! A project as a command finds it: the pipeline of one profile, its graph, the store, the lock, and the state of files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::code::{self, Code, Files, Workspace};
use crate::graph::{Graph, GraphError, JobId, Origin};
use crate::hash::Hash;
use crate::key::StageFacts;
use crate::lockfile::{Lock, LockError};
use crate::pipeline::{Kind, Pipeline, PipelineError, Program, Stage, StageId};
use crate::store::{Artifact, Memo, ObjectError, Store, StoreError, measure};

/// Why a project cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// There is no pipeline.yaml here or above.
    #[error(
        "no pipeline.yaml in {} or a folder above it; {}", folder.display(), way_out(like.as_deref())
    )]
    NoPipeline {
        /// The folder.
        folder: PathBuf,
        /// One that may be meant, and is called otherwise.
        like: Option<PathBuf>,
    },
    /// A pipeline of another name.
    #[error(
        "{0}: a pipeline is a file called pipeline.yaml: its lock, its outputs and what it has made lie beside it, and \
         those of two in one folder would be in each other's way"
    )]
    Called(PathBuf),
    /// pipeline.yaml is wrong.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The pipeline cannot be unrolled.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The lock is wrong.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A source file, a pin file or code cannot be read.
    #[error("stage {stage}: {what}")]
    Stage {
        /// The stage.
        stage: String,
        /// What is wrong.
        what: String,
    },
    /// Code cannot be told.
    #[error(transparent)]
    Code(#[from] code::Error),
    /// An input file cannot be read.
    #[error("input {0}")]
    Source(#[source] ObjectError),
    /// The path of the project or its store is no text.
    #[error(
        "{0:?} is not written in UTF-8, and stages get the paths of their inputs as text; name that folder otherwise, or \
         another store with RIBBON_STORE"
    )]
    Name(PathBuf),
    /// A folder of the project cannot be made.
    #[error("cannot make {path}: {source}")]
    State {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The lock that lets one run at a time change a workspace cannot be taken.
    #[error("cannot lock {path}: {source}")]
    Locked {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What a command says of the project it wants.
#[derive(Debug, Default, Clone)]
pub struct Selection {
    /// pipeline.yaml, when it is not to be looked for.
    pub pipeline: Option<PathBuf>,
    /// `--profile`.
    pub profile: Option<String>,
    /// `--set`: path and value.
    pub sets: Vec<(String, String)>,
    /// `--paranoid`.
    pub paranoid: bool,
}

/// What every pipeline is called.
const PIPELINE: &str = "pipeline.yaml";

/// What others call such files.
const LIKE: &str = "pipeline.yml";

/// What stands for a file or folder of the project that this user may not read. Jobs that take it fail, and no others.
const CLOSED: Artifact = Artifact { kind: Kind::File, hash: Hash([0; 32]), size: 0 };

/// Where a project keeps what it does not commit: `.ribbon/`.
#[derive(Debug, Clone)]
pub struct State {
    folder: PathBuf,
}

/// A project, open.
#[derive(Debug)]
pub struct Project {
    /// The folder of pipeline.yaml, absolute.
    pub root: PathBuf,
    /// Its state folder.
    pub state: State,
    /// The pipeline, for one profile.
    pub pipeline: Pipeline,
    /// Its jobs.
    pub graph: Graph,
    /// The store.
    pub store: Store,
    /// Hashes of files.
    pub memo: Memo,
    /// The lock, open for the profile.
    pub lock: Lock,
    /// What the project's own inputs are, as in [`Graph::sources`].
    pub sources: Vec<Artifact>,
    /// What is known of each stage.
    pub facts: Vec<StageFacts>,
    /// The code of each stage.
    pub code: Vec<Code>,
    /// Job names, by id.
    pub names: Vec<String>,
}

/// What to do where there is no pipeline.yaml.
fn way_out(like: Option<&Path>) -> String {
    match like {
        Some(path) => format!("{} is there: call it pipeline.yaml", path.display()),
        None => "go to the project, or name one with --pipeline".to_owned(),
    }
}

/// The path of the pipeline.yaml a command is about.
///
/// # Errors
/// When the one that was named is not there, or none is in this folder or above.
pub fn find(selection: &Selection) -> Result<PathBuf, ProjectError> {
    let here = std::env::current_dir().unwrap_or_default();
    match &selection.pipeline {
        Some(path) => {
            let path = here.join(path);
            // Before anything is made beside a file that is not there.
            match fs::metadata(&path) {
                Ok(_) if path.file_name() == Some(OsStr::new(PIPELINE)) => Ok(path),
                Ok(_) => Err(ProjectError::Called(path)),
                Err(source) => Err(PipelineError::Read { path, source }.into()),
            }
        }
        None => {
            let above =
                |name| here.ancestors().map(move |folder| folder.join(name)).find(|path| path.is_file());
            above(PIPELINE)
                .ok_or_else(|| ProjectError::NoPipeline { folder: here.clone(), like: above(LIKE) })
        }
    }
}

impl State {
    /// The state of the project in a folder; made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(root: &Path) -> Result<State, ProjectError> {
        let folder = root.join(".ribbon");
        fs::create_dir_all(&folder).map_err(|source| ProjectError::State { path: folder.clone(), source })?;
        // Nobody wants to commit it. Where this cannot be written, other things will say so.
        let ignored = folder.join(".gitignore");
        if !ignored.exists() {
            let _ = fs::write(ignored, "*\n");
        }
        Ok(State { folder })
    }

    /// The file that a run holds locked.
    pub fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    /// The store: `RIBBON_STORE`, relative to the project if it is relative, or here.
    pub fn store(&self) -> PathBuf {
        match std::env::var_os("RIBBON_STORE").filter(|path| !path.is_empty()) {
            Some(path) => self.folder.with_file_name(path),
            None => self.folder.join("store"),
        }
    }

    /// The folder itself: built programs are kept in it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn memo(&self) -> PathBuf {
        self.folder.join("memo")
    }

    fn analyses(&self) -> PathBuf {
        self.folder.join("code-memo.json")
    }
}

impl Project {
    /// Opens the project that a command is about, and looks at all files that keys depend on.
    ///
    /// # Errors
    /// When the pipeline is wrong, or a file it names cannot be read.
    pub fn open(selection: &Selection) -> Result<Project, ProjectError> {
        let path = find(selection)?;
        let pipeline = Pipeline::load(&path, selection.profile.as_deref(), &selection.sets)?;
        let root = pipeline.root.clone();
        let state = State::open(&root)?;
        if let Some(path) = [root.clone(), state.store()].into_iter().find(|path| path.to_str().is_none()) {
            return Err(ProjectError::Name(path));
        }
        // What was made, and what is to be made, know nothing of each other yet.
        let (opened, graph) = std::thread::scope(|scope| {
            let opened = scope.spawn(|| {
                let lock = Lock::open(&root.join("pipeline.lock"), &pipeline.profile)?;
                let memo = Memo::open(&state.memo(), selection.paranoid);
                Ok::<_, ProjectError>((lock, memo, Store::open(&state.store())?))
            });
            let graph = Graph::unroll(&pipeline).map(|graph| (graph.names(&pipeline), graph));
            (opened.join(), graph)
        });
        let (names, graph) = graph?;
        let (lock, memo, store) = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        store.note_workspace(&root)?;
        let sources = graph
            .sources
            .iter()
            .map(|path| match measure(&root.join(path), &memo) {
                Err(error) if error.is_refused() => Ok(CLOSED),
                measured => measured,
            })
            .collect::<Result<_, _>>()
            .map_err(ProjectError::Source)?;
        let code = code_of_stages(&pipeline, &state, &memo)?;
        let facts = pipeline
            .stages
            .iter()
            .zip(&code)
            .map(|(stage, code)| facts(&root, stage, code, &memo))
            .collect::<Result<_, _>>()?;
        Ok(Project { root, state, pipeline, graph, store, memo, lock, sources, facts, code, names })
    }

    /// A job's stage.
    pub fn stage(&self, id: JobId) -> &Stage {
        &self.pipeline.stages[self.graph.job(id).stage.0]
    }

    /// A job's name.
    pub fn name(&self, id: JobId) -> &str {
        &self.names[id.index()]
    }

    /// What is known of a job's stage.
    pub fn facts(&self, id: JobId) -> &StageFacts {
        &self.facts[self.graph.job(id).stage.0]
    }

    /// Whether a job takes a file or folder of the project that this user may not read.
    pub fn lacks_source(&self, id: JobId) -> bool {
        let origins = self.graph.job(id).inputs.iter().flat_map(|input| input.origins());
        origins
            .into_iter()
            .any(|origin| matches!(*origin, Origin::File(index) if *self.source(index) == CLOSED))
    }

    /// What the project's file or folder with this index is.
    pub fn source(&self, index: u32) -> &Artifact {
        &self.sources[index as usize]
    }

    /// Where an output comes from, for people: `train[seed=42].checkpoints`, or a path.
    pub fn origin_name(&self, origin: Origin) -> String {
        match origin {
            Origin::File(index) => format!("./{}", self.graph.sources[index as usize].display()),
            Origin::Output(job, place) => {
                let name = self.stage(job).outputs.keys().nth(place as usize);
                format!("{}.{}", self.name(job), name.map_or("", String::as_str))
            }
        }
    }

    /// Where programs of stage crates are kept: beside the crates, for all pipelines that use them.
    pub fn programs(&self) -> PathBuf {
        self.pipeline.workspace.join(".ribbon")
    }

    /// Where the pipeline publishes: outputs/PROFILE.
    pub fn outputs(&self) -> PathBuf {
        self.root.join("outputs").join(&self.pipeline.profile)
    }

    /// The code of a crate as it is now.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn code_now(&self, folder: &str) -> Result<Code, code::Error> {
        let mut files = Files::open(&self.state.analyses(), |path| self.memo.hash(path));
        Workspace::open(&self.pipeline.workspace, std::env::vars_os())?.code(folder, &mut files)
    }

    /// A file that a stage's keys depend on and its jobs read where it stands, if it is not what it was when the project
    /// was opened: code of a command, or a pin. The program of a crate is a copy, which nobody edits.
    pub fn changed_file(&self, id: StageId) -> Option<PathBuf> {
        let (stage, facts) = (&self.pipeline.stages[id.0], &self.facts[id.0]);
        let now = |path: &Path| self.memo.hash(&self.root.join(path)).ok();
        let pin = stage.tools.iter().find(|(tool, path)| now(path).as_ref() != facts.tools.get(*tool));
        let code = || match &stage.program {
            Program::Command { code, .. } => {
                let then = &self.code[id.0].parts;
                let now = code_of_command(&self.root, code, &mut Files::new(|path| self.memo.hash(path)));
                let now = now.map(|code| code.parts).unwrap_or_default();
                let names = now.keys().chain(then.keys());
                names.into_iter().find(|name| now.get(*name) != then.get(*name)).map(PathBuf::from)
            }
            Program::Crate(_) => None,
        };
        pin.map(|(_, path)| path.clone()).or_else(code)
    }

    /// Whether what a job has published is what it should be. A page that tells where it came from begins with the
    /// artifact.
    pub fn is_published(&self, id: JobId, artifact: &Artifact, path: &str) -> bool {
        let path = self.outputs().join(path);
        if self.stage(id).provenance {
            return begins_with(&path, artifact).unwrap_or(false);
        }
        let is_kind = match artifact.kind {
            Kind::File => path.is_file(),
            Kind::Folder => path.is_dir(),
        };
        is_kind && measure(&path, &self.memo).is_ok_and(|found| found.hash == artifact.hash)
    }

    /// Takes the lock that lets one run at a time change this workspace. `waits` is called before waiting for another.
    ///
    /// # Errors
    /// When the lock file cannot be opened or locked.
    pub fn lock_workspace(root: &Path, waits: impl FnOnce()) -> Result<File, ProjectError> {
        if let Some(file) = Project::try_lock_workspace(root)? {
            return Ok(file);
        }
        waits();
        let path = State::open(root)?.lock();
        let locked = || File::options().write(true).open(&path).and_then(|file| file.lock().map(|()| file));
        locked().map_err(|source| ProjectError::Locked { path: path.clone(), source })
    }

    /// Takes the lock that lets one run at a time change this workspace; none when another has it.
    ///
    /// # Errors
    /// When the lock file cannot be opened or locked.
    pub fn try_lock_workspace(root: &Path) -> Result<Option<File>, ProjectError> {
        let path = State::open(root)?.lock();
        let locked = || {
            let file = File::options().write(true).create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Ok(()) => Ok(Some(file)),
                Err(fs::TryLockError::WouldBlock) => Ok(None),
                Err(fs::TryLockError::Error(error)) => Err(error),
            }
        };
        locked().map_err(|source| ProjectError::Locked { path: path.clone(), source })
    }

    /// The name of a stage.
    pub fn stage_name(&self, id: StageId) -> &str {
        &self.pipeline.stages[id.0].name
    }
}

/// Whether a file's first bytes are an artifact.
fn begins_with(path: &Path, artifact: &Artifact) -> io::Result<bool> {
    let mut bytes = Vec::new();
    File::open(path)?.take(artifact.size).read_to_end(&mut bytes)?;
    Ok(artifact.kind == Kind::File && Hash::of(&bytes) == artifact.hash)
}

fn code_of_stages(pipeline: &Pipeline, state: &State, memo: &Memo) -> Result<Vec<Code>, ProjectError> {
    let cache = state.analyses();
    let mut files = Files::open(&cache, |path| memo.hash(path));
    let crates = pipeline.stages.iter().any(|stage| matches!(stage.program, Program::Crate(_)));
    let workspace = crates.then(|| Workspace::open(&pipeline.workspace, std::env::vars_os())).transpose()?;
    let mut known: BTreeMap<&Path, Code> = BTreeMap::new();
    let mut codes = Vec::new();
    for stage in &pipeline.stages {
        let code = match (&stage.program, &workspace) {
            (Program::Crate(folder), Some(workspace)) => match known.get(folder.as_path()) {
                Some(code) => code.clone(),
                None => {
                    let code = workspace.code(&folder.to_string_lossy(), &mut files)?;
                    known.insert(folder, code.clone());
                    code
                }
            },
            (Program::Command { code, .. }, _) => code_of_command(&pipeline.root, code, &mut files)?,
            (Program::Crate(_), None) => unreachable!("a workspace is opened when any stage is a crate"),
        };
        codes.push(code);
    }
    // Only speed is lost when this cannot be written.
    let _ = files.save(&cache);
    Ok(codes)
}

fn code_of_command(root: &Path, code: &[PathBuf], files: &mut Files) -> Result<Code, code::Error> {
    let declared: Vec<_> = code.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    code::of_command(root, &declared, files)
}

fn facts(root: &Path, stage: &Stage, code: &Code, memo: &Memo) -> Result<StageFacts, ProjectError> {
    let pin = |(tool, path): (&String, &PathBuf)| match memo.hash(&root.join(path)) {
        Ok(hash) => Ok((tool.clone(), hash)),
        Err(error) => Err(ProjectError::Stage {
            stage: stage.name.clone(),
            what: format!("cannot read {}, the pin file of {tool}: {error}", path.display()),
        }),
    };
    let value = |name: &String| {
        (name.clone(), std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    };
    Ok(StageFacts {
        code: Some(code.hash),
        tools: stage.tools.iter().map(pin).collect::<Result<_, _>>()?,
        env: stage.env.iter().map(value).collect(),
    })
}
