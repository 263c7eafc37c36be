//! Objects: the content of artifacts, by hash. A folder is an object that lists its files, and an object a file.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;

use super::access::Access;
use super::index::Artifact;
use super::memo::Memo;
use crate::hash::Hash;
use crate::pipeline::Kind;

/// First line of a folder's listing; the number is the format.
const LISTING: &str = "ribbon folder 1\n";

/// What is wrong with a thing that should become an artifact.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It cannot be read or stored.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file where a folder is declared, or the other way round, or neither of them.
    #[error("{path} is {found}, expected {expected}")]
    Kind {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What is declared.
        expected: &'static str,
    },
    /// A name that a listing cannot hold.
    #[error("{path}: artifacts have names in UTF-8 without line breaks")]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// A stored listing that is not one.
    #[error("object {hash} is not a folder's listing")]
    Listing {
        /// The object.
        hash: Hash,
    },
}

impl ObjectError {
    /// Whether this user lacks a permission.
    pub fn is_refused(&self) -> bool {
        matches!(self, ObjectError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// A file in a folder: path in it, hash, size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub path: String,
    pub hash: Hash,
    pub size: u64,
}

/// What a job made, ready for the store: checked, read-only and hashed.
#[derive(Debug)]
pub struct Ready {
    kind: Kind,
    files: Vec<(PathBuf, Member)>,
}

impl Ready {
    /// The artifact that it is.
    pub fn artifact(&self) -> Artifact {
        let size = self.files.iter().map(|(_, member)| member.size).sum();
        let hash = match (self.kind, &self.files[..]) {
            (Kind::File, [(_, file)]) => file.hash,
            _ => Hash::of(self.listing().as_bytes()),
        };
        Artifact { kind: self.kind, hash, size }
    }

    fn listing(&self) -> String {
        listing(self.files.iter().map(|(_, member)| member))
    }
}

/// The objects of a store: `ab/cdef..`, read-only files named by their content.
#[derive(Debug)]
pub struct Objects {
    folder: PathBuf,
    pub(super) access: Access,
}

impl Objects {
    /// The objects under a folder.
    pub fn new(folder: PathBuf, access: Access) -> Objects {
        Objects { folder, access }
    }

    /// Where the object with this hash is, if it is there.
    pub fn path(&self, hash: Hash) -> PathBuf {
        super::fan_path(&self.folder, &hash.to_string())
    }

    /// Moves what has been made ready into the store.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn insert(&self, ready: Ready, memo: &Memo) -> Result<Artifact, ObjectError> {
        let artifact = ready.artifact();
        for (path, member) in &ready.files {
            let object = self.path(member.hash);
            // An object that is there stays: it may be on disk already, and this file is not.
            if self.is_intact(member.hash, memo) {
                fs::remove_file(path).map_err(io_error(path))?;
            } else {
                // What may have written since it was hashed, a worker that has the file open yet, leaves another time, or
                // one that the memo does not trust.
                let stored = self.access.make_parent(&object);
                stored
                    .and_then(|()| memo.keep(path, &object, || fs::rename(path, &object)))
                    .map_err(io_error(&object))?;
            }
        }
        // One that is there may be another user's, whose mode cannot be changed.
        if artifact.kind == Kind::Folder && !self.is_intact(artifact.hash, memo) {
            let object = self.path(artifact.hash);
            let stored = self.access.make_parent(&object);
            stored
                .and_then(|()| self.access.write_whole(&object, ready.listing().as_bytes()))
                .and_then(|()| read_only(&object))
                .map_err(io_error(&object))?;
            memo.note(&object, artifact.hash);
        }
        Ok(artifact)
    }

    /// Whether an artifact is whole: every object is there and, as far as the memo knows, unchanged. An object that
    /// does not match its name is dropped.
    pub fn is_whole(&self, artifact: &Artifact, memo: &Memo) -> bool {
        self.is_intact(artifact.hash, memo)
            && (artifact.kind == Kind::File
                || self
                    .members(artifact.hash)
                    .is_ok_and(|members| members.iter().all(|member| self.is_intact(member.hash, memo))))
    }

    pub(super) fn is_intact(&self, hash: Hash, memo: &Memo) -> bool {
        let path = self.path(hash);
        match memo.hash(&path) {
            Ok(found) if found == hash => true,
            Ok(_) => {
                let _ = fs::remove_file(&path);
                false
            }
            Err(_) => false,
        }
    }

    /// Places an artifact at `to` for a job to read: linked, or copied where links do not reach.
    ///
    /// # Errors
    /// When an object is missing or cannot be linked or copied.
    pub fn link(&self, artifact: &Artifact, to: &Path, memo: &Memo) -> Result<(), ObjectError> {
        match artifact.kind {
            Kind::File => link_or_copy(&self.path(artifact.hash), to, memo).map_err(io_error(to)),
            Kind::Folder => {
                fs::create_dir(to).map_err(io_error(to))?;
                for member in self.members(artifact.hash)? {
                    let file = to.join(&member.path);
                    super::make_parent(&file)
                        .and_then(|()| link_or_copy(&self.path(member.hash), &file, memo))
                        .map_err(io_error(&file))?;
                }
                Ok(())
            }
        }
    }

    /// Takes the links of [`Objects::link`] away again, and keeps what the memo knows of the objects.
    pub fn unlink(&self, artifact: &Artifact, from: &Path, memo: &Memo) {
        if artifact.kind == Kind::File {
            let object = self.path(artifact.hash);
            let _ = memo.keep(&object, &object, || fs::remove_file(from));
        } else if let Ok(members) = self.members(artifact.hash) {
            for member in members {
                let object = self.path(member.hash);
                let _ = memo.keep(&object, &object, || fs::remove_file(from.join(&member.path)));
            }
        }
    }

    /// Writes a copy of an artifact to `to`, whole or not at all; what was there goes.
    ///
    /// # Errors
    /// When an object is missing or a file cannot be written.
    pub fn copy(&self, artifact: &Artifact, to: &Path) -> Result<(), ObjectError> {
        super::make_parent(to).map_err(io_error(to))?;
        let scratch = super::beside(to);
        let copied = self
            .copy_new(artifact, &scratch)
            .and_then(|()| super::replace(&scratch, to).map_err(io_error(to)));
        if copied.is_err() {
            let _ = super::remove(&scratch);
        }
        copied
    }

    fn copy_new(&self, artifact: &Artifact, to: &Path) -> Result<(), ObjectError> {
        let copy = |hash: Hash, to: &Path| {
            super::make_parent(to)?;
            // On file systems with reflinks this shares blocks, and still nobody's edit reaches the store.
            fs::copy(self.path(hash), to)?;
            fs::set_permissions(to, fs::Permissions::from_mode(0o644))
        };
        match artifact.kind {
            Kind::File => copy(artifact.hash, to).map_err(io_error(to)),
            Kind::Folder => {
                fs::create_dir(to).map_err(io_error(to))?;
                for member in self.members(artifact.hash)? {
                    let file = to.join(&member.path);
                    copy(member.hash, &file).map_err(io_error(&file))?;
                }
                Ok(())
            }
        }
    }

    /// All objects, each with its hash, and with none what a killed process left.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn all(&self) -> Result<Vec<(Option<Hash>, PathBuf)>, ObjectError> {
        all_in(&self.folder)
    }

    /// The objects that an artifact consists of: its own, and of a folder those of its files, as far as it is here.
    pub fn parts(&self, artifact: &Artifact) -> Vec<Hash> {
        let members = match artifact.kind {
            Kind::File => Vec::new(),
            Kind::Folder => self.members(artifact.hash).unwrap_or_default(),
        };
        let members = members.into_iter().map(|member| member.hash);
        std::iter::once(artifact.hash).chain(members).collect()
    }

    pub(super) fn members(&self, hash: Hash) -> Result<Vec<Member>, ObjectError> {
        let path = self.path(hash);
        let text = fs::read_to_string(&path).map_err(io_error(&path))?;
        parse_listing(&text).ok_or(ObjectError::Listing { hash })
    }
}

/// Checks what a job made, makes it read-only and hashes it.
///
/// # Errors
/// When it is not of the declared kind, holds links or sockets, or cannot be read.
pub fn make_ready(path: &Path, kind: Kind, memo: &Memo) -> Result<Ready, ObjectError> {
    check_kind(path, kind)?;
    let files = match kind {
        Kind::File => vec![(String::new(), path.to_owned())],
        Kind::Folder => files_under(path)?,
    };
    let make_ready = |(name, file): (String, PathBuf)| {
        let (hash, size) = make_file_ready(&file, memo).map_err(io_error(&file))?;
        Ok((file, Member { path: name, hash, size }))
    };
    Ok(Ready { kind, files: files.into_iter().map(make_ready).collect::<Result<_, ObjectError>>()? })
}

fn make_file_ready(path: &Path, memo: &Memo) -> io::Result<(Hash, u64)> {
    if fs::symlink_metadata(path)?.nlink() > 1 {
        // Somebody else has a name for this file and could write to it later: the store takes a copy.
        let copy = super::beside(path);
        fs::copy(path, &copy).and_then(|_| fs::rename(&copy, path))?;
    }
    read_only(path)?;
    let size = fs::symlink_metadata(path)?.len();
    Ok((memo.hash(path)?, size))
}

/// The artifact that a file or folder of the project is, or what a link there leads to, without storing it.
///
/// # Errors
/// When it cannot be read, or holds what an artifact cannot.
pub fn measure(path: &Path, memo: &Memo) -> Result<Artifact, ObjectError> {
    let metadata = fs::metadata(path).map_err(io_error(path))?;
    if metadata.is_file() {
        let hash = memo.hash(path).map_err(io_error(path))?;
        return Ok(Artifact { kind: Kind::File, hash, size: metadata.len() });
    }
    check_metadata(path, &metadata, Kind::Folder)?;
    let mut members = Vec::new();
    for (name, file) in files_under(path)? {
        let hash = memo.hash(&file).map_err(io_error(&file))?;
        let size = fs::metadata(&file).map_err(io_error(&file))?.len();
        members.push(Member { path: name, hash, size });
    }
    let hash = Hash::of(listing(members.iter()).as_bytes());
    Ok(Artifact { kind: Kind::Folder, hash, size: members.iter().map(|member| member.size).sum() })
}

/// A file, and its inode, size and time of the last write; none of one that is not there.
pub type Written = (PathBuf, Option<(u64, u64, i64, i64)>);

/// When a file was written. What changes and changes back shows here, and not in its content.
pub fn written(path: &Path) -> Written {
    let metadata = fs::metadata(path).ok();
    (path.to_owned(), metadata.map(|it| (it.ino(), it.size(), it.mtime(), it.mtime_nsec())))
}

/// The same of a file, or of all files of a folder of the project.
///
/// # Errors
/// When the folder cannot be read.
pub fn all_written(path: &Path) -> Result<Vec<Written>, ObjectError> {
    match path.is_dir() {
        true => Ok(files_under(path)?.iter().map(|(_, file)| written(file)).collect()),
        false => Ok(vec![written(path)]),
    }
}

/// Places a file or folder of the project, or what a link there leads to, at `to` for a job to read.
///
/// # Errors
/// When it cannot be linked or copied.
pub fn link_source(path: &Path, to: &Path, memo: &Memo) -> Result<(), ObjectError> {
    if fs::metadata(path).map_err(io_error(path))?.is_file() {
        return link_or_copy(path, to, memo).map_err(io_error(path));
    }
    fs::create_dir(to).map_err(io_error(to))?;
    for (name, file) in files_under(path)? {
        let to = to.join(name);
        super::make_parent(&to).and_then(|()| link_or_copy(&file, &to, memo)).map_err(io_error(&file))?;
    }
    Ok(())
}

/// Takes the links of [`link_source`] away again, and keeps what the memo knows of the files.
pub fn unlink_source(path: &Path, from: &Path, memo: &Memo) {
    let unlink = |path: &Path, from: &Path| drop(memo.keep(path, path, || fs::remove_file(from)));
    if path.is_file() {
        unlink(path, from);
    } else {
        files_under(path).into_iter().flatten().for_each(|(name, file)| unlink(&file, &from.join(name)));
    }
}

/// A hard link keeps the memo's knowledge; where there are none (another file system), a copy.
fn link_or_copy(path: &Path, to: &Path, memo: &Memo) -> io::Result<()> {
    // Not to a link: a job could not follow it.
    let link = || Ok(linkat(AT_FDCWD, path, AT_FDCWD, to, AtFlags::AT_SYMLINK_FOLLOW)?);
    match memo.keep(path, path, link) {
        Ok(()) => Ok(()),
        // A copy onto a name that is taken would write through it into an object.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {
            Err(error)
        }
        Err(_) => fs::copy(path, to).map(drop),
    }
}

fn check_kind(path: &Path, kind: Kind) -> Result<(), ObjectError> {
    check_metadata(path, &fs::symlink_metadata(path).map_err(io_error(path))?, kind)
}

fn check_metadata(path: &Path, metadata: &fs::Metadata, kind: Kind) -> Result<(), ObjectError> {
    let found = match () {
        () if metadata.is_file() => "a file",
        () if metadata.is_dir() => "a folder",
        () if metadata.is_symlink() => "a symbolic link",
        () => "neither a file nor a folder",
    };
    let expected = if kind == Kind::File { "a file" } else { "a folder" };
    if found == expected { Ok(()) } else { Err(ObjectError::Kind { path: path.to_owned(), found, expected }) }
}

/// The files `ab/cdef..` below a folder of a store, each with the hash that its name is; none for what a killed process
/// left.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn all_in(folder: &Path) -> Result<Vec<(Option<Hash>, PathBuf)>, ObjectError> {
    let hash = |name: &str| name.replacen('/', "", 1).parse().ok();
    let files = if folder.exists() { files_while_they_change(folder)? } else { Vec::new() };
    Ok(files.into_iter().map(|(name, path)| (hash(&name), path)).collect())
}

/// All files below a folder, with their paths in it, sorted. Links and sockets are refused: content cannot name them.
fn files_under(folder: &Path) -> Result<Vec<(String, PathBuf)>, ObjectError> {
    walk(folder, false)
}

/// The same of a folder in which others write: what goes away meanwhile is passed over.
fn files_while_they_change(folder: &Path) -> Result<Vec<(String, PathBuf)>, ObjectError> {
    walk(folder, true)
}

fn walk(folder: &Path, passes_over: bool) -> Result<Vec<(String, PathBuf)>, ObjectError> {
    let mut found = Vec::new();
    let mut pending = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = pending.pop() {
        for entry in fs::read_dir(&folder).map_err(io_error(&folder))? {
            let path = entry.map_err(io_error(&folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.contains('\n'));
            let name = name.ok_or_else(|| ObjectError::Name { path: path.clone() })?;
            let name = format!("{prefix}{name}");
            match fs::symlink_metadata(&path) {
                Err(error) if passes_over && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error(&path)(error)),
                Ok(metadata) if metadata.is_dir() => pending.push((format!("{name}/"), path)),
                Ok(metadata) => {
                    check_metadata(&path, &metadata, Kind::File)?;
                    found.push((name, path));
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn listing<'a>(members: impl Iterator<Item = &'a Member>) -> String {
    let mut text = LISTING.to_owned();
    for Member { path, hash, size } in members {
        let _ = writeln!(text, "{hash} {size} {path}");
    }
    text
}

/// A listing whose paths stay inside the folder; anything else is none.
pub(super) fn parse_listing(text: &str) -> Option<Vec<Member>> {
    let member = |line: &str| {
        let (hash, rest) = line.split_once(' ')?;
        let (size, path) = rest.split_once(' ')?;
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        let member = Member { path: path.to_owned(), hash: hash.parse().ok()?, size: size.parse().ok()? };
        (inside && !path.is_empty()).then_some(member)
    };
    // Not `lines`: a name may end with a carriage return.
    text.strip_prefix(LISTING)?.split_terminator('\n').map(member).collect()
}

/// What is read of a listing is written as it was read, and its paths stay inside the folder.
#[cfg(any(test, fuzzing))]
pub(crate) fn check_listing(text: &str) {
    let Some(members) = parse_listing(text) else { return };
    assert_eq!(parse_listing(&listing(members.iter())).as_ref(), Some(&members));
    for member in members {
        let mut parts = Path::new(&member.path).components();
        assert!(parts.all(|part| matches!(part, Component::Normal(_))), "{member:?}");
    }
}

pub(super) fn read_only(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o444))
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ObjectError {
    let path = path.to_owned();
    |source| ObjectError::Io { path, source }
}

#[cfg(test)]
mod tests;
