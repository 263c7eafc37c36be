//! Commands about pipeline.lock: accept, diff, merge-lock.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::{complain, jobs, open_to_change, print};
use crate::explain;
use crate::lockfile::{self, Lock};
use crate::project::{Project, Selection};

/// Accepts, and says over which changes.
pub fn accept(selection: &Selection, targets: &[String], because: &str) -> Result<ExitCode> {
    let Some((mut project, _lock)) = open_to_change(selection, false)? else {
        return Ok(ExitCode::FAILURE);
    };
    let targets = jobs(&project, targets)?;
    let outcome = crate::accept::accept(&mut project, &targets, because)?;
    let mut text = String::new();
    for group in outcome.accepted.as_slice() {
        text.push_str(&format!("accepted {group}\n"));
    }
    for group in outcome.refused.as_slice() {
        text.push_str(&format!("not accepted {group}\n"));
    }
    if outcome.accepted.jobs() + outcome.refused.jobs() == 0 {
        text.push_str("nothing to accept: up to date\n");
    }
    print(&text)?;
    Ok(if outcome.refused.jobs() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says what differs between two revisions of the lock, or between two of its profiles.
pub fn diff(
    project: &Project,
    before: &str,
    after: Option<&str>,
    profiles: &[String],
    json: bool,
) -> Result<ExitCode> {
    if profiles.is_empty() && !is_in_git(&project.root) {
        bail!(
            "{} is in no work tree of git, and without one there is no other version of pipeline.lock to compare with; \
             --profiles A B compares two profiles",
            project.root.display()
        );
    }
    let (before, after) = match profiles {
        [a, b] => (profile(project, a)?, profile(project, b)?),
        _ => (version(project, Some(before))?, version(project, after)?),
    };
    let stages: Vec<&str> = project.pipeline.stages.iter().map(|stage| stage.name.as_str()).collect();
    let changes = explain::diff(&project.store, &stages, before.lines(), after.lines());
    let lines = changes.iter().map(|change| format!("{change}\n"));
    match () {
        () if json => print(&format!("{:#}\n", serde_json::to_value(&changes)?)),
        () if changes.is_empty() => print("no job differs\n"),
        () => print(&lines.collect::<String>()),
    }
}

/// Whether git may know other versions of what lies in a folder.
pub fn is_in_git(folder: &Path) -> bool {
    std::env::var_os("GIT_DIR").is_some() || lockfile::is_in_repository(folder)
}

/// The lock of the project's profile in a revision, or as it is.
fn version(project: &Project, revision: Option<&str>) -> Result<Lock> {
    let (path, profile) = (project.lock.path(), &project.pipeline.profile);
    Ok(match revision {
        Some(revision) => Lock::parse(path, profile, lockfile::at_revision(path, revision)?)?,
        None => Lock::open(path, profile)?,
    })
}

/// The lock of another profile.
fn profile(project: &Project, name: &str) -> Result<Lock> {
    let path = project.lock.path();
    let lock = Lock::open(path, name)?;
    if lock.lines().is_empty() {
        bail!("{} has no lines of a profile {name}; run it first", path.display());
    }
    Ok(lock)
}

/// Merges locks for git, which takes any failure as a conflict and leaves the file to people.
pub fn merge(paths: [&Path; 3]) -> Result<ExitCode> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let [base, ours, theirs] = paths.map(read);
    let merged = match lockfile::merge(&base?, &ours?, &theirs?) {
        Ok(merged) => merged,
        Err((place, error)) => bail!("cannot merge {}: {error}", paths[place].display()),
    };
    std::fs::write(paths[1], merged.text).with_context(|| format!("cannot write {}", paths[1].display()))?;
    if !merged.dropped.is_empty() {
        complain(&format!(
            "pipeline.lock: both sides changed {}; left out, the next `ribbon run` writes them",
            merged.dropped.join(", ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}
