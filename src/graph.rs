//! The graph: every stage unrolled into its jobs, and every input into the outputs it takes.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::pipeline::{
    Each, Input, Labels, Param, Pipeline, Select, Source, Stage, StageId, Sweep, SweepId, group_name,
};

/// A stage with more jobs is taken for a mistake: it would fill the memory before anybody sees it.
const MOST: usize = 10_000_000;

/// Index of a job in [`Graph::jobs`]. Inputs always come from lower indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u32);

impl JobId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One instance of a stage.
#[derive(Debug)]
pub struct Job {
    /// Of which stage.
    pub stage: StageId,
    /// What tells it from the stage's other jobs.
    pub labels: Labels,
    /// Its inputs, in the order of the stage's input names.
    pub inputs: Vec<JobInput>,
    bindings: Vec<Binding>,
}

/// An input of a job.
#[derive(Debug)]
pub enum JobInput {
    /// One artifact.
    One(Origin),
    /// A list of artifacts: by source as written, then by label.
    Many(Vec<Origin>),
}

/// Where an artifact comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A file or folder of the project: an index in [`Graph::sources`].
    File(u32),
    /// An output of another job, by its place among the sorted names of the stage's outputs.
    Output(JobId, u16),
}

/// What a clause of `each` or `pairs` gives to one job.
#[derive(Debug, Clone)]
enum Binding {
    Configuration { variable: String, sweep: SweepId, index: usize },
    Group { variable: String, name: String, agree: Labels },
}

/// A pipeline unrolled.
#[derive(Debug)]
pub struct Graph {
    /// All jobs, a stage's together, stages in topological order.
    pub jobs: Vec<Job>,
    /// The files and folders of the project that jobs take as inputs, relative to the root.
    pub sources: Vec<PathBuf>,
    /// The jobs that take an output of each job.
    pub dependents: Vec<Vec<JobId>>,
    stages: Vec<Range<u32>>,
}

/// Why a pipeline cannot be unrolled.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// A single input would take several artifacts, or none.
    #[error(
        "{job}: input `{input}` takes {found} jobs of stage {stage}, expected one; add labels in brackets, or `[*]` for a list"
    )]
    NotOne {
        /// The consumer.
        job: String,
        /// The input's name.
        input: String,
        /// The stage it takes from.
        stage: String,
        /// How many jobs match.
        found: usize,
    },
    /// A stage's clauses multiply to more jobs than anybody can want.
    #[error("stage {stage} has more than {MOST} jobs; take a smaller sweep, or a clause less")]
    TooMany {
        /// The stage.
        stage: String,
    },
    /// Two jobs publish the same file.
    #[error(
        "outputs/{profile}/{path} is published by both {first} and {second}; put a {{label}} in the path"
    )]
    PublishedTwice {
        /// The profile.
        profile: String,
        /// The path under it.
        path: String,
        /// One job.
        first: String,
        /// The other.
        second: String,
    },
    /// Two clauses of one stage give jobs the same labels.
    #[error("stage {stage} has two jobs {job}; its clauses must differ in their labels")]
    SameLabels {
        /// The stage.
        stage: String,
        /// The job's name.
        job: String,
    },
}

impl Graph {
    /// Unrolls a pipeline.
    ///
    /// # Errors
    /// When a single input matches no job or several, or two jobs collide in name or in what they publish.
    pub fn unroll(pipeline: &Pipeline) -> Result<Graph, GraphError> {
        let mut graph =
            Graph { jobs: Vec::new(), sources: Vec::new(), dependents: Vec::new(), stages: Vec::new() };
        let mut sources = HashMap::new();
        for (index, stage) in pipeline.stages.iter().enumerate() {
            let first = graph.jobs.len();
            if count(stage, &pipeline.sweeps) > MOST {
                return Err(GraphError::TooMany { stage: stage.name.clone() });
            }
            for bindings in fan_out(stage, &pipeline.sweeps) {
                let labels = labels_of(&bindings, &pipeline.sweeps);
                graph.jobs.push(Job { stage: StageId(index), labels, inputs: Vec::new(), bindings });
            }
            let jobs = first as u32..graph.jobs.len() as u32;
            graph.stages.push(jobs.clone());
            graph.check_names(pipeline, jobs.clone())?;
            for (name, input) in &stage.inputs {
                graph.connect(pipeline, jobs.clone(), name, input, &mut sources)?;
            }
        }
        graph.check_published(pipeline)?;
        graph.dependents = vec![Vec::new(); graph.jobs.len()];
        for id in graph.ids() {
            for producer in graph.producers(id) {
                graph.dependents[producer.index()].push(id);
            }
        }
        Ok(graph)
    }

    /// All jobs' ids, producers before consumers.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = JobId> + use<> {
        (0..self.jobs.len() as u32).map(JobId)
    }

    /// The job with this id.
    pub fn job(&self, id: JobId) -> &Job {
        &self.jobs[id.index()]
    }

    /// The jobs of a stage.
    pub fn jobs_of(&self, stage: StageId) -> impl Iterator<Item = JobId> + use<> {
        self.stages[stage.0].clone().map(JobId)
    }

    /// The jobs whose outputs a job takes, each once, sorted.
    pub fn producers(&self, id: JobId) -> BTreeSet<JobId> {
        self.job(id).inputs.iter().flat_map(JobInput::origins).filter_map(|origin| origin.job()).collect()
    }

    /// `train[arch=fc,seed=42]`: a job's name, unique in its profile.
    pub fn name(&self, pipeline: &Pipeline, id: JobId) -> String {
        let job = self.job(id);
        let mut name = pipeline.stages[job.stage.0].name.clone();
        if !job.labels.is_empty() {
            let _ = write!(name, "[{}]", join(&job.labels));
        }
        name
    }

    /// All jobs' names, by id.
    pub fn names(&self, pipeline: &Pipeline) -> Vec<String> {
        self.ids().map(|id| self.name(pipeline, id)).collect()
    }

    /// A job's parameters: the stage's, with references to its configuration replaced.
    pub fn params(&self, pipeline: &Pipeline, id: JobId) -> Map<String, Value> {
        let job = self.job(id);
        let configuration = |name: &str| {
            job.bindings.iter().find_map(|binding| match binding {
                Binding::Configuration { variable, sweep, index } if variable == name => {
                    Some(&pipeline.sweeps[sweep.0].configurations[*index].values)
                }
                _ => None,
            })
        };
        let params = &pipeline.stages[job.stage.0].params;
        params.iter().map(|(name, param)| (name.clone(), resolve(param, &configuration))).collect()
    }

    /// Where a job's published outputs go under outputs/PROFILE/: (place of the output among the sorted names, path).
    pub fn published(&self, pipeline: &Pipeline, id: JobId) -> Vec<(u16, String)> {
        let job = self.job(id);
        let stage = &pipeline.stages[job.stage.0];
        let place = |output: &String| stage.outputs.keys().position(|name| name == output);
        stage
            .publish
            .iter()
            .filter_map(|(output, path)| Some((place(output)? as u16, fill(path, &job.labels))))
            .collect()
    }

    fn check_names(&self, pipeline: &Pipeline, jobs: Range<u32>) -> Result<(), GraphError> {
        let mut seen = HashSet::new();
        for id in jobs.map(JobId) {
            if !seen.insert(&self.job(id).labels) {
                let stage = pipeline.stages[self.job(id).stage.0].name.clone();
                return Err(GraphError::SameLabels { stage, job: self.name(pipeline, id) });
            }
        }
        Ok(())
    }

    fn check_published(&self, pipeline: &Pipeline) -> Result<(), GraphError> {
        let mut seen: HashMap<String, JobId> = HashMap::new();
        for id in self.ids() {
            for (_, path) in self.published(pipeline, id) {
                if let Some(first) = seen.insert(path.clone(), id) {
                    return Err(GraphError::PublishedTwice {
                        profile: pipeline.profile.clone(),
                        path,
                        first: self.name(pipeline, first),
                        second: self.name(pipeline, id),
                    });
                }
            }
        }
        Ok(())
    }

    /// Gives each of a stage's jobs its input of this name.
    fn connect(
        &mut self,
        pipeline: &Pipeline,
        jobs: Range<u32>,
        name: &str,
        input: &Input,
        sources: &mut HashMap<PathBuf, u32>,
    ) -> Result<(), GraphError> {
        let (written, many) = (input.sources(), input.is_list());
        let mut origins: Vec<Vec<Origin>> = vec![Vec::new(); jobs.len()];
        for source in written {
            match source {
                Source::File(path) => {
                    let file = self.source(path, sources);
                    origins.iter_mut().for_each(|origins| origins.push(file));
                }
                Source::Files { variable, paths, .. } => {
                    for (origins, id) in origins.iter_mut().zip(jobs.clone()) {
                        let index = self.job(JobId(id)).configuration(variable);
                        let path = index.and_then(|index| paths.get(index));
                        let path = path.expect("the pipeline was checked: there is a path a configuration");
                        origins.push(self.source(path, sources));
                    }
                }
                Source::Jobs { stage, output, select } => {
                    let place = pipeline.stages[stage.0].outputs.keys().position(|name| name == output);
                    let place = place.expect("the pipeline was checked: the stage has the output") as u16;
                    let matching = Matching::new(self, *stage, select, jobs.clone().next().map(JobId));
                    for (origins, id) in origins.iter_mut().zip(jobs.clone()) {
                        let found = matching.of(self.job(JobId(id)));
                        origins.extend(found.iter().map(|&job| Origin::Output(job, place)));
                    }
                }
            }
        }
        for (origins, id) in origins.into_iter().zip(jobs) {
            let input = match origins[..] {
                _ if many => JobInput::Many(origins),
                [origin] => JobInput::One(origin),
                _ => return Err(self.not_one(pipeline, JobId(id), name, written, origins.len())),
            };
            self.jobs[id as usize].inputs.push(input);
        }
        Ok(())
    }

    /// A file or folder of the project, which `sources` has the index of if it is known.
    fn source(&mut self, path: &Path, sources: &mut HashMap<PathBuf, u32>) -> Origin {
        let next = self.sources.len() as u32;
        let id = *sources.entry(path.to_owned()).or_insert(next);
        if id == next {
            self.sources.push(path.to_owned());
        }
        Origin::File(id)
    }

    fn not_one(
        &self,
        pipeline: &Pipeline,
        id: JobId,
        input: &str,
        written: &[Source],
        found: usize,
    ) -> GraphError {
        let stage = match written {
            [Source::Jobs { stage, .. }] => pipeline.stages[stage.0].name.clone(),
            _ => String::new(),
        };
        GraphError::NotOne { job: self.name(pipeline, id), input: input.to_owned(), stage, found }
    }
}

impl JobInput {
    /// The artifacts of this input.
    pub fn origins(&self) -> &[Origin] {
        match self {
            JobInput::One(origin) => std::slice::from_ref(origin),
            JobInput::Many(origins) => origins,
        }
    }
}

impl Origin {
    /// The job it comes from.
    pub fn job(self) -> Option<JobId> {
        match self {
            Origin::File(_) => None,
            Origin::Output(job, _) => Some(job),
        }
    }
}

/// The jobs of a stage, indexed by the labels that decide which of them a consumer takes.
struct Matching {
    /// Labels that both sides have, and those that a group agrees on.
    names: Vec<String>,
    group: Option<String>,
    jobs: HashMap<Vec<String>, Vec<JobId>>,
}

impl Matching {
    /// `consumer` is any job of the consuming stage: all of them have the same label names.
    fn new(graph: &Graph, stage: StageId, select: &Select, consumer: Option<JobId>) -> Matching {
        let example = graph.jobs_of(stage).next();
        let (Some(example), Some(consumer)) = (example, consumer) else {
            return Matching { names: Vec::new(), group: None, jobs: HashMap::new() };
        };
        let (theirs, ours) = (&graph.job(example).labels, graph.job(consumer));
        let fixed = &select.labels;
        let agree = select.group.as_ref().and_then(|group| ours.group(group));
        let names: Vec<String> = theirs
            .keys()
            .filter(|name| !fixed.contains_key(*name))
            .filter(|name| {
                ours.labels.contains_key(*name) || agree.is_some_and(|agree| agree.contains_key(*name))
            })
            .cloned()
            .collect();
        let mut jobs: HashMap<Vec<String>, Vec<JobId>> = HashMap::new();
        for id in graph.jobs_of(stage) {
            let labels = &graph.job(id).labels;
            if fixed.iter().all(|(name, value)| labels.get(name) == Some(value)) {
                let values = names.iter().map(|name| labels[name].clone()).collect();
                jobs.entry(values).or_default().push(id);
            }
        }
        for ids in jobs.values_mut() {
            ids.sort_by(|a, b| graph.job(*a).labels.cmp(&graph.job(*b).labels));
        }
        Matching { names, group: select.group.clone(), jobs }
    }

    fn of(&self, consumer: &Job) -> &[JobId] {
        let agree = self.group.as_ref().and_then(|group| consumer.group(group));
        let value = |name: &String| {
            agree.and_then(|agree| agree.get(name)).or_else(|| consumer.labels.get(name)).cloned()
        };
        let values: Option<Vec<String>> = self.names.iter().map(value).collect();
        values.and_then(|values| self.jobs.get(&values)).map_or(&[], Vec::as_slice)
    }
}

impl Job {
    /// The place in its sweep of the configuration bound to this name.
    fn configuration(&self, name: &str) -> Option<usize> {
        self.bindings.iter().find_map(|binding| match binding {
            Binding::Configuration { variable, index, .. } if variable == name => Some(*index),
            _ => None,
        })
    }

    /// The labels that the members of the group bound to this name agree on.
    fn group(&self, name: &str) -> Option<&Labels> {
        self.bindings.iter().find_map(|binding| match binding {
            Binding::Group { variable, agree, .. } if variable == name => Some(agree),
            _ => None,
        })
    }
}

/// `a=1,b=2`: labels as people write them in brackets.
pub fn join(labels: &Labels) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

/// How many combinations there are of what the stage's clauses give.
fn count(stage: &Stage, sweeps: &[Sweep]) -> usize {
    let choices = |each: &Each| match each {
        Each::Configuration { sweep, .. } => sweeps[sweep.0].configurations.len(),
        Each::Group { sweep, by, .. } => groups(&sweeps[sweep.0], by).len(),
        Each::Pairs { sweep, by, .. } => {
            let groups = groups(&sweeps[sweep.0], by).len();
            groups.saturating_mul(groups + 1) / 2
        }
    };
    stage.each.iter().fold(1, |all: usize, each| all.saturating_mul(choices(each)))
}

/// Every combination of what the stage's clauses give.
fn fan_out(stage: &Stage, sweeps: &[Sweep]) -> Vec<Vec<Binding>> {
    let mut combinations = vec![Vec::new()];
    for each in &stage.each {
        let choices = choices(each, sweeps);
        combinations = combinations
            .iter()
            .flat_map(|have: &Vec<Binding>| {
                choices.iter().map(move |more| have.iter().chain(more).cloned().collect())
            })
            .collect();
    }
    combinations
}

fn choices(each: &Each, sweeps: &[Sweep]) -> Vec<Vec<Binding>> {
    let group = |variable: &String, by: &[String], agree: &Labels| Binding::Group {
        variable: variable.clone(),
        name: group_name(agree, by),
        agree: agree.clone(),
    };
    match each {
        Each::Configuration { variable, sweep } => (0..sweeps[sweep.0].configurations.len())
            .map(|index| vec![Binding::Configuration { variable: variable.clone(), sweep: *sweep, index }])
            .collect(),
        Each::Group { variable, sweep, by } => {
            groups(&sweeps[sweep.0], by).iter().map(|agree| vec![group(variable, by, agree)]).collect()
        }
        Each::Pairs { variables: [first, second], sweep, by } => {
            // Sorted groups, so that which of two is `rows` does not follow the order of configurations.
            let groups = groups(&sweeps[sweep.0], by);
            let pair = |i: usize, j: usize| vec![group(first, by, &groups[i]), group(second, by, &groups[j])];
            (0..groups.len())
                .flat_map(|i| (i..groups.len()).map(move |j| (i, j)))
                .map(|(i, j)| pair(i, j))
                .collect()
        }
    }
}

/// The groups of configurations that agree on some labels, sorted.
fn groups(sweep: &Sweep, by: &[String]) -> Vec<Labels> {
    let groups: BTreeSet<Labels> = sweep
        .configurations
        .iter()
        .map(|configuration| {
            by.iter().map(|name| (name.clone(), configuration.labels[name].clone())).collect()
        })
        .collect();
    groups.into_iter().collect()
}

fn labels_of(bindings: &[Binding], sweeps: &[Sweep]) -> Labels {
    let mut labels = BTreeMap::new();
    for binding in bindings {
        match binding {
            Binding::Configuration { sweep, index, .. } => {
                labels.extend(sweeps[sweep.0].configurations[*index].labels.clone());
            }
            Binding::Group { variable, name, .. } => {
                labels.insert(variable.clone(), name.clone());
            }
        }
    }
    labels
}

fn resolve<'a>(param: &Param, configuration: &impl Fn(&str) -> Option<&'a Map<String, Value>>) -> Value {
    match param {
        Param::Literal(value) => value.clone(),
        Param::Configuration(name) => configuration(name).cloned().map_or(Value::Null, Value::Object),
        Param::Value(name, value) => {
            configuration(name).and_then(|values| values.get(value)).cloned().unwrap_or(Value::Null)
        }
        Param::Mapping(entries) => {
            entries.iter().map(|(name, param)| (name.clone(), resolve(param, configuration))).collect()
        }
        Param::List(items) => items.iter().map(|param| resolve(param, configuration)).collect(),
    }
}

/// Puts labels into `{label}`.
fn fill(path: &str, labels: &Labels) -> String {
    labels.iter().fold(path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
}
