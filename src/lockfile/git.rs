//! The lock as revisions of git have it.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Why there is no lock of a revision.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// git cannot be started.
    #[error("cannot start git: {0}")]
    Start(#[from] io::Error),
    /// git says no.
    #[error("pipeline.lock of revision {revision}: {message}")]
    Git {
        /// The revision.
        revision: String,
        /// What git printed.
        message: String,
    },
}

impl RevisionError {
    /// Whether git asks nobody's repository but the user's own, and this is not.
    pub fn is_of_another_user(&self) -> bool {
        matches!(self, RevisionError::Git { message, .. } if message.contains("dubious ownership"))
    }
}

/// Whether a folder lies in a work tree of git.
pub fn is_in_repository(folder: &Path) -> bool {
    folder.ancestors().any(|above| above.join(".git").exists())
}

/// The texts of the lock at `path` as local branches, tags and the last commit have it, each once. None outside of git.
///
/// # Errors
/// When there is a repository, and git does not tell what is in it.
pub fn on_branches(path: &Path) -> Result<Vec<String>, RevisionError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if !is_in_repository(folder) {
        return Ok(Vec::new());
    }
    // Of a tag, what it is of.
    let format = "--format=%(objecttype) %(objectname)%0a%(*objecttype) %(*objectname)";
    let told = text(ask(path, &["for-each-ref", format, "refs/heads", "refs/tags"], "")?);
    let commits = told.lines().filter_map(|line| line.strip_prefix("commit "));
    let mut commits: BTreeSet<String> = commits.map(str::to_owned).collect();
    // It may be on no branch; before the first commit there is none.
    commits.extend(
        ask(path, &["rev-parse", "--verify", "--quiet", "HEAD"], "").map(|it| text(it).trim().to_owned()),
    );
    let prefix = text(ask(path, &["rev-parse", "--show-prefix"], "")?);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let files =
        commits.iter().map(|commit| format!("{commit}^{{tree}}\n{commit}:{}{name}\n", prefix.trim_end()));
    let found = text(ask(path, &["cat-file", "--batch-check"], &files.collect::<String>())?);
    let mut locks = BTreeSet::new();
    for (line, is_tree) in found.lines().zip([true, false].into_iter().cycle()) {
        match line.split_once(' ') {
            Some((lock, kind)) if kind.starts_with("blob ") => drop(locks.insert(lock)),
            // A commit without a lock has a tree.
            _ if is_tree && line.ends_with(" missing") => return Err(failed("of all branches", line)),
            _ => {}
        }
    }
    let locks: String = locks.into_iter().map(|lock| format!("{lock}\n")).collect();
    let mut rest = &ask(path, &["cat-file", "--batch"], &locks)?[..];
    let mut texts = Vec::new();
    while let Some(lock) = next(&mut rest) {
        texts.push(String::from_utf8_lossy(lock).into_owned());
    }
    Ok(texts)
}

/// The next object in what `git cat-file --batch` prints: a line that ends with its size, its bytes, a line end.
fn next<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let (head, after) = rest.split_at(end + 1);
    let size = str::from_utf8(head).ok()?.trim_end().rsplit(' ').next()?.parse().ok()?;
    let (object, after) = after.split_at_checked(size)?;
    *rest = after.get(1..)?;
    Some(object)
}

/// The text of the lock at `path` as a revision has it: `HEAD~3`, a tag, a branch.
///
/// # Errors
/// When there is no git, no such revision, or no such file in it.
pub fn at_revision(path: &Path, revision: &str) -> Result<String, RevisionError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let shown = answer(
        git(path).args(["show", "--end-of-options"]).arg(format!("{revision}:./{name}")),
        revision,
        "",
    );
    shown.map(text)
}

/// What git says of the repository that holds the lock at `path`, whichever one the environment means.
fn ask(path: &Path, words: &[&str], input: &str) -> Result<Vec<u8>, RevisionError> {
    let mut git = git(path);
    for name in ["DIR", "WORK_TREE", "COMMON_DIR", "OBJECT_DIRECTORY", "NAMESPACE", "INDEX_FILE"] {
        git.env_remove(format!("GIT_{name}"));
    }
    answer(git.args(words), "of all branches", input)
}

/// git, in the folder of the lock at `path`.
fn git(path: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(path.parent().unwrap_or(Path::new("."))).env("LC_ALL", "C");
    git
}

fn answer(git: &mut Command, revision: &str, input: &str) -> Result<Vec<u8>, RevisionError> {
    let mut child = git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take();
    let told = std::thread::scope(|scope| {
        // At the same time: git answers while it reads. What it does not read, it does not want.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        child.wait_with_output()
    })?;
    match told.status.success() {
        true => Ok(told.stdout),
        false => Err(failed(revision, String::from_utf8_lossy(&told.stderr).trim())),
    }
}

fn failed(revision: &str, message: &str) -> RevisionError {
    RevisionError::Git { revision: revision.to_owned(), message: message.to_owned() }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
