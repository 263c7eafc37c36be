//! From a job of the graph to what a worker gets: everything resolved.

use super::Run;
use crate::graph::{JobId, JobInput, Origin};
use crate::hash::Key;
use crate::run::assignment::{AssignedInput, Assignment, Placed};
use crate::slots::Held;

impl Run<'_, '_, '_> {
    /// Everything a worker has to know of a job.
    pub(super) fn assignment(&self, id: JobId, key: Key, held: &Held) -> Option<Assignment> {
        let (project, job, stage) = (self.project, self.project.graph.job(id), self.project.stage(id));
        let placed = |origin: &Origin| -> Option<Placed> {
            let artifact = *self.plan.artifact(*origin)?;
            Some(match origin {
                Origin::File(index) => {
                    let path = project.root.join(&project.graph.sources[*index as usize]);
                    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    Placed { artifact, file, source: Some(path) }
                }
                Origin::Output(producer, place) => {
                    let output = project.stage(*producer).outputs.values().nth(*place as usize)?;
                    Placed { artifact, file: output.file.clone(), source: None }
                }
            })
        };
        let labelled = |origin: &Origin| {
            let labels = origin.job().map(|job| project.graph.job(job).labels.clone());
            Some((placed(origin)?, labels.unwrap_or_default()))
        };
        let input = |input: &JobInput| {
            Some(match input {
                JobInput::One(origin) => AssignedInput::One(placed(origin)?),
                JobInput::Many(origins) => {
                    AssignedInput::Many(origins.iter().map(labelled).collect::<Option<_>>()?)
                }
            })
        };
        let names = stage.inputs.keys().cloned();
        Some(Assignment {
            id,
            name: project.name(id).to_owned(),
            stage: stage.name.clone(),
            labels: job.labels.clone(),
            key,
            params: project.graph.params(&project.pipeline, id),
            inputs: names
                .zip(&job.inputs)
                .map(|(name, it)| Some((name, input(it)?)))
                .collect::<Option<_>>()?,
            outputs: stage.outputs.iter().map(|(name, output)| (name.clone(), output.clone())).collect(),
            device: held.device.clone(),
            threads: stage.needs.threads,
            timeout: stage.timeout,
            retries: stage.retries,
            resume: stage.resume && !self.options.discard,
            intermediate: stage.intermediate,
            discard: self.options.discard,
            ingredients: self.plan.ingredients(id),
            program: self.programs[job.stage.0].clone()?,
            after: Vec::new(),
        })
    }
}
