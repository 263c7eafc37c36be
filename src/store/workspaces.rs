//! The workspaces that use a store: what their locks name is wanted, and no collection takes it.
//!
//! A file a workspace in `store/workspaces/`: a line with the machine, then the workspace's path. Its name is the hash of
//! these. Beside it, with `.lock` at the end of the name, a copy of the workspace's lock as of its last run, for those who
//! cannot see the workspace: on other machines, or without the permission. The copy is sealed, and as old as the lock: where
//! one of them was damaged, it is known which. With `.id` at the end, what the workspace's `.ribbon/id` says, and the number
//! of that folder: containers and nodes of a cluster see one workspace under ever new names of machines.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::access::Access;
use super::locks::{machine, random};
use crate::hash::Hash;

/// A workspace that is at work is noted anew after so long.
const SEEN: Duration = Duration::from_secs(24 * 3600);

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
    /// It is there, and was noted by another name of a machine.
    Renamed,
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

    /// Whether it was noted on this machine, by the name that the machine has now.
    pub fn is_of_this_machine(&self) -> bool {
        self.machine == machine()
    }

    /// How long ago it was last seen, to a day.
    pub fn age(&self) -> Duration {
        age(&self.note)
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When the note cannot be removed.
    pub fn forget(&self) -> io::Result<()> {
        let _ = fs::remove_file(copy_beside(&self.note));
        let _ = fs::remove_file(id_beside(&self.note));
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
    // Written anew, and not only given another time, which in a group's store its owner alone could do.
    if age(&note) > SEEN {
        access.make_folder(folder)?;
        access.write_whole(&note, &text)?;
    }
    let id = id(access, root);
    if id.is_some() && id != fs::read(id_beside(&note)).ok() {
        access.write_whole(&id_beside(&note), &id.unwrap_or_default())?;
    }
    let (lock, copy) = (root.join("pipeline.lock"), copy_beside(&note));
    if lock.exists() && !is_copy_of(&copy, &lock) {
        write_copy(access, &copy, &lock)?;
    }
    Ok(())
}

/// A file's age; one that is not there is as old as can be.
fn age(path: &Path) -> Duration {
    let time = fs::metadata(path).and_then(|metadata| metadata.modified());
    time.map_or(Duration::MAX, |time| time.elapsed().unwrap_or_default())
}

/// What tells a workspace from others, whatever its path and machine are called; made with the first note. None where it
/// cannot be made.
fn id(access: Access, root: &Path) -> Option<Vec<u8>> {
    let path = root.join(".ribbon/id");
    if !path.exists() {
        access.write_whole(&path, format!("{:016x}{:016x}\n", random(), random()).as_bytes()).ok()?;
    }
    identity(root)
}

/// The id of a workspace, and the number of its folder: copies of a workspace have its id.
fn identity(root: &Path) -> Option<Vec<u8>> {
    let folder = fs::metadata(root.join(".ribbon")).ok()?;
    let id = fs::read_to_string(root.join(".ribbon/id")).ok()?;
    Some(format!("{} {}\n", id.trim(), folder.ino()).into_bytes())
}

/// What comparing a lock with its copy has shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Copied {
    /// They are alike, or there is nothing to compare.
    Alike,
    /// The copy was damaged, and is written anew.
    Renewed,
    /// The lock is not what was copied, though nobody has written it since: this was.
    Damaged(Vec<u8>),
}

/// Compares a workspace's lock with its copy.
///
/// # Errors
/// When one of them cannot be read or written.
pub fn compare(folder: &Path, access: Access, root: &Path) -> io::Result<Copied> {
    let (lock, copy) = (root.join("pipeline.lock"), copy_beside(&folder.join(name(&note_of(root)))));
    if !lock.exists() || !copy.exists() {
        return Ok(Copied::Alike);
    }
    let (now, copied) = (fs::read(&lock)?, fs::read(&copy)?);
    match unsealed(&copied) {
        None => write_copy(access, &copy, &lock).map(|()| Copied::Renewed),
        Some(then) if then != now && is_copy_of(&copy, &lock) => Ok(Copied::Damaged(then.to_vec())),
        // If it was written since, the next command copies it.
        Some(_) => Ok(Copied::Alike),
    }
}

/// Whether a copy is as long and as old as this lock.
fn is_copy_of(copy: &Path, lock: &Path) -> bool {
    let looks = |path: &Path| fs::metadata(path).and_then(|it| Ok((it.len(), it.modified()?)));
    let Ok((length, time)) = looks(lock) else { return false };
    looks(copy).is_ok_and(|it| it == (length + SEAL, time))
}

/// Copies a lock, with its time.
fn write_copy(access: Access, copy: &Path, lock: &Path) -> io::Result<()> {
    let time = fs::metadata(lock)?.modified()?;
    access.write_whole(copy, &sealed(&fs::read(lock)?))?;
    fs::File::options().write(true).open(copy)?.set_modified(time)
}

/// Bytes of a seal: a line end, a sign, a space, 64 digits, a line end.
const SEAL: u64 = 68;

/// A lock's text with its hash below, as a comment, so that a copy reads as a lock.
fn sealed(lock: &[u8]) -> Vec<u8> {
    [lock, format!("\n# {}\n", Hash::of(lock)).as_bytes()].concat()
}

/// The text above a seal; none when it is not what was sealed.
fn unsealed(copy: &[u8]) -> Option<&[u8]> {
    let lock = copy.get(..copy.len().checked_sub(SEAL as usize)?)?;
    (sealed(lock) == copy).then_some(lock)
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
            (Ok(true), _) | (_, Ok(true)) => {
                let is_same = identity(&path).is_some_and(|id| Some(id) == fs::read(id_beside(&note)).ok());
                let is_renamed = is_same && noted != machine().as_bytes();
                if is_renamed { Presence::Renamed } else { Presence::Here }
            }
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

fn id_beside(note: &Path) -> PathBuf {
    note.with_extension("id")
}

fn copy_beside(note: &Path) -> PathBuf {
    note.with_extension("lock")
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
    fn a_workspace_that_other_machines_have_noted_is_known_by_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let (notes, root) = (folder.path().join("workspaces"), folder.path().join("paper"));
        fs::create_dir_all(root.join(".ribbon")).unwrap();
        note(&notes, Access::default(), &root).unwrap();
        let noted = all(&notes).unwrap().remove(0);
        let text = format!("not-{}", fs::read_to_string(&noted.note).unwrap());
        let other = notes.join(name(text.as_bytes()));
        fs::write(&other, text).unwrap();
        let presence = || {
            let found = all(&notes).unwrap();
            found.into_iter().find(|workspace| workspace.note == other).unwrap().presence
        };
        assert_eq!(presence(), Presence::Here, "it may be another");
        fs::copy(id_beside(&noted.note), id_beside(&other)).unwrap();
        assert_eq!(presence(), Presence::Renamed);
        // A copy of it has its id, and is another.
        fs::rename(root.join(".ribbon"), root.join("original")).unwrap();
        fs::create_dir(root.join(".ribbon")).unwrap();
        fs::copy(root.join("original/id"), root.join(".ribbon/id")).unwrap();
        assert_eq!(presence(), Presence::Here);
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
            assert!(fs::read_to_string(copy).unwrap().starts_with(&format!("{text}\n# ")));
            assert_eq!(compare(&notes, Access::default(), &root).unwrap(), Copied::Alike);
        }
    }

    #[test]
    fn of_a_lock_and_its_copy_it_is_known_which_one_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let (notes, root) = (folder.path().join("workspaces"), folder.path().join("paper"));
        fs::create_dir_all(&root).unwrap();
        let lock = root.join("pipeline.lock");
        fs::write(&lock, "one").unwrap();
        note(&notes, Access::default(), &root).unwrap();
        let compared = || compare(&notes, Access::default(), &root).unwrap();
        let write_unseen = |path: &Path, bytes: &[u8]| {
            let time = fs::metadata(path).unwrap().modified().unwrap();
            fs::write(path, bytes).unwrap();
            fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        };
        write_unseen(&lock, b"onf");
        assert_eq!(compared(), Copied::Damaged(b"one".to_vec()));
        note(&notes, Access::default(), &root).unwrap();
        assert_eq!(compared(), Copied::Damaged(b"one".to_vec()), "noting does not take it for the lock");
        write_unseen(&lock, b"one");
        let [_, copy] = all(&notes).unwrap()[0].locks();
        let mut bytes = fs::read(&copy).unwrap();
        bytes[1] ^= 1;
        write_unseen(&copy, &bytes);
        assert_eq!(compared(), Copied::Renewed);
        assert_eq!(compared(), Copied::Alike);
        // Somebody has restored another version, with its time.
        fs::write(&lock, "two").unwrap();
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(99_999);
        fs::File::options().write(true).open(&lock).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(compared(), Copied::Alike);
        note(&notes, Access::default(), &root).unwrap();
        assert!(fs::read(&copy).unwrap().starts_with(b"two"));
    }
}
