//! A stage's process: started in its own group with a cleaned environment, read from without ever blocking on one pipe.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Variables that pass to every job, and are not part of any key: where things are, not what to compute.
const PASSED: [&str; 22] = [
    "PATH", "HOME", "USER", "LOGNAME", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME",
    "XDG_CACHE_HOME", "RIBBON_CACHE", "RIBBON_DATA", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy",
    "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE",
];

/// Libraries read from these how many threads to start.
const THREADS: [&str; 4] = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"];

/// A running job stops within this time after it is asked to, or is killed.
const GRACE: Duration = Duration::from_secs(2);

/// How often to look whether a process whose pipes a grandchild holds open has ended.
const TICK: u16 = 50;

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

/// A handle by which another thread can end a process.
#[derive(Debug, Clone, Default)]
pub struct Group(Arc<AtomicI32>);

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
    /// How much of the buffer holds no line end.
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
    /// When the program cannot be started.
    pub fn start(launch: &Launch, folder: &Path, group: &Group) -> io::Result<Process> {
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
        // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
        unsafe {
            // A runner that is killed takes its jobs with it.
            command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
        }
        let mut child = command.spawn()?;
        let (out, err) = (child.stdout.take().map(ReadEnd::Out), child.stderr.take().map(ReadEnd::Err));
        let pipes = [Pipe::new(out)?, Pipe::new(err)?];
        group.0.store(child.id() as i32, Ordering::SeqCst);
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
            if let Some(line) = self.buffered(false) {
                return Ok(line);
            }
            let open: Vec<PollFd> = self.pipes.iter().filter_map(Pipe::poll_fd).collect();
            if open.is_empty() {
                return Ok(self.buffered(true).unwrap_or(Line::End));
            }
            let mut open = open;
            let ready = poll(&mut open, PollTimeout::from(TICK))?;
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

    /// What has already been printed on standard error, without waiting.
    ///
    /// # Errors
    /// When the pipe cannot be read.
    pub fn drain_errors(&mut self) -> io::Result<Vec<String>> {
        self.pipes[1].fill()?;
        Ok(std::iter::from_fn(|| self.pipes[1].line(true)).collect())
    }

    /// Waits for the end; a process that does not end by itself is killed.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.close_input();
        let deadline = std::time::Instant::now() + GRACE;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if std::time::Instant::now() > deadline => {
                    self.group.signal(Signal::SIGKILL);
                    break self.child.wait()?;
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        // What it started goes with it.
        self.group.signal(Signal::SIGKILL);
        self.group.0.store(0, Ordering::SeqCst);
        Ok(status)
    }

    fn buffered(&mut self, last: bool) -> Option<Line> {
        let err = self.pipes[1].line(last).map(Line::Err);
        err.or_else(|| self.pipes[0].line(last).map(Line::Out))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.wait();
    }
}

impl Group {
    /// Asks the process and its children to end.
    pub fn end(&self) {
        self.signal(Signal::SIGTERM);
    }

    fn signal(&self, signal: Signal) {
        let id = self.0.load(Ordering::SeqCst);
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
        Ok(Pipe { end, buffer: Vec::new(), searched: 0 })
    }

    fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.end.as_ref().map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN))
    }

    /// Reads what is there.
    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 8192];
        // Not to the end of a flood: lines are taken in between.
        while let Some(end) = &mut self.end
            && self.buffer.len() < 1 << 20
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
        let (length, end) = match found {
            Some(at) => (self.searched + at, 1),
            // A line that never ends is cut.
            None if !self.buffer.is_empty() && (last || self.buffer.len() >= 1 << 20) => (self.buffer.len(), 0),
            None => {
                self.searched = self.buffer.len();
                return None;
            }
        };
        let line = String::from_utf8_lossy(&self.buffer[..length]).into_owned();
        self.buffer.drain(..length + end);
        self.searched = 0;
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
        let launch = Launch { command, threads: 3, env: vec![("DECLARED".to_owned(), Some("yes".to_owned()))] };
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
        assert!(process.wait().unwrap().success());
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
        process.wait().unwrap();
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
        assert!(!process.wait().unwrap().success());
    }
}
