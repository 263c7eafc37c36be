//! What a worker does when the stage says done: checks what is there, stores it and writes the record.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::assignment::Assignment;
use super::failure::Failure;
use super::worker::Worker;
use crate::pipeline::Output;
use crate::store::{Artifacts, Ready, Record, RecordedOutput, StoreError, make_ready, measure};

impl Worker<'_> {
    /// Checks the outputs, moves them into the store and makes them count.
    pub(super) fn collect(&self, job: &Assignment, started: Instant) -> Result<Artifacts, Failure> {
        if let Some(path) = self.changed_file(job)? {
            return Err(Failure::Changed(path));
        }
        let folder = self.outputs();
        let mut made: Vec<OsString> = fs::read_dir(&folder)
            .map_err(|source| Failure::Folder { path: folder.clone(), source })?
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .collect();
        made.sort();
        for (name, output) in &job.outputs {
            if !made.iter().any(|file| *file == *output.file) {
                return Err(Failure::Missing { name: name.clone(), file: output.file.clone() });
            }
        }
        if let Some(file) = made.iter().find(|file| job.outputs.iter().all(|(_, it)| **file != *it.file)) {
            return Err(Failure::Undeclared(file.to_string_lossy().into_owned()));
        }
        let ready =
            |(_, output): &(_, Output)| make_ready(&folder.join(&output.file), output.kind, self.memo);
        let ready: Vec<Ready> =
            job.outputs.iter().map(ready).collect::<Result<_, _>>().map_err(StoreError::from)?;
        if job.rehearse {
            return Ok(ready.iter().map(Ready::artifact).collect());
        }
        // All that takes long is done: others wait for this one's end if they want to remove something.
        let _hold = self.store.hold()?;
        let insert = |ready| self.store.insert(ready, self.memo);
        let artifacts: Artifacts = ready.into_iter().map(insert).collect::<Result<_, _>>()?;
        self.store.commit(&self.record(job, &artifacts, started), artifacts.clone())?;
        Ok(artifacts)
    }

    /// A file that the job reads where it stands and that is not what its key was made of.
    ///
    /// # Errors
    /// When this user may not read it.
    pub(super) fn changed_file(&self, job: &Assignment) -> Result<Option<PathBuf>, StoreError> {
        for placed in job.inputs.iter().flat_map(|(_, input)| input.placed()) {
            let Some(source) = &placed.source else { continue };
            match measure(source, self.memo) {
                Ok(now) if now == placed.artifact => {}
                Err(error) if error.is_refused() => return Err(error.into()),
                _ => return Ok(Some(source.clone())),
            }
        }
        Ok(self.project.changed_file(self.project.graph.job(job.id).stage))
    }

    fn record(&self, job: &Assignment, artifacts: &Artifacts, started: Instant) -> Record {
        let outputs = job.outputs.iter().zip(artifacts);
        Record {
            version: 1,
            key: job.key,
            job: job.name.clone(),
            stage: job.stage.clone(),
            labels: job.labels.clone(),
            ingredients: job.ingredients.clone(),
            outputs: outputs
                .map(|((name, _), artifact)| (name.clone(), RecordedOutput::of(artifact)))
                .collect(),
            intermediate: job.intermediate,
            ended: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            seconds: started.elapsed().as_secs_f64(),
            accepted: None,
            machine: self.machine.on(&job.device),
        }
    }
}
