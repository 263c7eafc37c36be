//! Space: how much more disk a run is going to need at its peak, from what jobs of the same stages took before.
//!
//! The run is gone through as the scheduler would, deepest stage first, in rounds of as many jobs as there are threads
//! for. What is to stay adds up; an intermediate goes after the round of its last consumer. Jobs whose inputs are not
//! known yet count, though they may turn out to be up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use indicatif::HumanBytes;

use crate::graph::JobId;
use crate::plan::{Plan, State};
use crate::project::Project;
use crate::store::Artifact;

/// Bytes of each output of a job, in the order of their names.
type Sizes = Vec<u64>;

/// What a run is going to need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// Bytes at its peak, beyond what is taken now.
    pub peak: u64,
    /// Bytes of this that stay.
    pub kept: u64,
    /// Bytes that are free where the store is, as far as the system says.
    pub free: Option<u64>,
    /// Stages of which no job is known to have run: they count as nothing.
    pub unknown: Vec<String>,
}

/// Estimates what a plan needs that is executed with so many threads; none when nothing has to run.
pub fn estimate(plan: &Plan, threads: u32) -> Option<Estimate> {
    let runs: BTreeSet<JobId> =
        plan.needed().filter(|id| matches!(plan.state(*id), State::Stale(..) | State::Waiting)).collect();
    if runs.is_empty() {
        return None;
    }
    let project = plan.project();
    let known = Known::of(plan, &runs);
    let stages: BTreeSet<_> = runs.iter().map(|id| project.graph.job(*id).stage).collect();
    let unknown = stages
        .into_iter()
        .filter(|stage| known.medians[stage.0].is_none())
        .map(|it| project.stage_name(it).to_owned());
    let (peak, kept) = rehearse(plan, &runs, threads, |id| known.sizes(project, id));
    Some(Estimate { peak, kept, free: free(project.store.root()), unknown: unknown.collect() })
}

impl Estimate {
    /// Whether more is needed than is free.
    pub fn is_too_much(&self) -> bool {
        self.free.is_some_and(|free| self.peak > free)
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "disk: about {} more at the peak, {} to stay",
            HumanBytes(self.peak),
            HumanBytes(self.kept)
        )?;
        if let Some(free) = self.free {
            write!(f, ", {} free", HumanBytes(free))?;
        }
        if !self.unknown.is_empty() {
            write!(f, "; without {}, of which no job has run yet", self.unknown.join(", "))?;
        }
        Ok(())
    }
}

/// Bytes that this user may still write where a path is.
pub fn free(path: &Path) -> Option<u64> {
    let system = nix::sys::statvfs::statvfs(path).ok()?;
    Some(system.blocks_available() as u64 * system.fragment_size() as u64)
}

/// What jobs took before.
struct Known {
    /// By stage; none where no job is known.
    medians: Vec<Option<Sizes>>,
}

impl Known {
    fn of(plan: &Plan, runs: &BTreeSet<JobId>) -> Known {
        let project = plan.project();
        let mut found: Vec<Vec<Sizes>> = vec![Vec::new(); project.pipeline.stages.len()];
        for id in project.graph.ids() {
            let sizes = match plan.state(id) {
                State::Current(_, artifacts) => {
                    Some(artifacts.iter().map(|artifact| artifact.size).collect())
                }
                _ => locked(project, id),
            };
            found[project.graph.job(id).stage.0].extend(sizes);
        }
        let lacking: BTreeSet<usize> = runs.iter().map(|id| project.graph.job(*id).stage.0).collect();
        let lacking: Vec<usize> = lacking.into_iter().filter(|stage| found[*stage].is_empty()).collect();
        if !lacking.is_empty() {
            // Jobs of other profiles, or of times before the lock.
            for record in project.store.records() {
                let stage =
                    lacking.iter().find(|stage| project.pipeline.stages[**stage].name == record.stage);
                if let Some(stage) = stage {
                    let outputs = project.pipeline.stages[*stage].outputs.keys();
                    let size = |name: &String| record.outputs.get(name).map(|output| output.size);
                    found[*stage].extend(outputs.map(size).collect::<Option<Sizes>>());
                }
            }
        }
        Known { medians: found.iter().map(|sizes| median(sizes)).collect() }
    }

    /// What a job took when it last ran, or else what a job of its stage does.
    fn sizes(&self, project: &Project, id: JobId) -> Sizes {
        let stage = project.graph.job(id).stage;
        let usual = || self.medians[stage.0].clone();
        locked(project, id).or_else(usual).unwrap_or_else(|| vec![0; project.stage(id).outputs.len()])
    }
}

/// The sizes that the lock has of a job.
fn locked(project: &Project, id: JobId) -> Option<Sizes> {
    let line = project.lock.get(project.name(id))?;
    let size = |artifact: &Artifact| artifact.size;
    project.stage(id).outputs.keys().map(|name| line.outputs.get(name).map(size)).collect()
}

/// The median of each output.
fn median(jobs: &[Sizes]) -> Option<Sizes> {
    let median = |output: usize| {
        let mut sizes: Vec<u64> = jobs.iter().map(|job| job[output]).collect();
        sizes.sort_unstable();
        sizes[sizes.len() / 2]
    };
    Some((0..jobs.first()?.len()).map(median).collect())
}

/// Goes through a run. Returns the bytes at the peak and those that stay.
fn rehearse(plan: &Plan, runs: &BTreeSet<JobId>, threads: u32, sizes: impl Fn(JobId) -> Sizes) -> (u64, u64) {
    let project = plan.project();
    let graph = &project.graph;
    let is_on_disk = same_disk(&project.root, project.store.root());
    let mut missing: BTreeMap<JobId, usize> = BTreeMap::new();
    let mut ready: BTreeSet<(std::cmp::Reverse<usize>, JobId)> = BTreeSet::new();
    let rank = |id: JobId| (std::cmp::Reverse(graph.job(id).stage.0), id);
    for &id in runs {
        let waits = graph.producers(id).iter().filter(|producer| runs.contains(producer)).count();
        missing.insert(id, waits);
        if waits == 0 {
            ready.insert(rank(id));
        }
    }
    // Of intermediates that this run makes: jobs that are to take them, and bytes.
    let mut unserved: BTreeMap<JobId, (usize, u64)> = BTreeMap::new();
    let (mut now, mut peak) = (0, 0);
    while !ready.is_empty() {
        let mut free = threads;
        let mut round = Vec::new();
        while let Some(&(stage, id)) = ready.first() {
            let takes = project.stage(id).needs.threads.min(threads);
            if takes > free {
                break;
            }
            free -= takes;
            ready.remove(&(stage, id));
            round.push(id);
        }
        for &id in &round {
            let (sizes, stage) = (sizes(id), project.stage(id));
            let published = graph.published(&project.pipeline, id);
            for (place, path) in &published {
                let is_new = is_on_disk && !project.outputs().join(path).exists();
                now += if is_new { sizes[*place as usize] } else { 0 };
            }
            let made: u64 = sizes.iter().sum();
            now += made;
            if stage.intermediate {
                let stays: u64 = published.iter().map(|(place, _)| sizes[*place as usize]).sum();
                let is_current = |id: &JobId| matches!(plan.state(*id), State::Current(..));
                let takers = graph.dependents[id.index()].iter().filter(|id| !is_current(id)).count();
                unserved.insert(id, (takers, made.saturating_sub(stays)));
            }
        }
        peak = peak.max(now);
        for id in round {
            let served = graph.producers(id).into_iter().chain([id]);
            for producer in served {
                if let Some((takers, bytes)) = unserved.get_mut(&producer) {
                    *takers -= usize::from(producer != id);
                    if *takers == 0 {
                        now -= *bytes;
                        unserved.remove(&producer);
                    }
                }
            }
            for &dependent in &graph.dependents[id.index()] {
                if let Some(waits) = missing.get_mut(&dependent) {
                    *waits -= 1;
                    if *waits == 0 {
                        ready.insert(rank(dependent));
                    }
                }
            }
        }
    }
    (peak, now)
}

fn same_disk(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.dev());
    device(one) == device(other)
}
