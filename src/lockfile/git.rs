//! The lock as a revision of git has it.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::Command;

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

/// The texts of the lock at `path` as local branches, tags and the last commit have it, each once. None outside of git.
///
/// # Errors
/// When there is a repository, and git does not tell what is in it.
pub fn on_branches(path: &Path) -> Result<Vec<String>, RevisionError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if !folder.ancestors().any(|folder| folder.join(".git").exists()) {
        return Ok(Vec::new());
    }
    let git = |words: &[&str]| answer(path, "of all branches", words);
    let mut commits: BTreeSet<String> =
        git(&["for-each-ref", "--format=%(objectname)", "refs/heads", "refs/tags"])?
            .lines()
            .map(str::to_owned)
            .collect();
    // Of a branch, or of none; before the first commit there is none.
    commits.extend(git(&["rev-parse", "--verify", "--quiet", "HEAD"]).map(|commit| commit.trim().to_owned()));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut blobs = BTreeSet::new();
    for commit in &commits {
        // A tag may be of something that is no commit.
        let listed = git(&["ls-tree", commit, "--", &name]).unwrap_or_default();
        // `100644 blob HASH<tab>NAME`
        blobs.extend(listed.split_whitespace().nth(2).map(str::to_owned));
    }
    blobs.iter().map(|blob| git(&["cat-file", "blob", blob])).collect()
}

/// The text of the lock at `path` as a revision has it: `HEAD~3`, a tag, a branch.
///
/// # Errors
/// When there is no git, no such revision, or no such file in it.
pub fn at_revision(path: &Path, revision: &str) -> Result<String, RevisionError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    answer(path, revision, &["show", "--end-of-options", &format!("{revision}:./{name}")])
}

/// What git says in the folder of the lock at `path`.
fn answer(path: &Path, revision: &str, words: &[&str]) -> Result<String, RevisionError> {
    let mut git = Command::new("git");
    git.current_dir(path.parent().unwrap_or(Path::new("."))).env("LC_ALL", "C");
    let told = git.args(words).output()?;
    if told.status.success() {
        return Ok(String::from_utf8_lossy(&told.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&told.stderr).trim().to_owned();
    Err(RevisionError::Git { revision: revision.to_owned(), message })
}
