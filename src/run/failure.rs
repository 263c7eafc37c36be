//! Why a job failed, in words for people, and whether it may do better when it runs again.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use nix::libc;

use crate::store::StoreError;

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The stage says so.
    #[error("{0}")]
    Said(String),
    /// The program ended in the middle of the job.
    #[error("{}", died(*status, *out_of_memory))]
    Died {
        /// How.
        status: ExitStatus,
        /// Whether the system killed something meanwhile, for there was no memory.
        out_of_memory: bool,
    },
    /// The program closed its standard output in the middle of the job, and went on.
    #[error(
        "it closed its standard output in the middle of the job, so that nobody can know when it is done"
    )]
    Closed,
    /// It took longer than it may.
    #[error("it was ended after {}, the stage's `timeout`", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// A declared folder is not there.
    #[error("{} of the stage's `reads` is not there; make it first", .0.display())]
    NoReads(PathBuf),
    /// The program cannot be started.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// Its name or path.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// An output is not there.
    #[error("it ended without making its output `{name}` ({file})")]
    Missing {
        /// The output.
        name: String,
        /// Its file.
        file: String,
    },
    /// Something is there that is no output.
    #[error("it made `{0}`, which pipeline.yaml does not declare as an output")]
    Undeclared(String),
    /// A source file, a code file or a pin changed while the job could read it.
    #[error("{0} changed while the job ran; run again")]
    Changed(PathBuf),
    /// It had changed before the job began, but after the run made its keys.
    #[error("{0} changed since the run began; run again")]
    Outdated(PathBuf),
    /// What would have run it broke.
    #[error(
        "ribbon itself broke, as it has told on standard error: that is a mistake in ribbon; please report it"
    )]
    Broken,
    /// The store cannot take or give something.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What starts the stage's processes is gone.
    #[error("the process of ribbon that starts those of jobs was killed, or is of no use any more: {0}")]
    Launcher(#[source] io::Error),
    /// The job's folder cannot be used.
    #[error("{path}: {source}")]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn died(status: ExitStatus, out_of_memory: bool) -> String {
    match (status.signal(), status.code()) {
        (Some(9), _) if out_of_memory => "it was killed (signal 9): the system ran out of memory".to_owned(),
        (Some(9), _) => {
            "it was killed (signal 9); if nobody did that, the system ran out of memory".to_owned()
        }
        (Some(signal), _) => format!("it was ended by signal {signal}"),
        (None, Some(code)) if out_of_memory => {
            format!("it ended with exit status {code}, and the system ran out of memory")
        }
        (None, Some(code)) => format!("it ended with exit status {code}"),
        (None, None) => "it ended".to_owned(),
    }
}

impl Failure {
    /// Whether it may be that somebody ends the whole run, with all of its processes.
    pub fn may_be_of_all(&self) -> bool {
        const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGKILL, libc::SIGTERM];
        let is_ending = |status: &ExitStatus| {
            status.signal().or(status.code().map(|code| code - 128)).is_some_and(|it| ENDING.contains(&it))
        };
        match self {
            Failure::Died { status, .. } => is_ending(status),
            Failure::Launcher(_) => true,
            _ => false,
        }
    }

    /// Whether something from outside ended the program, so that it may do better when it runs again.
    pub fn came_from_outside(&self) -> bool {
        // A shell ends with 128 and the signal's number when what it ran was ended by one.
        let is_of_signal = |status: &ExitStatus| {
            status.signal().is_some() || status.code().is_some_and(|code| (129..160).contains(&code))
        };
        match self {
            Failure::Died { status, out_of_memory } => *out_of_memory || is_of_signal(status),
            Failure::Launcher(_) => true,
            _ => false,
        }
    }
}
