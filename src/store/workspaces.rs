//! The workspaces that use a store: what their locks name is wanted, and no collection takes it.
//!
//! A file a workspace in `store/workspaces/`: a line with the machine, then the workspace's path. Its name is the hash of
//! these. Beside it, with `.lock` at the end of the name, a copy of the workspace's lock as of its last run, for those who
//! cannot see the workspace: on other machines, or without the permission.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::access::Access;
use crate::hash::Hash;

/// Digits that tell notes apart.
const NAME: usize = 24;

/// A workspace that a store knows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its root.
    pub path: PathBuf,
    /// The name of the machine it was seen on.
    pub machine: String,
    /// The file that says so.
    pub note: PathBuf,
    /// Whether it is still there.
    pub presence: Presence,
}

/// What has become of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    Here,
    /// It was on this machine, and is no more.
    Gone,
    /// It cannot be seen from here.
    Hidden,
}

impl Workspace {
    /// The locks that say what it needs: its own, and the copy of its last run.
    pub fn locks(&self) -> [PathBuf; 2] {
        [self.path.join("pipeline.lock"), copy_beside(&self.note)]
    }

    /// How long ago its lock was last copied; one that was never is as old as its note.
    pub fn age(&self) -> Duration {
        let times = [copy_beside(&self.note), self.note.clone()].map(|path| fs::metadata(path)?.modified());
        let latest = times.into_iter().flatten().max();
        latest.map_or(Duration::MAX, |time| time.elapsed().unwrap_or_default())
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When the note cannot be removed.
    pub fn forget(&self) -> io::Result<()> {
        let _ = fs::remove_file(copy_beside(&self.note));
        fs::remove_file(&self.note)
    }
}

/// Notes in `folder` that a workspace uses the store, and copies its lock if the copy is another.
///
/// # Errors
/// When one of them cannot be written.
pub fn note(folder: &Path, access: Access, root: &Path) -> io::Result<()> {
    let text = note_of(root);
    let note = folder.join(name(&text));
    if !note.exists() {
        access.make_folder(folder)?;
        access.write_whole(&note, &text)?;
    }
    let (lock, copy) = (root.join("pipeline.lock"), copy_beside(&note));
    let looks = |path: &Path| fs::metadata(path).and_then(|it| Ok((it.len(), it.modified()?))).ok();
    // Times may be those of a restored file; a copy is not older than what it was made of.
    if looks(&lock).is_some_and(|(length, time)| looks(&copy).is_none_or(|it| it.0 != length || it.1 < time))
    {
        access.write_whole(&copy, &fs::read(&lock)?)?;
    }
    Ok(())
}

/// Copies a workspace's lock again if the copy is not like it. Whether it was not.
///
/// # Errors
/// When one of them cannot be read or written.
pub fn renew(folder: &Path, access: Access, root: &Path) -> io::Result<bool> {
    let copy = copy_beside(&folder.join(name(&note_of(root))));
    let read = |path: &Path| match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => bytes.map(Some),
    };
    match (read(&root.join("pipeline.lock"))?, read(&copy)?) {
        (Some(lock), Some(copied)) if lock != copied => access.write_whole(&copy, &lock).map(|()| true),
        _ => Ok(false),
    }
}

/// The workspaces that are noted in a folder, sorted by path.
///
/// # Errors
/// When a note cannot be read.
pub fn all(folder: &Path) -> io::Result<Vec<Workspace>> {
    let mut workspaces = Vec::new();
    let notes = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(workspaces),
        notes => notes?,
    };
    for entry in notes {
        let note = entry?.path();
        if note.file_name().is_none_or(|name| name.len() != NAME) {
            continue;
        }
        let text = fs::read(&note)?;
        let cut = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
        let (noted, path) = text.split_at(cut);
        let path = PathBuf::from(OsStr::from_bytes(path.get(1..).unwrap_or_default()));
        let is_there = |name: &str| path.join(name).try_exists();
        let is_closed = fs::File::open(path.join("pipeline.lock"))
            .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        let is_damaged = note.file_name() != Some(OsStr::new(&name(&text)));
        let presence = match (is_there(".ribbon"), is_there("pipeline.lock")) {
            _ if is_closed || is_damaged => Presence::Hidden,
            (Ok(true), _) | (_, Ok(true)) => Presence::Here,
            (Ok(false), Ok(false)) if noted == machine().as_bytes() => Presence::Gone,
            // Without the permission to look, on another machine, or with a damaged path nothing is known.
            _ => Presence::Hidden,
        };
        let machine = String::from_utf8_lossy(noted).into_owned();
        workspaces.push(Workspace { path, machine, note, presence });
    }
    workspaces.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(workspaces)
}

/// What is noted of a workspace on this machine.
fn note_of(root: &Path) -> Vec<u8> {
    [machine().as_bytes(), b"\n", root.as_os_str().as_bytes()].concat()
}

/// What a note with this text is called.
fn name(text: &[u8]) -> String {
    let mut name = Hash::of(text).to_string();
    name.truncate(NAME);
    name
}

fn copy_beside(note: &Path) -> PathBuf {
    note.with_extension("lock")
}

fn machine() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_is_here_or_gone_and_one_of_another_machine_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let (notes, root) = (folder.path().join("workspaces"), folder.path().join("paper"));
        fs::create_dir_all(root.join(".ribbon")).unwrap();
        let presence = || {
            let found = all(&notes).unwrap();
            found.iter().for_each(|workspace| assert_eq!(workspace.path, root));
            found.iter().map(|workspace| workspace.presence).collect::<Vec<_>>()
        };
        assert_eq!(presence(), []);
        note(&notes, Access::default(), &root).unwrap();
        note(&notes, Access::default(), &root).unwrap();
        assert_eq!(presence(), [Presence::Here]);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(presence(), [Presence::Gone]);
        let noted = all(&notes).unwrap().remove(0);
        let text = format!("not-{}", fs::read_to_string(&noted.note).unwrap());
        noted.forget().unwrap();
        fs::write(notes.join(name(text.as_bytes())), text).unwrap();
        assert_eq!(presence(), [Presence::Hidden]);
        all(&notes).unwrap().remove(0).forget().unwrap();
        assert_eq!(presence(), []);
    }

    #[test]
    fn a_workspace_whose_note_is_damaged_is_not_taken_for_one_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (notes, root) = (folder.path().join("workspaces"), folder.path().join("paper"));
        fs::create_dir_all(root.join(".ribbon")).unwrap();
        note(&notes, Access::default(), &root).unwrap();
        let noted = all(&notes).unwrap().remove(0);
        let mut text = fs::read(&noted.note).unwrap();
        *text.last_mut().unwrap() ^= 1;
        fs::write(&noted.note, text).unwrap();
        assert_eq!(all(&notes).unwrap()[0].presence, Presence::Hidden);
    }

    #[test]
    fn the_copy_of_a_lock_follows_it() {
        let folder = tempfile::tempdir().unwrap();
        let (notes, root) = (folder.path().join("workspaces"), folder.path().join("paper"));
        fs::create_dir_all(&root).unwrap();
        note(&notes, Access::default(), &root).unwrap();
        for text in ["one", "two"] {
            std::thread::sleep(std::time::Duration::from_millis(20));
            fs::write(root.join("pipeline.lock"), text).unwrap();
            note(&notes, Access::default(), &root).unwrap();
            let [_, copy] = all(&notes).unwrap()[0].locks();
            assert_eq!(fs::read_to_string(copy).unwrap(), text);
        }
    }
}
