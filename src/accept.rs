//! Accepting: what a job made stays its result over a change of its key that somebody calls cosmetic.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::explain::{Groups, differences};
use crate::graph::JobId;
use crate::hash::Key;
use crate::lockfile::{Line, LockError};
use crate::plan::{Plan, State};
use crate::project::Project;
use crate::store::{Accepted, Artifacts, Machine, Record, RecordedOutput, StoreError, artifacts_of};

/// Why accepting broke off.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lock could not be written.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// What came of it. No job is in both; jobs that were up to date are in none.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Jobs that keep their outputs, and over which changes.
    pub accepted: Groups,
    /// Jobs that are not up to date and have nothing to keep, and why.
    pub refused: Groups,
}

/// Gives those jobs of `targets` that are not up to date a record under their new keys, with what they made before.
/// What depends on them is then as up to date as it was, since keys come from the content of inputs. The caller holds
/// the workspace's lock.
///
/// # Errors
/// When the store or the lock cannot be read or written; records written until then stand.
pub fn accept(
    project: &mut Project,
    targets: &BTreeSet<JobId>,
    because: &str,
) -> Result<Outcome, AcceptError> {
    let mut outcome = Outcome::default();
    let mut lines = Vec::new();
    // Until the lock names what is accepted, nothing is collected.
    let _hold = project.store.hold()?;
    project.store.refresh()?;
    let mut plan = Plan::new(project, targets, &BTreeSet::new());
    // Producers before consumers: a target may be what another one waits for.
    for &id in targets {
        if *plan.state(id) == State::Waiting && plan.inputs_known(id) {
            plan.resolve(id);
        }
        let previous = match plan.state(id) {
            State::Current(..) | State::Kept(_) | State::Unneeded => continue,
            State::Waiting => {
                let stages = plan.stages_waited_for(id);
                Err(format!("its key is not known before {stages} is up to date: accept or run that first"))
            }
            State::Stale(..) if project.lacks_source(id) => {
                Err("it takes a file that cannot be read".to_owned())
            }
            State::Stale(key, _) => previous(project, id).map(|(from, artifacts)| (*key, from, artifacts)),
        };
        let (key, from, artifacts) = match previous {
            Ok(previous) => previous,
            Err(why) => {
                outcome.refused.add(project, id, vec![why]);
                continue;
            }
        };
        // Nobody may be making other outputs for this key meanwhile.
        if !project.store.try_lock(key)? {
            outcome.refused.add(project, id, vec!["a run is at it".to_owned()]);
            continue;
        }
        let code = &project.code[project.graph.job(id).stage.0];
        project.store.keep_code(code.hash, &code.parts)?;
        let mark = Accepted { from, at: now(), because: because.to_owned() };
        let committed =
            project.store.commit(&record(project, &plan, id, key, &artifacts, mark), artifacts.clone());
        project.store.unlock(key);
        committed?;
        let changes = differences(project, &plan, id).unwrap_or_default();
        outcome.accepted.add(project, id, changes.iter().map(ToString::to_string).collect());
        let outputs = project.stage(id).outputs.keys().cloned().zip(artifacts.iter().copied()).collect();
        lines.push((project.name(id).to_owned(), Line { key, outputs }));
        plan.finish(id, key, artifacts);
    }
    drop(plan);
    project.store.sync_new()?;
    for (job, line) in lines {
        project.lock.set(&job, line);
    }
    project.lock.save()?;
    project.store.note_workspace(&project.root)?;
    Ok(outcome)
}

/// What a job made when it last ran, by its line in the lock, and under which key.
fn previous(project: &Project, id: JobId) -> Result<(Key, Artifacts), String> {
    let line = project.lock.get(project.name(id)).ok_or("it never ran: there are no outputs to keep")?;
    let artifacts = artifacts_of(&project.stage(id).outputs, |name| line.outputs.get(name).copied())
        .map_err(|name| format!("its output `{name}` is new: there is nothing to keep for it"))?;
    let is_here = project.store.artifacts(line.key).is_some()
        || artifacts.iter().all(|artifact| project.store.holds(artifact, &project.memo));
    match is_here {
        true => Ok((line.key, artifacts)),
        false => Err("what it made is not in this store".to_owned()),
    }
}

/// Times and machine are those of the run that made the outputs.
fn record(
    project: &Project,
    plan: &Plan,
    id: JobId,
    key: Key,
    artifacts: &Artifacts,
    mark: Accepted,
) -> Record {
    let old = project.store.record(mark.from);
    let outputs = project.stage(id).outputs.keys().cloned();
    Record {
        intermediate: project.stage(id).intermediate,
        version: Record::VERSION,
        key,
        job: project.name(id).to_owned(),
        stage: project.stage(id).name.clone(),
        labels: project.graph.job(id).labels.clone(),
        ingredients: plan.ingredients(id),
        outputs: outputs.zip(artifacts.iter().map(RecordedOutput::of)).collect(),
        ended: old.as_ref().map_or(mark.at, |old| old.ended),
        seconds: old.as_ref().map_or(0.0, |old| old.seconds),
        machine: old.map_or_else(Machine::unknown, |old| old.machine),
        accepted: Some(mark),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
