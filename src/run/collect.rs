//! What a worker does when the stage says done: checks what is there, stores it and writes the record.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::assignment::Assignment;
use super::failure::Failure;
use super::worker::Worker;
use crate::code;
use crate::pipeline::{self, Output};
use crate::store::{
    Artifacts, Ready, Record, RecordedOutput, StoreError, Written, all_written, make_ready, measure, written,
};

impl Worker<'_> {
    /// Checks the outputs, moves them into the store and makes them count.
    /// `before`: when the files that it reads where they stand had been written.
    pub(super) fn collect(
        &self,
        job: &Assignment,
        before: &[Written],
        started: Instant,
    ) -> Result<Artifacts, Failure> {
        if let Some(path) = self.changed_file(job)? {
            return Err(Failure::Changed(path));
        }
        // What changed and changed back while the job ran, it may have read in between.
        let now = self.files_written(job)?;
        if let Some((path, _)) = before.iter().zip(&now).find(|(before, now)| before != now).map(|(it, _)| it)
        {
            let of_project = path.strip_prefix(&self.project.root).unwrap_or(path);
            return Err(Failure::Changed(of_project.to_owned()));
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
        if job.discard {
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

    /// When the files that the job reads where they stand were written: sources, and the code of a command.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(super) fn files_written(&self, job: &Assignment) -> Result<Vec<Written>, Failure> {
        let mut files = Vec::new();
        for source in
            job.inputs.iter().flat_map(|(_, input)| input.placed()).filter_map(|it| it.source.as_ref())
        {
            files.extend(all_written(source).map_err(StoreError::from)?);
        }
        let stage = self.project.stage(job.id);
        if let pipeline::Program::Command { code, .. } = &stage.program {
            for place in code.iter().map(|path| self.project.root.join(path)) {
                files.extend(code::files_in(&place).unwrap_or_default().iter().map(|file| written(file)));
            }
        }
        Ok(files)
    }

    fn record(&self, job: &Assignment, artifacts: &Artifacts, started: Instant) -> Record {
        let outputs = job.outputs.iter().zip(artifacts);
        Record {
            version: Record::VERSION,
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
