//! What is said beside a failure: what may have brought it about, and what to do.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::assignment::{Assignment, Program};
use super::failure::Failure;
use super::worker::Worker;
use crate::pipeline;

const REFUSED: &str = "hint: the sandbox lets a job open its inputs, its outputs and its scratch folder (TMPDIR), and the \
system's programs and libraries. Declare what else it needs: `inputs`, `code`, `reads` for folders like a virtual \
environment, `network: true`. `ribbon run --no-sandbox` shows whether this is it.";

const NO_NETWORK: &str =
    "hint: the sandbox lets a job reach no network; if it needs one, its stage says `network: true`.";

const NO_LIBRARY: &str = "hint: Python does not find its own library, which the sandbox opens only for the Python that the command \
names. Call that Python directly, by its path, or declare its folder in `reads`.";

/// What programs print that may not ask for addresses, or find no way to one.
const UNREACHABLE: [&str; 7] = [
    "Temporary failure in name resolution",
    "Name or service not known",
    "Could not resolve host",
    "Failed to resolve",
    "unable to resolve host",
    "getaddrinfo",
    "Network is unreachable",
];

/// What Python says that starts without its library.
const WITHOUT_LIBRARY: [&str; 2] = ["init_fs_encoding", "No module named 'encodings'"];

/// The start of a script whose first line is read.
const FIRST_LINE: u64 = 4096;

impl Worker<'_> {
    /// What may help against a failure, by what the job printed last and by what is there.
    pub(super) fn hints(&self, job: &Assignment, failure: &Failure, tail: &[String]) -> Vec<String> {
        let mut hints = Vec::new();
        let launch = job.program.launch();
        let what = failure.to_string();
        let lines = || tail.iter().map(String::as_str).chain([what.as_str()]);
        let closed = lines().find_map(|line| self.closed_script(job, line));
        if let Some(reach) = &launch.reach {
            if !reach.network && is_of_the_network(lines()) {
                hints.push(NO_NETWORK.to_owned());
            }
            if lines().any(|line| WITHOUT_LIBRARY.iter().any(|it| line.contains(it))) {
                hints.push(NO_LIBRARY.to_owned());
            }
            if closed.is_none() && lines().any(is_refusal) {
                hints.push(REFUSED.to_owned());
            }
        }
        hints.extend(closed.map(|script| format!("hint: {}", not_executable(&script))));
        if let Failure::Missing { name, file } = failure
            && self.scratch().join(file).exists()
        {
            hints.push(elsewhere(&job.program, name, file));
        }
        if let Failure::Died { .. } = failure
            && ends_as_on_windows(&self.scratch().join(&launch.command[0]))
        {
            hints.push(format!("hint: {}", of_windows(self.in_project(Path::new(&launch.command[0])))));
        }
        hints.extend(self.undeclared_file(&job.program).map(|file| undeclared("file", file)));
        let module =
            lines().filter_map(missing_module).find_map(|module| self.undeclared_module(job, module));
        hints.extend(module.map(|place| match self.project.root.join(&place).is_dir() {
            true => undeclared("folder", &place),
            false => undeclared("file", &place),
        }));
        hints
    }

    /// A word of a command that is a file of the project and was left as it is, as `code` does not name it.
    fn undeclared_file<'p>(&self, program: &'p Program) -> Option<&'p Path> {
        let Program::Command(launch) = program else { return None };
        let words = launch.command.iter().map(Path::new);
        words.into_iter().find(|word| word.is_relative() && self.project.root.join(word).is_file())
    }

    /// A file as it is called in the project, if it is there.
    fn in_project<'p>(&self, file: &'p Path) -> &'p Path {
        file.strip_prefix(&self.project.root).unwrap_or(file)
    }

    /// The files and folders of code of a job's stage, as written.
    fn code(&self, job: &Assignment) -> &[PathBuf] {
        match &self.project.stage(job.id).program {
            pipeline::Program::Command { code, .. } => code,
            pipeline::Program::Crate(_) => &[],
        }
    }

    /// A file of code of which a line says that it could not be run, and which nobody may run.
    fn closed_script(&self, job: &Assignment, line: &str) -> Option<PathBuf> {
        let (said, _) = line.split_once(": Permission denied")?;
        let said = said.trim_end_matches(['\'', '’', '"']);
        let is_said = |code: &&PathBuf| said.ends_with(&*self.project.root.join(code).to_string_lossy());
        let script = self.code(job).iter().find(is_said)?;
        is_closed(&self.project.root.join(script)).then(|| script.clone())
    }

    /// Where Python would have found a module, beside a file of code or in the project, had `code` named it.
    fn undeclared_module(&self, job: &Assignment, module: &str) -> Option<PathBuf> {
        let code = self.code(job);
        let folders = code.iter().filter_map(|file| file.parent()).chain([Path::new("")]);
        let places = folders.flat_map(|folder| [folder.join(format!("{module}.py")), folder.join(module)]);
        let is_there = |place: &PathBuf| {
            let path = self.project.root.join(place);
            path.is_file() || holds_python(&path)
        };
        places.into_iter().find(|place| is_there(place) && !code.iter().any(|code| place.starts_with(code)))
    }
}

/// Why a program did not start, where the system tells something else of it: that a script is not there whose interpreter is
/// not, or that one was refused which nobody may run.
pub(super) fn why_not_started(program: &Path, source: io::Error) -> io::Error {
    match source.kind() {
        io::ErrorKind::PermissionDenied if is_closed(program) => io::Error::other(not_executable(program)),
        io::ErrorKind::NotFound if ends_as_on_windows(program) => io::Error::other(of_windows(program)),
        io::ErrorKind::NotFound => match interpreter(program).filter(|path| !path.exists()) {
            Some(path) => {
                io::Error::other(format!("its first line names {}, which is not there", path.display()))
            }
            None => source,
        },
        _ => source,
    }
}

fn of_windows(script: &Path) -> String {
    let script = script.display();
    format!(
        "the first line of {script} ends as on Windows; take the carriage returns out: sed -i 's/\\r$//' {script}"
    )
}

fn not_executable(script: &Path) -> String {
    let script = script.display();
    format!("{script} is not executable; say `chmod +x {script}`, or name what runs it, as in [sh, {script}]")
}

fn undeclared(kind: &str, path: &Path) -> String {
    format!(
        "hint: {} is a {kind} of the project; name it in the stage's `code`, so that the job gets it, and runs again when \
         it changes",
        path.display()
    )
}

/// That an output lies where the job worked.
fn elsewhere(program: &Program, output: &str, file: &str) -> String {
    let place = match program {
        Program::Command(_) => format!("`{{outputs.{output}}}`"),
        Program::Worker(_) => "the path that the job file has for it".to_owned(),
    };
    format!("hint: {file} lies in the folder that the job worked in, which is emptied; write it to {place}")
}

fn is_refusal(line: &str) -> bool {
    ["Permission denied", "PermissionDenied"].iter().any(|it| line.contains(it))
}

/// Whether lines tell of a network that is not to be had: of addresses, or of sockets that were refused.
fn is_of_the_network<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> bool {
    let is_refused = |line: &str| is_refusal(line) || line.contains("not permitted");
    // A traceback names the module, and its last line what happened.
    let is_traced = lines.clone().any(|line| line.contains("socket.py") || line.contains("socket:"));
    lines.clone().any(|line| UNREACHABLE.iter().any(|it| line.contains(it)))
        || lines.clone().any(|line| is_refused(line) && (is_traced || line.contains("socket")))
}

/// The module that Python does not find: the outermost of its name.
fn missing_module(line: &str) -> Option<&str> {
    let (_, name) = line.split_once("No module named ")?;
    let name = name.trim_start_matches('\'');
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    Some(&name[..end]).filter(|name| !name.is_empty())
}

/// Whether a folder has files of Python.
fn holds_python(folder: &Path) -> bool {
    let is_python = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|it| it.path().extension().is_some_and(|ending| ending == "py"))
    };
    fs::read_dir(folder).is_ok_and(|mut entries| entries.any(is_python))
}

/// Whether a file is there that nobody may run.
fn is_closed(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 == 0)
}

/// The first line of a script, after `#!`.
fn first_line(script: &Path) -> Option<String> {
    let mut line = Vec::new();
    BufReader::new(File::open(script).ok()?.take(FIRST_LINE)).read_until(b'\n', &mut line).ok()?;
    Some(String::from_utf8_lossy(line.strip_prefix(b"#!")?).into_owned())
}

fn ends_as_on_windows(script: &Path) -> bool {
    first_line(script).is_some_and(|line| line.ends_with("\r\n"))
}

fn interpreter(script: &Path) -> Option<PathBuf> {
    first_line(script)?.split_whitespace().next().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_does_not_find_is_read_from_its_last_line() {
        assert_eq!(missing_module("ModuleNotFoundError: No module named 'helpers.text'"), Some("helpers"));
        assert_eq!(missing_module("/usr/bin/python3: No module named plots"), Some("plots"));
        assert_eq!(missing_module("No module named ''"), None);
        assert_eq!(missing_module("helpers"), None);
    }

    #[test]
    fn a_refused_socket_is_one_of_the_network_and_a_refused_file_is_not() {
        let tells = |lines: &[&str]| is_of_the_network(lines.iter().copied());
        assert!(tells(&["curl: (6) Could not resolve host: example.org"]));
        assert!(tells(&["  File \"socket.py\", line 232", "PermissionError: [Errno 13] Permission denied"]));
        assert!(tells(&["socket: Operation not permitted"]));
        assert!(!tells(&["cat: /x: Permission denied"]));
        assert!(!tells(&["a socket wrench"]));
        assert!(!tells(&["a socket wrench", "cat: /x: Permission denied"]));
    }
}
