//! `Cargo.lock`: which packages a crate can reach.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::Error;
use crate::hash::Hash;

/// All packages of a workspace and what they depend on. Dependencies of a workspace member include its
/// dev-dependencies, those of other packages do not.
#[derive(Debug)]
pub(super) struct Lock {
    packages: Vec<Package>,
    by_name: BTreeMap<String, Vec<usize>>,
}

#[derive(Debug, Deserialize)]
struct File {
    #[serde(default, rename = "package")]
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    /// `name`, or `name version`, or `name version (source)` where that is needed to tell packages apart.
    #[serde(default)]
    dependencies: Vec<String>,
}

/// What a crate reaches.
#[derive(Debug, Default)]
pub(super) struct Slice {
    /// `Cargo.lock: NAME VERSION`, and the hash of source and checksum.
    pub parts: BTreeMap<String, Hash>,
    /// Packages without a source, by name: they are folders.
    pub folders: BTreeSet<String>,
}

impl Lock {
    pub fn read(path: &Path) -> Result<Lock, Error> {
        let text = fs::read_to_string(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NoLock { path: path.to_owned() },
            _ => Error::Read { path: path.to_owned(), source },
        })?;
        let file: File = toml::from_str(&text)
            .map_err(|error| Error::Malformed { path: path.to_owned(), what: error.to_string() })?;
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, package) in file.packages.iter().enumerate() {
            by_name.entry(package.name.clone()).or_default().push(index);
        }
        Ok(Lock { packages: file.packages, by_name })
    }

    /// What the workspace's package `member` reaches through those of its dependencies that `wanted` names.
    pub fn slice(&self, member: &str, wanted: &BTreeSet<String>) -> Slice {
        let own = self.named(member).filter(|index| self.packages[*index].source.is_none());
        let mut queue: Vec<usize> = own
            .flat_map(|index| &self.packages[index].dependencies)
            .filter(|dependency| wanted.contains(name(dependency)))
            .flat_map(|dependency| self.resolve(dependency))
            .collect();
        let mut seen = BTreeSet::new();
        let mut slice = Slice::default();
        while let Some(index) = queue.pop() {
            if !seen.insert(index) {
                continue;
            }
            let package = &self.packages[index];
            let Some(source) = &package.source else {
                slice.folders.insert(package.name.clone());
                continue;
            };
            let content = format!("{source}\n{}", package.checksum.as_deref().unwrap_or_default());
            let part = format!("Cargo.lock: {} {}", package.name, package.version);
            slice.parts.insert(part, Hash::of(content.as_bytes()));
            queue.extend(package.dependencies.iter().flat_map(|dependency| self.resolve(dependency)));
        }
        slice
    }

    fn named(&self, name: &str) -> impl Iterator<Item = usize> {
        self.by_name.get(name).into_iter().flatten().copied()
    }

    fn resolve(&self, dependency: &str) -> impl Iterator<Item = usize> {
        let mut words = dependency.split(' ');
        let _name = words.next();
        let version = words.next();
        let source = words.next().map(|source| source.trim_matches(['(', ')']));
        self.named(name(dependency)).filter(move |index| {
            let package = &self.packages[*index];
            version.is_none_or(|version| package.version == version)
                && source
                    .is_none_or(|source| package.source.as_deref().is_some_and(|has| has.starts_with(source)))
        })
    }
}

fn name(dependency: &str) -> &str {
    dependency.split(' ').next().unwrap_or(dependency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_holds_what_is_reached_and_tells_versions_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Cargo.lock");
        let package = |name: &str, version: &str, rest: &str| {
            format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n{rest}\n")
        };
        let source = "source = \"registry+https://example.org/index\"\nchecksum = \"00\"\n";
        let lock = [
            "version = 4\n".to_owned(),
            package("stage", "0.1.0", "dependencies = [\"a\", \"tests-only\", \"kit\"]"),
            package("kit", "0.1.0", ""),
            package("a", "1.0.0", &format!("{source}dependencies = [\"b 2.0.0\"]")),
            package("b", "1.0.0", source),
            package("b", "2.0.0", source),
            package("tests-only", "1.0.0", source),
        ]
        .concat();
        fs::write(&path, lock).unwrap();
        let wanted = BTreeSet::from(["a".to_owned(), "kit".to_owned()]);
        let slice = Lock::read(&path).unwrap().slice("stage", &wanted);
        assert_eq!(slice.parts.keys().collect::<Vec<_>>(), ["Cargo.lock: a 1.0.0", "Cargo.lock: b 2.0.0"]);
        assert_eq!(slice.folders, BTreeSet::from(["kit".to_owned()]));
    }

    #[test]
    fn a_missing_lock_says_what_to_do() {
        let error = Lock::read(Path::new("nowhere/Cargo.lock")).unwrap_err();
        assert!(error.to_string().contains("cargo generate-lockfile"), "{error}");
    }
}
