//! A stage's main loop: jobs come as lines on standard input, events go as lines to standard output.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use crate::job::{Job, emit};

#[derive(Deserialize)]
struct Request {
    job: PathBuf,
}

/// Runs jobs until standard input ends, or the one job file given as argument (to try a stage by hand).
///
/// `run` does one job. An error ends that job, not the worker. Standard output belongs to the protocol: a stage prints
/// to standard error, or uses [`Job::log`].
pub fn serve(mut run: impl FnMut(&Job) -> anyhow::Result<()>) {
    if let Some(path) = std::env::args_os().nth(1) {
        let ended = attempt(Path::new(&path), &mut run);
        std::process::exit(if ended { 0 } else { 1 });
    }
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        match serde_json::from_str::<Request>(&line) {
            Ok(request) => attempt(&request.job, &mut run),
            Err(error) => fail(&format!("not a request of the job protocol: {error}: {line}")),
        };
    }
}

fn attempt(path: &Path, run: &mut impl FnMut(&Job) -> anyhow::Result<()>) -> bool {
    match Job::read(path).map_err(Into::into).and_then(|job| run(&job)) {
        Ok(()) => {
            emit(&json!({"event": "done"}));
            true
        }
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn fail(what: &str) -> bool {
    emit(&json!({"event": "error", "what": what}));
    false
}
