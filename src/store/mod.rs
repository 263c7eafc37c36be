//! The store: objects by content, records by key, and what ties them together safely for any number of processes.
//!
//! ```text
//! store/objects/ab/cdef..   content, read-only (object.rs)
//! store/index               key -> artifacts, append-only (index.rs)
//! store/records/ab/cdef..   how they came to be, JSON (record.rs) with a seal
//! store/logs/ab/cdef..      what the job printed
//! store/code/ab/cdef..      what a code hash is made of, JSON with a seal, for `why`
//! store/workspaces/         who uses the store (workspaces.rs)
//! store/locks               a byte a key, and one for all content (locks.rs)
//! store/resume/             what interrupted jobs go on from (resume.rs)
//! store/tmp/                scratch folders of running processes, and what these need (lease.rs)
//! ```
//!
//! Nothing half-written is ever visible: an object is renamed into place when it is whole, the index tells of a record
//! when its objects are in place.

mod access;
mod entry;
mod foreign;
mod gc;
mod index;
mod lease;
mod locks;
mod memo;
mod object;
#[cfg(test)]
mod properties;
mod record;
mod resume;
mod verify;
mod workspaces;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use access::Access;
pub use foreign::Part;
pub use gc::{Collected, Limits, Roots};
pub use index::{Artifact, Artifacts};
pub use lease::{Lease, Leases};
pub(crate) use locks::random;
pub use locks::{Hold, Scratch};
pub use memo::Memo;
pub(crate) use memo::hash_file;
pub use object::{
    ObjectError, Ready, Written, all_written, link_source, make_ready, measure, unlink_source, written,
};
pub(crate) use record::moment;
pub use record::{Accepted, Machine, Record, RecordedOutput, artifacts_of};
pub use resume::Slot;
pub use verify::Verified;
pub use workspaces::{Copied, Presence, Workspace};

use self::index::Index;
use self::locks::KeyLocks;
use self::object::Objects;
use crate::hash::{Hash, Key};
use crate::seal::{seal, unseal};

/// What can go wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file of the store cannot be read or written.
    #[error("store: cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something is to be written to a store that this user, or anybody, may only read.
    #[error(
        "the store {0} can only be read here: ask its owner for write permission (of a group: `chmod 2775` its \
         folder), or set RIBBON_STORE to a store of your own"
    )]
    ReadOnly(PathBuf),
    /// An artifact cannot be stored or placed.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// A store's place for scratch folders.
#[derive(Debug)]
pub struct Tmp {
    path: PathBuf,
    access: Access,
}

impl Tmp {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder that is gone with this process.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn scratch(&self) -> io::Result<Scratch> {
        Scratch::new(&self.path, self.access)
    }
}

/// A store. Shared by the threads of a run, and by any number of processes.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    access: Access,
    objects: Objects,
    index: Mutex<Index>,
    locks: KeyLocks,
}

impl Store {
    /// Opens the store in a folder, or makes one.
    ///
    /// # Errors
    /// When the folder cannot be made or its index cannot be read.
    pub fn open(root: &Path) -> Result<Store, StoreError> {
        fs::create_dir_all(root).map_err(io_error("make", root))?;
        let access = Access::of(root).map_err(io_error("look at", root))?;
        let path = root.join("index");
        let index = Index::open(&path, access).map_err(io_error("open", &path))?;
        let path = root.join("locks");
        let locks = KeyLocks::open(&path, access).map_err(io_error("open", &path))?;
        let objects = Objects::new(root.join("objects"), access);
        Ok(Store { root: root.to_owned(), access, objects, index: Mutex::new(index), locks })
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Notes that a workspace uses this store, and what its lock says, so that no collection takes what it needs. A
    /// store that may only be read takes no note.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_workspace(&self, root: &Path) -> Result<(), StoreError> {
        if !self.index().is_writable() {
            return Ok(());
        }
        let folder = self.root.join("workspaces");
        let note = || workspaces::note(&folder, self.access, &fs::canonicalize(root)?);
        note().map_err(io_error("note the workspace in", &folder))
    }

    /// Compares a workspace's lock with the copy of its last run, which is written anew if it is damaged.
    ///
    /// # Errors
    /// When one of them cannot be read or written.
    pub fn compare_lock(&self, root: &Path) -> Result<Copied, StoreError> {
        if !self.index().is_writable() {
            return Ok(Copied::Alike);
        }
        let folder = self.root.join("workspaces");
        let compare = || workspaces::compare(&folder, self.access, &fs::canonicalize(root)?);
        compare().map_err(io_error("compare a lock with its copy in", &folder))
    }

    /// The workspaces that use this store.
    ///
    /// # Errors
    /// When the notes cannot be read.
    pub fn workspaces(&self) -> Result<Vec<Workspace>, StoreError> {
        let folder = self.root.join("workspaces");
        workspaces::all(&folder).map_err(io_error("read", &folder))
    }

    /// Holds the store's content together with others: until the end of it, no object and no record goes. Whoever adds
    /// an artifact holds it from [`Store::insert`] to [`Store::commit`]; whoever finds one and is going to use it, until
    /// the lease says so.
    ///
    /// # Errors
    /// When the file system has no locks.
    pub fn hold(&self) -> Result<Hold, StoreError> {
        self.locks.hold().map_err(io_error("lock", &self.root.join("locks")))
    }

    fn hold_alone(&self) -> Result<Hold, StoreError> {
        self.locks.hold_alone().map_err(io_error("lock", &self.root.join("locks")))
    }

    /// What this process needs, in a scratch folder of its own; nothing yet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn lease(&self, scratch: &Scratch) -> Result<Lease, StoreError> {
        Lease::new(scratch.path(), self.access)
    }

    /// What the job with this key made, as far as this store knows.
    pub fn artifacts(&self, key: Key) -> Option<Artifacts> {
        self.index().get(key).cloned()
    }

    /// Whether an artifact's content is here and, as far as the memo knows, unharmed.
    pub fn holds(&self, artifact: &Artifact, memo: &Memo) -> bool {
        self.objects.is_whole(artifact, memo)
    }

    /// Moves what a job made into the store; only [`Store::commit`] makes it count. [`Store::hold`] both.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn insert(&self, ready: Ready, memo: &Memo) -> Result<Artifact, StoreError> {
        Ok(self.objects.insert(ready, memo)?)
    }

    /// Makes a key's artifacts count: its record, then its line in the index.
    ///
    /// # Errors
    /// When one of them cannot be written.
    pub fn commit(&self, record: &Record, artifacts: Artifacts) -> Result<(), StoreError> {
        self.write_json("records", record.key.0, record)?;
        let path = self.root.join("index");
        self.index().insert(record.key, artifacts).map_err(io_error("write", &path))
    }

    /// Reads what other processes have committed meanwhile.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn refresh(&self) -> Result<(), StoreError> {
        self.index().refresh().map_err(io_error("read", &self.root.join("index")))
    }

    /// Brings what this process has committed to the disk.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn sync_new(&self) -> Result<(), StoreError> {
        let path = self.root.join("index");
        let Some(end) = self.index().unsynced_end() else { return Ok(()) };
        let synced = || {
            // Not under the index's lock: jobs go on to end meanwhile.
            nix::unistd::syncfs(File::open(&path)?)?;
            self.index().synced(end)
        };
        synced().map_err(io_error("sync", &path))
    }

    /// How the artifacts of a key came to be.
    pub fn record(&self, key: Key) -> Option<Record> {
        self.read_json("records", key.0)
    }

    /// How everything in the store came to be, in no order.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let keys: Vec<Key> = self.index().records().keys().copied().collect();
        keys.into_iter().filter_map(|key| self.record(key))
    }

    /// Keeps what a code hash is made of, for [`Store::code`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_code(&self, hash: Hash, parts: &impl Serialize) -> Result<(), StoreError> {
        if self.path("code", hash).exists() { Ok(()) } else { self.write_json("code", hash, parts) }
    }

    /// What a code hash is made of.
    pub fn code<T: DeserializeOwned>(&self, hash: Hash) -> Option<T> {
        self.read_json("code", hash)
    }

    /// Where the log of a key's job is, or would be.
    pub fn log_path(&self, key: Key) -> PathBuf {
        self.path("logs", key.0)
    }

    /// Makes the file for the log of a key's job.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create_log(&self, key: Key) -> Result<File, StoreError> {
        let path = self.log_path(key);
        let create = || self.access.open(&path, OpenOptions::new().write(true).truncate(true));
        self.access.make_parent(&path).and_then(|()| create()).map_err(io_error("write", &path))
    }

    /// Places an artifact for a job to read.
    ///
    /// # Errors
    /// When it is not here whole, or cannot be linked.
    pub fn link(&self, artifact: &Artifact, to: &Path, memo: &Memo) -> Result<(), StoreError> {
        Ok(self.objects.link(artifact, to, memo)?)
    }

    /// Takes away what [`Store::link`] placed.
    pub fn unlink(&self, artifact: &Artifact, from: &Path, memo: &Memo) {
        self.objects.unlink(artifact, from, memo);
    }

    /// Writes a copy of an artifact that its user may edit.
    ///
    /// # Errors
    /// When it is not here whole, or cannot be written.
    pub fn copy(&self, artifact: &Artifact, to: &Path) -> Result<(), StoreError> {
        Ok(self.objects.copy(artifact, to)?)
    }

    /// Takes the right to run the job with this key, unless another process has it.
    ///
    /// # Errors
    /// When the file system has no locks.
    pub fn try_lock(&self, key: Key) -> Result<bool, StoreError> {
        self.locks.try_lock(key).map_err(io_error("lock a key in", &self.root.join("locks")))
    }

    /// Gives the right back.
    pub fn unlock(&self, key: Key) {
        // Nothing to do about a failure: the lock ends with the process.
        let _ = self.locks.unlock(key);
    }

    /// A folder for running jobs, on the store's file system, gone with this process.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        if !self.index().is_writable() {
            return Err(StoreError::ReadOnly(self.root.clone()));
        }
        let tmp = self.tmp();
        tmp.scratch().map_err(io_error("make a scratch folder in", &tmp.path))
    }

    /// Where scratch folders are made.
    pub fn tmp(&self) -> Tmp {
        Tmp { path: self.root.join("tmp"), access: self.access }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // A panic elsewhere leaves it readable: its map changes after its file.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, section: &str, hash: Hash) -> PathBuf {
        fan_path(&self.root.join(section), &hash.to_string())
    }

    fn write_json(&self, section: &str, hash: Hash, value: &impl Serialize) -> Result<(), StoreError> {
        let path = self.path(section, hash);
        let write = || {
            self.access.make_parent(&path)?;
            self.access.write_whole(&path, &seal(serde_json::to_vec(value)?))
        };
        write().map_err(io_error("write", &path))
    }

    /// The files of a section, each with the hash that its name is; none for what a killed process left.
    fn section(&self, section: &str) -> Result<Vec<(Option<Hash>, PathBuf)>, StoreError> {
        Ok(object::all_in(&self.root.join(section))?)
    }

    fn read_json<T: DeserializeOwned>(&self, section: &str, hash: Hash) -> Option<T> {
        let text = fs::read(self.path(section, hash)).ok()?;
        serde_json::from_slice(unseal(&text)?).ok()
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { what, path, source }
}

/// `ab/cdef..`: no folder gets more entries than file systems like.
fn fan_path(folder: &Path, hex: &str) -> PathBuf {
    folder.join(&hex[..2]).join(&hex[2..])
}

/// Whether a file cannot be written though it may be there to read.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

pub(crate) fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// A name beside a file for what will be renamed to it; unique among threads, processes and containers.
pub(crate) fn beside(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static PROCESS: LazyLock<u64> = LazyLock::new(locks::random);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{:016x}-{next}", *PROCESS))
}

/// Renames a file or folder to a name that may be taken by one of any kind, which goes.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    if is_folder(to) || is_folder(from) && fs::symlink_metadata(to).is_ok() {
        let old = beside(to);
        fs::rename(to, &old)?;
        fs::rename(from, to)?;
        remove(&old)
    } else {
        fs::rename(from, to)
    }
}

/// Removes a file, or a folder with all in it.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Reads a folder's listing, as it may come from elsewhere, and checks that it leads nowhere else. For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) use object::check_listing;

/// Writes a record's text as it would stand in a store. For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) fn write_record(root: &Path, key: Key, text: &[u8]) -> io::Result<()> {
    let path = fan_path(&root.join("records"), &key.to_string());
    make_parent(&path)?;
    Access::default().write_whole(&path, &seal(text.to_vec()))
}
