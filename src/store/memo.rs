//! The memo: hashes of files that have not changed since they were last read, by what `stat` says of them.
//!
//! Format 1 of the file: 8 bytes of magic, entries of 104 bytes (little-endian: device, inode, size, mtime seconds and
//! nanoseconds, ctime seconds and nanoseconds, 16 bytes of zeros, hash), then the hash of all before. A damaged memo is an empty memo.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

use super::access::Access;
use crate::hash::Hash;

const MAGIC: &[u8; 8] = b"ribmemo1";
const ENTRY: usize = 8 * 9 + 32;

/// Files above this size are read and hashed on all threads, in pieces of at most so many bytes.
const LARGE: u64 = 1 << 20;

/// Bytes that are read at once of a large file, and hashed while the processor has them near.
const READ: usize = 64 << 10;

/// How often a file is read whose ctime keeps changing.
const READINGS: usize = 100;

/// Untouched entries that are kept: files of other profiles and targets.
const UNTOUCHED: usize = 200_000;

/// What `stat` says of a file; while this is the same, so is the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            size: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether a later write could have left the same times: too close to now for the clock of the file system.
    fn is_racy(&self) -> bool {
        let (seconds, nanoseconds) = self.mtime.max(self.ctime);
        let tick = if nanoseconds == 0 { Duration::from_secs(2) } else { Duration::from_millis(20) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::new(seconds.max(0) as u64, nanoseconds.clamp(0, 999_999_999) as u32) + tick > now
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    stamp: Stamp,
    hash: Hash,
    touched: bool,
}

#[derive(Debug, Default)]
struct Entries {
    by_inode: HashMap<(u64, u64), Entry>,
    changed: bool,
}

/// Hashes of files, remembered from run to run. Shared by threads.
#[derive(Debug)]
pub struct Memo {
    path: PathBuf,
    entries: Mutex<Entries>,
    /// Whether the file was no memo, or not whole.
    was_damaged: bool,
    /// Never believe a stamp: hash at every use.
    paranoid: bool,
}

impl Memo {
    /// Reads the memo at `path`; none, or a damaged one, is empty.
    pub fn open(path: &Path, paranoid: bool) -> Memo {
        let read = fs::read(path).ok();
        let decoded = read.as_deref().and_then(decode);
        let was_damaged = read.is_some() && decoded.is_none();
        let entries = Entries { by_inode: decoded.unwrap_or_default(), changed: was_damaged };
        Memo { path: path.to_owned(), entries: Mutex::new(entries), was_damaged, paranoid }
    }

    /// Whether what the memo knew was lost, for its file was damaged. [`Memo::save`] writes a sound one.
    pub fn was_damaged(&self) -> bool {
        self.was_damaged
    }

    /// The hash of a regular file's content (links are followed).
    ///
    /// # Errors
    /// When it cannot be read, or changes while it is read.
    pub fn hash(&self, path: &Path) -> io::Result<Hash> {
        let before = fs::metadata(path)?;
        let inode = (before.dev(), before.ino());
        let stamp = Stamp::of(&before);
        if !self.paranoid {
            let mut entries = self.lock();
            if let Some(entry) = entries.by_inode.get_mut(&inode)
                && entry.stamp == stamp
            {
                entry.touched = true;
                return Ok(entry.hash);
            }
        }
        let mut stamp = stamp;
        for _ in 0..READINGS {
            // Before it is read: what is written meanwhile may leave the times as they are now.
            let is_racy = stamp.is_racy();
            let hash = hash_file(path, stamp.size)?;
            let after = fs::metadata(path)?;
            let now = Stamp::of(&after);
            if now == stamp && (after.dev(), after.ino()) == inode {
                if !is_racy {
                    self.insert(inode, stamp, hash);
                }
                return Ok(hash);
            }
            // Another run that links an object to a job changes its ctime, and no more; an edit changes more.
            if (now.size, now.mtime) != (stamp.size, stamp.mtime) || (after.dev(), after.ino()) != inode {
                break;
            }
            stamp = now;
        }
        Err(changed())
    }

    /// Does something to a file that changes its times but not its content (a link, a rename), and keeps its hash.
    ///
    /// `path` names the file before, `after` names it afterwards.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn keep<T>(
        &self,
        path: &Path,
        after: &Path,
        change: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut entries = self.lock();
        let known = fs::metadata(path).ok().and_then(|metadata| {
            let entry = entries.by_inode.get(&(metadata.dev(), metadata.ino()))?;
            (entry.stamp == Stamp::of(&metadata)).then_some(*entry)
        });
        let value = change()?;
        // An edit in between would have left another time: those that are remembered lie long enough back.
        if let Some(Entry { stamp, hash, .. }) = known
            && let Ok(metadata) = fs::metadata(after)
            && (metadata.size(), (metadata.mtime(), metadata.mtime_nsec())) == (stamp.size, stamp.mtime)
        {
            let entry = Entry { stamp: Stamp::of(&metadata), hash, touched: true };
            entries.by_inode.insert((metadata.dev(), metadata.ino()), entry);
            entries.changed = true;
        }
        Ok(value)
    }

    /// Notes the hash of a file that this process has just made and nobody else can write.
    pub fn note(&self, path: &Path, hash: Hash) {
        if let Ok(metadata) = fs::metadata(path) {
            self.insert((metadata.dev(), metadata.ino()), Stamp::of(&metadata), hash);
        }
    }

    /// Writes the memo, if it changed.
    ///
    /// # Errors
    /// When it cannot be written; the old one then stays.
    pub fn save(&self) -> io::Result<()> {
        let mut entries = self.lock();
        if !entries.changed {
            return Ok(());
        }
        if entries.by_inode.len() > UNTOUCHED + 2 * entries.by_inode.values().filter(|e| e.touched).count() {
            entries.by_inode.retain(|_, entry| entry.touched);
        }
        Access::default().write_whole(&self.path, &encode(&entries.by_inode))?;
        entries.changed = false;
        Ok(())
    }

    fn insert(&self, inode: (u64, u64), stamp: Stamp, hash: Hash) {
        let mut entries = self.lock();
        entries.by_inode.insert(inode, Entry { stamp, hash, touched: true });
        entries.changed = true;
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // A panic elsewhere leaves whole entries: each insertion is one step.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes a file of so many bytes; large ones on all threads.
///
/// Not through a memory map: where a file is cut short meanwhile or a disk fails, that ends the process by a signal.
pub(crate) fn hash_file(path: &Path, size: u64) -> io::Result<Hash> {
    let file = File::open(path)?;
    if size <= LARGE {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file)?;
        return Ok(hasher.finalize().into());
    }
    let (left, right) = halves(&file, 0, size)?;
    Ok(merge_subtrees_root(&left, &right, Mode::Hash).into())
}

/// Both sides of blake3's tree over a piece of a file.
fn halves(file: &File, at: u64, length: u64) -> io::Result<(ChainingValue, ChainingValue)> {
    let left = left_subtree_len(length);
    let (left, right) =
        rayon::join(|| hash_piece(file, at, left), || hash_piece(file, at + left, length - left));
    Ok((left?, right?))
}

fn hash_piece(file: &File, mut at: u64, length: u64) -> io::Result<ChainingValue> {
    if length > LARGE {
        let (left, right) = halves(file, at, length)?;
        return Ok(merge_subtrees_non_root(&left, &right, Mode::Hash));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(at);
    let (mut read, end) = ([0; READ], at + length);
    while at < end {
        let part = &mut read[..READ.min((end - at) as usize)];
        file.read_exact_at(part, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => changed(),
            _ => error,
        })?;
        hasher.update(part);
        at += part.len() as u64;
    }
    Ok(hasher.finalize_non_root())
}

fn changed() -> io::Error {
    io::Error::other("the file changed while it was read")
}

fn encode(entries: &HashMap<(u64, u64), Entry>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + entries.len() * ENTRY + 32);
    bytes.extend(MAGIC);
    for ((device, inode), Entry { stamp, hash, .. }) in entries {
        for word in [*device, *inode, stamp.size] {
            bytes.extend(word.to_le_bytes());
        }
        for word in [stamp.mtime.0, stamp.mtime.1, stamp.ctime.0, stamp.ctime.1] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([0; 16]);
        bytes.extend(hash.0);
    }
    bytes.extend(Hash::of(&bytes).0);
    bytes
}

fn decode(bytes: &[u8]) -> Option<HashMap<(u64, u64), Entry>> {
    let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Hash::of(body).0 != sum {
        return None;
    }
    let (entries, rest) = body.strip_prefix(MAGIC)?.as_chunks::<ENTRY>();
    if !rest.is_empty() {
        return None;
    }
    let word = |entry: &[u8; ENTRY], i: usize| {
        u64::from_le_bytes(entry[i * 8..i * 8 + 8].try_into().expect("eight bytes"))
    };
    Some(
        entries
            .iter()
            .map(|entry| {
                let time = |i| (word(entry, i) as i64, word(entry, i + 1) as i64);
                let stamp = Stamp { size: word(entry, 2), mtime: time(3), ctime: time(5) };
                let hash = Hash(entry[ENTRY - 32..].try_into().expect("32 bytes"));
                ((word(entry, 0), word(entry, 1)), Entry { stamp, hash, touched: false })
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A file whose times lie far enough back to be believed.
    fn settled(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        let past = SystemTime::now() - Duration::from_secs(60);
        File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
        std::thread::sleep(Duration::from_millis(30));
    }

    #[test]
    fn an_unchanged_file_is_not_read_again_even_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let (file, memo) = (folder.path().join("a"), folder.path().join("memo"));
        settled(&file, "one");
        let first = Memo::open(&memo, false);
        assert_eq!(first.hash(&file).unwrap(), Hash::of(b"one"));
        first.save().unwrap();
        let second = Memo::open(&memo, false);
        assert_eq!(second.lock().by_inode.len(), 1);
        assert_eq!(second.hash(&file).unwrap(), Hash::of(b"one"));
        assert!(!second.lock().changed, "served from the memo");
    }

    #[test]
    fn a_file_that_was_touched_is_read_once_more_and_then_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        settled(&file, "one");
        let memo = Memo::open(&folder.path().join("memo"), false);
        memo.hash(&file).unwrap();
        settled(&file, "one");
        memo.lock().changed = false;
        assert_eq!(memo.hash(&file).unwrap(), Hash::of(b"one"));
        assert!(std::mem::take(&mut memo.lock().changed), "read, and noted with its new times");
        assert_eq!(memo.hash(&file).unwrap(), Hash::of(b"one"));
        assert!(!memo.lock().changed, "served from the memo");
    }

    #[test]
    fn a_damaged_memo_is_told_and_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (file, path) = (folder.path().join("a"), folder.path().join("memo"));
        settled(&file, "one");
        let memo = Memo::open(&path, false);
        memo.hash(&file).unwrap();
        memo.save().unwrap();
        assert!(!memo.was_damaged() && !Memo::open(&path, false).was_damaged());
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 1;
        fs::write(&path, bytes).unwrap();
        let damaged = Memo::open(&path, false);
        assert!(damaged.was_damaged() && damaged.lock().by_inode.is_empty());
        damaged.save().unwrap();
        assert!(!Memo::open(&path, false).was_damaged());
    }

    #[test]
    fn equal_size_and_mtime_do_not_hide_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        settled(&file, "one");
        let memo = Memo::open(&folder.path().join("memo"), false);
        memo.hash(&file).unwrap();
        let mtime = fs::metadata(&file).unwrap().modified().unwrap();
        let mut open = File::options().write(true).open(&file).unwrap();
        open.write_all(b"two").unwrap();
        open.set_modified(mtime).unwrap();
        assert_eq!(memo.hash(&file).unwrap(), Hash::of(b"two"));
    }

    #[test]
    fn a_file_just_written_is_hashed_but_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "one").unwrap();
        let memo = Memo::open(&folder.path().join("memo"), false);
        assert_eq!(memo.hash(&file).unwrap(), Hash::of(b"one"));
        assert!(memo.lock().by_inode.is_empty());
    }

    #[test]
    fn a_clock_of_whole_seconds_takes_two_of_them_to_tell_a_later_write() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let written = |ago: u64, nanoseconds: i64| {
            let time = (now.as_secs() as i64 - ago as i64, nanoseconds);
            Stamp { size: 1, mtime: time, ctime: time }.is_racy()
        };
        assert!(written(1, 0), "it may count whole seconds only");
        assert!(!written(1, 1) || now.subsec_nanos() < 20_000_000);
        assert!(!written(4, 0));
    }

    #[test]
    fn a_paranoid_memo_reads_what_it_could_have_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let (file, path) = (folder.path().join("a"), folder.path().join("memo"));
        settled(&file, "one");
        let metadata = fs::metadata(&file).unwrap();
        let wrong = Entry { stamp: Stamp::of(&metadata), hash: Hash([7; 32]), touched: true };
        for (paranoid, expected) in [(false, wrong.hash), (true, Hash::of(b"one"))] {
            let memo = Memo::open(&path, paranoid);
            memo.lock().by_inode.insert((metadata.dev(), metadata.ino()), wrong);
            assert_eq!(memo.hash(&file).unwrap(), expected);
        }
    }

    #[test]
    fn a_link_made_through_the_memo_costs_no_rehash() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("b"));
        settled(&file, "one");
        let memo = Memo::open(&folder.path().join("memo"), true);
        memo.hash(&file).unwrap();
        memo.keep(&file, &file, || fs::hard_link(&file, &link)).unwrap();
        let metadata = fs::metadata(&link).unwrap();
        let entry = memo.lock().by_inode[&(metadata.dev(), metadata.ino())];
        assert_eq!((entry.stamp, entry.hash), (Stamp::of(&metadata), Hash::of(b"one")));
    }

    #[test]
    fn an_edit_during_a_link_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("b"));
        settled(&file, "one");
        let memo = Memo::open(&folder.path().join("memo"), false);
        memo.hash(&file).unwrap();
        let edit_and_link = || fs::write(&file, "two").and_then(|()| fs::hard_link(&file, &link));
        memo.keep(&file, &file, edit_and_link).unwrap();
        assert_eq!(memo.hash(&file).unwrap(), Hash::of(b"two"));
    }

    #[test]
    fn links_that_come_and_go_do_not_make_a_file_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("b"));
        settled(&file, "one");
        let memo = Memo::open(&folder.path().join("memo"), true);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    fs::hard_link(&file, &link).and_then(|()| fs::remove_file(&link)).unwrap();
                    std::thread::sleep(Duration::from_micros(200));
                }
            });
            let hashes: Vec<_> = (0..2000).map(|_| memo.hash(&file)).collect();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(hashes.into_iter().all(|hash| hash.is_ok_and(|hash| hash == Hash::of(b"one"))));
        });
    }

    #[test]
    fn a_large_file_has_the_hash_of_its_bytes_however_long_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        let large = LARGE as usize;
        let bytes: Vec<u8> = (0..4 * large as u32 + 9).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        for length in [large, large + 1, 2 * large - 1, 2 * large, 2 * large + 1, 3 * large, bytes.len()] {
            fs::write(&file, &bytes[..length]).unwrap();
            assert_eq!(hash_file(&file, length as u64).unwrap(), Hash::of(&bytes[..length]), "{length}");
        }
    }

    #[test]
    fn a_large_file_that_is_cut_short_while_it_is_read_is_an_error_and_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let memo = Memo::open(&folder.path().join("memo"), false);
        let (whole, begun) = (64 << 20, std::time::Instant::now());
        let file = File::create(&path).unwrap();
        file.set_len(whole).unwrap();
        std::thread::scope(|scope| {
            let hashing = scope.spawn(|| {
                while memo.hash(&path).is_ok() {
                    assert!(begun.elapsed() < Duration::from_secs(60), "it is never seen to be cut");
                }
            });
            while !hashing.is_finished() {
                for length in [5, whole] {
                    file.set_len(length).unwrap();
                    std::thread::sleep(Duration::from_millis(9));
                }
            }
        });
    }
}
