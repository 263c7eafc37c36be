//! A rehearsal: a run gone through as the scheduler would, deepest stage first, as many jobs at once as find slots, and
//! none of them executed.
//!
//! On the disk what is to stay adds up; an intermediate goes when the last of its consumers has ended. Jobs whose inputs
//! are not known yet count, though they may turn out to be up to date.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::graph::JobId;
use crate::pipeline::{Gpu, Needs};
use crate::plan::{Plan, State};
use crate::slots::{Full, Held, Slots};
use crate::usage::Sizes;

/// What a run took that was rehearsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rehearsal {
    /// Bytes on the disk at its peak, beyond what is taken now.
    pub peak: u64,
    /// Bytes of this that stay.
    pub kept: u64,
    /// From the first job's start to the last one's end.
    pub time: Duration,
}

/// The jobs of a plan that are to run, or may have to.
pub fn runs(plan: &Plan) -> BTreeSet<JobId> {
    plan.needed().filter(|id| plan.may_run(*id)).collect()
}

/// Goes through a run of these jobs, of which each takes some time and makes outputs of some sizes.
pub fn rehearse(
    plan: &Plan,
    runs: &BTreeSet<JobId>,
    slots: Slots,
    time: impl Fn(JobId) -> Duration,
    sizes: impl Fn(JobId) -> Sizes,
) -> Rehearsal {
    let project = plan.project();
    let mut stage = Stage::new(plan, runs, slots);
    let mut disk = Disk::new(plan);
    let mut ends: BinaryHeap<Reverse<(Duration, JobId)>> = BinaryHeap::new();
    let mut now = Duration::ZERO;
    loop {
        for id in stage.start() {
            disk.make(id, &sizes(id));
            ends.push(Reverse((now.saturating_add(time(id)), id)));
        }
        disk.peak = disk.peak.max(disk.now);
        let Some(&Reverse((end, _))) = ends.peek() else { break };
        now = end;
        while let Some(&Reverse((at, id))) = ends.peek()
            && at == now
        {
            ends.pop();
            let served = project.graph.producers(id).into_iter().chain([id]);
            served.for_each(|producer| disk.serve(producer, id));
            stage.end(id);
        }
    }
    Rehearsal { peak: disk.peak, kept: disk.now, time: now }
}

/// Jobs that wait for others, for slots, or run.
struct Stage<'a> {
    plan: &'a Plan<'a>,
    slots: Slots,
    /// Of each job that waits: producers that have not ended.
    waits: BTreeMap<JobId, usize>,
    /// By stage.
    ready: Vec<BTreeSet<JobId>>,
    running: HashMap<JobId, Held>,
}

impl<'a> Stage<'a> {
    fn new(plan: &'a Plan, runs: &BTreeSet<JobId>, slots: Slots) -> Stage<'a> {
        let project = plan.project();
        let ready = vec![BTreeSet::new(); project.pipeline.stages.len()];
        let mut stage = Stage { plan, slots, waits: BTreeMap::new(), ready, running: HashMap::new() };
        for &id in runs {
            let producers = project.graph.producers(id);
            let waits = producers.iter().filter(|producer| runs.contains(producer)).count();
            match waits {
                0 => drop(stage.ready[project.graph.job(id).stage.0].insert(id)),
                _ => drop(stage.waits.insert(id, waits)),
            }
        }
        stage
    }

    /// The jobs that start now.
    fn start(&mut self) -> Vec<JobId> {
        let mut started = Vec::new();
        for stage in (0..self.ready.len()).rev() {
            while let Some(&id) = self.ready[stage].first() {
                match self.slots.take(&self.needs(id)) {
                    Ok(held) => drop(self.running.insert(id, held)),
                    Err(Full::Machine) => return started,
                    Err(Full::Cards) => break,
                }
                self.ready[stage].remove(&id);
                started.push(id);
            }
        }
        started
    }

    /// A job that cannot do without a card would fail where there is none; here it is told as if it did.
    fn needs(&self, id: JobId) -> Needs {
        let needs = self.plan.project().stage(id).needs.clone();
        let gpu = if self.slots.cards() > 0 { needs.gpu } else { Gpu::None };
        Needs { gpu, ..needs }
    }

    fn end(&mut self, id: JobId) {
        let graph = &self.plan.project().graph;
        self.slots.give(&self.running.remove(&id).expect("what ends has started"));
        for &dependent in &graph.dependents[id.index()] {
            if let Some(waits) = self.waits.get_mut(&dependent) {
                *waits -= 1;
                if *waits == 0 {
                    self.waits.remove(&dependent);
                    self.ready[graph.job(dependent).stage.0].insert(dependent);
                }
            }
        }
    }
}

/// What jobs leave on the disk.
struct Disk<'a> {
    plan: &'a Plan<'a>,
    /// Whether published files are on the same disk as the store.
    is_shared: bool,
    now: u64,
    peak: u64,
    /// Of intermediates that this run makes: jobs that are to take them, and bytes that go then.
    unserved: BTreeMap<JobId, (usize, u64)>,
}

impl<'a> Disk<'a> {
    fn new(plan: &'a Plan) -> Disk<'a> {
        let is_shared = same_disk(&plan.project().root, plan.project().store.root());
        Disk { plan, is_shared, now: 0, peak: 0, unserved: BTreeMap::new() }
    }

    /// A job makes its outputs.
    fn make(&mut self, id: JobId, sizes: &Sizes) {
        let project = self.plan.project();
        let published = project.graph.published(&project.pipeline, id);
        for (place, path) in &published {
            let is_new = self.is_shared && !project.outputs().join(path).exists();
            self.now += if is_new { sizes[*place as usize] } else { 0 };
        }
        let made: u64 = sizes.iter().sum();
        self.now += made;
        if project.stage(id).intermediate {
            let stays: u64 = published.iter().map(|(place, _)| sizes[*place as usize]).sum();
            let is_current =
                |id: &JobId| matches!(self.plan.state(*id), State::Current(..)) && !self.plan.may_run(*id);
            let takers = project.graph.dependents[id.index()].iter().filter(|id| !is_current(id)).count();
            self.unserved.insert(id, (takers, made.saturating_sub(stays)));
        }
    }

    /// A job that takes from another, or is this one itself, has ended.
    fn serve(&mut self, producer: JobId, ended: JobId) {
        if let Some((takers, bytes)) = self.unserved.get_mut(&producer) {
            *takers -= usize::from(producer != ended);
            if *takers == 0 {
                self.now -= *bytes;
                self.unserved.remove(&producer);
            }
        }
    }
}

fn same_disk(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.dev());
    device(one) == device(other)
}
