//! Targets: what people type for a set of jobs. A stage, a job by its labels, or a path under outputs/.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::graph::JobId;
use crate::pipeline::{Labels, by_number, nearest};
use crate::project::Project;

/// Why a target names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No stage has this name.
    #[error("no stage `{name}`{hint}; stages: {stages}")]
    Stage {
        /// What was typed.
        name: String,
        /// ", did you mean .."
        hint: String,
        /// The stages there are.
        stages: String,
    },
    /// Other profiles have this stage.
    #[error("profile {profile} has no stage `{name}`; say --profile {}", others.join(" or "))]
    Elsewhere {
        /// What was typed.
        name: String,
        /// The profile.
        profile: String,
        /// Those that have it.
        others: Vec<String>,
    },
    /// The text in brackets is not labels.
    #[error("`{0}`: labels are written NAME=VALUE, separated by commas, in brackets after the stage")]
    Syntax(String),
    /// A label has two values.
    #[error("`{target}`: the label {label} is here twice; a job has one value of it")]
    Twice {
        /// What was typed.
        target: String,
        /// The label.
        label: String,
    },
    /// No job of the stage has these labels.
    #[error("no job of stage {stage} has {label}; {hint}")]
    Labels {
        /// The stage.
        stage: String,
        /// The first label that does not fit.
        label: String,
        /// The names or values there are.
        hint: String,
    },
    /// Nothing is published there.
    #[error("no stage publishes {path} in profile {profile}{hint}")]
    Path {
        /// What was typed.
        path: String,
        /// The profile.
        profile: String,
        /// ", did you mean .."
        hint: String,
    },
}

/// The jobs that a target names; at least one.
///
/// # Errors
/// When it names nothing; the message says what is near.
pub fn select(project: &Project, target: &str) -> Result<BTreeSet<JobId>, TargetError> {
    // Names of stages have no slash; values of labels have none either.
    if target.contains('/') {
        return published_at(project, target);
    }
    let (name, labels) = match target.split_once('[') {
        Some((name, rest)) => {
            let inside = rest.strip_suffix(']').ok_or_else(|| TargetError::Syntax(target.to_owned()))?;
            (name, parse_labels(target, inside)?)
        }
        None => (target, Labels::new()),
    };
    let stages = &project.pipeline.stages;
    let Some(stage) = stages.iter().position(|stage| stage.name == name) else {
        if let Some(others) = project.pipeline.elsewhere.get(name) {
            let profile = project.pipeline.profile.clone();
            return Err(TargetError::Elsewhere { name: name.to_owned(), profile, others: others.clone() });
        }
        let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
        let elsewhere = project.pipeline.elsewhere.keys().map(String::as_str);
        let near = nearest(name, names.iter().copied().chain(elsewhere)).map(str::to_owned);
        return Err(TargetError::Stage {
            name: name.to_owned(),
            hint: did_you_mean(near.or_else(|| ending_with(&published(project), name))),
            stages: names.join(", "),
        });
    };
    let mut jobs: BTreeSet<JobId> = project.graph.jobs_of(crate::pipeline::StageId(stage)).collect();
    for (label, value) in &labels {
        let there: BTreeSet<&str> = jobs
            .iter()
            .filter_map(|id| project.graph.job(*id).labels.get(label).map(String::as_str))
            .collect();
        // As it is, or by its number.
        let by_number = || by_number(value, label, &stages[stage].each, &project.pipeline.sweeps);
        let value = if there.contains(value.as_str()) { value } else { by_number().unwrap_or(value) };
        if !there.contains(value) {
            let example = jobs.first().map(|id| &project.graph.job(*id).labels);
            let names: Vec<&str> = example.into_iter().flat_map(|l| l.keys().map(String::as_str)).collect();
            let hint = match (there.is_empty(), names.is_empty()) {
                (false, _) => {
                    format!("{label} is one of {}", there.into_iter().collect::<Vec<_>>().join(", "))
                }
                (true, false) => format!("its labels are {}", names.join(", ")),
                (true, true) => "it has one job, without labels".to_owned(),
            };
            return Err(TargetError::Labels {
                stage: name.to_owned(),
                label: format!("{label}={}", labels[label]),
                hint,
            });
        }
        jobs.retain(|id| project.graph.job(*id).labels.get(label).is_some_and(|it| it == value));
    }
    Ok(jobs)
}

/// The profile whose published outputs a path leads to; none of other targets.
pub fn profile_of(root: &Path, target: &str) -> Option<String> {
    let outputs = lexical(&root.join("outputs"));
    let below = |path: &PathBuf| {
        let inside = path.strip_prefix(&outputs).ok()?;
        Some(inside.components().next()?.as_os_str().to_string_lossy().into_owned())
    };
    target.contains('/').then(|| typed(root, target).iter().find_map(below))?
}

/// What a run without targets is for: every job that publishes, and every job that nothing depends on.
pub fn everything(project: &Project) -> BTreeSet<JobId> {
    let wanted = |id: &JobId| {
        project.graph.dependents[id.index()].is_empty() || !project.stage(*id).publish.is_empty()
    };
    project.graph.ids().filter(wanted).collect()
}

/// `, did you mean X?`, if there is one.
fn did_you_mean(target: Option<String>) -> String {
    target.map_or(String::new(), |target| format!(", did you mean `{target}`?"))
}

/// The published paths, as people write them.
fn published(project: &Project) -> Vec<String> {
    let of_job = |id| project.graph.published(&project.pipeline, id);
    let paths = project.graph.ids().flat_map(of_job).map(|(_, path)| path);
    paths.map(|path| format!("outputs/{}/{path}", project.pipeline.profile)).collect()
}

/// The path that ends with this one.
fn ending_with(paths: &[String], end: &str) -> Option<String> {
    paths.iter().find(|path| Path::new(path).ends_with(end)).cloned()
}

fn parse_labels(target: &str, inside: &str) -> Result<Labels, TargetError> {
    let mut labels = Labels::new();
    for part in inside.split(',').filter(|part| !part.trim().is_empty()) {
        let (name, value) = part.split_once('=').ok_or_else(|| TargetError::Syntax(target.to_owned()))?;
        if labels.insert(name.trim().to_owned(), value.trim().to_owned()).is_some() {
            return Err(TargetError::Twice { target: target.to_owned(), label: name.trim().to_owned() });
        }
    }
    Ok(labels)
}

/// Whether a target takes an output of a job that [`select`] has found: a path only takes what is published there.
pub fn takes(project: &Project, target: &str, id: JobId, place: usize) -> bool {
    let is_there = is_at(project, target);
    let published = project.graph.published(&project.pipeline, id);
    !target.contains('/')
        || published.iter().any(|(output, path)| usize::from(*output) == place && is_there(path))
}

/// Whether what is published at a path is what was typed, or below it.
fn is_at(project: &Project, target: &str) -> impl Fn(&str) -> bool {
    let typed = typed(&project.root, target);
    let outputs = lexical(&project.outputs());
    move |path| {
        let path = outputs.join(path);
        typed.iter().any(|typed| path.starts_with(typed))
    }
}

/// A path as typed from here, and as it is called in the project.
fn typed(root: &Path, target: &str) -> [PathBuf; 2] {
    let here = std::env::current_dir().unwrap_or_default();
    [here.join(target), root.join(target)].map(|path| lexical(&path))
}

/// The jobs that publish a file, or anything below a folder.
fn published_at(project: &Project, target: &str) -> Result<BTreeSet<JobId>, TargetError> {
    let is_there = is_at(project, target);
    let publishes =
        |id: &JobId| project.graph.published(&project.pipeline, *id).iter().any(|(_, path)| is_there(path));
    let found: BTreeSet<JobId> = project.graph.ids().filter(publishes).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let paths = published(project);
    let near = || nearest(target, paths.iter().map(String::as_str)).map(str::to_owned);
    Err(TargetError::Path {
        path: target.to_owned(),
        profile: project.pipeline.profile.clone(),
        hint: did_you_mean(ending_with(&paths, target).or_else(near)),
    })
}

/// A path without `.` and `..`, whether or not it exists.
fn lexical(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}
