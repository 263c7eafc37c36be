//! Jobs that need a GPU, on a machine that has none: told before anything runs.

use std::collections::BTreeMap;
use std::fmt;

use crate::pipeline::{Gpu, StageId};
use crate::plan::Plan;
use crate::slots::Slots;

/// Jobs of a stage that cannot run on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cardless {
    /// The stage.
    stage: String,
    /// How many of its jobs are to run.
    jobs: usize,
}

/// The jobs of a plan that are to run and need a card, by stage; none where there is one.
pub fn cardless(plan: &Plan, slots: &Slots) -> Vec<Cardless> {
    let project = plan.project();
    let mut stages: BTreeMap<StageId, usize> = BTreeMap::new();
    let needs_card = |id: &_| slots.cards() == 0 && project.stage(*id).needs.gpu == Gpu::Require;
    for id in plan.needed().filter(needs_card).filter(|id| plan.is_certain(*id)) {
        *stages.entry(project.graph.job(id).stage).or_default() += 1;
    }
    let told = |(stage, jobs)| Cardless { stage: project.stage_name(stage).to_owned(), jobs };
    stages.into_iter().map(told).collect()
}

impl fmt::Display for Cardless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (jobs, need) = if self.jobs == 1 { ("job", "needs") } else { ("jobs", "need") };
        write!(f, "{} {} {jobs} {need} a GPU, and this machine has none", self.jobs, self.stage)
    }
}
