//! `ribbon verify`: is the store as it was written, and do jobs make the same bits again?

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::exchange::tell_notes;
use super::{jobs, lock_workspace, open, print, report, root};
use crate::hash::Hash;
use crate::lockfile::{self, Line};
use crate::project::{Project, Selection, State};
use crate::run::{self, Interrupts, Options, Rerun};
use crate::share::{self, Exchange};
use crate::store::{Artifact, Copied, Store};

/// Reads the lock and all that the store keeps.
pub fn store(selection: &Selection) -> Result<ExitCode> {
    // First of all: a project whose lock has a line that is none does not open.
    let lock = mend_lock(&root(selection)?)?;
    // At once: it is done, whatever happens now.
    print(&lock.text)?;
    let project = &open(selection)?;
    let verified = project.store.verify()?;
    let exchange = if verified.dropped.is_empty() { None } else { Exchange::open(project)? };
    let healed = exchange.as_ref().map(|share| share::heal(project, share, &verified.dropped));
    let healed = healed.unwrap_or_default();
    let mut text = String::new();
    let mut tell = |what: &str, hash: &Hash, names: BTreeSet<String>| {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let names = if names.is_empty() { names } else { format!(" ({names})") };
        let done = if healed.contains(hash) { "fetched from the share" } else { "dropped" };
        text.push_str(&format!("damaged, {done}: {what}{hash}{names}\n"));
    };
    for hash in &verified.dropped {
        let recorded = project.store.outputs_with(*hash);
        tell("", hash, project.lock.outputs_with(*hash).into_iter().chain(recorded).collect());
    }
    for key in &verified.records {
        tell("record ", &key.0, project.lock.jobs_with(*key).into_iter().collect());
    }
    verified.code.iter().for_each(|hash| tell("list of code ", hash, BTreeSet::new()));
    if verified.index_bytes > 0 {
        text.push_str(&format!("damaged, dropped: {} bytes of the index\n", verified.index_bytes));
    }
    if !verified.restored.is_empty() {
        text.push_str(&format!("back in the index, by their records: {}\n", verified.restored.join(", ")));
    }
    if project.memo.was_damaged() {
        // What it remembered is read again where it is used.
        let _ = project.memo.save();
        text.push_str("damaged, dropped: the memo of hashes\n");
    }
    let unlike = unlike_their_records(project);
    if let [job, others @ ..] = &unlike[..] {
        let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        text.push_str(&format!(
            "pipeline.lock has other bits of {job}{others} than the record: damaged, or made elsewhere; \
             `ribbon run --update-lock` takes the record's\n"
        ));
    }
    let damaged = lock.damaged + verified.damaged() + usize::from(project.memo.was_damaged());
    let size = indicatif::HumanBytes(verified.bytes);
    text.push_str(&format!("{} objects, {size}, {damaged} damaged\n", verified.objects));
    if verified.dropped.len() > healed.len() {
        text.push_str("`ribbon run` makes again what is needed of them\n");
    }
    if lock.dropped > 0 {
        text.push_str(
            "`ribbon run` writes the lines of its profile anew; until then `ribbon gc` does not know that what they name is wanted\n",
        );
    }
    print(&text)?;
    exchange.iter().for_each(tell_notes);
    Ok(if damaged + unlike.len() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was wrong with pipeline.lock, or its copy, and is mended.
#[derive(Default)]
struct MendedLock {
    text: String,
    damaged: usize,
    /// Lines that are not there any more.
    dropped: usize,
}

/// Puts back what the last run has written to pipeline.lock, where nobody has written it since; and takes lines out that are
/// none all the same.
fn mend_lock(root: &Path) -> Result<MendedLock> {
    let path = root.join("pipeline.lock");
    let store = Store::open(&State::open(root)?.store())?;
    let mut mended = MendedLock::default();
    // A run that is at work writes the lock, and copies it.
    if let Some(_alone) = Project::try_lock_workspace(root)? {
        match store.compare_lock(root)? {
            Copied::Alike => {}
            Copied::Renewed => {
                mended.damaged += 1;
                mended.text.push_str("damaged, written anew: the store's copy of pipeline.lock\n");
            }
            Copied::Damaged(written) => {
                for line in lockfile::put_back(&path, &written)? {
                    mended.damaged += 1;
                    mended.text.push_str(&format!("damaged, put back: {line}\n"));
                }
            }
        }
    }
    if !lockfile::damaged(&path)?.is_empty() {
        let _alone = lock_workspace(root)?;
        for line in lockfile::mend(&path)? {
            mended.dropped += 1;
            mended.text.push_str(&format!("damaged, dropped: {line}\n"));
        }
        mended.damaged += mended.dropped;
    }
    Ok(mended)
}

/// The jobs of which pipeline.lock says another thing than the record of the same key.
fn unlike_their_records(project: &Project) -> Vec<&str> {
    let is_unlike = |line: &Line| {
        project.store.record(line.key).is_some_and(|record| {
            let made: BTreeMap<String, Artifact> =
                record.outputs.keys().cloned().zip(record.artifacts()).collect();
            made != line.outputs
        })
    };
    let lines = project.lock.lines().iter();
    lines.filter(|(_, line)| is_unlike(line)).map(|(job, _)| job.as_str()).collect()
}

/// Runs jobs again, and tells which make the same bits.
pub fn bits(project: &Project, targets: &[String], sample: Option<usize>) -> Result<ExitCode> {
    let interrupts = Interrupts::catch().context("cannot catch Ctrl-C")?;
    let (jobs, options) = (jobs(project, targets)?, Options::default());
    let reruns = run::rerun(project, &jobs, sample, &options, &interrupts, report(false).as_mut())?;
    reruns.iter().try_for_each(|rerun| print(&format!("{rerun}\n")).map(drop))?;
    Ok(match () {
        () if reruns.iter().any(|rerun| rerun.interrupted) => ExitCode::from(130),
        () if reruns.iter().all(Rerun::is_fine) => ExitCode::SUCCESS,
        () => ExitCode::FAILURE,
    })
}
