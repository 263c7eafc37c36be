//! What is up to date and what has to run: the state of each job, for one set of wanted jobs.
//!
//! ```text
//!            inputs known            key has artifacts
//!  Waiting ----------------> (key) --------------------> Current
//!     ^                        |  no, or forced             |
//!     |                        v                            | its content is gone and somebody needs it
//!     +---- input is redone -- Stale <----------------------+
//! ```
//! `run` goes on from here: a stale job that has run is current, and its dependents learn their keys. A job whose key
//! comes out as it was never runs (early cutoff). In a light plan a job of a heavy stage is never stale: it is current, or
//! kept with what it made before.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use crate::graph::{JobId, Origin};
use crate::hash::{Hash, Key};
use crate::key::{self, Told};
use crate::lockfile::Line;
use crate::project::Project;
use crate::store::{Artifact, Artifacts, artifacts_of};

/// So many keys are worth a thread.
const KEYS: usize = 64;

/// What pipeline.lock does not say yet of jobs that are up to date.
#[derive(Debug, Default)]
pub struct NewLines {
    /// Lines to take into it.
    pub lines: Vec<(String, Line)>,
    /// Jobs that made other bits than their lines say.
    pub unreproduced: Vec<JobId>,
}

/// What is known of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing wanted depends on it.
    Unneeded,
    /// Its key is not known: an input comes from a job that has to run.
    Waiting,
    /// It has to run.
    Stale(Key, Reason),
    /// Its artifacts are known.
    Current(Key, Artifacts),
    /// It is not up to date and does not run, in a light plan: what it made before serves its dependents.
    Kept(Artifacts),
}

/// Why a job has to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is no record of its key.
    NewKey,
    /// `--force`.
    Forced,
    /// Its record stands, but the content of an output (by place) is not in the store, and is needed.
    Gone(u16),
}

/// The states of all jobs.
#[derive(Debug)]
pub struct Plan<'a> {
    project: &'a Project,
    states: Vec<State>,
    wanted: BTreeSet<JobId>,
    forced: BTreeSet<JobId>,
    light: bool,
    /// Jobs to be redone: the place of an output whose content is gone and needed.
    demanded: BTreeMap<JobId, u16>,
    /// Current jobs whose content is gone, and needed if a job runs whose key is not known.
    doubtful: BTreeSet<JobId>,
    /// What jobs had made that were current and are not now: the keys of their dependents still say so.
    before: BTreeMap<JobId, Artifacts>,
}

impl<'a> Plan<'a> {
    /// What is known of the jobs that `wanted` and `forced` ones depend on, and of these; `forced` ones are stale
    /// whatever their records say.
    pub fn new(project: &'a Project, wanted: &BTreeSet<JobId>, forced: &BTreeSet<JobId>) -> Plan<'a> {
        Plan::of(project, wanted, forced, false)
    }

    /// A plan that runs no heavy stage: its dependents take what is there.
    pub fn light(project: &'a Project, wanted: &BTreeSet<JobId>, forced: &BTreeSet<JobId>) -> Plan<'a> {
        Plan::of(project, wanted, forced, true)
    }

    fn of(project: &'a Project, wanted: &BTreeSet<JobId>, forced: &BTreeSet<JobId>, light: bool) -> Plan<'a> {
        let graph = &project.graph;
        let mut states = vec![State::Unneeded; graph.jobs.len()];
        let mut plan = {
            for id in wanted.iter().chain(forced) {
                states[id.index()] = State::Waiting;
            }
            for id in graph.ids().rev() {
                if states[id.index()] == State::Waiting {
                    for producer in graph.producers(id) {
                        states[producer.index()] = State::Waiting;
                    }
                }
            }
            Plan {
                project,
                states,
                wanted: wanted.clone(),
                forced: forced.clone(),
                light,
                demanded: BTreeMap::new(),
                doubtful: BTreeSet::new(),
                before: BTreeMap::new(),
            }
        };
        // Jobs whose inputs are known do not depend on each other: usually all of a stage.
        let mut ready = Vec::new();
        for id in graph.ids().filter(|id| plan.states[id.index()] == State::Waiting).collect::<Vec<_>>() {
            if !plan.inputs_known(id) {
                plan.resolve_all(&std::mem::take(&mut ready));
            }
            match plan.inputs_known(id) {
                true => ready.push(id),
                false => plan.keep(id),
            }
        }
        plan.resolve_all(&ready);
        plan
    }

    /// The project that it is a plan of.
    pub fn project(&self) -> &'a Project {
        self.project
    }

    /// The state of a job.
    pub fn state(&self, id: JobId) -> &State {
        &self.states[id.index()]
    }

    /// All jobs that anything wanted depends on.
    pub fn needed(&self) -> impl Iterator<Item = JobId> + '_ {
        self.project.graph.ids().filter(|id| self.states[id.index()] != State::Unneeded)
    }

    /// What an input takes, once it is known.
    pub fn artifact(&self, origin: Origin) -> Option<&Artifact> {
        match origin {
            Origin::File(index) => Some(self.project.source(index)),
            Origin::Output(job, place) => match self.state(job) {
                State::Current(_, artifacts) | State::Kept(artifacts) => artifacts.get(place as usize),
                _ => None,
            },
        }
    }

    /// Whether all of a job's inputs are known.
    pub fn inputs_known(&self, id: JobId) -> bool {
        let inputs = &self.project.graph.job(id).inputs;
        inputs.iter().flat_map(|input| input.origins()).all(|origin| self.artifact(*origin).is_some())
    }

    /// All that a job's key is made of, as far as it is known: an input that is not has a hash of zeros.
    pub fn ingredients(&self, id: JobId) -> Vec<(String, String)> {
        let mut told = Told::default();
        let Project { pipeline, graph, .. } = self.project;
        let content = |origin| self.artifact(origin).map_or(Hash([0; 32]), |artifact| artifact.hash);
        key::describe(pipeline, graph, self.project.facts(id), id, content, &mut told);
        told.0
    }

    /// Learns a job's key, and whether it has to run. Its inputs must be known.
    pub fn resolve(&mut self, id: JobId) {
        self.learn(id, self.resolved(id));
    }

    /// The same of several.
    fn resolve_all(&mut self, ids: &[JobId]) {
        let states: Vec<State> = ids.par_iter().with_min_len(KEYS).map(|&id| self.resolved(id)).collect();
        for (&id, state) in ids.iter().zip(states) {
            self.learn(id, state);
        }
    }

    /// Whether a job is current or stale, by its inputs.
    fn resolved(&self, id: JobId) -> State {
        let Project { pipeline, graph, .. } = self.project;
        let key = key::key(pipeline, graph, self.project.facts(id), id, |origin| self.content(origin));
        match self.known(id, key) {
            _ if self.forced.contains(&id) => State::Stale(key, Reason::Forced),
            Some(artifacts) => State::Current(key, artifacts),
            None => State::Stale(key, Reason::NewKey),
        }
    }

    fn learn(&mut self, id: JobId, state: State) {
        self.states[id.index()] = state;
        if matches!(self.state(id), State::Stale(..)) {
            self.keep(id);
        }
    }

    /// The key of a job that is current.
    pub fn current_key(&self, id: JobId) -> Option<Key> {
        match self.state(id) {
            State::Current(key, _) => Some(*key),
            _ => None,
        }
    }

    /// Whether this plan leaves a job as it is, up to date or not.
    pub fn leaves(&self, id: JobId) -> bool {
        self.light && self.project.stage(id).heavy
    }

    /// Whether a job's dependents need not wait for it: it is current or kept.
    pub fn is_settled(&self, id: JobId) -> bool {
        matches!(self.state(id), State::Current(..) | State::Kept(_))
    }

    /// The lock's new lines. Where a key made other bits than its line says, the line stays, unless those are to be taken; so
    /// do the lines of what was made from these bits, for a lock with some lines of either kind would be up to date nowhere.
    pub fn new_lines(&self, take_other_bits: bool) -> NewLines {
        let project = self.project;
        let mut new = NewLines::default();
        let mut strayed: BTreeSet<JobId> = BTreeSet::new();
        for id in self.needed() {
            let State::Current(key, artifacts) = self.state(id) else { continue };
            let outputs = project.stage(id).outputs.keys().cloned().zip(artifacts.iter().copied()).collect();
            let line = Line { key: *key, outputs };
            match self.line(id) {
                Some(old) if *old == line => {}
                Some(old) if old.key == line.key && !take_other_bits => {
                    new.unreproduced.push(id);
                    strayed.insert(id);
                }
                _ if project.graph.producers(id).iter().any(|producer| strayed.contains(producer)) => {
                    strayed.insert(id);
                }
                _ => new.lines.push((project.name(id).to_owned(), line)),
            }
        }
        new
    }

    /// The stages of those producers of a job that are not up to date, in words.
    pub fn stages_waited_for(&self, id: JobId) -> String {
        let producers = self.project.graph.producers(id).into_iter();
        let stages: BTreeSet<&str> = producers
            .filter(|producer| !matches!(self.state(*producer), State::Current(..)))
            .map(|producer| self.project.stage(producer).name.as_str())
            .collect();
        stages.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// Whether it leaves heavy stages as they are.
    pub fn is_light(&self) -> bool {
        self.light
    }

    /// Jobs that a light plan can neither run nor keep: what they made before is not known.
    pub fn lost(&self) -> Vec<JobId> {
        self.needed().filter(|id| self.leaves(*id) && !self.is_settled(*id)).collect()
    }

    /// Notes which kept jobs are current after all: when they were, what they depend on was to be run first.
    pub fn recheck(&mut self) {
        for id in self.project.graph.ids() {
            if matches!(self.state(id), State::Kept(_)) && self.inputs_known(id) {
                let kept = self.states[id.index()].clone();
                self.resolve(id);
                match (&kept, self.state(id)) {
                    (State::Kept(made), State::Current(_, artifacts)) if made == artifacts => {}
                    _ => self.states[id.index()] = kept,
                }
            }
        }
    }

    /// In a light plan, a heavy job that is not current keeps what its line in the lock says it made, if that is all its
    /// outputs.
    fn keep(&mut self, id: JobId) {
        if let Some(line) = self.line(id).filter(|_| self.leaves(id))
            && let Some(artifacts) = self.locked(id, line)
        {
            self.states[id.index()] = State::Kept(artifacts);
        }
    }

    /// Notes what a job made.
    pub fn finish(&mut self, id: JobId, key: Key, artifacts: Artifacts) {
        self.forced.remove(&id);
        self.demanded.remove(&id);
        self.states[id.index()] = State::Current(key, artifacts);
    }

    /// Whether a job that is current again made other artifacts than before. Asked once: then its dependents know.
    pub fn has_changed(&mut self, id: JobId) -> bool {
        let (State::Current(_, artifacts) | State::Kept(artifacts)) = &self.states[id.index()] else {
            return false;
        };
        self.before.remove(&id).is_some_and(|before| before != *artifacts)
    }

    /// A job that was current has to run after all: the content of an output is gone.
    pub fn redo(&mut self, id: JobId, place: u16) {
        if let State::Current(key, _) = self.states[id.index()] {
            self.leave(id);
            self.demanded.insert(id, place);
            self.states[id.index()] = State::Stale(key, Reason::Gone(place));
        }
    }

    /// A job whose inputs are being redone waits again.
    pub fn wait(&mut self, id: JobId) {
        self.leave(id);
        self.states[id.index()] = State::Waiting;
    }

    fn leave(&mut self, id: JobId) {
        if let State::Current(_, artifacts) = &self.states[id.index()] {
            // The oldest counts: its dependents have not learned of any other.
            self.before.entry(id).or_insert_with(|| artifacts.clone());
        }
    }

    /// The inputs of a job whose content is not in the store, as (job, place of the output).
    pub fn gone_inputs(&self, id: JobId) -> Vec<(JobId, u16)> {
        let mut gone = Vec::new();
        for origin in self.project.graph.job(id).inputs.iter().flat_map(|input| input.origins()) {
            if let Origin::Output(job, place) = *origin
                && self.artifact(*origin).is_some_and(|it| !self.project.store.holds(it, &self.project.memo))
            {
                gone.push((job, place));
            }
        }
        gone
    }

    /// An output of a current job that is needed and not here: demanded and not in the store, or wanted and neither
    /// published as it should be nor in the store. Nobody wants an intermediate for itself.
    pub fn lacks(&self, id: JobId) -> Option<u16> {
        let State::Current(_, artifacts) = self.state(id) else { return None };
        let is_gone =
            |place: &u16| !self.project.store.holds(&artifacts[*place as usize], &self.project.memo);
        if let Some(place) = self.demanded.get(&id).copied().filter(is_gone) {
            return Some(place);
        }
        if !self.wanted.contains(&id) || self.leaves(id) {
            return None;
        }
        let published = self.project.graph.published(&self.project.pipeline, id);
        let is_intermediate = self.project.stage(id).intermediate;
        (0..artifacts.len() as u16).find(|place| {
            let path = published.iter().find(|(output, _)| output == place).map(|(_, path)| path);
            let artifact = &artifacts[*place as usize];
            let is_placed =
                path.map_or(is_intermediate, |path| self.project.is_published(id, artifact, path));
            !is_placed && is_gone(place)
        })
    }

    /// Makes stale what has a record but whose content is gone and needed: by a wanted job, or by one that has to run.
    ///
    /// What depends on a job that is redone keeps its state: usually the job makes what it made before. `run` learns
    /// otherwise when it happens. So it does of jobs that wait; what these would need [may run](Plan::may_run).
    pub fn demand(&mut self) {
        let needed: Vec<JobId> = self.needed().collect();
        for id in needed.into_iter().rev() {
            if let Some(place) = self.lacks(id) {
                self.redo(id, place);
            }
            if !self.may_run(id) {
                continue;
            }
            let is_stale = matches!(self.state(id), State::Stale(..));
            for (producer, place) in self.gone_inputs(id) {
                match is_stale {
                    _ if self.leaves(producer) => {}
                    true => self.redo(producer, place),
                    false => drop(self.doubtful.insert(producer)),
                }
            }
        }
    }

    /// Whether a job has to run, or may have to: its key is not known, or one that waits would need what it made and is gone.
    pub fn may_run(&self, id: JobId) -> bool {
        match self.state(id) {
            State::Stale(..) | State::Waiting => true,
            State::Current(..) => self.doubtful.contains(&id),
            State::Kept(_) | State::Unneeded => false,
        }
    }

    /// The jobs that run whatever their inputs come out as: those that are stale, and those that wait and never ran, or of
    /// whose keys something beside the content of inputs is not as it was. None of these if the store has the key that it
    /// comes to when what is redone makes what it made before.
    pub fn certain(&self) -> BTreeSet<JobId> {
        let (mut certain, mut coming) = (BTreeSet::new(), BTreeMap::new());
        for id in self.needed() {
            let key = match self.state(id) {
                State::Stale(key, _) => *key,
                State::Waiting => self.coming_key(id, &coming),
                State::Current(..) | State::Kept(_) | State::Unneeded => continue,
            };
            let made = self.project.store.artifacts(key);
            let is_stale = matches!(self.state(id), State::Stale(..));
            if is_stale || made.is_none() && self.is_new(id, key) {
                certain.insert(id);
            }
            coming.extend(made.map(|made| (id, made)));
        }
        certain
    }

    /// Whether a job that waits has no line, or one of a key that it cannot come to.
    fn is_new(&self, id: JobId, coming: Key) -> bool {
        self.line(id).is_none_or(|line| match self.project.store.record(line.key) {
            Some(old) => settings(&old.ingredients) != settings(&self.ingredients(id)),
            None => coming != line.key,
        })
    }

    /// The key of a job if jobs make what these have, and others what pipeline.lock says.
    fn coming_key(&self, id: JobId, coming: &BTreeMap<JobId, Artifacts>) -> Key {
        let Project { pipeline, graph, .. } = self.project;
        let made = |origin| match origin {
            Origin::Output(job, place) => match coming.get(&job) {
                Some(made) => made.get(usize::from(place)).copied(),
                // Of an output alone: the line may be of a time when there were fewer.
                None => {
                    let name = self.project.stage(job).outputs.keys().nth(usize::from(place))?;
                    self.line(job)?.outputs.get(name).copied()
                }
            },
            Origin::File(_) => None,
        };
        let content = |origin| self.artifact(origin).copied().or_else(|| made(origin));
        let hash = |origin| content(origin).map_or(Hash([0; 32]), |artifact| artifact.hash);
        key::key(pipeline, graph, self.project.facts(id), id, hash)
    }

    /// A job's line in the lock.
    fn line(&self, id: JobId) -> Option<&'a Line> {
        self.project.lock.get(self.project.name(id))
    }

    fn content(&self, origin: Origin) -> Hash {
        self.artifact(origin).expect("a key is asked for only when the inputs are known").hash
    }

    /// The artifacts of a key: by this store's record, or by the lock's line.
    fn known(&self, id: JobId, key: Key) -> Option<Artifacts> {
        self.project.store.artifacts(key).or_else(|| {
            let line = self.line(id).filter(|line| line.key == key)?;
            self.locked(id, line)
        })
    }

    /// What a line says a job made, if it names all of its outputs.
    fn locked(&self, id: JobId, line: &Line) -> Option<Artifacts> {
        let outputs = &self.project.stage(id).outputs;
        artifacts_of(outputs, |name| line.outputs.get(name).copied()).ok()
    }
}

/// Ingredients in order, those of inputs without their content.
fn settings(ingredients: &[(String, String)]) -> Vec<(&str, &str)> {
    let value = |name: &str, value| if name.starts_with("inputs.") { "" } else { value };
    let mut settings: Vec<_> =
        ingredients.iter().map(|(name, text)| (name.as_str(), value(name, text))).collect();
    settings.sort_unstable();
    settings
}
