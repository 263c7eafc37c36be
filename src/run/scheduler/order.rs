//! Which ready job starts next.

use std::time::Duration;

use super::Run;
use super::sharing::Sharing;
use crate::graph::JobId;
use crate::hash::Key;
use crate::pipeline::{Gpu, StageId};
use crate::project::Project;
use crate::run::RunError;
use crate::slots::{Full, Held};
use crate::store::random;

/// Jobs that take so much longer than a share's answer are worth a question more.
const WORTH: u32 = 10;

/// By stage, the job that starts first; where work is exchanged with other runs, any.
pub(super) fn first_jobs(project: &Project, is_shared: bool) -> Vec<JobId> {
    let first = |stage| {
        let jobs: Vec<JobId> = project.graph.jobs_of(StageId(stage)).collect();
        let place = if is_shared { random() as usize % jobs.len().max(1) } else { 0 };
        jobs.get(place).copied().unwrap_or(JobId(0))
    };
    (0..project.pipeline.stages.len()).map(first).collect()
}

impl Run<'_, '_, '_> {
    /// Starts ready jobs while there are slots, deepest stage first: then few intermediate artifacts wait at once.
    pub(super) fn dispatch(&mut self) -> Result<(), RunError> {
        let mut above = self.ready.len();
        while above > 0 && !self.stopping {
            let stage = above - 1;
            let Some(id) = self.next_ready(stage) else {
                above = stage;
                continue;
            };
            let needs = &self.project.pipeline.stages[stage].needs;
            if needs.gpu == Gpu::Require && self.slots.cards() == 0 {
                self.ready[stage].remove(&id);
                self.refuse(id, "it needs a GPU and this machine has none");
                continue;
            }
            // Built now where the share could have spared it, or content it had made was found gone.
            if !self.is_built(stage)? {
                above = stage;
                continue;
            }
            let held = match self.slots.take(needs) {
                Ok(held) => held,
                // What is freed goes to this job first, however many threads it needs.
                Err(Full::Machine) => return Ok(()),
                Err(Full::Cards) => {
                    above = stage;
                    continue;
                }
            };
            self.ready[stage].remove(&id);
            // Others that exchange work by the share may have done it meanwhile.
            if self.is_worth_asking(stage)
                && let Some(key) = self.ask(id)
            {
                self.keep(key, held);
                continue;
            }
            if !self.try_start(id, &held)? {
                self.slots.give(&held);
                // What it waits for now, or what waited for it, may be ready, of whatever stage.
                above = self.ready.len();
            }
        }
        Ok(())
    }

    /// Whether to ask for jobs of a stage takes little of the time that they take.
    fn is_worth_asking(&self, stage: usize) -> bool {
        let answer = self.sharing.as_ref().map_or(Duration::ZERO, Sharing::answer_takes);
        self.took[stage].is_none_or(|took| took > WORTH * answer)
    }

    /// Keeps slots until the share has said what it knows of a key: nobody else is to take them from the job meanwhile.
    fn keep(&mut self, key: Key, held: Held) {
        if let Some(more) = self.kept.insert(key, held) {
            self.slots.give(&more);
        }
    }

    /// The job of a stage that is to start next. Runs that exchange work by a share begin each at another place: then they do
    /// other jobs.
    fn next_ready(&self, stage: usize) -> Option<JobId> {
        let ready = &self.ready[stage];
        ready.range(self.first[stage]..).next().or(ready.first()).copied()
    }
}
