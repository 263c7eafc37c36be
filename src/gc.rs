//! `ribbon gc`: asks the locks of all known workspaces what is wanted, and has the store remove the rest.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::HumanBytes;

use crate::lockfile::{self, Line, LockError, RevisionError};
use crate::project::{ProjectError, State};
use crate::store::{Collected, Limits, Presence, Roots, Store, StoreError, Workspace};

/// Why nothing was collected.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The project's state folder cannot be used.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A lock does not say what its workspace needs.
    #[error("nothing was removed, for it is not known what the workspace {path} needs: {why}")]
    Lock {
        /// The workspace.
        path: String,
        /// What is wrong with it.
        why: LockError,
    },
    /// git does not tell what other branches need.
    #[error(
        "nothing was removed, for it is not known what other branches of {path} need: {why} (with --no-branches they \
         are not asked)"
    )]
    Branches {
        /// The workspace.
        path: String,
        /// Why.
        why: RevisionError,
    },
    /// A workspace that is gone cannot be forgotten.
    #[error("cannot remove {path}: {why}")]
    Note {
        /// The note of it.
        path: String,
        /// Why.
        why: std::io::Error,
    },
}

/// What a collection did, for people.
#[derive(Debug)]
pub struct Report {
    collected: Collected,
    limits: Limits,
    workspaces: Vec<Workspace>,
    /// Workspaces of other users, whose branches git does not tell.
    unasked: Vec<PathBuf>,
}

/// Collects in the store of the project at `root`. With `branches`, what the locks on branches and tags of workspaces name
/// stays too.
///
/// # Errors
/// When it is not known what a workspace needs, or something cannot be removed.
pub fn gc(root: &Path, limits: Limits, branches: bool) -> Result<Report, GcError> {
    let store = Store::open(&State::open(root)?.store())?;
    store.note_workspace(root)?;
    let (mut workspaces, mut unasked) = (Vec::new(), Vec::new());
    let collected = store.collect(
        || {
            workspaces = store.workspaces()?;
            roots(&workspaces, &limits, branches, &mut unasked)
        },
        &limits,
    )?;
    if !limits.dry_run {
        for workspace in workspaces.iter().filter(|it| is_forgotten(it, &workspaces, &limits)) {
            let path = workspace.note.display().to_string();
            workspace.forget().map_err(|why| GcError::Note { path, why })?;
        }
    }
    Ok(Report { collected, limits, workspaces, unasked })
}

/// What workspaces need; `unasked` takes those of which it is not known what their branches need.
fn roots(
    workspaces: &[Workspace],
    limits: &Limits,
    branches: bool,
    unasked: &mut Vec<PathBuf>,
) -> Result<Roots, GcError> {
    let (mut roots, mut asked) = (Roots::default(), BTreeSet::new());
    let mut add = |line: Line| {
        roots.keys.insert(line.key);
        roots.artifacts.extend(line.outputs.into_values());
    };
    for workspace in workspaces {
        let [own, copy] = workspace.locks();
        let path = || workspace.path.display().to_string();
        let is_here = matches!(workspace.presence, Presence::Here | Presence::Renamed);
        if branches && is_here && asked.insert(&workspace.path) {
            match lockfile::on_branches(&own) {
                Ok(texts) => texts.iter().flat_map(|text| lockfile::lines_in(text)).for_each(&mut add),
                Err(why) if why.is_of_another_user() => unasked.push(workspace.path.clone()),
                Err(why) => return Err(GcError::Branches { path: path(), why }),
            }
        }
        let seen = is_here.then_some(own);
        let copied = (!is_past(workspace, limits)).then_some(copy);
        for lock in seen.into_iter().chain(copied) {
            let lines = lockfile::all(&lock).map_err(|why| GcError::Lock { path: path(), why })?;
            lines.into_iter().for_each(&mut add);
        }
    }
    Ok(roots)
}

/// Whether the copy of a workspace's lock does not count any more: the workspace is gone, or has its lock to say what it
/// needs, and its last run was as long ago as anything else is kept. A disk may only be unmounted.
fn is_past(workspace: &Workspace, limits: &Limits) -> bool {
    matches!(workspace.presence, Presence::Gone | Presence::Renamed) && workspace.age() >= limits.keep
}

/// Whether a note is of no more use: its workspace is gone, or has another by the name that this machine has now.
fn is_forgotten(workspace: &Workspace, others: &[Workspace], limits: &Limits) -> bool {
    let is_noted = || others.iter().any(|other| other.is_of_this_machine() && other.path == workspace.path);
    is_past(workspace, limits) && (workspace.presence == Presence::Gone || is_noted())
}

impl Report {
    /// By how many bytes the store is larger than it was to be.
    pub fn excess(&self) -> Option<u64> {
        let max = self.limits.max_size?;
        self.collected.kept_bytes.checked_sub(max).filter(|excess| *excess > 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { collected, limits, workspaces, unasked } = self;
        for workspace in workspaces {
            let Workspace { path, machine, note, presence } = workspace;
            let (path, note) = (path.display(), note.display());
            match presence {
                Presence::Renamed => {}
                Presence::Here if workspace.is_of_this_machine() => {}
                // The store may be on a disk of both, and the workspaces not.
                Presence::Here => writeln!(
                    f,
                    "the workspace {path} was noted on {machine} as well, where it may be another; what it needed at its \
                     last run there stays (if it was this one, or is no more, remove {note})"
                )?,
                Presence::Gone if is_past(workspace, limits) => {
                    writeln!(f, "the workspace {path} is no more; what only it needed may go")?;
                }
                Presence::Gone => writeln!(
                    f,
                    "the workspace {path} is no more; what it needed stays for as long as --keep-days says"
                )?,
                Presence::Hidden => writeln!(
                    f,
                    "the workspace {path} of {machine} cannot be seen from here; what it needed at its last run stays \
                     (if it is no more, remove {note})"
                )?,
            }
        }
        for path in unasked {
            writeln!(
                f,
                "the workspace {} is somebody else's, and git does not tell of its branches; what it needs now stays",
                path.display()
            )?;
        }
        for (stage, (records, bytes)) in &collected.stages {
            writeln!(f, "{stage}: {records} records, {}", HumanBytes(*bytes))?;
        }
        let Collected { objects, leftovers, kept_objects, young, .. } = collected;
        let (bytes, kept_bytes) = (HumanBytes(collected.bytes), HumanBytes(collected.kept_bytes));
        let removed = if limits.dry_run { "would remove" } else { "removed" };
        writeln!(f, "{removed} {objects} objects, {bytes}; {leftovers} logs and leftovers")?;
        write!(f, "kept {kept_objects} objects, {kept_bytes}")?;
        if *young > 0 {
            let days = limits.keep.as_secs_f64() / DAY.as_secs_f64();
            write!(f, "; {young} records only because they are younger than {days} days (--keep-days)")?;
        }
        writeln!(f)?;
        if let Some(excess) = self.excess() {
            let excess = HumanBytes(excess);
            writeln!(
                f,
                "that is {excess} more than --max-size; all that is left is needed by the locks of:"
            )?;
            for workspace in workspaces.iter().filter(|workspace| workspace.presence != Presence::Gone) {
                writeln!(f, "  {}", workspace.path.display())?;
            }
        }
        Ok(())
    }
}

/// A day of `--keep-days`.
pub const DAY: Duration = Duration::from_secs(24 * 3600);
