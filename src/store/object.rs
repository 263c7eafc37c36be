//! Objects: the content of artifacts, by hash. A folder is an object that lists its files, and an object a file.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

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

/// The artifact that a file or folder of the project is, without storing it.
///
/// # Errors
/// When it cannot be read, or holds what an artifact cannot.
pub fn measure(path: &Path, memo: &Memo) -> Result<Artifact, ObjectError> {
    let metadata = fs::metadata(path).map_err(io_error(path))?;
    if metadata.is_file() {
        let hash = memo.hash(path).map_err(io_error(path))?;
        return Ok(Artifact { kind: Kind::File, hash, size: metadata.len() });
    }
    check_kind(path, Kind::Folder)?;
    let mut members = Vec::new();
    for (name, file) in files_under(path)? {
        let hash = memo.hash(&file).map_err(io_error(&file))?;
        let size = fs::metadata(&file).map_err(io_error(&file))?.len();
        members.push(Member { path: name, hash, size });
    }
    let hash = Hash::of(listing(members.iter()).as_bytes());
    Ok(Artifact { kind: Kind::Folder, hash, size: members.iter().map(|member| member.size).sum() })
}

/// Places a file or folder of the project at `to` for a job to read.
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
    match memo.keep(path, path, || fs::hard_link(path, to)) {
        Ok(()) => Ok(()),
        // A copy onto a name that is taken would write through it into an object.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {
            Err(error)
        }
        Err(_) => fs::copy(path, to).map(drop),
    }
}

fn check_kind(path: &Path, kind: Kind) -> Result<(), ObjectError> {
    let metadata = fs::symlink_metadata(path).map_err(io_error(path))?;
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
    let files = if folder.exists() { files_under(folder)? } else { Vec::new() };
    Ok(files.into_iter().map(|(name, path)| (hash(&name), path)).collect())
}

/// All files below a folder, with their paths in it, sorted. Links and sockets are refused: content cannot name them.
fn files_under(folder: &Path) -> Result<Vec<(String, PathBuf)>, ObjectError> {
    let mut found = Vec::new();
    let mut pending = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = pending.pop() {
        for entry in fs::read_dir(&folder).map_err(io_error(&folder))? {
            let path = entry.map_err(io_error(&folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.contains('\n'));
            let name = name.ok_or_else(|| ObjectError::Name { path: path.clone() })?;
            let name = format!("{prefix}{name}");
            if fs::symlink_metadata(&path).map_err(io_error(&path))?.is_dir() {
                pending.push((format!("{name}/"), path));
            } else {
                check_kind(&path, Kind::File)?;
                found.push((name, path));
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
mod tests {
    use super::*;

    struct Bench {
        folder: tempfile::TempDir,
        objects: Objects,
        memo: Memo,
    }

    fn insert(objects: &Objects, path: &Path, kind: Kind, memo: &Memo) -> Result<Artifact, ObjectError> {
        objects.insert(make_ready(path, kind, memo)?, memo)
    }

    fn bench() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::new(folder.path().join("objects"), Access::default());
        let memo = Memo::open(&folder.path().join("memo"), false);
        Bench { folder, objects, memo }
    }

    #[test]
    fn a_file_comes_back_with_its_bytes_and_cannot_be_written() {
        let Bench { folder, objects, memo } = bench();
        let made = folder.path().join("made");
        fs::write(&made, "figure").unwrap();
        let artifact = insert(&objects, &made, Kind::File, &memo).unwrap();
        assert_eq!((artifact.hash, artifact.size), (Hash::of(b"figure"), 6));
        assert!(!made.exists());
        let copy = folder.path().join("outputs/figure.svg");
        objects.copy(&artifact, &copy).unwrap();
        assert_eq!(fs::read(&copy).unwrap(), b"figure");
        assert_eq!(fs::metadata(objects.path(artifact.hash)).unwrap().mode() & 0o777, 0o444);
        assert_ne!(
            fs::metadata(&copy).unwrap().ino(),
            fs::metadata(objects.path(artifact.hash)).unwrap().ino()
        );
    }

    #[test]
    fn a_folder_is_its_files_whatever_order_they_were_made_in() {
        let Bench { folder, objects, memo } = bench();
        let make = |name: &str, order: [&str; 3]| {
            let made = folder.path().join(name);
            for file in order {
                super::super::make_parent(&made.join(file)).unwrap();
                fs::write(made.join(file), file).unwrap();
            }
            made
        };
        let one = make("one", ["b", "a", "sub/c"]);
        assert_eq!(measure(&one, &memo).unwrap().size, 7);
        let measured = measure(&one, &memo).unwrap();
        let two = insert(&objects, &make("two", ["sub/c", "a", "b"]), Kind::Folder, &memo).unwrap();
        assert_eq!(measured, two);
        let linked = folder.path().join("in");
        objects.link(&two, &linked, &memo).unwrap();
        assert_eq!(fs::read(linked.join("sub/c")).unwrap(), b"sub/c");
        assert!(objects.is_whole(&two, &memo));
        objects.unlink(&two, &linked, &memo);
        assert!(!linked.join("a").exists());
    }

    #[test]
    fn a_damaged_object_is_dropped_at_its_next_use() {
        let Bench { folder, objects, memo } = bench();
        let made = folder.path().join("made");
        fs::write(&made, "figure").unwrap();
        let artifact = insert(&objects, &made, Kind::File, &memo).unwrap();
        let object = objects.path(artifact.hash);
        fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&object, "damage").unwrap();
        assert!(!objects.is_whole(&artifact, &memo));
        assert!(!object.exists());
    }

    #[test]
    fn an_object_that_is_there_stays_and_a_damaged_one_is_replaced() {
        let Bench { folder, objects, memo } = bench();
        let insert_again = || {
            let made = folder.path().join("made");
            fs::write(&made, "figure").unwrap();
            insert(&objects, &made, Kind::File, &memo).unwrap()
        };
        let object = objects.path(insert_again().hash);
        let inode = fs::metadata(&object).unwrap().ino();
        insert_again();
        assert_eq!(fs::metadata(&object).unwrap().ino(), inode);
        fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&object, "damage").unwrap();
        insert_again();
        assert_eq!(fs::read(&object).unwrap(), b"figure");
    }

    #[test]
    fn a_file_with_another_name_is_copied_so_that_nobody_can_write_to_the_object() {
        let Bench { folder, objects, memo } = bench();
        let (made, other) = (folder.path().join("made"), folder.path().join("other"));
        fs::write(&made, "figure").unwrap();
        fs::hard_link(&made, &other).unwrap();
        let artifact = insert(&objects, &made, Kind::File, &memo).unwrap();
        fs::write(&other, "edited").unwrap();
        assert!(objects.is_whole(&artifact, &memo));
    }

    #[test]
    fn what_is_written_to_an_output_after_it_was_hashed_does_not_pass_for_it() {
        let Bench { folder, objects, memo } = bench();
        for wait in [0, 50] {
            let made = folder.path().join("made");
            fs::write(&made, "figure").unwrap();
            // A program that goes on writing keeps the file open.
            let mut open = fs::OpenOptions::new().write(true).open(&made).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(wait));
            let ready = make_ready(&made, Kind::File, &memo).unwrap();
            std::io::Write::write_all(&mut open, b"edited").unwrap();
            let artifact = objects.insert(ready, &memo).unwrap();
            assert!(!objects.is_whole(&artifact, &memo), "after {wait} ms");
            assert!(!objects.path(artifact.hash).exists(), "dropped");
        }
    }

    #[test]
    fn a_published_copy_that_is_edited_at_once_is_seen_to_be() {
        let Bench { folder, objects, memo } = bench();
        let made = folder.path().join("made");
        fs::write(&made, "figure").unwrap();
        let artifact = insert(&objects, &made, Kind::File, &memo).unwrap();
        let published = folder.path().join("figure.svg");
        for _ in 0..20 {
            objects.copy(&artifact, &published).unwrap();
            fs::write(&published, "edited").unwrap();
            assert_eq!(measure(&published, &memo).unwrap().hash, Hash::of(b"edited"));
        }
    }

    #[test]
    fn a_copy_replaces_a_folder_with_more_in_it_and_a_thing_of_the_other_kind() {
        let Bench { folder, objects, memo } = bench();
        let made = folder.path().join("made");
        fs::create_dir(&made).unwrap();
        fs::write(made.join("new"), "new").unwrap();
        let images = insert(&objects, &made, Kind::Folder, &memo).unwrap();
        fs::write(made.join("file"), "file").unwrap();
        let file = insert(&objects, &made.join("file"), Kind::File, &memo).unwrap();

        let published = folder.path().join("outputs/images");
        fs::create_dir_all(published.join("older")).unwrap();
        fs::write(published.join("older/stale"), "stale").unwrap();
        for artifact in [images, file, images, images] {
            objects.copy(&artifact, &published).unwrap();
            assert_eq!(measure(&published, &memo).unwrap(), artifact);
        }
        assert_eq!(
            fs::read_dir(folder.path().join("outputs")).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_name_that_is_taken_is_not_written_through() {
        let Bench { folder, objects, memo } = bench();
        let place = |text: &str| {
            let made = folder.path().join("made");
            fs::write(&made, text).unwrap();
            insert(&objects, &made, Kind::File, &memo).unwrap()
        };
        let (one, two) = (place("one"), place("two"));
        let link = folder.path().join("in");
        objects.link(&one, &link, &memo).unwrap();
        assert!(objects.link(&two, &link, &memo).is_err());
        assert!(objects.is_whole(&one, &memo));
    }

    #[test]
    fn links_and_wrong_kinds_are_refused() {
        let Bench { folder, objects, memo } = bench();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        let message = insert(&objects, &link, Kind::File, &memo).unwrap_err().to_string();
        assert!(message.ends_with("is a symbolic link, expected a file"), "{message}");
        let message = insert(&objects, folder.path(), Kind::File, &memo).unwrap_err().to_string();
        assert!(message.ends_with("is a folder, expected a file"), "{message}");
    }

    #[test]
    fn a_listing_keeps_names_as_they_are() {
        let member = |path: &str| Member { path: path.to_owned(), hash: Hash::of(b"x"), size: 1 };
        let members = ["a\r", "b c", ".. d", "e//f"].map(member);
        assert_eq!(parse_listing(&listing(members.iter())).as_deref(), Some(&members[..]));
    }

    #[test]
    fn a_listing_that_leaves_its_folder_is_none() {
        let line = |path: &str| format!("{LISTING}{} 1 {path}\n", Hash::of(b"x"));
        assert!(parse_listing(&line("a/b")).is_some());
        for path in ["../a", "/a", "a/../../b", ""] {
            assert!(parse_listing(&line(path)).is_none(), "{path}");
        }
    }
}
