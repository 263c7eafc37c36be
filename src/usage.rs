//! Usage: the time and the bytes that jobs take, from what they took before, or from what the profile says.
//!
//! What a job itself took counts first, then the median of jobs of its profile that are like it, then what the profile says
//! of it (`costs`), then the median of other profiles' jobs of its stage. Jobs of a stage are alike if the profile says
//! the same of them; where it says nothing, all of them are.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::graph::JobId;
use crate::pipeline::{Costs, Gpu, Stage, StageId};
use crate::plan::{Plan, State};
use crate::project::Project;
use crate::store::{Artifact, Record};

/// How something is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The job, or jobs like it, ran before.
    Past,
    /// The profile says so.
    Profile,
    /// Jobs of its stage ran in other profiles.
    Elsewhere,
}

/// Something that jobs take.
pub trait Quantity: Clone + Ord {
    /// What a job took when it last ran; with `cards`, jobs that may use one do.
    fn own(plan: &Plan, id: JobId, cards: bool) -> Option<Self>;

    /// What a record of a stage says.
    fn recorded(record: &Record, stage: &Stage, cards: bool) -> Option<Self>;

    /// What the profile says.
    fn declared(costs: Costs, stage: &Stage) -> Option<Self>;

    /// In the middle of what some jobs took.
    fn median(jobs: Vec<Self>) -> Option<Self>;
}

/// The time that a job runs.
pub type Time = Duration;

/// Bytes of each output of a job, in the order of their names.
pub type Sizes = Vec<u64>;

/// What jobs are known to take of a quantity.
#[derive(Debug)]
pub struct Usage<'a, T> {
    project: &'a Project,
    own: HashMap<JobId, T>,
    like: HashMap<Like, T>,
    elsewhere: HashMap<StageId, T>,
}

/// The stage of jobs that are alike, and what the profile says of them, as bits.
type Like = (StageId, [Option<u64>; 2]);

impl<'a, T: Quantity> Usage<'a, T> {
    /// What is known of some jobs of a plan.
    pub fn of(plan: &Plan<'a>, runs: &BTreeSet<JobId>, cards: bool) -> Usage<'a, T> {
        let project = plan.project();
        let mut usage =
            Usage { project, own: HashMap::new(), like: HashMap::new(), elsewhere: HashMap::new() };
        let stages: BTreeSet<StageId> = runs.iter().map(|id| project.graph.job(*id).stage).collect();
        let mut like: HashMap<Like, Vec<T>> = HashMap::new();
        for id in project.graph.ids().filter(|id| stages.contains(&project.graph.job(*id).stage)) {
            if let Some(took) = T::own(plan, id, cards) {
                like.entry(usage.like(id)).or_default().push(took.clone());
                usage.own.insert(id, took);
            }
        }
        usage.like = medians(like);
        let is_unknown = |id: &&JobId| usage.in_profile(**id).is_none();
        let lacking: BTreeSet<StageId> =
            runs.iter().filter(is_unknown).map(|id| project.graph.job(*id).stage).collect();
        if !lacking.is_empty() {
            // Jobs of other profiles, or of times before the lock.
            let mut others: HashMap<StageId, Vec<T>> = HashMap::new();
            for record in project.store.records() {
                let is_its = |id: &&StageId| project.pipeline.stages[id.0].name == record.stage;
                if let Some(&id) = lacking.iter().find(is_its) {
                    let took = T::recorded(&record, &project.pipeline.stages[id.0], cards);
                    others.entry(id).or_default().extend(took);
                }
            }
            usage.elsewhere = medians(others);
        }
        usage
    }

    /// What a job takes, and how that is known.
    pub fn get(&self, id: JobId) -> Option<(T, Source)> {
        let elsewhere = || self.elsewhere.get(&self.project.graph.job(id).stage).cloned();
        self.in_profile(id).or_else(|| Some((elsewhere()?, Source::Elsewhere)))
    }

    fn in_profile(&self, id: JobId) -> Option<(T, Source)> {
        let past = self.own.get(&id).or_else(|| self.like.get(&self.like(id)));
        let declared = || T::declared(self.costs(id), self.project.stage(id));
        past.map(|took| (took.clone(), Source::Past)).or_else(|| Some((declared()?, Source::Profile)))
    }

    fn like(&self, id: JobId) -> Like {
        let Costs { seconds, bytes } = self.costs(id);
        (self.project.graph.job(id).stage, [seconds, bytes].map(|cost| cost.map(f64::to_bits)))
    }

    fn costs(&self, id: JobId) -> Costs {
        self.project.stage(id).cost(&self.project.graph.job(id).labels)
    }
}

fn medians<K: Eq + std::hash::Hash, T: Quantity>(of: HashMap<K, Vec<T>>) -> HashMap<K, T> {
    of.into_iter().filter_map(|(key, jobs)| Some((key, T::median(jobs)?))).collect()
}

impl Quantity for Sizes {
    fn own(plan: &Plan, id: JobId, _: bool) -> Option<Sizes> {
        let project = plan.project();
        match plan.state(id) {
            State::Current(_, artifacts) => Some(artifacts.iter().map(|artifact| artifact.size).collect()),
            _ => {
                let line = project.lock.get(project.name(id))?;
                let size = |artifact: &Artifact| artifact.size;
                project.stage(id).outputs.keys().map(|name| line.outputs.get(name).map(size)).collect()
            }
        }
    }

    fn recorded(record: &Record, stage: &Stage, _: bool) -> Option<Sizes> {
        stage.outputs.keys().map(|name| Some(record.outputs.get(name)?.size)).collect()
    }

    /// A profile speaks of all outputs together; here each has its share.
    fn declared(costs: Costs, stage: &Stage) -> Option<Sizes> {
        let outputs = stage.outputs.len();
        Some(vec![(costs.bytes? / outputs as f64) as u64; outputs])
    }

    /// The median of each output.
    fn median(jobs: Vec<Sizes>) -> Option<Sizes> {
        let median = |output: usize| middle(jobs.iter().map(|job| job[output]).collect());
        (0..jobs.first()?.len()).map(median).collect()
    }
}

impl Quantity for Time {
    fn own(plan: &Plan, id: JobId, cards: bool) -> Option<Time> {
        let project = plan.project();
        let locked = || project.lock.get(project.name(id)).map(|line| line.key);
        let record = project.store.record(plan.current_key(id).or_else(locked)?)?;
        Time::recorded(&record, project.stage(id), cards)
    }

    /// A processor says nothing of cards, and the other way round.
    fn recorded(record: &Record, stage: &Stage, cards: bool) -> Option<Time> {
        let on_card = cards && stage.needs.gpu != Gpu::None;
        let is_alike = record.machine.device.starts_with("cuda") == on_card;
        is_alike.then(|| Duration::try_from_secs_f64(record.seconds).ok()).flatten()
    }

    fn declared(costs: Costs, _: &Stage) -> Option<Time> {
        Duration::try_from_secs_f64(costs.seconds?).ok()
    }

    fn median(jobs: Vec<Time>) -> Option<Time> {
        middle(jobs)
    }
}

fn middle<T: Ord + Copy>(mut values: Vec<T>) -> Option<T> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
