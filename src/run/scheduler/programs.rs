//! The programs of stages: crates that are built, commands as they are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Run;
use crate::build::{Builder, Wanted};
use crate::hash::Hash;
use crate::pipeline;
use crate::project::Project;
use crate::run::assignment::Program;
use crate::run::program;
use crate::run::report::Happening;
use crate::run::worker::Told;
use crate::run::{Options, RunError};

impl Run<'_, '_, '_> {
    /// Makes the programs of stages ready to start, and waits for that.
    pub(super) fn build(&mut self, stages: &[usize]) -> Result<(), RunError> {
        let report = Mutex::new(&mut *self.report);
        let say = |line: &str| {
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            report.tell(self.project, &Happening::Build(line));
        };
        for (stage, program) in programs(self.project, stages, self.options, &say)? {
            self.programs[stage] = Some(program);
        }
        Ok(())
    }

    /// Whether the program of a stage is ready to start. If it is not, it is built while other jobs go on; the stage's own
    /// wait. One at a time: cargo works on all cores, and for one only.
    pub(super) fn is_built(&mut self, stage: usize) -> Result<bool, RunError> {
        if let pipeline::Program::Command { .. } = self.project.pipeline.stages[stage].program
            && self.programs[stage].is_none()
        {
            self.build(&[stage])?;
        }
        if self.programs[stage].is_none() && !self.is_building {
            self.is_building = true;
            let (project, options, tell) = (self.project, self.options.clone(), self.events.clone());
            self.scope.spawn(move || {
                let say = |line: &str| drop(tell.send(Told::Building(line.to_owned())));
                let built = programs(project, &[stage], &options, &say);
                let _ = tell.send(Told::Built(built));
            });
        }
        Ok(self.programs[stage].is_some())
    }

    /// A build beside the run has ended.
    pub(super) fn built(&mut self, built: Result<Vec<(usize, Program)>, RunError>) {
        self.is_building = false;
        match built {
            Ok(programs) => {
                programs.into_iter().for_each(|(stage, program)| self.programs[stage] = Some(program));
            }
            Err(error) => self.break_off(error),
        }
    }
}

/// What the stages that run a crate's program pin.
fn pins_of(project: &Project, folder: &str) -> BTreeMap<String, Hash> {
    let stages = project.pipeline.stages.iter().zip(&project.facts);
    let of_crate = stages.filter(
        |(stage, _)| matches!(&stage.program, pipeline::Program::Crate(of) if of.to_string_lossy() == folder),
    );
    of_crate.flat_map(|(_, facts)| facts.tools.clone()).collect()
}

/// What runs each of these stages; crates are built.
fn programs(
    project: &Project,
    stages: &[usize],
    options: &Options,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Vec<(usize, Program)>, RunError> {
    let mut crates: BTreeMap<String, Wanted> = BTreeMap::new();
    for &index in stages {
        let code = &project.code[index];
        if !options.discard {
            project.store.keep_code(code.hash, &code.parts)?;
        }
        if let pipeline::Program::Crate(folder) = &project.pipeline.stages[index].program {
            let (folder, code) = (folder.to_string_lossy().into_owned(), code.clone());
            let pins = pins_of(project, &folder);
            crates.insert(folder.clone(), Wanted { folder, code, pins });
        }
    }
    let mut binaries = BTreeMap::new();
    if !crates.is_empty() {
        let crates: Vec<Wanted> = crates.into_values().collect();
        let builder = Builder::new(&project.pipeline.workspace, &project.programs(), std::env::vars_os());
        binaries = builder.binaries(&crates, &mut |folder| project.code_now(folder), say)?;
    }
    let of_stage = |&index| (index, program::of_stage(project, index, &binaries, !options.no_sandbox));
    Ok(stages.iter().map(of_stage).collect())
}
