//! What is up to date, per stage, and what is not there though it is.

use std::fmt;

use serde_json::{Value, json};

use crate::plan::{Plan, Reason, State};
use crate::project::Project;
use crate::run::{BadEnd, bad_end};
use crate::share;

/// Paths and jobs that are named; of more, the number is told.
const NAMED: usize = 8;

/// How many jobs of each stage are up to date.
#[derive(Debug)]
pub struct Status {
    rows: Vec<Row>,
    /// Published files that are missing or not as they should be, and whose content is in the store.
    unplaced: Vec<String>,
    /// The same of those whose content is not in the store.
    absent: Vec<String>,
    /// Jobs that are up to date and would run again: content of theirs is needed and not in the store.
    again: usize,
    /// Jobs to run that failed when they last ran.
    failed: Vec<String>,
    /// Whether a share may have what the store has not.
    is_shared: bool,
}

#[derive(Debug)]
struct Row {
    stage: String,
    jobs: usize,
    current: usize,
    stale: usize,
    waiting: usize,
}

/// What a plan knows, by stage. Nothing is run, and no content is needed: records or the lock are enough.
pub fn status(project: &Project, mut plan: Plan) -> Status {
    let mut rows: Vec<Row> = project
        .pipeline
        .stages
        .iter()
        .map(|stage| Row { stage: stage.name.clone(), jobs: 0, current: 0, stale: 0, waiting: 0 })
        .collect();
    let (mut unplaced, mut absent, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let certain = plan.certain();
    for id in plan.needed() {
        let row = &mut rows[project.graph.job(id).stage.0];
        row.jobs += 1;
        match plan.state(id) {
            State::Current(_, artifacts) => {
                row.current += 1;
                for (place, path) in project.graph.published(&project.pipeline, id) {
                    let artifact = &artifacts[place as usize];
                    match project.is_published(id, artifact, &path) {
                        true => {}
                        false if project.store.holds(artifact, &project.memo) => unplaced.push(path),
                        false => absent.push(path),
                    }
                }
            }
            State::Stale(key, _) => {
                row.stale += 1;
                if bad_end(&project.store, *key) == Some(BadEnd::Failed) {
                    failed.push(project.name(id).to_owned());
                }
            }
            State::Waiting if certain.contains(&id) => row.stale += 1,
            State::Waiting => row.waiting += 1,
            // Only light runs keep jobs, and this is not about one.
            State::Kept(_) | State::Unneeded => {}
        }
    }
    rows.retain(|row| row.jobs > 0);
    plan.demand();
    let is_again = |id: &_| matches!(plan.state(*id), State::Stale(_, Reason::Gone(_)));
    let again = plan.needed().filter(is_again).count();
    let is_shared = share::configured(project).is_ok_and(|share| share.is_some());
    Status { rows, unplaced, absent, again, failed, is_shared }
}

impl Status {
    /// Whether every job is up to date, by its record or by the lock.
    fn is_current(&self) -> bool {
        self.rows.iter().all(|row| row.current == row.jobs)
    }

    /// Whether a run has nothing to do.
    pub fn is_done(&self) -> bool {
        self.is_current() && self.again == 0 && self.unplaced.is_empty() && self.absent.is_empty()
    }

    /// The same for programs.
    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "stage": row.stage, "jobs": row.jobs, "current": row.current, "stale": row.stale,
                "waiting": row.waiting,
            })
        };
        json!({
            "current": self.is_current(), "done": self.is_done(), "again": self.again, "failed": self.failed,
            "unplaced": self.unplaced, "absent": self.absent,
            "stages": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.stage.len()).max().unwrap_or(0).max("stage".len());
        writeln!(
            f,
            "{:width$}  {:>6} {:>10} {:>6} {:>8}",
            "stage", "jobs", "up to date", "to run", "perhaps"
        )?;
        for Row { stage, jobs, current, stale, waiting } in &self.rows {
            writeln!(f, "{stage:width$}  {jobs:>6} {current:>10} {stale:>6} {waiting:>8}")?;
        }
        if !self.unplaced.is_empty() {
            writeln!(f, "not as published: {} (ribbon run places them)", named(&self.unplaced))?;
        }
        if !self.absent.is_empty() {
            writeln!(f, "not as published: {} (not in this store)", named(&self.absent))?;
        }
        if self.again > 0 {
            let jobs = if self.again == 1 { "1 job" } else { &format!("{} jobs", self.again) };
            let shared = match self.is_shared {
                true => "; the share was not asked, and may have it: `ribbon pull`",
                false => "",
            };
            writeln!(f, "{jobs} would run again to make what is needed and not in this store{shared}")?;
        }
        if let Some(first) = self.failed.first() {
            writeln!(f, "failed when last run: {} (ribbon log '{first}')", named(&self.failed))?;
        }
        f.write_str(match (self.is_current(), self.again) {
            (true, 0) => "up to date",
            (true, _) => "by pipeline.lock, all is up to date",
            (false, _) => "not up to date; `ribbon run --dry-run` says why",
        })
    }
}

/// The first names, and how many more there are.
fn named(names: &[String]) -> String {
    let first = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED { format!("{first} and {} more", names.len() - NAMED) } else { first }
}
