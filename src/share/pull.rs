//! `ribbon pull`: what others have finished, without running anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use super::crew::each;
use super::{Exchange, ShareError, Wanted, wanted};
use crate::graph::JobId;
use crate::hash::Key;
use crate::lockfile::Line;
use crate::pipeline::StageId;
use crate::plan::{Plan, State};
use crate::project::Project;
use crate::store::{Artifacts, Lease, StoreError};

/// What a pull has done.
#[derive(Debug, Default)]
pub struct Pulled {
    /// Outputs that are here now and were not.
    pub fetched: usize,
    /// Outputs that were here.
    pub known: usize,
    /// Outputs that the share does not have, by the job's name.
    pub missing: Vec<String>,
    /// Jobs whose records are not known, here, in pipeline.lock or on the share.
    pub unknown: Vec<String>,
    /// Why the share could not be asked for all that was wanted, if so. Then nothing is known of what is missing.
    pub trouble: Option<String>,
    /// Lines of pipeline.lock for jobs that others have finished as they are now.
    pub lines: Vec<(String, Line)>,
    /// Bytes that came.
    pub bytes: u64,
    /// Wall time.
    pub seconds: f64,
}

impl Pulled {
    /// Whether everything is here.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unknown.is_empty()
    }
}

impl fmt::Display for Pulled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pulled { fetched, known, missing, unknown, trouble, bytes, seconds, .. } = self;
        let bytes = indicatif::HumanBytes(*bytes);
        write!(f, "pulled {fetched} outputs, {bytes}, in {seconds:.1} s; {known} were here")?;
        let some = |names: &[String]| match names {
            [first, rest @ ..] if !rest.is_empty() => format!("{first} and {} more", rest.len()),
            [first, ..] => first.clone(),
            [] => String::new(),
        };
        if let Some(why) = trouble {
            let wanted = [missing.as_slice(), unknown.as_slice()].concat();
            return write!(f, "\nthe share could not be asked for {}: {why}", some(&wanted));
        }
        if !missing.is_empty() {
            write!(
                f,
                "\nnot on the share: what {} made; who has it can `ribbon push` it again",
                some(missing)
            )?;
        }
        if !unknown.is_empty() {
            write!(f, "\nnobody has run {} as it is now; `ribbon run` does", some(unknown))?;
        }
        Ok(())
    }
}

/// What to pull of a job.
#[derive(Debug, Clone, Copy)]
struct Item {
    id: JobId,
    key: Key,
    place: usize,
    wanted: Wanted,
}

/// Brings outputs (by place) of jobs into the store, and publishes those that are published. `told` is called after each.
///
/// # Errors
/// When there is no place for them. A share that does not work leaves outputs missing.
pub fn pull(
    project: &Project,
    exchange: &Exchange,
    outputs: &BTreeMap<JobId, BTreeSet<usize>>,
    mut told: impl FnMut(),
) -> Result<Pulled, ShareError> {
    let started = Instant::now();
    let scratch = match project.store.scratch() {
        // What it has may be published all the same.
        Err(StoreError::ReadOnly(_)) => None,
        scratch => Some(scratch?),
    };
    let lease = scratch.as_ref().map(|scratch| project.store.lease(scratch)).transpose()?;
    let plan = learn(project, exchange, lease.as_ref(), &outputs.keys().copied().collect())?;
    let mut pulled = Pulled { lines: plan.new_lines(false).lines, ..Pulled::default() };
    let mut items = Vec::new();
    for (&id, places) in outputs {
        let State::Current(key, artifacts) = plan.state(id) else {
            pulled.unknown.push(project.name(id).to_owned());
            continue;
        };
        let of_job = wanted(project, id, artifacts).into_iter().enumerate();
        items.extend(of_job.filter(|(place, _)| places.contains(place)).map(|(place, wanted)| Item {
            id,
            key: *key,
            place,
            wanted,
        }));
    }
    let act = |item: Item| {
        let was_here = project.store.holds(&item.wanted.artifact, &project.memo);
        let (store, memo) = (&project.store, &project.memo);
        let is_here = was_here || exchange.fetch(item.key, &[item.wanted], store, memo);
        (item, was_here, is_here)
    };
    let mut failure = None;
    each(exchange.width(), items, act, |(item, was_here, is_here)| {
        told();
        match (was_here, is_here) {
            (true, _) => pulled.known += 1,
            (false, true) => pulled.fetched += 1,
            (false, false) => pulled.missing.push(project.name(item.id).to_owned()),
        }
        if is_here && let Err(error) = publish(project, &item) {
            failure.get_or_insert(error);
        }
    });
    pulled.bytes = exchange.fetched().1;
    pulled.trouble = exchange.unread().filter(|_| !pulled.is_complete());
    pulled.seconds = started.elapsed().as_secs_f64();
    failure.map_or(Ok(pulled), Err)
}

/// The plan for jobs, with what the share knows of those that are not up to date: stage by stage, as a job's key is
/// known when those before it are.
fn learn<'a>(
    project: &'a Project,
    exchange: &Exchange,
    lease: Option<&Lease>,
    jobs: &BTreeSet<JobId>,
) -> Result<Plan<'a>, ShareError> {
    let hold = project.store.hold()?;
    let mut plan = Plan::new(project, jobs, &BTreeSet::new());
    let Some(lease) = lease else { return Ok(plan) };
    lease.add(plan.needed().filter_map(|id| plan.current_key(id)))?;
    drop(hold);
    for stage in (0..project.pipeline.stages.len()).map(StageId) {
        let mut unknown = Vec::new();
        for id in project.graph.jobs_of(stage) {
            if *plan.state(id) == State::Waiting && plan.inputs_known(id) {
                plan.resolve(id);
            }
            match plan.state(id) {
                State::Stale(key, _) => unknown.push((id, *key, None)),
                // With a record, it can be pushed to another share, and people are told where it came from.
                State::Current(key, made) if jobs.contains(&id) && project.store.record(*key).is_none() => {
                    unknown.push((id, *key, Some(made.clone())));
                }
                _ => {}
            }
        }
        let ask = |(id, key, locked): (JobId, Key, Option<Artifacts>)| {
            let stage = &project.pipeline.stages[stage.0];
            let known = match locked {
                None => exchange.record(key, stage),
                Some(made) => exchange.record_of(key, stage, &made),
            };
            (id, key, known.map(|known| known.keep(&project.store, &project.memo, lease)))
        };
        let mut failure = None;
        each(exchange.width(), unknown, ask, |(id, key, kept)| match kept {
            Some(Ok(artifacts)) => plan.finish(id, key, artifacts),
            Some(Err(error)) => drop(failure.get_or_insert(error)),
            None => {}
        });
        if let Some(error) = failure {
            return Err(error.into());
        }
    }
    Ok(plan)
}

fn publish(project: &Project, item: &Item) -> Result<(), ShareError> {
    let published = project.graph.published(&project.pipeline, item.id);
    for (_, path) in published.iter().filter(|(place, _)| usize::from(*place) == item.place) {
        if !project.is_published(item.id, &item.wanted.artifact, path) {
            let to = project.outputs().join(path);
            project.store.copy(&item.wanted.artifact, &to)?;
        }
    }
    Ok(())
}
