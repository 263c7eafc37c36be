//! Why jobs run: what of their keys differs from when they last ran, followed to its root, alike jobs together.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::JobId;
use crate::hash::Hash;
use crate::pipeline::Program;
use crate::plan::{Plan, Reason, State};
use crate::project::Project;

/// Values longer than this are cut for people.
const WIDTH: usize = 60;

/// Jobs of a stage that run for the same reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The stage.
    pub stage: String,
    /// Its jobs, by name.
    pub jobs: Vec<String>,
    /// Whether they run only if an input comes out different.
    pub perhaps: bool,
    /// Why: at least one.
    pub reasons: Vec<String>,
}

/// Why the jobs of a plan run that are not up to date: roots first.
pub fn why(project: &Project, plan: &Plan) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: BTreeMap<(usize, Vec<String>), usize> = BTreeMap::new();
    for id in plan.needed() {
        let (reasons, perhaps) = match plan.state(id) {
            State::Unneeded | State::Current(..) => continue,
            State::Waiting => match differences(project, plan, id) {
                Ok(told) if told.is_empty() => (vec![waits(project, plan, id)], true),
                Ok(told) => (told, false),
                Err(why) => (vec![why], false),
            },
            State::Stale(_, reason) => (stale(project, plan, id, *reason), false),
        };
        let stage = project.graph.job(id).stage.0;
        let place = *places.entry((stage, reasons.clone())).or_insert_with(|| {
            let stage = project.stage(id).name.clone();
            groups.push(Group { stage, jobs: Vec::new(), perhaps, reasons });
            groups.len() - 1
        });
        groups[place].jobs.push(project.name(id).to_owned());
    }
    groups
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.jobs.as_slice() {
            [job] => write!(f, "{job}")?,
            jobs => write!(f, "{} {} jobs", jobs.len(), self.stage)?,
        }
        match self.reasons.as_slice() {
            [reason] => write!(f, ": {reason}"),
            reasons => reasons.iter().try_for_each(|reason| write!(f, "\n    {reason}")),
        }
    }
}

/// A job that runs only if one of its inputs comes out different.
fn waits(project: &Project, plan: &Plan, id: JobId) -> String {
    let stages: BTreeSet<&str> = project
        .graph
        .producers(id)
        .into_iter()
        .filter(|producer| !matches!(plan.state(*producer), State::Current(..)))
        .map(|producer| project.stage(producer).name.as_str())
        .collect();
    format!("if outputs of {} change", stages.into_iter().collect::<Vec<_>>().join(", "))
}

fn stale(project: &Project, plan: &Plan, id: JobId, reason: Reason) -> Vec<String> {
    match reason {
        Reason::Forced => return vec!["--force".to_owned()],
        Reason::Gone(place) => {
            let name = project.stage(id).outputs.keys().nth(place as usize).map_or("", String::as_str);
            return vec![format!("its output `{name}` is needed and not in the store")];
        }
        Reason::NewKey => {}
    }
    match differences(project, plan, id) {
        Ok(told) if told.is_empty() => vec!["what it made is not in the store".to_owned()],
        Ok(told) => told,
        Err(why) => vec![why],
    }
}

/// What of a job's key, as far as it is known, differs from when it last ran; or why that cannot be told.
fn differences(project: &Project, plan: &Plan, id: JobId) -> Result<Vec<String>, String> {
    let line = project.lock.get(project.name(id)).ok_or("it never ran")?;
    let old = project.store.record(line.key).ok_or_else(|| {
        format!(
            "its key differs from pipeline.lock's, whose record {} is not in this store",
            line.key.short()
        )
    })?;
    let is_known = plan.inputs_known(id);
    let (old, new) = (to_map(&old.ingredients), to_map(&plan.ingredients(id)));
    let mut reasons = Vec::new();
    let mut lists: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (old.get(name), new.get(name));
        let is_unknown = !is_known && name.starts_with("inputs.") && before.is_some() && after.is_some();
        if before == after || is_unknown {
            continue;
        }
        if let Some((list, _)) = name.split_once('[').filter(|_| name.starts_with("inputs.")) {
            let kind = match (before, after) {
                (None, _) => 0,
                (_, None) => 1,
                _ => 2,
            };
            lists.entry(list).or_default()[kind] += 1;
        } else if name == "code" {
            reasons.extend(code(project, id, before, after));
        } else if !before.into_iter().chain(after).any(|value| value.ends_with(" artifacts")) {
            reasons.push(format!("{name} {} -> {}", value(before), value(after)));
        }
    }
    for (list, [added, removed, changed]) in lists {
        let told = [(added, "added"), (removed, "removed"), (changed, "changed")];
        let told: Vec<String> = told
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        reasons.push(format!("{list}: {}", told.join(", ")));
    }
    Ok(reasons)
}

/// Which files or packages of a stage's code differ.
fn code(project: &Project, id: JobId, before: Option<&String>, after: Option<&String>) -> Vec<String> {
    let parts =
        |hash: Option<&String>| -> Option<BTreeMap<String, Hash>> { project.store.code(hash?.parse().ok()?) };
    let now = &project.code[project.graph.job(id).stage.0].parts;
    let Some(old) = parts(before) else {
        let what = match &project.stage(id).program {
            Program::Crate(folder) => folder.display().to_string(),
            Program::Command { command, .. } => command.join(" "),
        };
        return vec![format!("code of {what} {} -> {}", value(before), value(after))];
    };
    let mut told = Vec::new();
    for name in old.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
        let what = match (old.get(name), now.get(name)) {
            (Some(old), Some(now)) if old == now => continue,
            (Some(_), Some(_)) => "changed",
            (None, _) => "is new",
            (_, None) => "is gone",
        };
        told.push(format!("code: {name} {what}"));
    }
    told
}

fn to_map(ingredients: &[(String, String)]) -> BTreeMap<String, String> {
    ingredients.iter().cloned().collect()
}

/// A value for people: a hash by its first digits, a long text cut.
fn value(value: Option<&String>) -> String {
    match value {
        None => "(none)".to_owned(),
        Some(text) if text.parse::<Hash>().is_ok() => text[..10].to_owned(),
        Some(text) if text.chars().count() > WIDTH => text.chars().take(WIDTH).collect::<String>() + "..",
        Some(text) => text.clone(),
    }
}
