//! What the code of a stage is, as one hash: all that can change what its program computes, and nothing else.
//!
//! Of a crate these count, of the crates it depends on by path as well:
//!
//! * Rust files under `src/`, beside roots elsewhere, the build script, and wherever `mod` leads, in a condition or a macro
//!   too, parsed and printed again without comments, docs, lint levels and test code (`strip.rs` says exactly how), so that
//!   none of these reruns a stage;
//! * as raw bytes: files reached by `include!`, `include_str!`, `include_bytes!` and the like, those that string literals of
//!   attributes and of the build script name, with a build script all other files under `src/`, C, C++ and CUDA sources;
//!   where a path is not known before the compiler runs, all of the crate's;
//! * of the manifest the package's name, edition, targets, features and dependencies; of the workspace's the release
//!   profile, the resolver and patches;
//! * each package of `Cargo.lock` that is reachable without dev-dependencies, on whatever platform and with whatever
//!   features;
//! * the toolchain file, cargo's configuration where it concerns a build, `RUSTFLAGS` and its kin, the variables that `env!`
//!   reads or the build script names, and those that are set in place of what the workspace's configuration says.
//!
//! Not seen: what a macro of another crate reads that the call names, and that code can tell its line (`Location`).
//!
//! `tests/`, `benches/`, `examples/`, hidden files, dev-dependencies, descriptions, versions of the crates themselves
//! and data files do not count. Paths are relative to the workspace, so that a moved or second clone agrees.

mod files;
mod lock;
mod manifest;
mod reach;
mod rust;
mod strip;
#[cfg(test)]
mod tests;
mod workspace;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hash::Hash;

pub use files::Files;
pub use workspace::Workspace;

/// Starts every code hash; another rule of what counts needs another number.
const FORMAT: &[u8] = b"hyperribbon code 2\0";

/// The code of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// The hash of all parts, with their names.
    pub hash: Hash,
    /// What it consists of: `stages/train/src/main.rs`, `Cargo.lock: serde 1.0.2`, `profile.release`.
    pub parts: BTreeMap<String, Hash>,
    /// The crate and the crates it depends on by path: package name and the hash of the parts that are its own.
    pub crates: BTreeMap<String, Hash>,
}

impl Code {
    fn new(parts: BTreeMap<String, Hash>, crates: BTreeMap<String, Hash>) -> Code {
        Code { hash: hash_of_parts(&parts), parts, crates }
    }
}

/// Why the code of a stage could not be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that should be there cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A manifest, a lock or a configuration is not what it should be.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with line and column where they are known.
        what: String,
    },
    /// There is no `Cargo.lock`.
    #[error("{} is missing: run `cargo generate-lockfile` and commit it", path.display())]
    NoLock {
        /// Where it should be.
        path: PathBuf,
    },
    /// A package without a source whose folder is unknown.
    #[error(
        "Cargo.lock has `{package}` without a source, but no `path` dependency and no [patch] says where it is"
    )]
    Unplaced {
        /// Its name.
        package: String,
    },
}

impl Error {
    fn read(path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    }
}

/// The code of a command stage: the declared files, and all files in declared folders, as raw bytes. Hidden files and
/// `__pycache__` do not count. Paths are relative to `root`.
pub fn of_command(root: &Path, declared: &[String], files: &mut Files) -> Result<Code, Error> {
    let mut parts = BTreeMap::new();
    for path in declared {
        let name = files::normal("", path);
        for file in files_in(&root.join(&name))? {
            parts.insert(files::name_in(root, &file), files.raw(&file)?);
        }
    }
    Ok(Code::new(parts, BTreeMap::new()))
}

/// The files that a declared path of code stands for: itself, or those of the folder that count.
///
/// # Errors
/// When a folder cannot be read.
pub fn files_in(place: &Path) -> Result<Vec<PathBuf>, Error> {
    match place.is_dir() {
        true => files::below(place, |name| name != "__pycache__"),
        false => Ok(vec![place.to_owned()]),
    }
}

/// Names have no NUL and hashes are of one length, so the bytes hashed are unambiguous.
fn hash_of_parts(parts: &BTreeMap<String, Hash>) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(FORMAT);
    for (name, hash) in parts {
        hasher.update(name.as_bytes()).update(&[0]).update(&hash.0);
    }
    hasher.finalize().into()
}
