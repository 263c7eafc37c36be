//! What jobs go on from when they were interrupted: a folder a job, which outlives its process.
//!
//! ```text
//! store/resume/aside/KEY-MACHINE   of a job that does not run
//! store/resume/SLOT/KEY-MACHINE    of one that a worker runs, or ran when it was killed
//! ```
//!
//! A worker's sandbox is set up once, for all its jobs: it lets them write in the worker's slot, into which the folder
//! of each job is moved. `MACHINE` stands for the kind of machine and device: a job that goes on elsewhere would make the
//! bits of neither. Who moves or removes a folder has its key's lock.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::unistd::{AccessFlags, access, geteuid};

use super::access::Access;
use super::gc::age;
use super::locks::Scratch;
use super::{Machine, Store, StoreError, io_error};
use crate::folder;
use crate::hash::{Hash, Key};

/// The slot of what no worker has.
const ASIDE: &str = "aside";

/// Digits of a machine's hash in a name.
const DIGITS: usize = 16;

/// A worker's place for the folder of the job it runs.
#[derive(Debug)]
pub struct Slot {
    /// That of all slots.
    parent: PathBuf,
    path: PathBuf,
    access: Access,
}

impl Slot {
    /// Where it is. Made with the first folder in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves a job's folder here from wherever it is, or makes one. Returns its path.
    ///
    /// # Errors
    /// When it cannot be moved or made.
    pub fn take(&self, key: Key, machine: &Machine) -> Result<PathBuf, StoreError> {
        let name = name(key, machine);
        let to = self.path.join(&name);
        let take = || {
            self.access.make_folder(&self.path)?;
            let mut places = folders_in(&self.parent)?.into_iter().map(|slot| slot.join(&name));
            match places.find(|place| place.is_dir()) {
                Some(from) => {
                    fs::rename(from, &to)?;
                    if !(self.access.is_shared() && is_closed(&to)) {
                        return Ok(());
                    }
                    // What cannot even be removed gets out of the way; the folder above is the group's.
                    folder::remove(&to).or_else(|_| fs::rename(&to, super::beside(&to)))?;
                    self.access.make_folder(&to)
                }
                None => self.access.make_folder(&to),
            }
        };
        take().map_err(io_error("make", &to))?;
        Ok(to)
    }

    /// Puts a job's folder where the next one that runs it finds it; an empty one goes.
    ///
    /// # Errors
    /// When it cannot be moved. It is found here as well.
    pub fn put_aside(&self, folder: &Path) -> io::Result<()> {
        if fs::remove_dir(folder).is_ok() {
            return Ok(());
        }
        let aside = self.parent.join(ASIDE);
        self.access.make_folder(&aside)?;
        // What cannot be given to the group stays its owner's.
        let _ = self.access.share_all(folder);
        fs::rename(folder, aside.join(folder.file_name().unwrap_or_default()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Where something is left in it, that is found.
        let _ = fs::remove_dir(&self.path);
    }
}

impl Store {
    /// A slot; its name without the extension is that of the run's scratch folder.
    pub fn slot(&self, name: &str) -> Slot {
        let parent = self.root.join("resume");
        Slot { path: parent.join(name), parent, access: self.access }
    }

    /// Removes, or only counts, what no job is going to go on from: it has a record, or nothing was written for so long.
    pub(super) fn collect_resumes(&self, keep: Duration, dry_run: bool) -> Result<usize, StoreError> {
        let parent = self.root.join("resume");
        let tmp = self.tmp().path;
        let alive = Scratch::alive(&tmp).map_err(io_error("read", &tmp))?;
        let mut count = 0;
        for slot in folders_in(&parent).map_err(io_error("read", &parent))? {
            for folder in folders_in(&slot).map_err(io_error("read", &slot))? {
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                let key = name.split('-').next().and_then(|key| key.parse().ok());
                let is_done = key.is_some_and(|key| self.artifacts(key).is_some());
                if !is_done && written(&folder) < keep {
                    continue;
                }
                // A job that runs has it.
                let key = key.unwrap_or(Key(Hash::of(&[])));
                if !self.try_lock(key)? {
                    continue;
                }
                count += 1;
                let removed = if dry_run { Ok(()) } else { folder::remove(&folder) };
                self.unlock(key);
                match removed {
                    // Of another user, who has closed a folder in it.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => count -= 1,
                    removed => removed.map_err(io_error("remove", &folder))?,
                }
            }
            // The sandbox of a worker that lives knows its slot, an empty one too.
            if !dry_run && !alive.iter().any(|run| run.file_name() == slot.file_stem()) {
                let _ = fs::remove_dir(&slot);
            }
        }
        Ok(count)
    }
}

fn name(key: Key, machine: &Machine) -> String {
    let Machine { device, processor, features, system, cards } = machine;
    let kind = device.split(':').next().unwrap_or_default();
    let mut text = format!("{kind}\n{processor}\n{}\n{system}", features.join(" "));
    cards.iter().for_each(|card| text += &format!("\n{card}"));
    let machine = Hash::of(text.as_bytes());
    format!("{key}-{}", &machine.to_string()[..DIGITS])
}

/// Whether there is something of another user's in a folder that this one may not go on from: of a process that was killed
/// before its work could be given to the group.
fn is_closed(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return true };
    entries.flatten().any(|entry| {
        // Of a link, not of what it leads to.
        let (path, Ok(metadata)) = (entry.path(), entry.metadata()) else { return true };
        let is_refused = metadata.uid() != geteuid().as_raw()
            && !metadata.is_symlink()
            && access(&path, AccessFlags::R_OK | AccessFlags::W_OK).is_err();
        is_refused || metadata.is_dir() && is_closed(&path)
    })
}

/// How long ago something in a folder was written.
fn written(folder: &Path) -> Duration {
    let now = SystemTime::now();
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    files.map(|file| age(&file, now)).fold(age(folder, now), Duration::min)
}

fn folders_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_found_wherever_it_is_on_the_same_kind_of_machine_only() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let (key, here) = (Key(Hash::of(b"job")), Machine::here());
        let slot = store.slot("1-a.w0");
        let folder = slot.take(key, &here).unwrap();
        fs::write(folder.join("state"), "half").unwrap();
        slot.put_aside(&folder).unwrap();
        drop(slot);
        assert!(!root.path().join("resume/1-a.w0").exists(), "an empty slot goes with its worker");

        // One that is killed does not put it aside.
        let killed = store.slot("2-b.w0");
        let folder = killed.take(key, &here).unwrap();
        assert_eq!(fs::read(folder.join("state")).unwrap(), b"half");
        std::mem::forget(killed);
        let slot = store.slot("3-c.w1");
        let elsewhere = Machine { device: "cuda:1".to_owned(), ..here.clone() };
        let other = slot.take(key, &elsewhere).unwrap();
        assert!(!other.join("state").exists());
        slot.put_aside(&other).unwrap();
        let folder = slot.take(key, &here).unwrap();
        assert_eq!(fs::read(folder.join("state")).unwrap(), b"half");
    }

    #[test]
    fn two_cards_are_one_kind_of_machine() {
        let card = |device: &str| Machine { device: device.to_owned(), ..Machine::here() };
        let key = Key(Hash::of(b"job"));
        assert_eq!(name(key, &card("cuda:0")), name(key, &card("cuda:1")));
        assert_ne!(name(key, &card("cuda:0")), name(key, &card("cpu")));
        let older = Machine { cards: vec!["NVIDIA A100".to_owned()], ..card("cuda:0") };
        assert_ne!(name(key, &card("cuda:0")), name(key, &older));
    }
}
