//! Leases: what running processes still need of a store, so that nobody takes it away from them.
//!
//! A file in a process's scratch folder, as long as that is locked: entries of a sign and a key. `+`: it counts on what
//! this key made; `-`: it does not need the content any more.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::access::Access;
use super::{StoreError, io_error};
use crate::hash::{Hash, Key};

const ENTRY: usize = 1 + 32;

/// What this process needs of a store.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    file: File,
}

/// What other processes need of a store: their leases, each read on from where it was read last, for they only grow.
#[derive(Debug, Default)]
pub struct Leases {
    /// By scratch folder.
    known: HashMap<PathBuf, Known>,
}

/// What a process needs, as far as its lease has been read.
#[derive(Debug, Default)]
struct Known {
    /// Bytes of whole entries.
    read: u64,
    /// What its plan counts on, so that neither record nor content may go.
    used: HashSet<Key>,
    /// Of these, what it needs the content of.
    needed: HashSet<Key>,
}

impl Lease {
    /// An empty lease, in a scratch folder of this process.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(scratch: &Path, access: Access) -> Result<Lease, StoreError> {
        let path = scratch.join("lease");
        let file = access.open(&path, OpenOptions::new().append(true)).map_err(io_error("make", &path))?;
        Ok(Lease { path, file })
    }

    /// The scratch folder it is in.
    pub fn scratch(&self) -> &Path {
        self.path.parent().expect("it was made in a folder")
    }

    /// Notes what this process counts on.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&self, keys: impl Iterator<Item = Key>) -> Result<(), StoreError> {
        self.write(b'+', keys)
    }

    /// Notes that it does not need this content any more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn release(&self, key: Key) -> Result<(), StoreError> {
        self.write(b'-', std::iter::once(key))
    }

    fn write(&self, sign: u8, keys: impl Iterator<Item = Key>) -> Result<(), StoreError> {
        let bytes: Vec<u8> = keys.flat_map(|key| std::iter::once(sign).chain(key.0.0)).collect();
        (&self.file).write_all(&bytes).map_err(io_error("write", &self.path))
    }
}

impl Leases {
    /// Reads what has come to the leases in these scratch folders; folders that are not among them are forgotten.
    ///
    /// # Errors
    /// When a lease cannot be read: then nothing may go.
    pub fn read_on(&mut self, scratch: &[PathBuf]) -> Result<(), StoreError> {
        self.known.retain(|folder, _| scratch.contains(folder));
        for folder in scratch {
            let path = folder.join("lease");
            let known = self.known.entry(folder.clone()).or_default();
            match known.read_on(&path) {
                // A process that needs nothing, or has just ended.
                Err(error) if error.kind() == io::ErrorKind::NotFound => *known = Known::default(),
                read => read.map_err(io_error("read", &path))?,
            }
        }
        Ok(())
    }

    /// Whether any counts on what this key made.
    pub fn uses(&self, key: Key) -> bool {
        self.known.values().any(|known| known.used.contains(&key))
    }

    /// Whether any needs the content of what this key made.
    pub fn needs(&self, key: Key) -> bool {
        self.known.values().any(|known| known.needed.contains(&key))
    }
}

impl Known {
    fn read_on(&mut self, path: &Path) -> io::Result<()> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        for entry in bytes.as_chunks::<ENTRY>().0 {
            let key = Key(Hash(entry[1..].try_into().expect("32 bytes")));
            self.used.insert(key);
            if entry[0] == b'+' {
                self.needed.insert(key)
            } else {
                self.needed.remove(&key)
            };
            self.read += ENTRY as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_one_releases_another_may_still_need() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = ["one", "two"].map(|name| parent.path().join(name));
        let leases = scratch.each_ref().map(|folder| {
            fs::create_dir(folder).unwrap();
            Lease::new(folder, Access::default()).unwrap()
        });
        let [a, b] = [1, 2].map(|n| Key(Hash([n; 32])));
        leases[0].add([a, b].into_iter()).unwrap();
        leases[1].add([a].into_iter()).unwrap();
        leases[0].release(a).unwrap();
        let mut all = Leases::default();
        all.read_on(&scratch).unwrap();
        assert!(all.uses(a) && all.needs(a) && all.needs(b));
        let mut of_first = Leases::default();
        of_first.read_on(&scratch[..1]).unwrap();
        assert!(of_first.uses(a) && !of_first.needs(a) && of_first.needs(b));
        let mut of_second = Leases::default();
        of_second.read_on(&scratch[1..]).unwrap();
        assert!(of_second.needs(a) && !of_second.needs(b));
    }

    #[test]
    fn what_comes_later_is_read_on_and_what_ended_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = [folder.path().to_owned()];
        let lease = Lease::new(folder.path(), Access::default()).unwrap();
        let [a, b] = [1, 2].map(|n| Key(Hash([n; 32])));
        let mut leases = Leases::default();
        leases.read_on(&scratch).unwrap();
        assert!(!leases.uses(a));
        lease.add([a, b].into_iter()).unwrap();
        leases.read_on(&scratch).unwrap();
        assert!(leases.needs(a) && leases.needs(b));
        lease.release(a).unwrap();
        leases.read_on(&scratch).unwrap();
        assert!(leases.uses(a) && !leases.needs(a) && leases.needs(b));
        // Half of an entry that is still being written.
        let entry = [&b"+"[..], &a.0.0].concat();
        (&lease.file).write_all(&entry[..10]).unwrap();
        leases.read_on(&scratch).unwrap();
        assert!(!leases.needs(a));
        (&lease.file).write_all(&entry[10..]).unwrap();
        leases.read_on(&scratch).unwrap();
        assert!(leases.needs(a));
        fs::remove_file(&lease.path).unwrap();
        leases.read_on(&scratch).unwrap();
        assert!(!leases.uses(b), "its process has ended");
        let _other = Lease::new(folder.path(), Access::default()).unwrap();
        leases.read_on(&scratch).unwrap();
        leases.read_on(&[]).unwrap();
        assert!(leases.known.is_empty());
    }
}
