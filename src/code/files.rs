//! Files as code reads them: hashes that a memo may serve, analyses that are remembered, paths in one form.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::Error;
use super::rust::Source;
use crate::hash::Hash;
use crate::seal::{seal, unseal};

/// Starts the file of remembered analyses; a change of [`Source`] or of how it comes to be needs another number.
const FORMAT: u32 = 2;

/// Gives a file's content hash; a memo by `stat` does so without reading it.
type RawHash<'a> = dyn Fn(&Path) -> io::Result<Hash> + 'a;

/// Hashes and analyses of files. An analysis is remembered by the content's hash, so unchanged files are not parsed.
pub struct Files<'a> {
    raw: Box<RawHash<'a>>,
    known: BTreeMap<Hash, Source>,
    used: BTreeMap<Hash, Source>,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    format: u32,
    sources: BTreeMap<Hash, Source>,
}

impl<'a> Files<'a> {
    /// Reads the analyses remembered at `cache`; none, or a damaged file, is an empty memory. `raw` gives a file's
    /// content hash.
    pub fn open(cache: &Path, raw: impl Fn(&Path) -> io::Result<Hash> + 'a) -> Files<'a> {
        let known = fs::read(cache)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Remembered>(unseal(&bytes)?).ok())
            .filter(|remembered| remembered.format == FORMAT)
            .map(|remembered| remembered.sources)
            .unwrap_or_default();
        Files { raw: Box::new(raw), known, used: BTreeMap::new() }
    }

    /// Files of which nothing is remembered.
    pub fn new(raw: impl Fn(&Path) -> io::Result<Hash> + 'a) -> Files<'a> {
        Files { raw: Box::new(raw), known: BTreeMap::new(), used: BTreeMap::new() }
    }

    /// Writes the analyses that were used since [`Files::open`] to `cache`, if there is anything new to remember.
    pub fn save(&self, cache: &Path) -> io::Result<()> {
        if self.used.keys().eq(self.known.keys()) {
            return Ok(());
        }
        let remembered = Remembered { format: FORMAT, sources: self.used.clone() };
        let folder = cache.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&seal(serde_json::to_vec(&remembered)?))?;
        file.persist(cache)?;
        Ok(())
    }

    /// The hash of a file's bytes.
    pub(super) fn raw(&mut self, path: &Path) -> Result<Hash, Error> {
        (self.raw)(path).map_err(Error::read(path))
    }

    /// What a Rust file means.
    pub(super) fn rust(&mut self, path: &Path) -> Result<Source, Error> {
        let hash = self.raw(path)?;
        if let Some(source) = self.used.get(&hash).or_else(|| self.known.get(&hash)) {
            let source = source.clone();
            self.used.insert(hash, source.clone());
            return Ok(source);
        }
        let bytes = fs::read(path).map_err(Error::read(path))?;
        let source = Source::of(&bytes);
        // Under the hash of what was parsed: the file may have changed since the memo looked.
        self.used.insert(Hash::of(&bytes), source.clone());
        Ok(source)
    }
}

/// All regular files below a folder, sorted; links are followed. Hidden files and folders do not count, nor do those
/// that `enter` refuses by name.
pub(super) fn below(folder: &Path, enter: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    for entry in walk.filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !name.starts_with('.') && enter(&name)
    }) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(folder).to_owned();
            Error::Read { path, source: error.into() }
        })?;
        if entry.file_type().is_file() {
            found.push(entry.into_path());
        }
    }
    Ok(found)
}

/// `path` as seen from `folder`, both relative to the workspace, without `.` and with `..` only in front.
pub(super) fn normal(folder: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The name of a file below `root`, relative and with `/`.
pub(super) fn name_in(root: &Path, file: &Path) -> String {
    normal("", &file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        assert_eq!(normal("stages/train", "../kit"), "stages/kit");
        assert_eq!(normal("", "./a//b/../c"), "a/c");
        assert_eq!(normal("a", "../../b"), "../b");
    }

    #[test]
    fn an_unchanged_file_is_not_parsed_again() {
        let folder = tempfile::tempdir().unwrap();
        let (file, cache) = (folder.path().join("a.rs"), folder.path().join("cache"));
        fs::write(&file, "fn a() {}").unwrap();
        let read = |path: &Path| fs::read(path).map(|bytes| Hash::of(&bytes));
        let mut files = Files::open(&cache, read);
        let source = files.rust(&file).unwrap();
        files.save(&cache).unwrap();

        // The same content hash, other content: only a remembered analysis can be equal now.
        let remembered = Hash::of(b"fn a() {}");
        fs::write(&file, "fn b() {}").unwrap();
        assert_eq!(Files::open(&cache, |_: &Path| Ok(remembered)).rust(&file).unwrap(), source);
        assert_ne!(Files::open(&cache, read).rust(&file).unwrap(), source);
    }
}
