//! A stage's process: started in its own group with a cleaned environment, read from without ever blocking on one pipe.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getppid};

/// Variables that pass to every job, and are not part of any key: where things are, not what to compute.
const PASSED: [&str; 22] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_HOME",
    "XDG_CACHE_HOME",
    "RIBBON_CACHE",
    "RIBBON_DATA",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
];

/// Libraries read from these how many threads to start.
const THREADS: [&str; 4] =
    ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"];

/// A running job stops within this time after it is asked to, or is killed.
const GRACE: Duration = Duration::from_secs(2);

/// How often to look whether a process whose pipes a grandchild holds open has ended.
const TICK: u16 = 50;

/// Bytes of a pipe that are held at once, and the length at which a line is cut.
const HELD: usize = 1 << 20;

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Launch {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Threads it may use.
    pub threads: u32,
    /// Declared environment variables.
    pub env: Vec<(String, Option<String>)>,
}

/// A handle by which another thread can end a process, also one that is only about to start.
#[derive(Debug, Clone, Default)]
pub struct Group(Arc<Ending>);

#[derive(Debug, Default)]
struct Ending {
    /// The group's number; 0 while there is none.
    number: AtomicI32,
    /// When it was asked to end.
    asked: OnceLock<Instant>,
}

/// A line that a process printed.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// On standard output.
    Out(String),
    /// On standard error.
    Err(String),
    /// Both are closed, or the process has ended.
    End,
}

/// A process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    pipes: [Pipe; 2],
    group: Group,
}

/// One of a process's pipes and what has been read of it.
#[derive(Debug)]
struct Pipe {
    end: Option<ReadEnd>,
    buffer: Vec<u8>,
    /// Where in the buffer the next line starts.
    start: usize,
    /// Up to where from there no line ends.
    searched: usize,
}

#[derive(Debug)]
enum ReadEnd {
    Out(std::process::ChildStdout),
    Err(std::process::ChildStderr),
}

impl Process {
    /// Starts a process in a folder.
    ///
    /// # Errors
    /// When the program cannot be started, or the group was asked to end.
    pub fn start(launch: &Launch, folder: &Path, group: &Group) -> io::Result<Process> {
        if group.0.asked.get().is_some() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the run was ended"));
        }
        let mut command = Command::new(&launch.command[0]);
        command.args(&launch.command[1..]).current_dir(folder).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_clear().env("LANG", "C.UTF-8").env("TZ", "UTC").env("TMPDIR", folder);
        for name in PASSED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for name in THREADS {
            command.env(name, launch.threads.to_string());
        }
        for (name, value) in &launch.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let runner = Pid::this();
        // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                // A runner that is killed takes its jobs with it; the signal is sent when the thread that started the
                // process ends, which is the worker's that keeps it.
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                // It may have been killed before this.
                if getppid() == runner { Ok(()) } else { Err(Errno::ESRCH.into()) }
            });
        }
        let mut child = command.spawn()?;
        let (out, err) = (child.stdout.take().map(ReadEnd::Out), child.stderr.take().map(ReadEnd::Err));
        let pipes = [Pipe::new(out)?, Pipe::new(err)?];
        group.0.number.store(child.id() as i32, Ordering::SeqCst);
        if group.0.asked.get().is_some() {
            group.signal(Signal::SIGTERM);
        }
        Ok(Process { stdin: child.stdin.take(), child, pipes, group: group.clone() })
    }

    /// Writes a line to the process's standard input.
    ///
    /// # Errors
    /// When the process does not read any more.
    pub fn write_line(&mut self, line: &str) -> io::Result<()> {
        match &mut self.stdin {
            Some(stdin) => writeln!(stdin, "{line}").and_then(|()| stdin.flush()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Says that no more input comes: a worker then ends.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// The next line of either pipe, standard error first; waits for one.
    ///
    /// # Errors
    /// When the pipes cannot be read.
    pub fn next_line(&mut self) -> io::Result<Line> {
        loop {
            self.group.insist();
            if let Some(line) = self.buffered(false) {
                return Ok(line);
            }
            let mut open: Vec<PollFd> = self.pipes.iter().filter_map(Pipe::poll_fd).collect();
            if open.is_empty() {
                return Ok(self.buffered(true).unwrap_or(Line::End));
            }
            let ready = match poll(&mut open, PollTimeout::from(TICK)) {
                Ok(ready) => ready,
                // A signal that this process caught.
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let ended = ready == 0 && self.child.try_wait()?.is_some();
            for pipe in &mut self.pipes {
                pipe.fill()?;
            }
            if ended {
                // What a grandchild may still print is nobody's.
                return Ok(self.buffered(true).unwrap_or_else(|| {
                    self.pipes.iter_mut().for_each(|pipe| pipe.end = None);
                    Line::End
                }));
            }
        }
    }

    /// What has already been printed, on either pipe, without waiting.
    ///
    /// # Errors
    /// When the pipes cannot be read.
    pub fn drain(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        for pipe in &mut self.pipes {
            pipe.fill()?;
            lines.extend(std::iter::from_fn(|| pipe.line(true)));
        }
        Ok(lines)
    }

    /// Waits for the end of a process that ends by itself, however long that takes.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn join(&mut self) -> io::Result<ExitStatus> {
        self.reap(None)
    }

    /// Says that no more input comes, and waits for the end; a process that does not heed this is killed.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        self.close_input();
        self.reap(Some(Instant::now() + GRACE))
    }

    fn reap(&mut self, deadline: Option<Instant>) -> io::Result<ExitStatus> {
        // Most processes whose pipes are closed end at once.
        let mut pause = Duration::from_micros(50);
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if deadline.is_some_and(|deadline| Instant::now() > deadline) => {
                    self.group.signal(Signal::SIGKILL);
                    break self.child.wait()?;
                }
                None => {
                    self.group.insist();
                    std::thread::sleep(pause);
                    pause = (2 * pause).min(Duration::from_millis(TICK.into()));
                }
            }
        };
        // What it started goes with it.
        self.group.signal(Signal::SIGKILL);
        self.group.0.number.store(0, Ordering::SeqCst);
        Ok(status)
    }

    fn buffered(&mut self, last: bool) -> Option<Line> {
        let err = self.pipes[1].line(last).map(Line::Err);
        err.or_else(|| self.pipes[0].line(last).map(Line::Out))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl Group {
    /// Asks the process and its children to end. Those that do not are killed after a while.
    pub fn end(&self) {
        // Said before it is done: a process that starts just now looks here once it has its number.
        let _ = self.0.asked.set(Instant::now());
        self.signal(Signal::SIGTERM);
    }

    /// Kills what was asked to end and had time to.
    fn insist(&self) {
        if self.0.asked.get().is_some_and(|asked| asked.elapsed() > GRACE) {
            self.signal(Signal::SIGKILL);
        }
    }

    fn signal(&self, signal: Signal) {
        let id = self.0.number.load(Ordering::SeqCst);
        if id > 0 {
            // It may have ended by itself.
            let _ = killpg(Pid::from_raw(id), signal);
        }
    }
}

impl Pipe {
    fn new(end: Option<ReadEnd>) -> io::Result<Pipe> {
        if let Some(end) = &end {
            fcntl(end.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Pipe { end, buffer: Vec::new(), start: 0, searched: 0 })
    }

    fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.end.as_ref().map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN))
    }

    /// Reads what is there.
    fn fill(&mut self) -> io::Result<()> {
        // Lines that were taken go now, all at once, not each when it was taken.
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        let mut chunk = [0; 8192];
        // Not to the end of a flood: lines are taken in between.
        while let Some(end) = &mut self.end
            && self.buffer.len() < HELD
        {
            match end.read(&mut chunk) {
                Ok(0) => self.end = None,
                Ok(length) => self.buffer.extend(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes a line out of the buffer; with `last`, also what stands there without a line end.
    fn line(&mut self, last: bool) -> Option<String> {
        let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let left = self.buffer.len() - self.start;
        let (end, next) = match found {
            Some(at) => (self.searched + at, self.searched + at + 1),
            // A line that never ends is cut.
            None if left > 0 && (last || left >= HELD) => (self.buffer.len(), self.buffer.len()),
            None => {
                self.searched = self.buffer.len();
                return None;
            }
        };
        let line = String::from_utf8_lossy(&self.buffer[self.start..end]).into_owned();
        (self.start, self.searched) = (next, next);
        Some(line)
    }
}

impl ReadEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            ReadEnd::Out(pipe) => pipe.as_fd(),
            ReadEnd::Err(pipe) => pipe.as_fd(),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            ReadEnd::Out(pipe) => pipe.read(into),
            ReadEnd::Err(pipe) => pipe.read(into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let command = ["sh", "-c", script].map(OsString::from).to_vec();
        let launch =
            Launch { command, threads: 3, env: vec![("DECLARED".to_owned(), Some("yes".to_owned()))] };
        Process::start(&launch, Path::new("/"), &Group::default()).unwrap()
    }

    fn all(process: &mut Process) -> Vec<Line> {
        let lines = std::iter::from_fn(|| Some(process.next_line().unwrap()));
        lines.take_while(|line| *line != Line::End).collect()
    }

    #[test]
    fn lines_of_both_pipes_arrive_and_a_last_one_without_end() {
        let mut process = shell("echo one; echo two >&2; printf three");
        let mut lines = all(&mut process);
        lines.sort_by_key(|line| format!("{line:?}"));
        let expected = [Line::Err("two".into()), Line::Out("one".into()), Line::Out("three".into())];
        assert_eq!(lines, expected);
        assert!(process.end().unwrap().success());
    }

    #[test]
    fn only_fixed_and_declared_variables_pass() {
        let mut process = shell("echo $DECLARED $OMP_NUM_THREADS ${CARGO_MANIFEST_DIR:-cleaned}");
        assert_eq!(process.next_line().unwrap(), Line::Out("yes 3 cleaned".into()));
    }

    #[test]
    fn a_grandchild_that_holds_the_pipes_does_not_hold_the_job() {
        let started = std::time::Instant::now();
        let mut process = shell("sleep 30 & echo done");
        assert_eq!(all(&mut process), [Line::Out("done".into())]);
        process.end().unwrap();
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_process_can_be_ended_from_elsewhere() {
        let group = Group::default();
        let command = ["sleep", "30"].map(OsString::from).to_vec();
        let launch = Launch { command, threads: 1, env: Vec::new() };
        let mut process = Process::start(&launch, Path::new("/"), &group).unwrap();
        group.end();
        assert_eq!(process.next_line().unwrap(), Line::End);
        assert!(!process.end().unwrap().success());
    }

    #[test]
    fn what_does_not_heed_is_killed_and_nothing_starts_after() {
        let started = Instant::now();
        let group = Group::default();
        let command = ["sh", "-c", "trap '' TERM; while :; do echo on; done"].map(OsString::from).to_vec();
        let launch = Launch { command, threads: 1, env: Vec::new() };
        let mut process = Process::start(&launch, Path::new("/"), &group).unwrap();
        assert_eq!(process.next_line().unwrap(), Line::Out("on".into()));
        group.end();
        assert!(all(&mut process).contains(&Line::Out("on".into())), "it went on for a while");
        assert!(!process.join().unwrap().success());
        assert!(started.elapsed() < 2 * GRACE + Duration::from_secs(5));
        let error = Process::start(&launch, Path::new("/"), &group).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn a_process_that_has_closed_its_output_may_take_its_time() {
        let mut process = shell("exec >&- 2>&-; sleep 3");
        assert_eq!(process.next_line().unwrap(), Line::End);
        assert!(process.join().unwrap().success());
    }

    #[test]
    fn a_flood_of_short_lines_and_a_line_without_end_come_through() {
        let started = Instant::now();
        let mut process = shell("yes | head -c 8000000; head -c 3000000 /dev/zero");
        let lines = all(&mut process);
        assert_eq!(lines.iter().filter(|line| **line == Line::Out("y".into())).count(), 4_000_000);
        let rest: usize = lines[4_000_000..]
            .iter()
            .map(|line| if let Line::Out(text) = line { text.len() } else { 0 })
            .sum();
        assert_eq!(rest, 3_000_000);
        assert!(started.elapsed() < Duration::from_secs(20), "time grows with the square of the buffer");
    }
}
