//! A share: finished work, exchanged with others through a place that nobody has to trust.
//!
//! ```text
//! objects/ab/cdef..    content by its hash, as it is or packed (pack.rs)
//! records/ab/cdef..    what a key made, signed, with the small objects in it (bundle.rs)
//! ```
//!
//! Objects are written before the record that names them, and nothing is ever locked or deleted. Content counts
//! when it is what its name says; a record counts when somebody trusted has signed it. What pipeline.lock names needs no
//! record. So a share can make a run slower, never wrong.

mod bundle;
mod crew;
mod fetch;
mod heal;
mod pack;
mod pull;
mod push;
mod remote;
mod send;
mod signature;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

#[cfg(any(test, fuzzing))]
pub(crate) use bundle::check as check_bundle;
pub use crew::Crew;
pub use heal::heal;
pub use pull::{Pulled, pull};
pub use push::{Pushed, push};
pub use remote::RemoteError;
pub use send::{Again, Published};
pub use signature::{KeyError, OwnKey, PublicKey};

use self::bundle::Bundle;
use self::crew::Helpers;
use self::fetch::{Fetching, Missed};
use self::remote::{Read, Remote};
use crate::graph::JobId;
use crate::hash::{Hash, Key};
use crate::pipeline::{Address, Share, Stage, Trust};
use crate::project::Project;
use crate::store::{
    Access, Artifact, Artifacts, Lease, Memo, Record, RecordedOutput, Scratch, Store, StoreError, Tmp,
    artifacts_of,
};

/// Why an exchange does no more when it is not the share's fault.
const STOPPED: &str = "stopped";

/// Why something cannot be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// Nobody says where the share is.
    #[error("there is no share: write `share: FOLDER OR URL` in pipeline.yaml, or set RIBBON_SHARE")]
    None,
    /// `RIBBON_SHARE` is wrong.
    #[error("RIBBON_SHARE: {0}")]
    Variable(String),
    /// The folder is not there.
    #[error("the share {0} is not there; is it mounted? `ribbon push` makes it where its parent folder is")]
    NoFolder(PathBuf),
    /// One's key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The server.
    #[error("share {0}")]
    Remote(#[from] RemoteError),
    /// It failed before, for this reason.
    #[error("{0}")]
    GivenUp(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file on the way.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A share in use: asks, fetches and publishes, from any thread. What it cannot do any more it does not try again.
#[derive(Debug)]
pub struct Exchange {
    share: Share,
    trust: Trust,
    own: Option<OwnKey>,
    /// The store's folder for what is under way.
    tmp: Tmp,
    open: OnceLock<Result<Open, String>>,
    /// Why it is not read any more.
    unread: OnceLock<String>,
    /// Why it is not written any more.
    unwritten: Mutex<Option<String>>,
    /// The names of all records that were there, where somebody has looked.
    survey: OnceLock<HashSet<String>>,
    tally: Mutex<Tally>,
    /// For what has many parts.
    helpers: Helpers,
}

/// A share that was asked for something.
#[derive(Debug)]
struct Open {
    remote: Remote,
    /// Where content passes through, on the store's file system.
    scratch: Scratch,
}

/// What an exchange has done.
#[derive(Debug, Default)]
struct Tally {
    /// Whether the trouble with it was told.
    told: bool,
    /// Whether it was told that a record did not count.
    is_ignored_told: bool,
    fetched: u64,
    fetched_bytes: u64,
    /// Records that did not count, by signer; none for those that nobody signed.
    ignored: BTreeMap<Option<PublicKey>, BTreeSet<Key>>,
    /// Names of files that were not what they should be.
    damaged: BTreeSet<String>,
    /// Names of objects that records told of and that were not there.
    gone: HashSet<String>,
    /// Objects that this process has seen there.
    sent: HashSet<Hash>,
}

/// An artifact that somebody needs.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// What it is.
    pub artifact: Artifact,
    /// Whether it is published, and so lies on the share by itself, however small it is.
    pub alone: bool,
}

/// What a share knows of a key.
#[derive(Debug)]
pub struct Known {
    bundle: Bundle,
    artifacts: Artifacts,
}

/// The share of a project: what `RIBBON_SHARE` says, or pipeline.yaml.
///
/// # Errors
/// When the variable is wrong.
pub fn configured(project: &Project) -> Result<Option<Share>, ShareError> {
    match std::env::var("RIBBON_SHARE") {
        Ok(text) if text == "none" => Ok(None),
        Ok(text) if !text.is_empty() => {
            Share::parse(&text, &project.root).map(Some).map_err(ShareError::Variable)
        }
        _ => Ok(project.pipeline.share.clone()),
    }
}

impl Exchange {
    /// Gets ready; nothing is sent before the first question. None when there is no share.
    ///
    /// # Errors
    /// When the share's variable or one's key is wrong.
    pub fn open(project: &Project) -> Result<Option<Exchange>, ShareError> {
        let Some(share) = configured(project)? else { return Ok(None) };
        let own = OwnKey::path().ok().map_or(Ok(None), |path| OwnKey::load(&path))?;
        Ok(Some(Exchange {
            helpers: Helpers::new(share.connections),
            share,
            trust: project.pipeline.trust.clone(),
            own,
            tmp: project.store.tmp(),
            open: OnceLock::new(),
            unread: OnceLock::new(),
            unwritten: Mutex::default(),
            survey: OnceLock::new(),
            tally: Mutex::default(),
        }))
    }

    /// How many errands are worth doing at once. Of a server, twice as many as requests, of which no more are sent at a
    /// time: while some wait for answers, others read, pack and keep what goes and comes.
    pub fn width(&self) -> u32 {
        match self.share.address {
            Address::Folder(_) => self.share.connections,
            _ => 2 * self.share.connections,
        }
    }

    /// Whether it is worth asking.
    pub fn is_readable(&self) -> bool {
        self.unread.get().is_none()
    }

    /// Makes the folder of a share that is a folder, so that something can be published.
    ///
    /// # Errors
    /// When the folder above is not there, or it cannot be made.
    pub fn make_folder(&self) -> Result<(), ShareError> {
        match &self.share.address {
            Address::Folder(path) if !path.exists() => make_local(path).map_err(|error| {
                if error.kind() == io::ErrorKind::NotFound {
                    return ShareError::NoFolder(path.clone());
                }
                ShareError::Io { path: path.clone(), source: error }
            }),
            _ => Ok(()),
        }
    }

    /// Why it is not written any more.
    fn unwritten(&self) -> Option<String> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes nothing any more; the first reason is the one that counts.
    fn give_up(&self, why: &str) {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why.to_owned());
    }

    /// Writes again, after something went wrong.
    pub fn try_again(&self) {
        *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Asks nothing any more; with `all`, ends what is under way too.
    pub fn stop(&self, all: bool) {
        let _ = self.unread.set(STOPPED.to_owned());
        if all {
            self.give_up(STOPPED);
            if let Some(Ok(open)) = self.open.get() {
                open.remote.stop();
            }
        }
    }

    /// What the share knows of a key, if that counts.
    pub fn record(&self, key: Key, stage: &Stage) -> Option<Known> {
        let bundle = self.bundle(key)?;
        let artifacts = artifacts(&bundle.record, stage)?;
        self.counts(&bundle).then_some(Known { bundle, artifacts })
    }

    /// The record of a job that pipeline.lock knows and this store does not, if somebody trusted has signed it and it says the
    /// same as the lock. Nobody is told of others: the lock needs none.
    pub fn record_of(&self, key: Key, stage: &Stage, made: &Artifacts) -> Option<Known> {
        let bundle = self.bundle(key)?;
        let artifacts = artifacts(&bundle.record, stage).filter(|artifacts| artifacts == made)?;
        self.is_trusted(&bundle).then_some(Known { bundle, artifacts })
    }

    /// Brings artifacts of a job into the store; whether all of them are there now.
    pub fn fetch(&self, key: Key, wanted: &[Wanted], store: &Store, memo: &Memo) -> bool {
        if !self.is_readable() {
            return false;
        }
        let fetching = Fetching { exchange: self, key, store, memo, bundle: OnceLock::new() };
        match wanted.iter().try_for_each(|wanted| fetching.artifact(wanted)) {
            Ok(()) => true,
            Err(Missed::Absent) => false,
            Err(Missed::Trouble(error)) => {
                let _ = self.unread.set(error.to_string());
                false
            }
        }
    }

    /// What people should know, once: why the share is of no use, if so.
    pub fn trouble(&self) -> Option<String> {
        let why = self.unread.get().cloned().or_else(|| self.unwritten()).filter(|why| *why != STOPPED)?;
        let is_told = std::mem::replace(&mut self.tally().told, true);
        (!is_told).then(|| format!("{}; going on without the share", bare(&why)))
    }

    /// Why it could not be asked for all that was wanted, if so. It is not to be told another time.
    pub fn unread(&self) -> Option<String> {
        let why = self.unread.get().filter(|why| *why != STOPPED)?;
        self.tally().told = true;
        Some(bare(why).to_owned())
    }

    /// What people should know as soon as it shows, once: that there is work which does not count, and is done here.
    pub fn first_ignored(&self) -> Option<String> {
        let mut tally = self.tally();
        if tally.is_ignored_told {
            return None;
        }
        let signer = *tally.ignored.keys().next()?;
        tally.is_ignored_told = true;
        let whose = signer.map_or("that nobody signed".to_owned(), |signer| format!("signed by {signer}"));
        Some(format!(
            "it has finished work {whose}, which does not count here and is made again; `trust:` in pipeline.yaml \
             says whose counts"
        ))
    }

    /// What people should know at the end, in lines.
    pub fn notes(&self) -> Vec<String> {
        let tally = self.tally();
        let mut notes = Vec::new();
        if !tally.ignored.is_empty() {
            let who: Vec<String> = tally
                .ignored
                .iter()
                .map(|(signer, keys)| match signer {
                    Some(signer) => format!("{} signed by {signer}", keys.len()),
                    None => format!("{} that nobody signed", keys.len()),
                })
                .collect();
            notes.push(format!(
                "ignored records on the share: {}; `trust:` in pipeline.yaml says whose count",
                who.join(", ")
            ));
        }
        if let Some(first) = tally.damaged.first() {
            let more = match tally.damaged.len() - 1 {
                0 => String::new(),
                others => format!(" and {others} more"),
            };
            notes.push(format!(
                "damaged on the share, and not used: {first}{more}; `ribbon push --again` writes them anew"
            ));
        }
        notes
    }

    /// Objects and bytes that have come so far.
    pub fn fetched(&self) -> (u64, u64) {
        let tally = self.tally();
        (tally.fetched, tally.fetched_bytes)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_share(&self) -> Result<&Open, ShareError> {
        if let Address::Folder(path) = &self.share.address
            && !path.is_dir()
        {
            return Err(ShareError::NoFolder(path.clone()));
        }
        let open = || {
            let scratch = self
                .tmp
                .scratch()
                .map_err(|source| ShareError::Io { path: self.tmp.path().to_owned(), source }.to_string())?;
            let remote = Remote::open(&self.share).map_err(|error| ShareError::from(error).to_string())?;
            Ok(Open { remote, scratch })
        };
        self.open.get_or_init(open).as_ref().map_err(|why| ShareError::GivenUp(why.clone()))
    }

    /// What lies under a key's name, if it is a record of that key.
    fn bundle(&self, key: Key) -> Option<Bundle> {
        if !self.is_readable() {
            return None;
        }
        self.try_bundle(key).unwrap_or_else(|error| {
            let _ = self.unread.set(error.to_string());
            None
        })
    }

    fn try_bundle(&self, key: Key) -> Result<Option<Bundle>, ShareError> {
        let path = path("records", key.0);
        let came = match self.read(&path, bundle::PACKED_LIMIT)? {
            (Read::Absent, _) => return Ok(None),
            (Read::Large, _) => None,
            (Read::Done, file) => Some(fs::read(&file.0).map_err(file.error())?),
        };
        let bundle = came.and_then(|bytes| bundle::decode(key, &bytes).ok());
        if bundle.is_none() {
            self.tally().damaged.insert(path);
        }
        Ok(bundle)
    }

    /// Reads a file of the share into one that goes when it is dropped.
    fn read(&self, path: &str, limit: u64) -> Result<(Read, Passing), ShareError> {
        let open = self.open_share()?;
        let file = open.passing();
        Ok((open.remote.read(path, &file.0, limit)?, file))
    }

    /// Whether somebody trusted has signed a record.
    fn is_trusted(&self, bundle: &Bundle) -> bool {
        let is_known = |signer: PublicKey| {
            self.own.as_ref().is_some_and(|own| own.public() == signer)
                || matches!(&self.trust, Trust::Keys(keys) if keys.values().any(|key| *key == signer.0))
        };
        self.trust == Trust::Any || bundle.signer.is_some_and(is_known)
    }

    /// Whether a record counts without the lock; if not, people are told that there was one.
    fn counts(&self, bundle: &Bundle) -> bool {
        let is_trusted = self.is_trusted(bundle);
        if !is_trusted {
            self.tally().ignored.entry(bundle.signer).or_default().insert(bundle.record.key);
        }
        is_trusted
    }
}

impl Known {
    /// Notes it in the store, with the small objects that came with it; nobody removes it as long as the lease is there.
    /// What it made, in the order of the stage's outputs. Where the key was done here meanwhile, that is what it made.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(self, store: &Store, memo: &Memo, lease: &Lease) -> Result<Artifacts, StoreError> {
        let Known { bundle: Bundle { record, objects, .. }, artifacts } = self;
        let _hold = store.hold()?;
        lease.add(std::iter::once(record.key))?;
        store.refresh()?;
        if let Some(made) = store.artifacts(record.key) {
            return Ok(made);
        }
        let wanted: HashSet<Hash> = artifacts.iter().map(|artifact| artifact.hash).collect();
        for (hash, bytes) in objects.iter().filter(|(hash, _)| wanted.contains(hash)) {
            // What cannot be kept now is fetched when it is needed.
            let _ = store.adopt_bytes(*hash, bytes, memo);
        }
        store.commit(&record, artifacts.clone())?;
        Ok(artifacts)
    }
}

/// A local file that content passes through, on its way from or to a share.
struct Passing(PathBuf);

impl Passing {
    fn error(&self) -> impl FnOnce(io::Error) -> ShareError {
        let path = self.0.clone();
        |source| ShareError::Io { path, source }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Open {
    fn passing(&self) -> Passing {
        Passing(crate::store::beside(&self.scratch.path().join("file")))
    }
}

/// A job's artifacts as somebody needs them: published ones are alone.
pub fn wanted(project: &Project, id: JobId, artifacts: &Artifacts) -> Vec<Wanted> {
    let published = project.graph.published(&project.pipeline, id);
    let is_published = |place: usize| published.iter().any(|(output, _)| usize::from(*output) == place);
    let wanted =
        |(place, artifact): (usize, &Artifact)| Wanted { artifact: *artifact, alone: is_published(place) };
    artifacts.iter().enumerate().map(wanted).collect()
}

/// What goes to a share with a job's record. The content of an intermediate does not: it is not here for long, and who has
/// the records of its consumers needs none.
pub fn given(project: &Project, id: JobId, artifacts: &Artifacts) -> Vec<Wanted> {
    let is_intermediate = project.stage(id).intermediate;
    let all = wanted(project, id, artifacts);
    all.into_iter().filter(|wanted| !is_intermediate || wanted.alone).collect()
}

/// What a record says its job made, if that is what the stage makes.
fn artifacts(record: &Record, stage: &Stage) -> Option<Artifacts> {
    let is_all = stage.outputs.len() == record.outputs.len();
    let made = |name: &str| record.outputs.get(name).map(RecordedOutput::artifact);
    artifacts_of(&stage.outputs, made).ok().filter(|_| is_all)
}

/// Why a share is of no use, for where it is clear that it is about the share.
fn bare(why: &str) -> &str {
    why.strip_prefix("share ").unwrap_or(why)
}

/// Makes the folder of a share where its parent is there; in a folder of a group it is the group's.
fn make_local(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => Access::of(parent)?.make_folder(path),
        None => fs::create_dir(path),
    }
}

/// `objects/ab/cdef..`
fn path(section: &str, hash: Hash) -> String {
    let hex = hash.to_string();
    format!("{section}/{}/{}", &hex[..2], &hex[2..])
}
