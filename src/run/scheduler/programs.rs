//! The programs of stages: crates that are built, commands as they are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Run;
use crate::build::Builder;
use crate::code::Code;
use crate::pipeline;
use crate::run::RunError;
use crate::run::program;
use crate::run::report::Happening;

impl Run<'_, '_, '_> {
    /// Makes the programs of stages ready to start; crates are built.
    pub(super) fn build(&mut self, stages: &[usize]) -> Result<(), RunError> {
        let project = self.project;
        let mut crates: BTreeMap<String, Code> = BTreeMap::new();
        for &index in stages {
            let code = &project.code[index];
            if !self.options.rehearse {
                project.store.keep_code(code.hash, &code.parts)?;
            }
            if let pipeline::Program::Crate(folder) = &project.pipeline.stages[index].program {
                crates.insert(folder.to_string_lossy().into_owned(), code.clone());
            }
        }
        let mut binaries = BTreeMap::new();
        if !crates.is_empty() {
            let crates: Vec<(String, Code)> = crates.into_iter().collect();
            let report = Mutex::new(&mut *self.report);
            let say = |line: &str| {
                let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                report.tell(project, &Happening::Build(line));
            };
            let builder = Builder::new(&project.pipeline.workspace, &project.programs(), std::env::vars_os());
            binaries = builder.binaries(&crates, &mut |folder| project.code_now(folder), &say)?;
        }
        for &index in stages {
            let is_guarded = !self.options.no_sandbox;
            self.programs[index] = Some(program::of_stage(project, index, &binaries, is_guarded));
        }
        Ok(())
    }
}
