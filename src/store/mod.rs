//! The store: objects by content, records by key, and what ties them together safely for any number of processes.
//!
//! ```text
//! store/objects/ab/cdef..   content, read-only (object.rs)
//! store/index               key -> artifacts, append-only (index.rs)
//! store/records/ab/cdef..   how they came to be, JSON (record.rs) with a seal
//! store/logs/ab/cdef..      what the job printed
//! store/code/ab/cdef..      what a code hash is made of, JSON with a seal, for `why`
//! store/locks               a byte a key (locks.rs)
//! store/tmp/                scratch folders of running processes
//! ```
//!
//! Nothing half-written is ever visible: an object is renamed into place when it is whole, the index tells of a record
//! when its objects are in place.

mod foreign;
mod index;
mod locks;
mod memo;
mod object;
#[cfg(test)]
mod properties;
mod record;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use foreign::Part;
pub use index::{Artifact, Artifacts};
pub use locks::Scratch;
pub use memo::Memo;
pub use object::{ObjectError, Verified, link_source, measure, unlink_source};
pub use record::{Accepted, Machine, Record, RecordedOutput};

use self::index::Index;
use self::locks::KeyLocks;
use self::object::Objects;
use crate::hash::{Hash, Key};
use crate::pipeline::Kind;
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
    /// An artifact cannot be stored or placed.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// A store. Shared by the threads of a run, and by any number of processes.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
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
        let index = Index::open(&root.join("index")).map_err(io_error("open", &root.join("index")))?;
        let locks = KeyLocks::open(&root.join("locks")).map_err(io_error("open", &root.join("locks")))?;
        let objects = Objects::new(root.join("objects"));
        Ok(Store { root: root.to_owned(), objects, index: Mutex::new(index), locks })
    }

    /// What the job with this key made, as far as this store knows.
    pub fn artifacts(&self, key: Key) -> Option<Artifacts> {
        self.index().get(key).cloned()
    }

    /// Whether an artifact's content is here and, as far as the memo knows, unharmed.
    pub fn holds(&self, artifact: &Artifact, memo: &Memo) -> bool {
        self.objects.is_whole(artifact, memo)
    }

    /// Reads every object, record and list of code, and drops the damaged ones.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn verify(&self) -> Result<Verified, StoreError> {
        let verified = self.objects.verify()?;
        let records = self.drop_unsealed("records")?.into_iter().map(Key).collect();
        Ok(Verified { records, code: self.drop_unsealed("code")?, ..verified })
    }

    /// Drops the files of a section whose seals are broken, and tells their names.
    fn drop_unsealed(&self, section: &str) -> Result<Vec<Hash>, StoreError> {
        let folder = self.root.join(section);
        let mut dropped = Vec::new();
        for (name, path) in if folder.exists() { object::files_under(&folder)? } else { Vec::new() } {
            // Without such a name it is what a killed process was about to rename.
            let Ok(hash) = name.replacen('/', "", 1).parse::<Hash>() else { continue };
            let text = fs::read(&path).map_err(io_error("read", &path))?;
            if unseal(&text).is_none() {
                fs::remove_file(&path).map_err(io_error("remove", &path))?;
                dropped.push(hash);
            }
        }
        Ok(dropped)
    }

    /// Moves what a job made into the store; only [`Store::commit`] makes it count.
    ///
    /// # Errors
    /// When it is not of the declared kind or cannot be stored.
    pub fn insert(&self, path: &Path, kind: Kind, memo: &Memo) -> Result<Artifact, StoreError> {
        Ok(self.objects.insert(path, kind, memo)?)
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
        make_parent(&path).and_then(|()| File::create(&path)).map_err(io_error("write", &path))
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
    pub fn copy(&self, artifact: &Artifact, to: &Path, memo: &Memo) -> Result<(), StoreError> {
        Ok(self.objects.copy(artifact, to, memo)?)
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
        let path = self.tmp();
        Scratch::new(&path).map_err(io_error("make a scratch folder in", &path))
    }

    /// Where scratch folders are made.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
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
            make_parent(&path)?;
            write_whole(&path, &seal(serde_json::to_vec(value)?))
        };
        write().map_err(io_error("write", &path))
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

pub(crate) fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// A name beside a file for what will be renamed to it; unique among processes and threads.
pub(crate) fn beside(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{next}", std::process::id()))
}

/// Writes a file so that nobody ever sees half of it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let scratch = beside(path);
    let written = File::create(&scratch)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&scratch, path));
    if written.is_err() {
        let _ = fs::remove_file(&scratch);
    }
    written
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
    write_whole(&path, &seal(text.to_vec()))
}
