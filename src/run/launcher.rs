//! The launcher: a small process between a worker's thread and the processes it starts, one after the other.
//!
//! It is this program, started again with [`WORDS`]. Three things a thread cannot do by itself come from it:
//!
//! * It enters the sandbox once, and all it starts is in it; nothing has to be done between a fork and a program's
//!   begin, so that starting one is as cheap as the system can make it, however large the run has become.
//! * It takes over what a process leaves behind, also what has left its group, and kills it when the process has ended;
//!   of a process that does one job after the other, after each of them.
//! * It sees the end of the run, however that came, and then kills what it has started.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, setsid};

use super::interrupts::{ENDING, is_ignored};
use super::sandbox::Rules;
use super::wire::{Answer, Ask, Frame, receive, until};

/// The words by which this program is a launcher. In unit tests it is the program of the tests, and one of them.
#[cfg(not(test))]
pub const WORDS: &[&str] = &["launch"];
#[cfg(test)]
pub const WORDS: &[&str] =
    &["run::launcher::tests::the_launcher_of_other_tests", "--exact", "--nocapture", "--test-threads=1"];

/// A process stops within this time after it is asked to, or is killed.
pub const GRACE: Duration = Duration::from_secs(2);

/// What is killed is gone within this time; what the system cannot end is not waited for.
const KILLED: Duration = Duration::from_secs(2);

/// Starts processes for the run whose socket is this process's standard input, until that is closed.
pub fn serve() -> ExitCode {
    match Launcher::new().and_then(|mut launcher| launcher.serve()) {
        Ok(()) => ExitCode::SUCCESS,
        // Said by the run, which sees this process's end.
        Err(_) => ExitCode::FAILURE,
    }
}

struct Launcher {
    socket: UnixStream,
    /// Gets a byte when a child has ended.
    children: UnixStream,
    /// The process that was started and has not ended; the number of its group as well.
    running: Option<Pid>,
    /// When it is killed, for it was asked to end.
    patience: Option<Instant>,
    /// What it had started and was killed while it ran, which has been told.
    swept: BTreeSet<Pid>,
}

impl Launcher {
    fn new() -> io::Result<Launcher> {
        // Out of reach of the terminal: what is typed there is the run's to hear, and no job asks or writes there.
        setsid()?;
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        prctl::set_child_subreaper(true)?;
        let (children, told) = UnixStream::pair()?;
        children.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(Signal::SIGCHLD as i32, told)?;
        // Who ends a run may signal all of its processes. This one ends with the run: it has to tell how jobs ended. Caught,
        // not ignored, which jobs would inherit.
        for signal in ENDING.into_iter().filter(|signal| !is_ignored(*signal)) {
            signal_hook::flag::register(signal as i32, Arc::default())?;
        }
        Ok(Launcher { socket, children, running: None, patience: None, swept: BTreeSet::new() })
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            let patience = until(self.patience);
            let mut events = [self.socket.as_fd(), self.children.as_fd()];
            let mut events = events.each_mut().map(|fd| PollFd::new(*fd, PollFlags::POLLIN));
            match poll(&mut events, patience) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [is_asked, has_ended] = events.map(|event| event.any().unwrap_or(false));
            if has_ended {
                let _ = self.children.read(&mut [0; 64]);
                self.look()?;
            }
            if self.patience.is_some_and(|until| until <= Instant::now()) {
                self.signal(Signal::SIGKILL);
                self.patience = None;
            }
            if is_asked {
                match receive(&self.socket) {
                    Ok(Some(frame)) => self.act(frame)?,
                    // The run is over, or was killed.
                    Ok(None) | Err(_) => {
                        self.signal(Signal::SIGKILL);
                        self.running = None;
                        clear(&self.swept);
                        return Ok(());
                    }
                }
            }
        }
    }

    fn act(&mut self, frame: Frame) -> io::Result<()> {
        match frame.ask {
            Ask::Enter => {
                let entered = Rules::from_words(&frame.words).and_then(|rules| rules.enter());
                let number = |error: io::Error| error.raw_os_error().unwrap_or(Errno::EPERM as i32);
                Answer::Entered(entered.err().map_or(0, number)).send(&self.socket)
            }
            Ask::Start => {
                match start(frame) {
                    Ok(number) => {
                        self.running = Some(number);
                        Answer::Started(number.as_raw()).send(&self.socket)?;
                    }
                    Err(error) => {
                        let number = error.raw_os_error().unwrap_or(Errno::EINVAL as i32);
                        Answer::NotStarted(number).send(&self.socket)?;
                    }
                }
                Ok(())
            }
            Ask::End => {
                self.signal(Signal::SIGTERM);
                self.patience = self.running.map(|_| self.patience.unwrap_or(Instant::now() + GRACE));
                Ok(())
            }
            Ask::Kill => {
                self.signal(Signal::SIGKILL);
                Ok(())
            }
            Ask::Sweep => {
                let killed = self.running.map(sweep).unwrap_or_default();
                let answer = Answer::Swept(killed.len() as u32);
                self.swept.extend(killed);
                answer.send(&self.socket)
            }
        }
    }

    /// Tells of the process's end, if it has ended, after whatever it left is gone too.
    fn look(&mut self) -> io::Result<()> {
        let Some(number) = self.running else { return Ok(()) };
        // Reaped last: while it is there, so is its group's number.
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        if waitid(Id::Pid(number), flags)? == WaitStatus::StillAlive {
            return Ok(());
        }
        let _ = killpg(number, Signal::SIGKILL);
        let status = match waitpid(number, None)? {
            WaitStatus::Exited(_, code) => code << 8,
            WaitStatus::Signaled(_, signal, _) => signal as i32,
            // Only asked for when a child is traced or may be continued.
            _ => 0,
        };
        (self.running, self.patience) = (None, None);
        let left = clear(&std::mem::take(&mut self.swept));
        Answer::Ended(status, left).send(&self.socket)
    }

    fn signal(&self, signal: Signal) {
        if let Some(number) = self.running {
            // It may be ending just now.
            let _ = killpg(number, signal);
        }
    }
}

/// Starts a process in a group of its own.
fn start(frame: Frame) -> io::Result<Pid> {
    let mut words = frame.words.into_iter();
    let (job, program) = (words.next(), words.next());
    let (Some(job), Some(program)) = (job, program) else { return Err(io::ErrorKind::InvalidInput.into()) };
    let [stdin, stdout, stderr] = <[_; 3]>::try_from(frame.files).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(words).process_group(0).stdin(stdin).stdout(stdout).stderr(stderr);
    if !job.is_empty() {
        command.env("RIBBON_JOB", job);
    }
    Ok(Pid::from_raw(command.spawn()?.id() as i32))
}

/// Kills what a process has started, and what that has left behind, until there is none; which that were.
fn sweep(process: Pid) -> BTreeSet<Pid> {
    let (mut killed, begun) = (BTreeSet::new(), Instant::now());
    loop {
        // In this order: what loses its parent becomes a child of this process, and an end is not seen before that.
        let own: Vec<Pid> = children(process).into_iter().filter(|child| !has_ended(*child)).collect();
        let orphans: Vec<Pid> = children(Pid::this()).into_iter().filter(|child| *child != process).collect();
        if own.is_empty() && orphans.is_empty() || begun.elapsed() > KILLED {
            return killed;
        }
        for child in own.into_iter().chain(orphans.iter().copied().filter(|child| !has_ended(*child))) {
            if kill(child, Signal::SIGKILL).is_ok() {
                killed.insert(child);
            }
        }
        for child in orphans {
            let _ = waitpid(child, Some(WaitPidFlag::WNOHANG));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Whether a process only waits for its parent to ask how it ended.
fn has_ended(process: Pid) -> bool {
    // The state stands behind the name, which may hold anything.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Kills all children, and theirs, until there are none; how many that were, without those that were `swept` before.
fn clear(swept: &BTreeSet<Pid>) -> u32 {
    let (mut killed, begun) = (0, Instant::now());
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Signaled(child, Signal::SIGKILL, _)) => {
                killed += u32::from(!swept.contains(&child))
            }
            Ok(WaitStatus::StillAlive) if begun.elapsed() > KILLED => return killed,
            Ok(WaitStatus::StillAlive) => {
                // Those that left the group of the process.
                for child in children(Pid::this()) {
                    let _ = kill(child, Signal::SIGKILL);
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return killed,
        }
    }
}

/// A process's children, as far as the system tells: those of each of its threads.
fn children(process: Pid) -> Vec<Pid> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let of_thread = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        text.split_whitespace().filter_map(|number| number.parse().ok()).collect::<Vec<_>>()
    };
    threads.flat_map(of_thread).map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileTypeExt;

    /// Not a test: other tests start this program with its name, see [`super::WORDS`].
    #[test]
    fn the_launcher_of_other_tests() {
        let stdin = std::fs::metadata("/proc/self/fd/0");
        if std::env::args().any(|word| word == "--exact") && stdin.is_ok_and(|it| it.file_type().is_socket())
        {
            super::serve();
            std::process::exit(0);
        }
    }
}
