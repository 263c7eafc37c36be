//! One command, timed: wall and processor seconds, peak memory, and how many jobs it says it ran.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use nix::libc;

use crate::workload::Tool;

/// What a command took.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Wall seconds.
    pub wall: f64,
    /// Processor seconds, of the command and all it started.
    pub cpu: f64,
    /// The most memory that one process held, in MB.
    pub memory: f64,
    /// Jobs that ran.
    pub jobs: usize,
}

impl Taken {
    /// Runs a command to its end. Its output is kept beside the folder it runs in.
    #[expect(clippy::zombie_processes, reason = "`wait4` takes it, and tells what it used")]
    pub fn of(command: &mut Command, tool: Tool, folder: &Path) -> Taken {
        let log = folder.with_extension("log");
        let file = File::create(&log).unwrap();
        command.current_dir(folder).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        // What was written before is not for this one to bring to the disk.
        nix::unistd::sync();
        let started = Instant::now();
        let child = command.spawn().unwrap();
        let (status, usage) = wait(child.id()).unwrap();
        let wall = started.elapsed().as_secs_f64();
        let told = std::fs::read_to_string(&log).unwrap();
        assert!(status.success(), "{command:?} in {}:\n{told}", folder.display());
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        Taken {
            wall,
            cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime),
            memory: usage.ru_maxrss as f64 * 1024.0 / 1e6,
            jobs: jobs(&told, tool),
        }
    }
}

/// Waits for a child, and takes what it used, its own children included.
fn wait(child: u32) -> io::Result<(ExitStatus, libc::rusage)> {
    let mut status = 0;
    // SAFETY: `rusage` is plain data for which zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to variables that outlive the call.
    match unsafe { libc::wait4(child as libc::pid_t, &mut status, 0, &mut usage) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok((ExitStatus::from_raw(status), usage)),
    }
}

/// ninja and make print a line a command, ribbon counts.
fn jobs(told: &str, tool: Tool) -> usize {
    match tool {
        Tool::Ninja => told.lines().filter(|line| line.starts_with('[')).count(),
        Tool::Make => told.lines().filter(|line| line.starts_with("sh ")).count(),
        Tool::Ribbon | Tool::Worker => {
            let count =
                told.lines().find_map(|line| line.strip_prefix("ran ")?.split(',').next()?.parse().ok());
            count.unwrap_or_else(|| panic!("ribbon has not counted its jobs:\n{told}"))
        }
    }
}

/// The middle of some values.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
