//! Why jobs run: what of their keys differs from when they last ran, followed to its root, alike jobs together.

use std::collections::BTreeMap;

use super::compare::{self, Difference, Parts, compare, compare_code};
use crate::graph::JobId;
use crate::pipeline::Program;
use crate::plan::{Plan, Reason, State};
use crate::project::Project;
use crate::run::{BadEnd, bad_end};

/// Jobs of a stage that run for the same reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The stage.
    pub stage: String,
    /// Its jobs, by name.
    pub jobs: Vec<String>,
    /// Whether they run only if an input comes out different.
    pub perhaps: bool,
    /// Why.
    pub reasons: Vec<String>,
    /// Whether they ran last with no good end, as the last reason says, so that their logs tell more.
    pub failed: bool,
}

/// Why it cannot be told what differs from when a job last ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    /// It has no line in the lock.
    #[error("it never ran")]
    NeverRan,
    /// The lock has its line, but the store no record of that key.
    #[error("its key differs from pipeline.lock's, whose record is not in this store")]
    NoRecord,
}

/// Jobs by stage and reasons.
#[derive(Debug, Default)]
pub struct Groups {
    groups: Vec<Group>,
    places: BTreeMap<(usize, Vec<String>), usize>,
}

/// Why the jobs of a plan run that are not up to date: roots first.
pub fn why(project: &Project, plan: &Plan) -> Vec<Group> {
    let (certain, mut groups) = (plan.certain(), Groups::default());
    for id in plan.needed() {
        let (perhaps, mut failed) = (!certain.contains(&id), None);
        let reasons = match plan.state(id) {
            State::Unneeded | State::Current(..) | State::Kept(_) => continue,
            State::Waiting if perhaps => vec![format!("if outputs of {} change", plan.stages_waited_for(id))],
            State::Waiting => new_key(project, plan, id, None),
            State::Stale(_, Reason::Forced) => vec!["--force".to_owned()],
            State::Stale(_, Reason::Gone(place)) => {
                let name = project.stage(id).outputs.keys().nth(usize::from(*place));
                let name = name.map_or("", String::as_str);
                vec![format!("its output `{name}` is needed and not in the store")]
            }
            State::Stale(key, Reason::NewKey) => {
                failed = bad_end(&project.store, *key);
                new_key(project, plan, id, failed)
            }
        };
        let group = groups.add(project, id, reasons);
        (group.perhaps, group.failed) = (perhaps, failed.is_some());
    }
    groups.groups
}

impl Groups {
    /// Adds a job to those of its stage with equal reasons.
    pub fn add(&mut self, project: &Project, id: JobId, reasons: Vec<String>) -> &mut Group {
        let stage = project.graph.job(id).stage.0;
        let next = self.groups.len();
        let place = *self.places.entry((stage, reasons.clone())).or_insert(next);
        if place == next {
            let stage = project.stage(id).name.clone();
            self.groups.push(Group { stage, jobs: Vec::new(), perhaps: false, reasons, failed: false });
        }
        self.groups[place].jobs.push(project.name(id).to_owned());
        &mut self.groups[place]
    }

    /// The groups, in the order of their first jobs.
    pub fn as_slice(&self) -> &[Group] {
        &self.groups
    }

    /// How many jobs there are in all.
    pub fn jobs(&self) -> usize {
        self.groups.iter().map(|group| group.jobs.len()).sum()
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.jobs.as_slice() {
            [job] => write!(f, "{job}")?,
            jobs => write!(f, "{} {} jobs", jobs.len(), self.stage)?,
        }
        match self.reasons.as_slice() {
            [] => Ok(()),
            [reason] => write!(f, ": {reason}"),
            reasons => reasons.iter().try_for_each(|reason| write!(f, "\n    {reason}")),
        }?;
        match self.jobs.first().filter(|_| self.failed) {
            Some(job) => write!(f, " (ribbon log '{job}')"),
            None => Ok(()),
        }
    }
}

/// Why a job's key is not the one it last ran with, and how it ended if it ran with it all the same.
fn new_key(project: &Project, plan: &Plan, id: JobId, failed: Option<BadEnd>) -> Vec<String> {
    let mut reasons = match differences(project, plan, id) {
        Err(Unknown::NeverRan) if failed.is_some() => Vec::new(),
        Ok(found) if found.is_empty() && failed.is_none() => {
            vec!["what it made is not in the store".to_owned()]
        }
        Ok(found) => found.iter().map(ToString::to_string).collect(),
        Err(why) => vec![why.to_string()],
    };
    reasons.extend(failed.map(|end| end.to_string()));
    reasons
}

/// What of a job's key, as far as it is known, differs from when it last ran; or why that cannot be told.
pub(crate) fn differences(project: &Project, plan: &Plan, id: JobId) -> Result<Vec<Difference>, Unknown> {
    let line = project.lock.get(project.name(id)).ok_or(Unknown::NeverRan)?;
    let old = project.store.record(line.key).ok_or(Unknown::NoRecord)?;
    let code = |before: Option<&str>, after: Option<&str>| {
        let parts = before.and_then(|hash| project.store.code::<Parts>(hash.parse().ok()?));
        let Some(parts) = parts else {
            let what = match &project.stage(id).program {
                Program::Crate(folder) => folder.display().to_string(),
                Program::Command { command, .. } => command.join(" "),
            };
            return vec![compare::changed(&format!("code of {what}"), before, after)];
        };
        compare_code(&parts, &project.code[project.graph.job(id).stage.0].parts)
    };
    Ok(compare(&old.ingredients, &plan.ingredients(id), plan.inputs_known(id), code))
}
