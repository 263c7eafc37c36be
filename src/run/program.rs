//! What runs the jobs of a stage: the command with its places in this project, its environment, and what it may reach.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::assignment::Program;
use super::process::Launch;
use super::sandbox::{self, Reach};
use crate::code;
use crate::pipeline::{self, Gpu, Stage};
use crate::project::Project;

/// The program of the stage with this index; `binaries` are the built programs of crates by their folders.
pub fn of_stage(
    project: &Project,
    index: usize,
    binaries: &BTreeMap<String, PathBuf>,
    is_guarded: bool,
) -> Program {
    let stage = &project.pipeline.stages[index];
    let command = match &stage.program {
        pipeline::Program::Crate(folder) => {
            vec![binaries[folder.to_string_lossy().as_ref()].clone().into_os_string()]
        }
        pipeline::Program::Command { command, code } => placed(&project.root, command, code, &stage.reads),
    };
    let reach = is_guarded.then(|| reach(project, stage, &command));
    let env = project.facts[index].env.clone().into_iter().collect();
    let launch = Launch { command, threads: stage.needs.threads, env, resume: stage.resume, reach };
    match &stage.program {
        pipeline::Program::Crate(_) => Program::Worker(launch),
        pipeline::Program::Command { .. } => Program::Command(launch),
    }
}

/// A command whose words that are code files, or lie in folders of code or of `reads`, are replaced by their place in
/// the project.
fn placed(root: &Path, command: &[String], code: &[PathBuf], reads: &[PathBuf]) -> Vec<OsString> {
    let place = |word: &String| {
        let path = Path::new(word);
        let path = path.strip_prefix("./").unwrap_or(path);
        let place = root.join(path);
        let is_known = code.iter().any(|code| path.starts_with(code))
            || reads.iter().any(|folder| place.starts_with(folder));
        if is_known { place.into_os_string() } else { word.into() }
    };
    command.iter().map(place).collect()
}

fn reach(project: &Project, stage: &Stage, command: &[OsString]) -> Reach {
    let closed = [project.root.clone(), project.pipeline.workspace.clone(), project.state.store()];
    let closed: Vec<PathBuf> = closed.map(|path| path.canonicalize().unwrap_or(path)).into();
    let program = Path::new(&command[0]);
    let program = match program.components().count() {
        1 => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
            places.find(|place| place.is_file())
        }
        _ => Some(program.to_owned()),
    };
    let mut reads = program.map_or(Vec::new(), |program| sandbox::installation(&program, &closed));
    let mut lists = Vec::new();
    if let pipeline::Program::Command { code, .. } = &stage.program {
        for place in code.iter().map(|path| project.root.join(path)) {
            // Of a folder what is in the key.
            reads.extend(code::files_in(&place).into_iter().flatten());
            lists.extend(place.is_dir().then_some(place));
        }
    }
    let gpus = stage.needs.gpu != Gpu::None;
    Reach { reads, lists, declared: stage.reads.clone(), closed, network: stage.network, gpus }
}
