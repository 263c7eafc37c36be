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
mod signature;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
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
pub use signature::{KeyError, OwnKey, PublicKey};

use self::bundle::{Bundle, ROOM, SMALL};
use self::fetch::{Fetching, Missed};
use self::pack::Packing;
use self::remote::{Read, Remote};
use crate::graph::JobId;
use crate::hash::{Hash, Key};
use crate::pipeline::{Address, Share, Stage, Trust};
use crate::project::Project;
use crate::store::{
    Access, Artifact, Artifacts, Lease, Memo, Part, Record, RecordedOutput, Scratch, Store, StoreError, Tmp,
    artifacts_of,
};

/// Bytes of an object that is sent without asking whether it is there: that would take as long, and mostly it is not, as
/// the record that names it is not there either.
const UNASKED: u64 = 256 << 10;

/// Names in a folder of a share that are listened to.
const LISTED: usize = 1 << 16;

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
    unwritten: OnceLock<String>,
    /// The names of all records that were there, where somebody has looked.
    survey: OnceLock<HashSet<String>>,
    tally: Mutex<Tally>,
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
    ignored: BTreeMap<Option<PublicKey>, u32>,
    /// Names of files that were not what they should be.
    damaged: Vec<String>,
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

/// What came of publishing a job's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is there now.
    New {
        /// Bytes that were sent.
        bytes: u64,
    },
    /// It was there.
    Known,
    /// Somebody else's work with other bits is there under the same key, and counts; it stays.
    Other,
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
            share,
            trust: project.pipeline.trust.clone(),
            own,
            tmp: project.store.tmp(),
            open: OnceLock::new(),
            unread: OnceLock::new(),
            unwritten: OnceLock::new(),
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

    /// Asks nothing any more; with `all`, ends what is under way too.
    pub fn stop(&self, all: bool) {
        let _ = self.unread.set(STOPPED.to_owned());
        if all {
            let _ = self.unwritten.set(STOPPED.to_owned());
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

    /// Brings artifacts of a job into the store; whether all of them are there now.
    pub fn fetch(&self, key: Key, wanted: &[Wanted], store: &Store, memo: &Memo) -> bool {
        if !self.is_readable() {
            return false;
        }
        let mut fetching = Fetching { exchange: self, key, store, memo, bundle: None };
        match wanted.iter().try_for_each(|wanted| fetching.artifact(wanted)) {
            Ok(()) => true,
            Err(Missed::Absent) => false,
            Err(Missed::Trouble(error)) => {
                let _ = self.unread.set(error.to_string());
                false
            }
        }
    }

    /// Puts what a job made where others find it: objects first, then the record. `again` writes what is there already.
    ///
    /// # Errors
    /// When the share or the store fails. The share is not written any more then.
    pub fn publish(
        &self,
        record: &Record,
        wanted: &[Wanted],
        store: &Store,
        again: bool,
    ) -> Result<Published, ShareError> {
        if let Some(why) = self.unwritten.get() {
            return Err(ShareError::GivenUp(why.clone()));
        }
        let published = self.send(record, wanted, store, again);
        if let Err(error) = &published {
            let _ = self.unwritten.set(error.to_string());
        }
        published
    }

    /// Looks which records are there, a folder at a time, for somebody who is about to publish many: then it need not be
    /// asked for those that are not. A share that cannot tell, or has too many to tell, is asked.
    fn look(&self) {
        let mut names = Some(HashSet::new());
        let list = |first: u8| {
            let folder = format!("records/{first:02x}");
            let listed = self.open_share().ok()?.remote.list(&folder, LISTED).ok()??;
            Some(listed.into_iter().map(move |name| format!("{folder}/{name}")).collect::<Vec<_>>())
        };
        crew::each(self.width(), 0..=u8::MAX, list, |listed| match (listed, &mut names) {
            (Some(listed), Some(names)) => names.extend(listed),
            _ => names = None,
        });
        if let Some(names) = names {
            let _ = self.survey.set(names);
        }
    }

    /// What people should know, once: why the share is of no use, if so.
    pub fn trouble(&self) -> Option<String> {
        let why = self.unread.get().or_else(|| self.unwritten.get()).filter(|why| *why != STOPPED)?;
        let is_told = std::mem::replace(&mut self.tally().told, true);
        (!is_told).then(|| format!("{why}; going on without the share"))
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
                .map(|(signer, count)| match signer {
                    Some(signer) => format!("{count} signed by {signer}"),
                    None => format!("{count} that nobody signed"),
                })
                .collect();
            notes.push(format!(
                "ignored records on the share: {}; `trust:` in pipeline.yaml says whose count",
                who.join(", ")
            ));
        }
        if let [first, rest @ ..] = &tally.damaged[..] {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
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
            self.tally().damaged.push(path);
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
            *self.tally().ignored.entry(bundle.signer).or_default() += 1;
        }
        is_trusted
    }

    fn send(
        &self,
        record: &Record,
        wanted: &[Wanted],
        store: &Store,
        again: bool,
    ) -> Result<Published, ShareError> {
        let is_new = self.survey.get().is_some_and(|names| !names.contains(&path("records", record.key.0)));
        if !again
            && !is_new
            && let Some(there) = self.try_bundle(record.key)?
        {
            let is_same = there.record.outputs.iter().map(bits).eq(record.outputs.iter().map(bits));
            match (is_same, self.is_trusted(&there)) {
                (true, true) => return Ok(Published::Known),
                // One's own unsigned copy adds nothing to it.
                (true, false) if self.own.is_none() => return Ok(Published::Known),
                (false, true) => return Ok(Published::Other),
                _ => {}
            }
        }
        let mut sent = 0;
        let mut small = Vec::new();
        let mut room = ROOM;
        for Wanted { artifact, alone } in wanted {
            let parts = store.parts(artifact).unwrap_or_default();
            for part in parts.into_iter().filter(|part| part.size > 0) {
                if !alone && part.size <= SMALL.min(room) {
                    room -= part.size;
                    small.push(read_object(store, part)?);
                } else {
                    sent += self.send_object(store, part, again)?;
                }
            }
        }
        let job = || PathBuf::from(&record.job);
        let bytes = bundle::encode(record, self.own.as_ref(), &small)
            .map_err(|source| ShareError::Io { path: job(), source })?;
        let open = self.open_share()?;
        let file = open.passing();
        fs::write(&file.0, &bytes).map_err(file.error())?;
        open.remote.write(&path("records", record.key.0), &file.0)?;
        Ok(Published::New { bytes: sent + bytes.len() as u64 })
    }

    /// Sends an object unless it is there; the bytes that were sent.
    fn send_object(&self, store: &Store, part: Part, again: bool) -> Result<u64, ShareError> {
        if self.tally().sent.contains(&part.hash) {
            return Ok(0);
        }
        let path = path("objects", part.hash);
        let open = self.open_share()?;
        let mut sent = 0;
        let is_damaged = self.tally().damaged.contains(&path);
        if again || is_damaged || part.size <= UNASKED || !open.remote.has(&path)? {
            let object = store.object_path(part.hash);
            let failed = |source| ShareError::Io { path: object.clone(), source };
            let mut content = Packing::of(File::open(&object).map_err(failed)?).map_err(failed)?;
            let packed = open.passing();
            let file = if content.is_packed() {
                let mut file = File::create_new(&packed.0).map_err(packed.error())?;
                sent = io::copy(&mut content, &mut file).map_err(packed.error())?;
                &packed.0
            } else {
                sent = part.size;
                &object
            };
            open.remote.write(&path, file)?;
        }
        self.tally().sent.insert(part.hash);
        Ok(sent)
    }
}

impl Known {
    /// Notes it in the store, with the small objects that came with it; nobody removes it as long as the lease is there.
    /// What it made, in the order of the stage's outputs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(self, store: &Store, memo: &Memo, lease: &Lease) -> Result<Artifacts, StoreError> {
        let Known { bundle: Bundle { record, objects, .. }, artifacts } = self;
        let _hold = store.hold()?;
        lease.add(std::iter::once(record.key))?;
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

fn bits((name, output): (&String, &RecordedOutput)) -> (String, Hash, bool) {
    (name.clone(), output.hash, output.folder)
}

fn read_object(store: &Store, part: Part) -> Result<Vec<u8>, ShareError> {
    let path = store.object_path(part.hash);
    fs::read(&path).map_err(|source| ShareError::Io { path, source })
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
