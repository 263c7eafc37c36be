//! Reruns: jobs run once more on the inputs they had, to see whether they make the same bits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::scheduler::{self, Outcome, Planned};
use super::{Interrupts, Options, Report, RunError};
use crate::graph::JobId;
use crate::pipeline::StageId;
use crate::plan::{Plan, State};
use crate::project::Project;
use crate::store::Artifacts;

/// What running jobs of a stage again has shown.
#[derive(Debug, Default)]
pub struct Rerun {
    /// The stage.
    pub stage: String,
    /// Jobs that were to run again.
    pub jobs: usize,
    /// Jobs that made the same bits.
    pub reproduced: usize,
    /// Outputs of jobs that came out otherwise, as `train[seed=42].checkpoints`.
    pub different: Vec<String>,
    /// Jobs that cannot run again: they are not up to date, or the content of an input is not in the store.
    pub left_out: usize,
    /// Whether somebody ended it.
    pub interrupted: bool,
}

impl Rerun {
    /// Whether all jobs that ran made the same bits, and any did.
    pub fn is_fine(&self) -> bool {
        self.jobs > 0 && self.reproduced == self.jobs
    }
}

impl fmt::Display for Rerun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rerun { stage, jobs, reproduced, different, left_out, .. } = self;
        write!(f, "{stage}: {reproduced} of {jobs} reproduced bit by bit")?;
        if *left_out > 0 {
            write!(f, "; {left_out} left out: not up to date, or without the content of their inputs")?;
        }
        different.iter().try_for_each(|output| write!(f, "\n  different: {output}"))
    }
}

/// Runs up to date jobs again, a stage after the other, of each at most `sample` that lie evenly among them. Nothing is
/// stored, published or written to the lock.
///
/// # Errors
/// When the store or a build fails. A job that fails is one that is not reproduced.
pub fn rerun(
    project: &Project,
    jobs: &BTreeSet<JobId>,
    sample: Option<usize>,
    options: &Options,
    interrupts: &Interrupts,
    report: &mut dyn Report,
) -> Result<Vec<Rerun>, RunError> {
    let options = Options { keep_going: true, discard: true, ..options.clone() };
    let mut by_stage: BTreeMap<StageId, BTreeSet<JobId>> = BTreeMap::new();
    for id in jobs {
        by_stage.entry(project.graph.job(*id).stage).or_default().insert(*id);
    }
    let mut reruns: Vec<Rerun> = Vec::new();
    for (stage, jobs) in by_stage {
        let hold = project.store.hold()?;
        let now = Plan::new(project, &jobs, &BTreeSet::new());
        let made = |id: &JobId| match now.state(*id) {
            State::Current(_, artifacts) if now.gone_inputs(*id).is_empty() => Some((*id, artifacts.clone())),
            _ => None,
        };
        let able: Vec<(JobId, Artifacts)> = jobs.iter().filter_map(made).collect();
        let left_out = jobs.len() - able.len();
        let chosen: BTreeMap<JobId, Artifacts> = evenly(able, sample).collect();
        let ids: BTreeSet<JobId> = chosen.keys().copied().collect();
        let planned = Planned { plan: Plan::new(project, &ids, &ids), hold };
        let Outcome { plan, summary, failure, .. } = std::thread::scope(|scope| {
            scheduler::execute(project, planned, &options, interrupts, report, None, scope)
        })?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        let mut rerun =
            Rerun { jobs: chosen.len(), left_out, interrupted: summary.interrupted, ..Rerun::default() };
        rerun.stage = project.stage_name(stage).to_owned();
        for (id, before) in &chosen {
            let State::Current(_, now) = plan.state(*id) else { continue };
            rerun.reproduced += usize::from(now == before);
            let outputs = project.stage(*id).outputs.keys().zip(now.iter().zip(before));
            let different = outputs.filter(|(_, (now, before))| now != before);
            rerun.different.extend(different.map(|(name, _)| format!("{}.{name}", project.name(*id))));
        }
        let is_over = rerun.interrupted;
        reruns.push(rerun);
        if is_over {
            break;
        }
    }
    Ok(reruns)
}

/// As many as asked for, the first and the last among them.
fn evenly<T>(all: Vec<T>, sample: Option<usize>) -> impl Iterator<Item = T> {
    let length = all.len();
    let wanted = sample.unwrap_or(length).min(length);
    let places: BTreeSet<usize> = (0..wanted).map(|n| n * (length - 1) / (wanted - 1).max(1)).collect();
    all.into_iter().enumerate().filter(move |(place, _)| places.contains(place)).map(|(_, item)| item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_lies_evenly_among_all() {
        let sample = |length: usize, wanted| evenly((0..length).collect(), wanted).collect::<Vec<_>>();
        assert_eq!(sample(5, None), [0, 1, 2, 3, 4]);
        assert_eq!(sample(9, Some(3)), [0, 4, 8]);
        assert_eq!(sample(9, Some(1)), [0]);
        assert_eq!(sample(3, Some(7)), [0, 1, 2]);
        assert_eq!(sample(3, Some(0)), [0; 0]);
        assert_eq!(sample(0, Some(2)), [0; 0]);
    }
}
