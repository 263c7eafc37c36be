//! Intermediates: the content of a stage with `keep: false` goes as soon as all that takes it is current.
//!
//! It is counted for each such job how many of the jobs that take its outputs are not current; one that is not in the
//! plan is not current either. What this run still needs, its lease tells others, and theirs tell this one.

use std::collections::HashMap;

use crate::graph::JobId;
use crate::hash::Key;
use crate::plan::{Plan, State};
use crate::project::Project;
use crate::store::{Artifact, Lease, Leases, StoreError};

/// The intermediates of a run, and its lease.
pub struct Intermediates {
    lease: Lease,
    /// Those of other processes.
    others: Leases,
    /// Whether any stage has some. Without, nothing is counted.
    any: bool,
    /// Of each intermediate: jobs that take its outputs and are not current.
    unserved: Vec<usize>,
    /// The jobs that are, or were, current with a key.
    jobs: HashMap<Key, Vec<JobId>>,
}

impl Intermediates {
    /// Counts, and leases what is current. With `discard`, for what jobs make is not kept, nothing is dropped.
    ///
    /// # Errors
    /// When the lease cannot be written.
    pub fn new(
        project: &Project,
        plan: &Plan,
        lease: Lease,
        discard: bool,
    ) -> Result<Intermediates, StoreError> {
        let any = !discard && project.pipeline.stages.iter().any(|stage| stage.intermediate);
        let current = |id: &JobId| plan.current_key(*id).is_some();
        let mut jobs: HashMap<Key, Vec<JobId>> = HashMap::new();
        let mut unserved = Vec::new();
        if any {
            for id in plan.needed() {
                plan.current_key(id).into_iter().for_each(|key| jobs.entry(key).or_default().push(id));
            }
            let dependents = project.graph.dependents.iter();
            unserved = dependents.map(|them| them.iter().filter(|id| !current(id)).count()).collect();
        }
        // A run with nothing to do takes nothing.
        if plan.needed().any(|id| !current(&id)) {
            lease.add(plan.needed().filter_map(|id| plan.current_key(id)))?;
        }
        Ok(Intermediates { lease, others: Leases::default(), any, unserved, jobs })
    }

    /// Drops what was not needed before the run.
    ///
    /// # Errors
    /// When something cannot be dropped.
    pub fn begin(&mut self, plan: &Plan) -> Result<(), StoreError> {
        if self.any {
            plan.needed().try_for_each(|id| self.drop_unneeded(plan, id))?;
        }
        Ok(())
    }

    /// Leases what a job is going to make.
    ///
    /// # Errors
    /// When the lease cannot be written.
    pub fn add(&self, key: Key) -> Result<(), StoreError> {
        self.lease.add(std::iter::once(key))
    }

    /// A job has become current: what it has taken may have had its last consumer.
    ///
    /// # Errors
    /// When the lease cannot be written, or something cannot be dropped.
    pub fn settled(&mut self, plan: &Plan, id: JobId) -> Result<(), StoreError> {
        let Some(key) = plan.current_key(id) else { return Ok(()) };
        self.add(key)?;
        if !self.any {
            return Ok(());
        }
        let jobs = self.jobs.entry(key).or_default();
        if !jobs.contains(&id) {
            jobs.push(id);
        }
        for producer in plan.project().graph.producers(id) {
            self.unserved[producer.index()] -= 1;
            self.drop_unneeded(plan, producer)?;
        }
        self.drop_unneeded(plan, id)
    }

    /// A job is no longer current.
    pub fn unsettled(&mut self, plan: &Plan, id: JobId) {
        if self.any {
            for producer in plan.project().graph.producers(id) {
                self.unserved[producer.index()] += 1;
            }
        }
    }

    /// Drops the content of an intermediate that is current and has served all that takes it.
    fn drop_unneeded(&mut self, plan: &Plan, id: JobId) -> Result<(), StoreError> {
        let project = plan.project();
        let State::Current(key, artifacts) = plan.state(id) else { return Ok(()) };
        if self.unserved[id.index()] > 0 || !project.stage(id).intermediate {
            return Ok(());
        }
        let published = project.graph.published(&project.pipeline, id);
        let published: Vec<Artifact> =
            published.iter().map(|(place, _)| artifacts[*place as usize]).collect();
        let artifacts: Vec<Artifact> =
            artifacts.iter().filter(|artifact| !published.contains(artifact)).copied().collect();
        // First it is told that this run does not need it: of two runs that end with it at once, the later one drops it.
        self.lease.release(*key)?;
        let needs = |maker: Key| {
            let mut jobs =
                self.jobs.get(&maker)?.iter().filter(|job| plan.current_key(**job) == Some(maker)).peekable();
            jobs.peek()?;
            Some(jobs.any(|job| !project.stage(*job).intermediate || self.unserved[job.index()] > 0))
        };
        project.store.drop_content(&artifacts, &self.lease, &mut self.others, needs)
    }
}
