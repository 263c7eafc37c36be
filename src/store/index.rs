//! The index: which key made which artifacts, one append-only file that all runs over a store share.
//!
//! Format 1: 8 bytes of magic, then entries: length of the body (u16, little-endian), body, the first 8 bytes of the
//! body's hash. Bodies: `R` key, then per output kind (`f` file, `d` folder), hash, size (u64): a record; `D` key: the
//! record does not count any more; `B` 16 bytes: the machine and its boot under which the entries that follow were
//! written; `S` offset (u64): every byte before that offset, and the objects its records name, are on disk.
//!
//! A process that is killed leaves at most a torn entry at the end, which the next one cuts off. After a power loss
//! (another boot of the same machine), records that were not yet synced are dropped. So a record needs no `fsync`.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::hash::{Hash, Key};
use crate::pipeline::Kind;

const MAGIC: &[u8; 8] = b"ribindx1";

/// An artifact: content by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Artifact {
    /// File or folder.
    pub kind: Kind,
    /// Of the file's content, or of the folder's listing.
    pub hash: Hash,
    /// Bytes; of a folder, of all its files.
    pub size: u64,
}

/// The artifacts a job made, in the order of its outputs' names.
pub type Artifacts = Vec<Artifact>;

/// The index of a store, as far as this process has read it.
#[derive(Debug)]
pub struct Index {
    file: File,
    boot: Boot,
    records: HashMap<Key, Artifacts>,
    /// Up to where the file has been read: the end of a whole entry.
    read: u64,
    /// The boot of the entries at `read`.
    last_boot: Option<Boot>,
    /// Where the last record that this process has added ends.
    added: u64,
    /// Before where this process has told that all is synced.
    synced: u64,
}

/// A boot of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Boot {
    machine: [u8; 8],
    boot: [u8; 8],
}

impl Index {
    /// Opens the index at `path`, makes it when there is none, and reads it.
    ///
    /// # Errors
    /// When it cannot be read or written, or is of another format.
    pub fn open(path: &Path) -> io::Result<Index> {
        Index::open_as(path, Boot::current())
    }

    fn open_as(path: &Path, boot: Boot) -> io::Result<Index> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut index =
            Index { file, boot, records: HashMap::new(), read: 0, last_boot: None, added: 0, synced: 0 };
        index.file.lock()?;
        let opened = index.begin();
        index.file.unlock()?;
        opened.map(|()| index)
    }

    /// What the job with this key made.
    pub fn get(&self, key: Key) -> Option<&Artifacts> {
        self.records.get(&key)
    }

    /// Adds a record. It is visible to other processes at once, and survives the end of this one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn insert(&mut self, key: Key, artifacts: Artifacts) -> io::Result<()> {
        let mut body = vec![b'R'];
        body.extend(key.0.0);
        for artifact in &artifacts {
            body.push(if artifact.kind == Kind::File { b'f' } else { b'd' });
            body.extend(artifact.hash.0);
            body.extend(artifact.size.to_le_bytes());
        }
        self.exclusively(|index| {
            if index.last_boot != Some(index.boot) {
                index.append(&[b"B", &index.boot.machine[..], &index.boot.boot].concat())?;
                index.last_boot = Some(index.boot);
            }
            index.append(&body)
        })?;
        self.records.insert(key, artifacts);
        self.added = self.read;
        Ok(())
    }

    /// Reads what other processes have added.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn refresh(&mut self) -> io::Result<()> {
        if self.file.metadata()?.len() > self.read {
            self.exclusively(|_| Ok(()))?;
        }
        Ok(())
    }

    /// The end of what has been written, if any of it is this process's and not synced yet: then sync the file system,
    /// and tell [`Index::synced`].
    pub fn unsynced_end(&self) -> Option<u64> {
        (self.added > self.synced).then_some(self.added)
    }

    /// Notes that everything before `end` is on disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn synced(&mut self, end: u64) -> io::Result<()> {
        let mut body = vec![b'S'];
        body.extend(end.to_le_bytes());
        self.exclusively(|index| index.append(&body))?;
        self.synced = end;
        Ok(())
    }

    fn append_removal(&mut self, key: Key) -> io::Result<()> {
        self.records.remove(&key);
        self.append(&[b"D", &key.0.0[..]].concat())
    }

    /// First reading: checks the magic, and forgets what a power loss may have left without objects.
    fn begin(&mut self) -> io::Result<()> {
        if self.file.metadata()?.len() < MAGIC.len() as u64 {
            self.file.set_len(0)?;
            self.file.write_all(MAGIC)?;
        }
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut bytes)?;
        if !bytes.starts_with(MAGIC) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not an index of format 1; was it written by a newer ribbon?",
            ));
        }
        let mut unsynced: Vec<(u64, Key, Option<Boot>)> = Vec::new();
        let mut boot = None;
        self.read = self.scan(&bytes, MAGIC.len(), |offset, entry| match entry {
            Entry::Record(key, _) => unsynced.push((offset, *key, boot)),
            Entry::Synced(end) => unsynced.retain(|(offset, ..)| offset >= end),
            Entry::Boot(now) => boot = Some(*now),
            Entry::Dropped(_) => {}
        });
        self.file.set_len(self.read)?;
        for (_, key, boot) in unsynced {
            if boot.is_some_and(|boot| boot.machine == self.boot.machine && boot.boot != self.boot.boot) {
                self.append_removal(key)?;
            }
        }
        Ok(())
    }

    /// Takes the lock, reads what is new, cuts off a torn end, and does something.
    fn exclusively<T>(&mut self, act: impl FnOnce(&mut Index) -> io::Result<T>) -> io::Result<T> {
        self.file.lock()?;
        let result = self.catch_up().and_then(|()| act(self));
        self.file.unlock()?;
        result
    }

    fn catch_up(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length < self.read {
            // Somebody replaced the file; what was read from the old one does not count.
            self.records.clear();
            self.last_boot = None;
            return self.begin();
        }
        if length > self.read {
            let mut bytes = Vec::new();
            self.file.seek(SeekFrom::Start(self.read))?;
            self.file.read_to_end(&mut bytes)?;
            let start = self.read;
            let whole = start + self.scan(&bytes, 0, |_, _| {});
            if whole < length {
                self.file.set_len(whole)?;
            }
            self.read = whole;
        }
        Ok(())
    }

    fn append(&mut self, body: &[u8]) -> io::Result<()> {
        let length = u16::try_from(body.len())
            .map_err(|_| io::Error::other("a job has more outputs than an index entry holds"))?;
        let mut entry = Vec::with_capacity(body.len() + 10);
        entry.extend(length.to_le_bytes());
        entry.extend(body);
        entry.extend(&Hash::of(body).0[..8]);
        self.file.write_all(&entry)?;
        self.read += entry.len() as u64;
        Ok(())
    }

    /// Reads whole entries from `at`, tells each with its offset, and returns where they end.
    fn scan(&mut self, bytes: &[u8], mut at: usize, mut told: impl FnMut(u64, &Entry)) -> u64 {
        while let Some((entry, length)) = next_entry(&bytes[at..]) {
            told(at as u64, &entry);
            match entry {
                Entry::Record(key, artifacts) => drop(self.records.insert(key, artifacts)),
                Entry::Dropped(key) => drop(self.records.remove(&key)),
                Entry::Boot(boot) => self.last_boot = Some(boot),
                Entry::Synced(_) => {}
            }
            at += length;
        }
        at as u64
    }
}

enum Entry {
    Record(Key, Artifacts),
    Dropped(Key),
    Boot(Boot),
    Synced(u64),
}

fn next_entry(bytes: &[u8]) -> Option<(Entry, usize)> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = u16::from_le_bytes(*length) as usize;
    let (body, rest) = rest.split_at_checked(length)?;
    if rest.get(..8)? != &Hash::of(body).0[..8] {
        return None;
    }
    let (tag, body) = body.split_first()?;
    let entry = match tag {
        b'R' => {
            let (key, artifacts) = body.split_first_chunk::<32>()?;
            let (artifacts, rest) = artifacts.as_chunks::<41>();
            if !rest.is_empty() {
                return None;
            }
            Entry::Record(Key(Hash(*key)), artifacts.iter().map(artifact).collect())
        }
        b'D' => Entry::Dropped(Key(Hash(body.try_into().ok()?))),
        b'B' => {
            let (machine, boot) = body.split_first_chunk::<8>()?;
            Entry::Boot(Boot { machine: *machine, boot: boot.try_into().ok()? })
        }
        b'S' => Entry::Synced(u64::from_le_bytes(body.try_into().ok()?)),
        _ => return None,
    };
    Some((entry, length + 10))
}

fn artifact(bytes: &[u8; 41]) -> Artifact {
    let kind = if bytes[0] == b'f' { Kind::File } else { Kind::Folder };
    let hash = Hash(bytes[1..33].try_into().expect("32 bytes"));
    Artifact { kind, hash, size: u64::from_le_bytes(bytes[33..].try_into().expect("8 bytes")) }
}

impl Boot {
    /// The one this process runs under; where the system does not say, every process counts as a machine of its own.
    fn current() -> Boot {
        let unknown = || format!("{:?}-{}", std::time::SystemTime::now(), std::process::id());
        let part = |path: &str| {
            let text = fs::read_to_string(path).unwrap_or_else(|_| unknown());
            Hash::of(text.trim().as_bytes()).0[..8].try_into().expect("eight bytes")
        };
        Boot { machine: part("/etc/machine-id"), boot: part("/proc/sys/kernel/random/boot_id") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        Key(Hash([n; 32]))
    }

    fn made(n: u8) -> Artifacts {
        vec![Artifact { kind: Kind::File, hash: Hash([n; 32]), size: n as u64 }]
    }

    #[test]
    fn a_record_is_seen_by_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut one = Index::open(&path).unwrap();
        let mut two = Index::open(&path).unwrap();
        one.insert(key(1), made(1)).unwrap();
        assert_eq!(two.get(key(1)), None);
        two.refresh().unwrap();
        assert_eq!(two.get(key(1)), Some(&made(1)));
        two.insert(key(2), made(2)).unwrap();
        one.insert(key(3), made(3)).unwrap();
        assert_eq!(one.get(key(2)), Some(&made(2)), "a writer reads before it writes");
        assert_eq!(Index::open(&path).unwrap().records.len(), 3);
    }

    #[test]
    fn a_torn_end_is_cut_off_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut index = Index::open(&path).unwrap();
        index.insert(key(1), made(1)).unwrap();
        let whole = fs::metadata(&path).unwrap().len();
        index.insert(key(2), made(2)).unwrap();
        drop(index);
        File::options().write(true).open(&path).unwrap().set_len(whole + 20).unwrap();
        let mut index = Index::open(&path).unwrap();
        assert_eq!((index.get(key(1)), index.get(key(2))), (Some(&made(1)), None));
        index.insert(key(3), made(3)).unwrap();
        assert_eq!(Index::open(&path).unwrap().get(key(3)), Some(&made(3)));
    }

    #[test]
    fn a_power_loss_takes_only_what_was_not_synced_and_written_by_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let boot = |machine, boot| Boot { machine: [machine; 8], boot: [boot; 8] };
        let mut index = Index::open_as(&path, boot(1, 1)).unwrap();
        index.insert(key(1), made(1)).unwrap();
        let end = index.unsynced_end().unwrap();
        index.insert(key(2), made(2)).unwrap();
        assert!(index.unsynced_end().is_some(), "until it is told");
        index.synced(end).unwrap();
        assert!(index.unsynced_end() > Some(end), "what came after");
        Index::open_as(&path, boot(2, 1)).unwrap().insert(key(3), made(3)).unwrap();
        drop(index);
        let keys = |boot| {
            let index = Index::open_as(&path, boot).unwrap();
            [1, 2, 3].map(|n| index.get(key(n)).is_some())
        };
        assert_eq!(keys(boot(1, 1)), [true, true, true], "a kill loses nothing");
        assert_eq!(keys(boot(1, 2)), [true, false, true], "another boot loses what was not synced");
        assert_eq!(keys(boot(1, 1)), [true, false, true], "and it stays dropped");
    }
}
