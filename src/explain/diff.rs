//! What differs between two versions of a lock: which jobs, what of their keys, which of their outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::compare::{self, Difference, Parts, compare, compare_code};
use crate::hash::Key;
use crate::lockfile::Line;
use crate::store::Store;

/// Jobs of one stage that differ in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The stage.
    pub stage: String,
    /// Its jobs, by name.
    pub jobs: Vec<String>,
    /// In what.
    #[serde(flatten)]
    pub kind: Kind,
}

/// How a job differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum Kind {
    /// It has a line in the second version only.
    Added,
    /// It has a line in the first version only.
    Removed,
    /// Its lines differ.
    Changed {
        /// Whether its keys differ. When they do not, outputs do: the job was not reproduced bit for bit.
        key: bool,
        /// What its keys differ in, as far as this store has their records.
        differences: Vec<Difference>,
        /// The key of which this store has no record, so that `differences` cannot be told.
        unknown: Option<Key>,
        /// Outputs whose content differs, by name.
        outputs: Vec<String>,
    },
}

/// The lines of a profile of a lock, by job.
pub type Lines = BTreeMap<String, Line>;

/// Compares two versions; what differs of `stages` comes in their order, then what is of stages that are no more.
pub fn diff(store: &Store, stages: &[&str], before: &Lines, after: &Lines) -> Vec<Change> {
    let mut changes: BTreeMap<(&str, Kind), Vec<String>> = BTreeMap::new();
    for job in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let kind = match (before.get(job), after.get(job)) {
            (Some(before), Some(after)) if before == after => continue,
            (Some(before), Some(after)) => changed(store, before, after),
            (None, _) => Kind::Added,
            (_, None) => Kind::Removed,
        };
        let stage = job.split('[').next().unwrap_or(job);
        changes.entry((stage, kind)).or_default().push(job.clone());
    }
    let change = |((stage, kind), jobs): ((&str, Kind), _)| Change { stage: stage.to_owned(), jobs, kind };
    let mut changes: Vec<Change> = changes.into_iter().map(change).collect();
    let place = |change: &Change| stages.iter().position(|stage| *stage == change.stage);
    changes.sort_by_key(|change| place(change).unwrap_or(stages.len()));
    changes
}

fn changed(store: &Store, before: &Line, after: &Line) -> Kind {
    let names: BTreeSet<&String> = before.outputs.keys().chain(after.outputs.keys()).collect();
    let differs = |name: &&String| before.outputs.get(*name) != after.outputs.get(*name);
    let outputs = names.into_iter().filter(differs).cloned().collect();
    let is_same_key = before.key == after.key;
    let (mut differences, mut unknown) = (Vec::new(), None);
    if !is_same_key {
        match [before.key, after.key].map(|key| store.record(key).ok_or(key)) {
            [Ok(before), Ok(after)] => {
                let code = |before: Option<&str>, after: Option<&str>| {
                    let parts = |hash: Option<&str>| store.code::<Parts>(hash?.parse().ok()?);
                    match (parts(before), parts(after)) {
                        (Some(before), Some(after)) => compare_code(&before, &after),
                        _ => vec![compare::changed("code", before, after)],
                    }
                };
                differences = compare(&before.ingredients, &after.ingredients, true, code);
            }
            [Err(key), _] | [_, Err(key)] => unknown = Some(key),
        }
    }
    Kind::Changed { key: !is_same_key, differences, unknown, outputs }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.jobs.as_slice() {
            [job] => write!(f, "{job}")?,
            jobs => write!(f, "{} {} jobs", jobs.len(), self.stage)?,
        }
        match &self.kind {
            Kind::Added => write!(f, " added"),
            Kind::Removed => write!(f, " removed"),
            Kind::Changed { key, differences, unknown, outputs } => {
                let outputs = match outputs.as_slice() {
                    [] => "equal outputs".to_owned(),
                    names => format!("other {}", names.join(", ")),
                };
                let key = if *key { "" } else { "the same key, not reproduced bit for bit: " };
                write!(f, ": {key}{outputs}")?;
                differences.iter().try_for_each(|difference| write!(f, "\n    {difference}"))?;
                match unknown {
                    Some(key) => write!(f, "\n    the record of key {} is not in this store", key.short()),
                    None => Ok(()),
                }
            }
        }
    }
}
