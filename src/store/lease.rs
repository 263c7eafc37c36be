//! Leases: what running processes still need of a store, so that nobody takes it away from them.
//!
//! A file in a process's scratch folder, as long as that is locked: entries of a sign and a key. `+`: it counts on what
//! this key made; `-`: it does not need the content any more.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
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

/// What the processes that use a store need of it.
#[derive(Debug, Default)]
pub struct Leased {
    /// What their plans count on, so that neither record nor content may go.
    pub used: HashSet<Key>,
    /// Of these, what they need the content of.
    pub needed: HashSet<Key>,
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

    /// What other processes need, of which these are the scratch folders.
    ///
    /// # Errors
    /// When a lease cannot be read: then nothing may go.
    pub fn of_others(&self, scratch: &[PathBuf]) -> Result<Leased, StoreError> {
        Leased::read(scratch.iter().filter(|folder| Some(folder.as_path()) != self.path.parent()))
    }

    fn write(&self, sign: u8, keys: impl Iterator<Item = Key>) -> Result<(), StoreError> {
        let bytes: Vec<u8> = keys.flat_map(|key| std::iter::once(sign).chain(key.0.0)).collect();
        (&self.file).write_all(&bytes).map_err(io_error("write", &self.path))
    }
}

impl Leased {
    /// What processes need, of which these are the scratch folders.
    ///
    /// # Errors
    /// When a lease cannot be read: then nothing may go.
    pub fn read<'a>(scratch: impl Iterator<Item = &'a PathBuf>) -> Result<Leased, StoreError> {
        let mut leased = Leased::default();
        for folder in scratch {
            let path = folder.join("lease");
            let bytes = match fs::read(&path) {
                // A process that needs nothing, or has just ended.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                bytes => bytes.map_err(io_error("read", &path))?,
            };
            let mut needed = HashSet::new();
            for entry in bytes.as_chunks::<ENTRY>().0 {
                let key = Key(Hash(entry[1..].try_into().expect("32 bytes")));
                leased.used.insert(key);
                if entry[0] == b'+' {
                    needed.insert(key)
                } else {
                    needed.remove(&key)
                };
            }
            leased.needed.extend(needed);
        }
        Ok(leased)
    }
}

#[cfg(test)]
mod tests {
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
        let all = Leased::read(scratch.iter()).unwrap();
        assert_eq!((all.used, all.needed), (HashSet::from([a, b]), HashSet::from([a, b])));
        assert_eq!(leases[0].of_others(&scratch).unwrap().needed, HashSet::from([a]));
        assert_eq!(leases[1].of_others(&scratch).unwrap().needed, HashSet::from([b]));
    }
}
