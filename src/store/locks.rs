//! Kernel locks: a job's key, a workspace, a scratch folder. They end with the process that holds them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::hash::Key;

/// One file in which every key has a byte to lock, so that no two processes run the same job at the same time.
#[derive(Debug)]
pub struct KeyLocks {
    file: File,
}

impl KeyLocks {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When it cannot be opened for writing.
    pub fn open(path: &Path) -> io::Result<KeyLocks> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(KeyLocks { file })
    }

    /// Takes a key's lock, if no other process has it. A process may take it again.
    ///
    /// # Errors
    /// When the file system has no locks.
    pub fn try_lock(&self, key: Key) -> io::Result<bool> {
        match self.set(key, libc::F_WRLCK as libc::c_short) {
            Ok(()) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a key's lock back.
    ///
    /// # Errors
    /// When the file system has no locks.
    pub fn unlock(&self, key: Key) -> io::Result<()> {
        self.set(key, libc::F_UNLCK as libc::c_short).map_err(Into::into)
    }

    fn set(&self, key: Key, kind: libc::c_short) -> Result<(), Errno> {
        let first = u64::from_le_bytes(key.0.0[..8].try_into().expect("eight bytes")) >> 2;
        // SAFETY: `flock` is plain data for which zeros are valid; all that matters is set below.
        let mut range: libc::flock = unsafe { std::mem::zeroed() };
        range.l_type = kind;
        range.l_whence = libc::SEEK_SET as libc::c_short;
        range.l_start = first as libc::off_t;
        range.l_len = 1;
        fcntl(&self.file, FcntlArg::F_OFD_SETLK(&range)).map(drop)
    }
}

/// A folder that belongs to this process and is removed with it; what a killed process left, the next one removes.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes a scratch folder below `parent`, and removes those whose processes are gone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(parent: &Path) -> io::Result<Scratch> {
        fs::create_dir_all(parent)?;
        // Held while folders come and go, so that none is taken for abandoned before its own lock is held.
        let gate = File::create(parent.join("gate"))?;
        gate.lock()?;
        for entry in fs::read_dir(parent)?.flatten() {
            let folder = entry.path();
            // One without a lock was abandoned before it had one. The gate is no folder, and stays.
            if File::open(folder.join("lock")).map_or(true, |lock| lock.try_lock().is_ok()) {
                let _ = fs::remove_dir_all(&folder);
            }
        }
        let path = parent.join(format!("{}-{:08x}", std::process::id(), rand_suffix()));
        fs::create_dir(&path)?;
        let lock = File::create(path.join("lock"))?;
        lock.lock()?;
        Ok(Scratch { path, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Tells folders of one process id apart, across reboots and machines.
fn rand_suffix() -> u32 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;

    #[test]
    fn a_key_is_locked_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks");
        let (one, two) = (KeyLocks::open(&path).unwrap(), KeyLocks::open(&path).unwrap());
        let (a, b) = (Key(Hash::of(b"a")), Key(Hash::of(b"b")));
        assert!(one.try_lock(a).unwrap());
        assert!(!two.try_lock(a).unwrap());
        assert!(two.try_lock(b).unwrap());
        one.unlock(a).unwrap();
        assert!(two.try_lock(a).unwrap());
    }

    #[test]
    fn scratch_of_the_living_stays_and_of_the_dead_goes() {
        let parent = tempfile::tempdir().unwrap();
        let dead = parent.path().join("1-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("lock"), "").unwrap();
        let unborn = parent.path().join("2-unborn");
        fs::create_dir(&unborn).unwrap();
        let living = Scratch::new(parent.path()).unwrap();
        assert!(!dead.exists() && !unborn.exists());
        let second = Scratch::new(parent.path()).unwrap();
        assert!(living.path().exists() && second.path().exists());
    }
}
