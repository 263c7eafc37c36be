//! What a light run left as it is, and which results are made from that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::RunError;
use crate::graph::JobId;
use crate::pipeline::StageId;
use crate::plan::{Plan, State};
use crate::project::Project;

/// Published paths that are named; of more, the number is told.
const NAMED: usize = 3;

/// Jobs of a heavy stage that are out of date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The stage.
    pub stage: String,
    /// Its jobs, by name.
    pub jobs: Vec<String>,
    /// The published paths, under outputs/PROFILE/, that are made from what these jobs made before.
    pub results: Vec<String>,
}

/// Checks that a light plan has all that it does not run: what jobs of heavy stages made, and, unless `content_may_lack`, the
/// content of that which jobs need that are certain to run.
///
/// # Errors
/// With the jobs of heavy stages that made nothing yet, or whose content is not in the store.
pub fn check(project: &Project, plan: &Plan, content_may_lack: bool) -> Result<(), RunError> {
    let named = |id: JobId| project.name(id).to_owned();
    if let [first, others @ ..] = plan.lost().as_slice() {
        return Err(RunError::NeverMade { job: named(*first), others: others.len() });
    }
    if content_may_lack || !plan.is_light() {
        return Ok(());
    }
    let runs = plan.certain().into_iter();
    let needed =
        runs.flat_map(|id| plan.gone_inputs(id).into_iter().map(move |(producer, _)| (producer, id)));
    let gone: BTreeMap<JobId, JobId> = needed.filter(|(producer, _)| plan.leaves(*producer)).collect();
    match gone.first_key_value() {
        None => Ok(()),
        Some((job, by)) => Err(RunError::Gone { job: named(*job), others: gone.len() - 1, by: named(*by) }),
    }
}

/// What a light plan keeps, by stage.
pub fn left(project: &Project, plan: &Plan) -> Vec<Left> {
    let mut stages: BTreeMap<StageId, Vec<JobId>> = BTreeMap::new();
    for id in plan.needed().filter(|id| matches!(plan.state(*id), State::Kept(_))) {
        stages.entry(project.graph.job(id).stage).or_default().push(id);
    }
    let left = |(stage, jobs): (StageId, Vec<JobId>)| Left {
        stage: project.stage_name(stage).to_owned(),
        jobs: jobs.iter().map(|id| project.name(*id).to_owned()).collect(),
        results: results(project, plan, jobs),
    };
    stages.into_iter().map(left).collect()
}

fn results(project: &Project, plan: &Plan, from: Vec<JobId>) -> Vec<String> {
    let mut below: BTreeSet<JobId> = from.into_iter().collect();
    // Producers come before consumers.
    for id in plan.needed() {
        if project.graph.producers(id).iter().any(|producer| below.contains(producer)) {
            below.insert(id);
        }
    }
    let published = |id: JobId| project.graph.published(&project.pipeline, id);
    below.into_iter().flat_map(published).map(|(_, path)| path).collect()
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jobs = match self.jobs.as_slice() {
            [job] => format!("{job}, which is out of date"),
            jobs => format!("{} {} jobs that are out of date", jobs.len(), self.stage),
        };
        let named = self.results.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        match self.results.len() {
            0 => write!(f, "left as before: ")?,
            1 => write!(f, "{named} is from ")?,
            results if results > NAMED => write!(f, "{named} and {} more are from ", results - NAMED)?,
            _ => write!(f, "{named} are from ")?,
        }
        write!(f, "{jobs}; a run without --light brings all up to date")
    }
}
