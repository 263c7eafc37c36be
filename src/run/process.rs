//! The processes of a worker: started through its launcher in a cleaned environment, read from without ever blocking
//! on one pipe.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, PipeWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::environment;
use super::launcher::{self, GRACE};
use super::lines::Pipe;
use super::sandbox::{Reach, Rules};
use super::wire::{self, Answer, Ask, until};

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Launch {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Threads it may use.
    pub threads: u32,
    /// Declared environment variables.
    pub env: Vec<(String, Option<String>)>,
    /// Whether its jobs go on from what interrupted ones left.
    pub resume: bool,
    /// What it may reach beside its own folder and the system's; none puts it in no sandbox.
    pub reach: Option<Reach>,
}

/// A handle by which another thread can end a process, also one that is only about to start.
#[derive(Debug, Clone, Default)]
pub struct Group(Arc<Mutex<Ending>>);

#[derive(Debug, Default)]
struct Ending {
    /// To the launcher, while there is one.
    socket: Option<UnixStream>,
    was_asked: bool,
}

/// What a process has told.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line on standard output.
    Out(String),
    /// A line on standard error.
    Err(String),
    /// No more comes: it has ended, or closed what it tells by.
    End,
    /// Nothing until the deadline.
    Late,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status, or the signal.
    pub status: ExitStatus,
    /// How many processes that it had started it left running; they are killed.
    pub left: u32,
    /// Whether it had to be killed, for it did not end by itself.
    pub was_killed: bool,
}

/// What starts processes in a folder, one after the other, and the one that runs.
#[derive(Debug)]
pub struct Processes {
    launcher: Child,
    socket: UnixStream,
    group: Group,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    number: Pid,
    /// A process that takes jobs cannot tell of their ends when its standard output is closed.
    takes_jobs: bool,
    stdin: Option<PipeWriter>,
    /// Standard output and error.
    pipes: [Pipe; 2],
    ended: Option<Ended>,
}

impl Processes {
    /// Makes ready to start processes. They work in `tmp` of the folder and write there, in `out`, and in the slot if their
    /// jobs resume.
    ///
    /// # Errors
    /// When the folder cannot be used, the sandbox cannot be set up, or the group was asked to end.
    pub fn new(launch: &Launch, folder: &Path, slot: &Path, group: &Group) -> io::Result<Processes> {
        let (work, made) = (folder.join("tmp"), folder.join("out"));
        fs::create_dir_all(&work)?;
        fs::create_dir_all(&made)?;
        let mut command = Command::new("/proc/self/exe");
        command.args(launcher::WORDS).current_dir(&work);
        environment::set(&mut command, launch, &work);
        let (socket, theirs) = UnixStream::pair()?;
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        let launcher = command.spawn()?;
        group.reach(socket.try_clone()?);
        // From here on dropping it ends the launcher.
        let processes = Processes { launcher, socket, group: group.clone(), running: None };
        if let Some(reach) = &launch.reach {
            let mut writes = vec![work, made];
            writes.extend(launch.resume.then(|| slot.to_owned()));
            let words = Rules::new(reach, folder, &writes).words();
            let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
            wire::send(&processes.socket, Ask::Enter, &words, &[])?;
            match Answer::receive(&processes.socket)? {
                Answer::Entered(0) => {}
                answer => {
                    let what =
                        format!("the sandbox cannot be set up ({answer:?}); --no-sandbox does without");
                    return Err(io::Error::other(what));
                }
            }
        }
        Ok(processes)
    }

    /// Whether there is a process that has not been seen to end.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts a process that takes jobs from its standard input, by [`Processes::write_line`].
    ///
    /// # Errors
    /// When the program cannot be started, or the group was asked to end.
    pub fn start_worker(&mut self, command: &[OsString]) -> io::Result<()> {
        self.start(command, None)
    }

    /// Starts a process that does one job, whose file is told in `RIBBON_JOB`.
    ///
    /// # Errors
    /// As [`Processes::start_worker`].
    pub fn start_command(&mut self, command: &[OsString], job: &Path) -> io::Result<()> {
        self.start(command, Some(job))
    }

    fn start(&mut self, command: &[OsString], job: Option<&Path>) -> io::Result<()> {
        let ((out, out_there), (err, err_there)) = (io::pipe()?, io::pipe()?);
        let (stdin, stdin_there) = match job {
            Some(_) => (None, OwnedFd::from(File::open("/dev/null")?)),
            None => io::pipe().map(|(there, here)| (Some(here), OwnedFd::from(there)))?,
        };
        let mut words = vec![job.map_or(OsStr::new(""), Path::as_os_str)];
        words.extend(command.iter().map(OsString::as_os_str));
        {
            // Either the group is asked to end before this, and nothing starts; or after it, and the launcher knows
            // what to end.
            let ending = self.group.ending();
            if ending.was_asked {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "the run was ended"));
            }
            let files = [stdin_there.as_fd(), out_there.as_fd(), err_there.as_fd()];
            wire::send(&self.socket, Ask::Start, &words, &files)?;
        }
        match Answer::receive(&self.socket)? {
            Answer::Started(number) => {
                let pipes = [Pipe::new(out)?, Pipe::new(err)?];
                let (number, takes_jobs) = (Pid::from_raw(number), job.is_none());
                self.running = Some(Running { number, takes_jobs, stdin, pipes, ended: None });
                Ok(())
            }
            Answer::NotStarted(error) => Err(io::Error::from_raw_os_error(error)),
            Answer::Entered(_) | Answer::Ended(..) | Answer::Swept(_) => {
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }

    /// Writes a line to the process's standard input.
    ///
    /// # Errors
    /// When the process does not read any more.
    pub fn write_line(&mut self, line: &str) -> io::Result<()> {
        match self.running.as_mut().and_then(|running| running.stdin.as_mut()) {
            Some(stdin) => stdin.write_all(format!("{line}\n").as_bytes()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The next line of either pipe, standard error first; waits for one until the deadline.
    ///
    /// # Errors
    /// When the pipes cannot be read, or the launcher is gone.
    pub fn next_line(&mut self, deadline: Option<Instant>) -> io::Result<Line> {
        loop {
            let Some(running) = &mut self.running else { return Ok(Line::End) };
            if let Some(line) = running.buffered(false) {
                return Ok(line);
            }
            if running.ended.is_some() || running.is_silent() {
                let [out, err] = &mut running.pipes;
                out.fill()?;
                err.fill()?;
                return Ok(running.buffered(true).unwrap_or_else(|| {
                    // What a grandchild may still print is nobody's.
                    running.pipes.iter_mut().for_each(Pipe::close);
                    Line::End
                }));
            }
            // Not only when nothing comes: some never stop printing.
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(Line::Late);
            }
            let mut events: Vec<PollFd> = running.pipes.iter().filter_map(Pipe::poll_fd).collect();
            events.push(PollFd::new(self.socket.as_fd(), PollFlags::POLLIN));
            match poll(&mut events, until(deadline)) {
                Ok(_) => {}
                // A signal that this process caught.
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let has_ended = events.last().and_then(PollFd::any).unwrap_or(false);
            for pipe in &mut running.pipes {
                pipe.fill()?;
            }
            if has_ended {
                self.take_end()?;
            }
        }
    }

    /// What has already been printed, on either pipe, without waiting.
    ///
    /// # Errors
    /// When the pipes cannot be read.
    pub fn drain(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        for pipe in self.running.iter_mut().flat_map(|running| &mut running.pipes) {
            pipe.fill()?;
            lines.extend(std::iter::from_fn(|| pipe.line(true)));
        }
        Ok(lines)
    }

    /// Kills what the process has started and left running, and not itself; how many that were.
    ///
    /// # Errors
    /// When the launcher is gone.
    pub fn sweep(&mut self) -> io::Result<u32> {
        wire::send(&self.socket, Ask::Sweep, &[], &[])?;
        loop {
            match self.take()? {
                Answer::Swept(left) => return Ok(left),
                answer => self.note_end(answer)?,
            }
        }
    }

    /// Waits until the deadline for the end of a process that ends by itself; none if it does not.
    ///
    /// # Errors
    /// When the launcher is gone.
    pub fn join(&mut self, deadline: Option<Instant>) -> io::Result<Option<Ended>> {
        loop {
            if let Some(ended) = self.running.as_ref().and_then(|running| running.ended) {
                self.running = None;
                return Ok(Some(ended));
            }
            let mut events = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut events, until(deadline)) {
                Ok(0) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => return Ok(None),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => self.take_end()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks the process to end; if it does not, it is killed.
    ///
    /// # Errors
    /// When the launcher is gone.
    pub fn stop(&mut self) -> io::Result<()> {
        let _order = self.group.ending();
        wire::send(&self.socket, Ask::End, &[], &[])
    }

    /// Says that no more input comes, and waits for the end; a process that does not heed this is killed.
    ///
    /// # Errors
    /// When the launcher is gone.
    pub fn end(&mut self) -> io::Result<Ended> {
        if let Some(running) = &mut self.running {
            running.stdin = None;
        }
        match self.join(Some(Instant::now() + GRACE))? {
            Some(ended) => Ok(ended),
            None => {
                let order = self.group.ending();
                wire::send(&self.socket, Ask::Kill, &[], &[])?;
                drop(order);
                let ended = self.join(None)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                Ok(Ended { was_killed: true, ..ended })
            }
        }
    }

    /// Takes the launcher's word of the process's end.
    fn take_end(&mut self) -> io::Result<()> {
        let answer = self.take()?;
        self.note_end(answer)
    }

    /// The launcher's next word, while there is a process.
    fn take(&mut self) -> io::Result<Answer> {
        let number = self.running.as_ref().ok_or(io::ErrorKind::UnexpectedEof)?.number;
        Answer::receive(&self.socket).map_err(|_| {
            // Nobody else looks after it now.
            let _ = killpg(number, Signal::SIGKILL);
            self.running = None;
            io::Error::other("the launcher of the process was killed")
        })
    }

    fn note_end(&mut self, answer: Answer) -> io::Result<()> {
        let (Some(running), Answer::Ended(status, left)) = (&mut self.running, answer) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        running.ended = Some(Ended { status: ExitStatus::from_raw(status), left, was_killed: false });
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if self.running.is_some() {
            let _ = self.end();
        }
        // The launcher ends when nobody can ask it anything any more.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.launcher.wait();
    }
}

impl Running {
    fn buffered(&mut self, last: bool) -> Option<Line> {
        let [out, err] = &mut self.pipes;
        let err = err.line(last).map(Line::Err);
        err.or_else(|| out.line(last).map(Line::Out))
    }

    /// Whether nothing can come that anybody waits for.
    fn is_silent(&self) -> bool {
        let [out, err] = &self.pipes;
        !out.is_open() && (self.takes_jobs || !err.is_open())
    }
}

impl Group {
    /// Asks the process and its children to end. Those that do not are killed after a while.
    pub fn end(&self) {
        let mut ending = self.ending();
        ending.was_asked = true;
        if let Some(socket) = &ending.socket {
            // It may have ended by itself.
            let _ = wire::send(socket, Ask::End, &[], &[]);
        }
    }

    /// Whether it was asked to end.
    pub fn was_asked(&self) -> bool {
        self.ending().was_asked
    }

    fn reach(&self, socket: UnixStream) {
        self.ending().socket = Some(socket);
    }

    fn ending(&self) -> MutexGuard<'_, Ending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Processes of a folder that goes with them.
    struct Shell {
        processes: Processes,
        _folder: tempfile::TempDir,
    }

    impl std::ops::Deref for Shell {
        type Target = Processes;
        fn deref(&self) -> &Processes {
            &self.processes
        }
    }

    impl std::ops::DerefMut for Shell {
        fn deref_mut(&mut self) -> &mut Processes {
            &mut self.processes
        }
    }

    fn start(script: &str, group: &Group) -> io::Result<Shell> {
        let command: Vec<OsString> = ["sh", "-c", script].map(OsString::from).to_vec();
        let env = vec![("DECLARED".to_owned(), Some("yes".to_owned()))];
        let launch = Launch { command, threads: 3, env, resume: false, reach: None };
        let folder = tempfile::tempdir()?;
        let mut processes = Processes::new(&launch, folder.path(), folder.path(), group)?;
        processes.start_command(&launch.command, Path::new("/job"))?;
        Ok(Shell { processes, _folder: folder })
    }

    fn shell(script: &str) -> Shell {
        start(script, &Group::default()).unwrap()
    }

    fn all(process: &mut Processes) -> Vec<Line> {
        let lines = std::iter::from_fn(|| Some(process.next_line(None).unwrap()));
        lines.take_while(|line| *line != Line::End).collect()
    }

    #[test]
    fn lines_of_both_pipes_arrive_and_a_last_one_without_end() {
        let mut process = shell("echo one; echo two >&2; printf three");
        let mut lines = all(&mut process);
        lines.sort_by_key(|line| format!("{line:?}"));
        let expected = [Line::Err("two".into()), Line::Out("one".into()), Line::Out("three".into())];
        assert_eq!(lines, expected);
        assert!(process.end().unwrap().status.success());
    }

    #[test]
    fn only_fixed_and_declared_variables_pass() {
        let mut process = shell(
            "echo $DECLARED ${CARGO_MANIFEST_DIR:-cleaned} $RIBBON_JOB $LANG $TZ; \
             echo $OMP_NUM_THREADS $MKL_NUM_THREADS $OPENBLAS_NUM_THREADS $RAYON_NUM_THREADS",
        );
        assert_eq!(process.next_line(None).unwrap(), Line::Out("yes cleaned /job C.UTF-8 UTC".into()));
        assert_eq!(process.next_line(None).unwrap(), Line::Out("3 3 3 3".into()));
    }

    #[test]
    fn a_grandchild_that_holds_the_pipes_does_not_hold_the_job() {
        let started = Instant::now();
        let mut process = shell("sleep 30 & echo done");
        assert_eq!(all(&mut process), [Line::Out("done".into())]);
        assert_eq!(process.end().unwrap().left, 1);
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_grandchild_that_left_the_group_is_found_and_killed() {
        let mut process = shell("(setsid sh -c 'echo $$; exec sleep 30 >&- 2>&-' &) ; sleep 0.2");
        let Line::Out(number) = process.next_line(None).unwrap() else { panic!("no number") };
        assert_eq!(all(&mut process), []);
        assert_eq!(process.end().unwrap().left, 1);
        assert!(!Path::new("/proc").join(number).exists());
    }

    #[test]
    fn one_launcher_starts_a_process_after_the_other() {
        let mut process = shell("echo one");
        assert_eq!(all(&mut process), [Line::Out("one".into())]);
        assert!(process.join(None).unwrap().unwrap().status.success());
        assert!(!process.is_running());
        let command = ["sh", "-c", "read line; echo got $line; exit 3"].map(OsString::from);
        process.start_worker(&command).unwrap();
        process.write_line("two").unwrap();
        assert_eq!(all(&mut process), [Line::Out("got two".into())]);
        assert_eq!(process.end().unwrap().status.code(), Some(3));
        let error = process.start_worker(&["no-such-program".into()]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_process_can_be_ended_from_elsewhere() {
        let group = Group::default();
        let mut process = start("sleep 30", &group).unwrap();
        group.end();
        assert_eq!(process.next_line(None).unwrap(), Line::End);
        assert!(!process.end().unwrap().status.success());
    }

    #[test]
    fn what_does_not_heed_is_killed_and_nothing_starts_after() {
        let started = Instant::now();
        let group = Group::default();
        let mut process = start("trap '' TERM; while :; do echo on; done", &group).unwrap();
        assert_eq!(process.next_line(None).unwrap(), Line::Out("on".into()));
        group.end();
        assert!(all(&mut process).contains(&Line::Out("on".into())), "it went on for a while");
        assert!(!process.join(None).unwrap().unwrap().status.success());
        assert!(started.elapsed() < 2 * GRACE + Duration::from_secs(5));
        let error = start("true", &group).map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn a_deadline_passes_while_nothing_comes() {
        let mut process = shell("echo one; sleep 30");
        assert_eq!(process.next_line(None).unwrap(), Line::Out("one".into()));
        let deadline = Some(Instant::now() + Duration::from_millis(50));
        assert_eq!(process.next_line(deadline).unwrap(), Line::Late);
        assert_eq!(process.join(deadline).unwrap(), None);
        process.stop().unwrap();
        assert_eq!(process.join(None).unwrap().unwrap().status.signal(), Some(15));
    }

    #[test]
    fn a_process_that_has_closed_its_output_may_take_its_time() {
        let mut process = shell("exec >&- 2>&-; sleep 3");
        assert_eq!(process.next_line(None).unwrap(), Line::End);
        assert!(process.join(None).unwrap().unwrap().status.success());
    }

    #[test]
    fn when_a_job_kills_its_launcher_that_is_an_error_and_nothing_is_left() {
        let mut process = shell("echo $$; sleep 0.2; kill -9 $PPID; sleep 30");
        let Line::Out(number) = process.next_line(None).unwrap() else { panic!("no number") };
        let ended = std::iter::from_fn(|| Some(process.next_line(None)))
            .find(|line| !matches!(line, Ok(Line::Out(_))));
        assert!(ended.unwrap().unwrap_err().to_string().contains("launcher"));
        let is_gone =
            || std::fs::read_to_string(format!("/proc/{number}/stat")).map_or(true, |it| it.contains(" Z "));
        while !is_gone() {
            std::thread::sleep(Duration::from_millis(5));
        }
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
