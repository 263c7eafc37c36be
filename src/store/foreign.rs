//! Content that comes from elsewhere: it enters under the hash it was announced with, or not at all.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::index::Artifact;
use super::memo::{Memo, hash_file};
use super::object::{Objects, io_error, listing, parse_listing, read_only};
use super::{ObjectError, Store, StoreError};
use crate::hash::Hash;
use crate::pipeline::Kind;

/// A part of an artifact: the hash and size of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The object.
    pub hash: Hash,
    /// Its bytes.
    pub size: u64,
}

impl Store {
    /// Whether an object is here and, as far as the memo knows, unharmed.
    pub fn has(&self, hash: Hash, memo: &Memo) -> bool {
        self.objects.is_intact(hash, memo)
    }

    /// Where an object is, if it is here.
    pub fn object_path(&self, hash: Hash) -> PathBuf {
        self.objects.path(hash)
    }

    /// The objects that an artifact is made of: of a folder, its listing and then its files. None when the listing is
    /// not here.
    pub fn parts(&self, artifact: &Artifact) -> Option<Vec<Part>> {
        if artifact.kind == Kind::File {
            return Some(vec![Part { hash: artifact.hash, size: artifact.size }]);
        }
        let size = fs::metadata(self.objects.path(artifact.hash)).ok()?.len();
        let members = self.objects.members(artifact.hash).ok()?;
        let listing = Part { hash: artifact.hash, size };
        let files = members.iter().map(|member| Part { hash: member.hash, size: member.size });
        Some(std::iter::once(listing).chain(files).collect())
    }

    /// Moves a file into the store if it is what it should be; if not, it is removed. Whether it was.
    ///
    /// # Errors
    /// When it cannot be read or moved.
    pub fn adopt(&self, hash: Hash, path: &Path, memo: &Memo) -> Result<bool, StoreError> {
        let size = fs::metadata(path).map_err(io_error(path))?.len();
        if hash_file(path, size).map_err(io_error(path))? != hash {
            fs::remove_file(path).map_err(io_error(path))?;
            return Ok(false);
        }
        Ok(self.objects.place(hash, path, memo).map(|()| true)?)
    }

    /// The same for a few bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn adopt_bytes(&self, hash: Hash, bytes: &[u8], memo: &Memo) -> Result<bool, StoreError> {
        if Hash::of(bytes) != hash {
            return Ok(false);
        }
        let path = super::beside(&self.objects.path(hash));
        let written = self.access.make_parent(&path).and_then(|()| fs::write(&path, bytes));
        if written.is_err() {
            let _ = fs::remove_file(&path);
        }
        written.map_err(io_error(&path))?;
        Ok(self.objects.place(hash, &path, memo).map(|()| true)?)
    }

    /// Whether a folder's listing, which came from elsewhere, names files inside the folder, each once, of the size
    /// that was announced. One that does not is what its hash says all the same, perhaps somebody's file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_right_listing(&self, artifact: &Artifact) -> Result<bool, StoreError> {
        let path = self.objects.path(artifact.hash);
        let bytes = fs::read(&path).map_err(super::io_error("read", &path))?;
        Ok(str::from_utf8(&bytes).is_ok_and(|text| is_listing_of(text, artifact.size)))
    }
}

impl Objects {
    /// Takes a checked file in, read-only.
    fn place(&self, hash: Hash, path: &Path, memo: &Memo) -> Result<(), ObjectError> {
        let object = self.path(hash);
        let placed = || -> io::Result<()> {
            read_only(path)?;
            self.access.make_parent(&object)?;
            fs::rename(path, &object)
        };
        placed().map_err(io_error(&object))?;
        memo.note(&object, hash);
        Ok(())
    }
}

fn is_listing_of(text: &str, size: u64) -> bool {
    let Some(members) = parse_listing(text) else { return false };
    let names: BTreeSet<&str> = members.iter().map(|member| member.path.as_str()).collect();
    let is_sorted = members.windows(2).all(|pair| pair[0].path < pair[1].path);
    let is_below_a_file = |name: &&str| {
        let slashes = name.match_indices('/').map(|(at, _)| at);
        slashes.into_iter().any(|at| names.contains(&name[..at]))
    };
    let total = members.iter().try_fold(0u64, |sum, member| sum.checked_add(member.size));
    total == Some(size)
        && is_sorted
        && !names.iter().any(is_below_a_file)
        && !text.contains('\0')
        // What can be written in other ways (`a/./b`, `007`) would be two folders that hold the same.
        && members.iter().all(|member| is_plain(&member.path))
        && listing(members.iter()) == text
}

/// Whether a path has no `.` and no doubled slash.
fn is_plain(path: &str) -> bool {
    Path::new(path).components().collect::<PathBuf>().as_os_str() == path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store, Memo) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let memo = Memo::open(&folder.path().join("memo"), false);
        (folder, store, memo)
    }

    #[test]
    fn content_enters_under_its_own_hash_only() {
        let (folder, store, memo) = store();
        let path = folder.path().join("came");
        fs::write(&path, "figure").unwrap();
        assert!(!store.adopt(Hash::of(b"other"), &path, &memo).unwrap());
        assert!(!path.exists());
        fs::write(&path, "figure").unwrap();
        assert!(store.adopt(Hash::of(b"figure"), &path, &memo).unwrap());
        assert!(store.has(Hash::of(b"figure"), &memo) && !store.has(Hash::of(b"other"), &memo));
        assert!(!store.adopt_bytes(Hash::of(b"other"), b"table", &memo).unwrap());
        assert!(store.adopt_bytes(Hash::of(b"table"), b"table", &memo).unwrap());
        assert!(fs::metadata(store.objects.path(Hash::of(b"table"))).unwrap().permissions().readonly());
    }

    #[test]
    fn what_is_taken_for_a_listing_and_is_none_stays() {
        let (_folder, store, memo) = store();
        let hash = Hash::of(b"weights");
        store.adopt_bytes(hash, b"weights", &memo).unwrap();
        assert!(!store.is_right_listing(&Artifact { kind: Kind::Folder, hash, size: 7 }).unwrap());
        assert!(store.has(hash, &memo));
    }

    #[test]
    fn listings_that_could_write_elsewhere_or_twice_are_refused() {
        let line = |path: &str| format!("{} 1 {path}\n", Hash::of(b"x"));
        let text = |paths: &[&str]| {
            format!("ribbon folder 1\n{}", paths.iter().map(|path| line(path)).collect::<String>())
        };
        assert!(is_listing_of(&text(&["a", "b/c"]), 2));
        assert!(is_listing_of(&text(&[]), 0));
        for paths in [
            &["../a", "b"],
            &["/a", "b"],
            &["a", "a"],
            &["b", "a"],
            &["a", "a/b"],
            &["a/./b", "c"],
            &["a//b", "c"],
            &["a\0", "b"],
        ] {
            assert!(!is_listing_of(&text(paths), 2), "{paths:?}");
        }
        assert!(!is_listing_of(&text(&["a", "b"]), 3), "another size than announced");
        assert!(!is_listing_of(&format!("{} {} a\n", text(&[]), u64::MAX), 0));
    }
}
