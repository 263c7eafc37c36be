//! What is up to date, per stage.

use std::fmt;

use crate::plan::{Plan, State};
use crate::project::Project;

/// How many jobs of each stage are up to date.
#[derive(Debug)]
pub struct Status {
    rows: Vec<Row>,
    /// Published files that are missing or not as they should be.
    pub unpublished: Vec<String>,
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
pub fn status(project: &Project, plan: &Plan) -> Status {
    let mut rows: Vec<Row> = project
        .pipeline
        .stages
        .iter()
        .map(|stage| Row { stage: stage.name.clone(), jobs: 0, current: 0, stale: 0, waiting: 0 })
        .collect();
    let mut unpublished = Vec::new();
    for id in plan.needed() {
        let row = &mut rows[project.graph.job(id).stage.0];
        row.jobs += 1;
        match plan.state(id) {
            State::Current(_, artifacts) => {
                row.current += 1;
                for (place, path) in project.graph.published(&project.pipeline, id) {
                    if !project.is_published(id, &artifacts[place as usize], &path) {
                        unpublished.push(path);
                    }
                }
            }
            State::Stale(..) => row.stale += 1,
            State::Waiting => row.waiting += 1,
            // Only light runs keep jobs, and this is not about one.
            State::Kept(_) | State::Unneeded => {}
        }
    }
    rows.retain(|row| row.jobs > 0);
    Status { rows, unpublished }
}

impl Status {
    /// Whether nothing has to run.
    pub fn is_current(&self) -> bool {
        self.rows.iter().all(|row| row.current == row.jobs)
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
        if !self.unpublished.is_empty() {
            writeln!(f, "not as published: {} (ribbon run places them)", self.unpublished.join(", "))?;
        }
        f.write_str(if self.is_current() {
            "up to date"
        } else {
            "not up to date; `ribbon run --dry-run` says why"
        })
    }
}
