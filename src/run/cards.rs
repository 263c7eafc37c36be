//! Jobs that need a GPU, on a machine that has none: told before anything runs.

use std::collections::BTreeMap;
use std::fmt;

use crate::pipeline::{Gpu, StageId};
use crate::plan::{Plan, State};
use crate::slots::Slots;

/// Jobs of a stage that cannot run on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cardless {
    /// The stage.
    stage: String,
    /// How many of its jobs are to run.
    jobs: usize,
    /// Whether they wait for no others, after which they may be found to be made already.
    is_certain: bool,
}

/// The jobs of a plan that are to run and need a card, by stage; none where there is one. First those that may be found
/// to be made already.
pub fn cardless(plan: &Plan, slots: &Slots) -> Vec<Cardless> {
    let project = plan.project();
    let any = project.pipeline.stages.iter().any(|stage| stage.needs.gpu == Gpu::Require);
    if slots.cards() > 0 || !any {
        return Vec::new();
    }
    let mut stages: BTreeMap<(bool, StageId), usize> = BTreeMap::new();
    for id in plan.certain().into_iter().filter(|id| project.stage(*id).needs.gpu == Gpu::Require) {
        let is_certain = matches!(plan.state(id), State::Stale(..));
        *stages.entry((is_certain, project.graph.job(id).stage)).or_default() += 1;
    }
    let told = |((is_certain, stage), jobs)| Cardless {
        stage: project.stage_name(stage).to_owned(),
        jobs,
        is_certain,
    };
    stages.into_iter().map(told).collect()
}

impl Cardless {
    /// Whether they run whatever else does.
    pub fn is_certain(&self) -> bool {
        self.is_certain
    }
}

impl fmt::Display for Cardless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (jobs, need) = if self.jobs == 1 { ("job", "needs") } else { ("jobs", "need") };
        let wait = match (self.is_certain, self.jobs) {
            (true, _) => "",
            (false, 1) => " that waits for others",
            (false, _) => " that wait for others",
        };
        write!(f, "{} {} {jobs}{wait} {need} a GPU, and this machine has none", self.jobs, self.stage)
    }
}
