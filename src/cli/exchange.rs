//! `push`, `pull` and `key`: what people type to exchange finished work.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Context, Result};
use indicatif::ProgressBar;

use super::{KeyAction, complain, jobs, lock_workspace, open, print, root};
use crate::explain;
use crate::graph::JobId;
use crate::project::{Project, Selection};
use crate::run;
use crate::share::{self, Again, Exchange, OwnKey, ShareError};
use crate::target;

/// Publishes jobs: those of the targets, or all.
pub fn push(project: &Project, targets: &[String], again: bool) -> Result<ExitCode> {
    run::allow_many_files();
    let exchange = Exchange::open(project)?.ok_or(ShareError::None)?;
    let jobs = if targets.is_empty() { project.graph.ids().collect() } else { jobs(project, targets)? };
    let bar = ProgressBar::new(jobs.len() as u64);
    let again = if again { Again::All } else { Again::Gone };
    let pushed = share::push(project, &exchange, &jobs, again, || bar.inc(1))?;
    bar.finish_and_clear();
    tell_notes(&exchange);
    print(&format!("{pushed}\n"))?;
    // Of everything, some is always left out; of what was asked for by name, nothing should be.
    let is_all = targets.is_empty() || pushed.absent + pushed.stale == 0;
    Ok(if is_all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Fetches outputs: those of the targets, or what is published.
pub fn pull(selection: &Selection, targets: &[String]) -> Result<ExitCode> {
    run::allow_many_files();
    // What is published changes the workspace.
    let _lock = lock_workspace(&root(selection)?)?;
    let mut project = open(selection)?;
    let exchange = Exchange::open(&project)?.ok_or(ShareError::None)?;
    let mut wanted: BTreeMap<JobId, BTreeSet<usize>> = BTreeMap::new();
    for target in targets {
        for id in target::select(&project, target)? {
            let places = 0..project.stage(id).outputs.len();
            let places = places.filter(|place| target::takes(&project, target, id, *place));
            wanted.entry(id).or_default().extend(places);
        }
    }
    if targets.is_empty() {
        for id in target::everything(&project) {
            let published = project.graph.published(&project.pipeline, id);
            let places = published.iter().map(|(place, _)| usize::from(*place));
            let all = 0..project.stage(id).outputs.len();
            wanted.insert(id, if published.is_empty() { all.collect() } else { places.collect() });
        }
    }
    let outputs = wanted.values().map(BTreeSet::len).sum::<usize>();
    let bar = ProgressBar::new(outputs as u64);
    let pulled = share::pull(&project, &exchange, &wanted, || bar.inc(1))?;
    bar.finish_and_clear();
    explain::complete(&project)?;
    project.store.sync_new()?;
    for (job, line) in &pulled.lines {
        project.lock.set(job, line.clone());
    }
    project.lock.save()?;
    project.store.note_workspace(&project.root)?;
    // Only speed is lost when this cannot be written.
    let _ = project.memo.save();
    tell_notes(&exchange);
    print(&format!("{pulled}\n"))?;
    Ok(if pulled.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes or shows one's key.
pub fn key(action: &KeyAction) -> Result<ExitCode> {
    let path = OwnKey::path()?;
    let own = match action {
        KeyAction::New => OwnKey::create(&path)?,
        KeyAction::Show => OwnKey::load(&path)?
            .with_context(|| format!("no key in {}: `ribbon key new` makes one", path.display()))?,
    };
    complain(&format!("{}; others trust it by a line under `trust:` in pipeline.yaml:", path.display()));
    print(&format!("{}\n", own.public()))
}

/// What people should know of the share, at the end.
pub fn tell_notes(exchange: &Exchange) {
    for text in exchange.trouble().into_iter().chain(exchange.notes()) {
        complain(&format!("share   {text}"));
    }
}
