//! The index: which key made which artifacts, one append-only file that all runs over a store share.
//!
//! 8 bytes of magic, then entries (entry.rs). A process that is killed leaves at most a torn entry at the end, which the
//! next one cuts off; a damaged entry elsewhere is passed over, and so is damaged magic before sound entries. After a power
//! loss (another boot of the same machine), records that were not yet synced are dropped. So a record needs no `fsync`.
//!
//! A collection writes the file anew and renames it into place. So whoever takes the lock looks whether the file it has
//! locked still is the one that has the name.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::access::Access;
use super::entry::{Boot, Entry, LONGEST};
use crate::hash::{Hash, Key};
use crate::pipeline::Kind;

const MAGIC: &[u8; 8] = b"ribindx1";

/// An artifact: content by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    path: PathBuf,
    access: Access,
    file: File,
    /// Whether this process may write to it.
    writable: bool,
    boot: Boot,
    records: HashMap<Key, Artifacts>,
    /// Who made what. None until somebody asks.
    makers: Option<Makers>,
    /// Up to where the file has been read: the end of a whole entry.
    read: u64,
    /// The boot of the entries at `read`.
    last_boot: Option<Boot>,
    /// Bytes passed over because they are no entry.
    damaged: u64,
    /// How often the file was replaced by another: offsets are of one file only.
    file_number: u64,
    /// Where the last record that this process has added to this file ends.
    added: u64,
    /// Before where this process has told that all is synced.
    synced: u64,
}

/// Who made which objects, kept up as records come.
#[derive(Debug)]
struct Makers {
    /// Also keys that have other artifacts by now, or no record.
    by_object: HashMap<Hash, BTreeSet<Key>>,
    /// Keys that are not in it yet.
    new: Vec<Key>,
}

/// A place in the index that everything before is going to be synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub struct Mark {
    file_number: u64,
    end: u64,
}

impl Index {
    /// Opens the index at `path`, makes it when there is none, and reads it. One that may only be read is.
    ///
    /// # Errors
    /// When it cannot be read, or is of another format.
    pub fn open(path: &Path, access: Access) -> io::Result<Index> {
        Index::open_as(path, access, Boot::current())
    }

    fn open_as(path: &Path, access: Access, boot: Boot) -> io::Result<Index> {
        let (file, writable) = open_file(path, access)?;
        let mut index = Index {
            path: path.to_owned(),
            access,
            file,
            writable,
            boot,
            records: HashMap::new(),
            makers: None,
            read: 0,
            last_boot: None,
            damaged: 0,
            file_number: 0,
            added: 0,
            synced: 0,
        };
        index.locked(|_| Ok(()))?;
        Ok(index)
    }

    /// What the job with this key made.
    pub fn get(&self, key: Key) -> Option<&Artifacts> {
        self.records.get(&key)
    }

    /// All records, in no order.
    pub fn records(&self) -> &HashMap<Key, Artifacts> {
        &self.records
    }

    /// Whether this process may write to it.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Bytes of the file that are no entry, and were passed over.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// The keys that made an artifact of which this object is a part; `parts` tells the objects of an artifact.
    pub fn makers(&mut self, object: Hash, parts: impl Fn(&Artifact) -> Vec<Hash>) -> Vec<Key> {
        let records = &self.records;
        let all = || Makers { by_object: HashMap::new(), new: records.keys().copied().collect() };
        let makers = self.makers.get_or_insert_with(all);
        for key in makers.new.drain(..) {
            for part in records.get(&key).into_iter().flatten().flat_map(&parts) {
                makers.by_object.entry(part).or_default().insert(key);
            }
        }
        let makes =
            |key: &Key| records.get(key).into_iter().flatten().flat_map(&parts).any(|it| it == object);
        makers.by_object.get(&object).into_iter().flatten().copied().filter(makes).collect()
    }

    /// Adds a record. It is visible to other processes at once, and survives the end of this one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn insert(&mut self, key: Key, artifacts: Artifacts) -> io::Result<()> {
        self.locked(|index| {
            if index.last_boot != Some(index.boot) {
                index.append(&Entry::Boot(index.boot))?;
                index.last_boot = Some(index.boot);
            }
            index.append(&Entry::Record(key, artifacts.clone()))?;
            // Only here: what came between may have been a new file, and with it new maps.
            index.keep(key, artifacts);
            index.added = index.read;
            Ok(())
        })
    }

    /// Reads what other processes have added.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn refresh(&mut self) -> io::Result<()> {
        if self.is_replaced()? || self.file.metadata()?.len() != self.read {
            self.locked(|_| Ok(()))?;
        }
        Ok(())
    }

    /// The end of what has been written, if any of it is this process's and not synced yet: then sync the file system,
    /// and tell [`Index::synced`].
    pub fn unsynced_end(&self) -> Option<Mark> {
        let mark = Mark { file_number: self.file_number, end: self.added };
        (self.added > self.synced).then_some(mark)
    }

    /// Notes that everything before `mark` is on disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn synced(&mut self, mark: Mark) -> io::Result<()> {
        self.locked(|index| {
            // A new file was synced before it got its place.
            if mark.file_number == index.file_number {
                index.append(&Entry::Synced(mark.end))?;
                index.synced = mark.end;
            }
            Ok(())
        })
    }

    /// Writes the file anew with only those records that are to be kept, and brings it to the disk.
    ///
    /// # Errors
    /// When it cannot be written; the old one then stays.
    pub fn rewrite(&mut self, is_kept: impl Fn(Key) -> bool) -> io::Result<()> {
        self.locked(|index| {
            // Objects before the records that will count as synced from now on.
            nix::unistd::syncfs(&index.file)?;
            let mut kept: Vec<_> = index.records.iter().filter(|(key, _)| is_kept(**key)).collect();
            kept.sort_by_key(|(key, _)| **key);
            let mut bytes = MAGIC.to_vec();
            for (key, artifacts) in kept {
                bytes.extend(Entry::Record(*key, artifacts.clone()).bytes()?);
            }
            let path = super::beside(&index.path);
            let mut options = OpenOptions::new();
            let written = index
                .access
                .open(&path, options.write(true).truncate(true))
                .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
                .and_then(|()| fs::rename(&path, &index.path));
            written.inspect_err(|_| drop(fs::remove_file(&path)))
        })?;
        self.locked(|_| Ok(()))
    }

    /// Takes the lock of the file that has the name, reads what is new, and does something.
    fn locked<T>(&mut self, act: impl FnOnce(&mut Index) -> io::Result<T>) -> io::Result<T> {
        loop {
            if self.writable { self.file.lock() } else { self.file.lock_shared() }?;
            if !self.is_replaced()? {
                break;
            }
            // Closing the old file gives its lock back.
            (self.file, self.writable) = open_file(&self.path, self.access)?;
            self.forget();
        }
        let result = self.catch_up().and_then(|()| act(self));
        self.file.unlock()?;
        result
    }

    fn is_replaced(&self) -> io::Result<bool> {
        let (ours, named) = (self.file.metadata()?, fs::metadata(&self.path)?);
        Ok((ours.dev(), ours.ino()) != (named.dev(), named.ino()))
    }

    /// What was read is of a file that is no more.
    fn forget(&mut self) {
        self.records.clear();
        self.makers = None;
        self.last_boot = None;
        (self.read, self.damaged, self.added, self.synced) = (0, 0, 0, 0);
        self.file_number += 1;
    }

    fn catch_up(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length < self.read {
            self.forget();
        }
        if self.read == 0 {
            return self.begin();
        }
        if length > self.read {
            let mut bytes = Vec::new();
            self.file.seek(SeekFrom::Start(self.read))?;
            self.file.read_to_end(&mut bytes)?;
            let whole = self.read + self.scan(&bytes, 0, |_, _| {}) as u64;
            self.cut(whole)?;
        }
        Ok(())
    }

    /// First reading: checks whether it is an index, and forgets what a power loss may have left without objects.
    fn begin(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut bytes)?;
        if bytes.len() < MAGIC.len() {
            self.cut(0)?;
            if self.writable {
                self.file.write_all(MAGIC)?;
            }
            bytes = MAGIC.to_vec();
        }
        let mut unsynced: Vec<(u64, Key, Option<Boot>)> = Vec::new();
        let mut boot = None;
        let mut is_empty = true;
        let whole = self.scan(&bytes, MAGIC.len(), |offset, entry| {
            is_empty = false;
            match entry {
                Entry::Record(key, _) => unsynced.push((offset, *key, boot)),
                Entry::Synced(end) => unsynced.retain(|(offset, ..)| offset >= end),
                Entry::Boot(now) => boot = Some(*now),
                Entry::Dropped(_) => {}
            }
        });
        if !bytes.starts_with(MAGIC) {
            // A single entry shows that it is this format, and only the magic is damaged.
            if is_empty {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "not an index of format 1; if no newer ribbon wrote it, it is damaged: remove it, and \
                     `ribbon verify` writes another from the records",
                ));
            }
            self.damaged += MAGIC.len() as u64;
        }
        self.cut(whole as u64)?;
        for (_, key, boot) in unsynced {
            if boot.is_some_and(|boot| boot.machine == self.boot.machine && boot.boot != self.boot.boot) {
                self.records.remove(&key);
                if self.writable {
                    self.append(&Entry::Dropped(key))?;
                }
            }
        }
        Ok(())
    }

    /// What comes after is the torn end of a killed process: everybody else writes under the lock.
    fn cut(&mut self, whole: u64) -> io::Result<()> {
        if self.writable && self.file.metadata()?.len() > whole {
            self.file.set_len(whole)?;
        }
        self.read = whole;
        Ok(())
    }

    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let bytes = entry.bytes()?;
        self.file.write_all(&bytes)?;
        self.read += bytes.len() as u64;
        Ok(())
    }

    /// Reads entries from `at`, tells each with its offset, and returns where the last whole one ends.
    fn scan(&mut self, bytes: &[u8], mut at: usize, mut told: impl FnMut(u64, &Entry)) -> usize {
        loop {
            let Some((entry, length)) = Entry::read(&bytes[at..]) else {
                // A damaged entry: the next one is not far.
                let near = at + 1..bytes.len().min(at + 1 + LONGEST);
                let Some(next) = near.into_iter().find(|next| Entry::read(&bytes[*next..]).is_some()) else {
                    return at;
                };
                self.damaged += (next - at) as u64;
                at = next;
                continue;
            };
            told(at as u64, &entry);
            match entry {
                Entry::Record(key, artifacts) => self.keep(key, artifacts),
                Entry::Dropped(key) => drop(self.records.remove(&key)),
                Entry::Boot(boot) => self.last_boot = Some(boot),
                Entry::Synced(_) => {}
            }
            at += length;
        }
    }

    fn keep(&mut self, key: Key, artifacts: Artifacts) {
        if let Some(makers) = &mut self.makers {
            makers.new.push(key);
        }
        self.records.insert(key, artifacts);
    }
}

/// Opens the file for reading and appending; only for reading, when that is all this process may.
fn open_file(path: &Path, access: Access) -> io::Result<(File, bool)> {
    match access.open(path, OpenOptions::new().read(true).append(true)) {
        Ok(file) => Ok((file, true)),
        Err(error) if super::is_refused(&error) => {
            File::open(path).map(|file| (file, false)).map_err(|_| error)
        }
        Err(error) => Err(error),
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

    fn parts(artifact: &Artifact) -> Vec<Hash> {
        vec![artifact.hash]
    }

    #[test]
    fn a_record_is_seen_by_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut one = Index::open(&path, Access::default()).unwrap();
        let mut two = Index::open(&path, Access::default()).unwrap();
        one.insert(key(1), made(1)).unwrap();
        assert_eq!(two.get(key(1)), None);
        two.refresh().unwrap();
        assert_eq!(two.get(key(1)), Some(&made(1)));
        two.insert(key(2), made(2)).unwrap();
        one.insert(key(3), made(3)).unwrap();
        assert_eq!(one.get(key(2)), Some(&made(2)), "a writer reads before it writes");
        assert_eq!(Index::open(&path, Access::default()).unwrap().records.len(), 3);
    }

    #[test]
    fn a_torn_end_is_cut_off_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut index = Index::open(&path, Access::default()).unwrap();
        index.insert(key(1), made(1)).unwrap();
        let whole = fs::metadata(&path).unwrap().len();
        index.insert(key(2), made(2)).unwrap();
        drop(index);
        File::options().write(true).open(&path).unwrap().set_len(whole + 20).unwrap();
        let mut index = Index::open(&path, Access::default()).unwrap();
        assert_eq!((index.get(key(1)), index.get(key(2))), (Some(&made(1)), None));
        index.insert(key(3), made(3)).unwrap();
        assert_eq!(Index::open(&path, Access::default()).unwrap().get(key(3)), Some(&made(3)));
    }

    #[test]
    fn a_power_loss_takes_only_what_was_not_synced_and_written_by_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let boot = |machine, boot| Boot { machine: [machine; 8], boot: [boot; 8] };
        let mut index = Index::open_as(&path, Access::default(), boot(1, 1)).unwrap();
        index.insert(key(1), made(1)).unwrap();
        let end = index.unsynced_end().unwrap();
        index.insert(key(2), made(2)).unwrap();
        assert!(index.unsynced_end().is_some(), "until it is told");
        index.synced(end).unwrap();
        assert!(index.unsynced_end() > Some(end), "what came after");
        Index::open_as(&path, Access::default(), boot(2, 1)).unwrap().insert(key(3), made(3)).unwrap();
        drop(index);
        let keys = |boot| {
            let index = Index::open_as(&path, Access::default(), boot).unwrap();
            [1, 2, 3].map(|n| index.get(key(n)).is_some())
        };
        assert_eq!(keys(boot(1, 1)), [true, true, true], "a kill loses nothing");
        assert_eq!(keys(boot(1, 2)), [true, false, true], "another boot loses what was not synced");
        assert_eq!(keys(boot(1, 1)), [true, false, true], "and it stays dropped");
    }

    #[test]
    fn a_damaged_entry_is_passed_over_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut index = Index::open(&path, Access::default()).unwrap();
        let mut ends = Vec::new();
        for n in 1..=4 {
            index.insert(key(n), made(n)).unwrap();
            ends.push(fs::metadata(&path).unwrap().len() as usize);
        }
        let good = fs::read(&path).unwrap();
        for place in ends[0]..ends[1] {
            let mut bytes = good.clone();
            bytes[place] ^= 4;
            fs::write(&path, bytes).unwrap();
            let mut index = Index::open(&path, Access::default()).unwrap();
            let known = [1, 2, 3, 4].map(|n| index.get(key(n)).is_some());
            assert_eq!(known, [true, false, true, true], "byte {place}");
            assert_eq!(index.damaged(), (ends[1] - ends[0]) as u64);
            index.rewrite(|_| true).unwrap();
            assert_eq!(index.damaged(), 0);
        }
        for place in 0..8 {
            let mut bytes = good.clone();
            bytes[place] ^= 4;
            fs::write(&path, bytes).unwrap();
            let index = Index::open(&path, Access::default()).unwrap();
            assert_eq!((index.records().len(), index.damaged()), (4, 8), "byte {place}");
        }
    }

    #[test]
    fn a_file_of_another_format_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let bytes = [b"ribindx2", &[7; 400][..]].concat();
        fs::write(&path, &bytes).unwrap();
        let error = Index::open(&path, Access::default()).unwrap_err().to_string();
        assert!(error.contains("not an index of format 1"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn a_new_file_is_noticed_by_those_who_read_and_those_who_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let open = || Index::open(&path, Access::default()).unwrap();
        let (mut reader, mut writer) = (open(), open());
        writer.insert(key(1), made(1)).unwrap();
        writer.insert(key(2), made(2)).unwrap();
        reader.refresh().unwrap();
        let before = writer.unsynced_end().unwrap();
        let mut collector = open();
        assert_eq!(collector.makers(Hash([1; 32]), parts), [key(1)]);
        collector.rewrite(|other| other == key(2)).unwrap();
        assert!(collector.makers(Hash([1; 32]), parts).is_empty());
        reader.refresh().unwrap();
        assert_eq!((reader.get(key(1)), reader.get(key(2))), (None, Some(&made(2))));
        writer.insert(key(3), made(3)).unwrap();
        assert_eq!(writer.get(key(1)), None);
        writer.synced(before).unwrap();
        assert!(writer.unsynced_end().is_some(), "a mark of the old file says nothing of the new one");
        reader.refresh().unwrap();
        assert_eq!(reader.get(key(3)), Some(&made(3)));
        assert_eq!(open().records().len(), 2);
    }

    #[test]
    fn makers_are_those_that_the_index_has_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut index = Index::open(&path, Access::default()).unwrap();
        index.insert(key(1), made(7)).unwrap();
        assert_eq!(index.makers(Hash([7; 32]), parts), [key(1)]);
        index.insert(key(2), made(7)).unwrap();
        index.insert(key(1), made(8)).unwrap();
        assert_eq!(index.makers(Hash([7; 32]), parts), [key(2)]);
    }
}
