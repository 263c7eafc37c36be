//! Kernel locks: a job's key, the store's content, a scratch folder. They end with the process that holds them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::access::Access;
use crate::folder;
use crate::hash::{Hash, Key};

/// The bytes of the file that stand for no key: keys have those below 2^62.
const TURN: u64 = 1 << 62;
const CONTENT: u64 = TURN + 1;

/// One file in which every key has a byte to lock, so that no two processes run the same job at the same time. Another
/// byte stands for the store's content: those who add or use some hold it together, those who remove some alone.
#[derive(Debug)]
pub struct KeyLocks {
    path: PathBuf,
    file: File,
}

/// The store's content, held by several who add or use some, or by one who removes some; until it is dropped.
#[derive(Debug)]
pub struct Hold {
    _file: File,
}

impl KeyLocks {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, access: Access) -> io::Result<KeyLocks> {
        let file = match access.open(path, OpenOptions::new().read(true).write(true)) {
            // In a store that may only be read nobody takes a lock of one's own.
            Err(error) if super::is_refused(&error) => File::open(path).map_err(|_| error)?,
            file => file?,
        };
        Ok(KeyLocks { path: path.to_owned(), file })
    }

    /// Holds the store's content with others: until the end of it nothing is removed.
    ///
    /// # Errors
    /// When the file system has no locks.
    pub fn hold(&self) -> io::Result<Hold> {
        // A lock belongs to an open file, and threads hold it each for themselves.
        let file = File::open(&self.path)?;
        let shared = libc::F_RDLCK as libc::c_short;
        // One who wants to be alone takes the turn first, so that those who come later wait behind it.
        wait_for(&file, TURN, shared)?;
        wait_for(&file, CONTENT, shared)?;
        set(&file, TURN, libc::F_UNLCK as libc::c_short)?;
        Ok(Hold { _file: file })
    }

    /// Holds the store's content alone: until the end of it nobody adds any.
    ///
    /// # Errors
    /// When the file system has no locks.
    pub fn hold_alone(&self) -> io::Result<Hold> {
        let file = OpenOptions::new().write(true).open(&self.path)?;
        wait_for(&file, TURN, libc::F_WRLCK as libc::c_short)?;
        wait_for(&file, CONTENT, libc::F_WRLCK as libc::c_short)?;
        Ok(Hold { _file: file })
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
        let byte = u64::from_le_bytes(key.0.0[..8].try_into().expect("eight bytes")) >> 2;
        set(&self.file, byte, kind)
    }
}

/// Locks or unlocks a byte of a file, if nobody else's lock is in the way.
fn set(file: &File, byte: u64, kind: libc::c_short) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&range(byte, kind))).map(drop)
}

/// Locks a byte of a file, when others let it.
fn wait_for(file: &File, byte: u64, kind: libc::c_short) -> Result<(), Errno> {
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLKW(&range(byte, kind))) {
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

fn range(byte: u64, kind: libc::c_short) -> libc::flock {
    // SAFETY: `flock` is plain data for which zeros are valid; all that matters is set below.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range.l_start = byte as libc::off_t;
    range.l_len = 1;
    range
}

/// Another machine's scratch folder in which no job has begun for so long is abandoned, if nobody has its lock.
const QUIET: Duration = Duration::from_secs(2 * 24 * 3600);

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
    pub fn new(parent: &Path, access: Access) -> io::Result<Scratch> {
        access.make_folder(parent)?;
        // Held while folders come and go, so that none is taken for abandoned before its own lock is held.
        let gate = access.open(&parent.join("gate"), OpenOptions::new().write(true))?;
        gate.lock()?;
        let prefix = prefix();
        for folder in folders_in(parent)? {
            if !is_alive(&folder, &prefix) {
                let _ = folder::remove(&folder);
            }
        }
        let path = parent.join(format!("{prefix}-{}-{:08x}", std::process::id(), random() as u32));
        access.make_folder(&path)?;
        let lock = access.open(&path.join("lock"), OpenOptions::new().write(true))?;
        lock.lock()?;
        Ok(Scratch { path, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The scratch folders of all running processes.
    ///
    /// # Errors
    /// When the folder they are in cannot be read.
    pub fn alive(parent: &Path) -> io::Result<Vec<PathBuf>> {
        let mut folders = if parent.exists() { folders_in(parent)? } else { Vec::new() };
        let prefix = prefix();
        folders.retain(|folder| is_alive(folder, &prefix));
        Ok(folders)
    }
}

/// The name of this machine; containers have one of their own.
pub fn machine() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// What the names of this machine's scratch folders begin with.
fn prefix() -> String {
    Hash::of(machine().as_bytes()).to_string()[..8].to_owned()
}

/// The gate is no folder.
fn folders_in(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => folders.push(entry.path()),
            // It went meanwhile.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(folders)
}

/// Whether a process has this scratch folder's lock. One without a lock was abandoned before it had one. A folder of another
/// machine has to look abandoned as well: there are file systems that keep each machine's locks to itself.
fn is_alive(folder: &Path, prefix: &str) -> bool {
    match File::open(folder.join("lock")) {
        Ok(lock) => {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            let is_own = name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-'));
            // The lease grows with each job that begins.
            let times =
                [folder.join("lock"), folder.join("lease")].map(|path| fs::metadata(path)?.modified());
            let latest = times.into_iter().flatten().max();
            let is_quiet = latest.is_none_or(|time| time.elapsed().unwrap_or_default() > QUIET);
            !matches!(lock.try_lock_shared(), Ok(())) || !is_own && !is_quiet
        }
        // Where nothing can be known, nobody is taken for dead.
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = folder::remove(&self.path);
    }
}

/// Tells processes of one number apart, across reboots, machines and containers.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_key_is_locked_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let open = || KeyLocks::open(&folder.path().join("locks"), Access::default()).unwrap();
        let (one, two) = (open(), open());
        let (a, b) = (Key(Hash::of(b"a")), Key(Hash::of(b"b")));
        assert!(one.try_lock(a).unwrap());
        assert!(!two.try_lock(a).unwrap());
        assert!(two.try_lock(b).unwrap());
        one.unlock(a).unwrap();
        assert!(two.try_lock(a).unwrap());
    }

    #[test]
    fn content_is_held_by_many_who_add_or_by_one_who_removes() {
        let folder = tempfile::tempdir().unwrap();
        let locks = KeyLocks::open(&folder.path().join("locks"), Access::default()).unwrap();
        let (told, heard) = std::sync::mpsc::channel();
        let adding = [locks.hold().unwrap(), locks.hold().unwrap()];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _alone = locks.hold_alone().unwrap();
                told.send("removing").unwrap();
                std::thread::sleep(Duration::from_millis(50));
                told.send("removed").unwrap();
            });
            assert!(heard.recv_timeout(Duration::from_millis(50)).is_err(), "it waits for those who add");
            drop(adding);
            assert_eq!(heard.recv().unwrap(), "removing");
            let _late = locks.hold().unwrap();
            assert_eq!(heard.try_recv(), Ok("removed"), "one who adds waits for it");
        });
    }

    #[test]
    fn scratch_of_the_living_stays_and_of_the_dead_goes() {
        let parent = tempfile::tempdir().unwrap();
        let [dead, elsewhere, quiet] =
            [format!("{}-1-dead", prefix()), "0123abcd-1-old".to_owned(), "0123abcd-2-old".to_owned()]
                .map(|name| parent.path().join(name));
        for folder in [&dead, &elsewhere, &quiet] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("lock"), "").unwrap();
        }
        let long_ago = SystemTime::now() - 2 * QUIET;
        File::options().write(true).open(quiet.join("lock")).unwrap().set_modified(long_ago).unwrap();
        let unborn = parent.path().join("2-unborn");
        fs::create_dir(&unborn).unwrap();
        let living = Scratch::new(parent.path(), Access::default()).unwrap();
        assert!(!dead.exists() && !unborn.exists() && !quiet.exists());
        assert!(elsewhere.exists(), "its machine may keep its locks to itself");
        fs::remove_dir_all(&elsewhere).unwrap();
        let second = Scratch::new(parent.path(), Access::default()).unwrap();
        assert!(living.path().exists() && second.path().exists());
        assert_eq!(Scratch::alive(parent.path()).unwrap().len(), 2);
    }
}
