//! The lock as a revision of git has it.

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

/// The text of the lock at `path` as a revision has it: `HEAD~3`, a tag, a branch.
///
/// # Errors
/// When there is no git, no such revision, or no such file in it.
pub fn at_revision(path: &Path, revision: &str) -> Result<String, RevisionError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut git = Command::new("git");
    git.current_dir(path.parent().unwrap_or(Path::new("."))).env("LC_ALL", "C");
    let shown = git.args(["show", "--end-of-options"]).arg(format!("{revision}:./{name}")).output()?;
    if shown.status.success() {
        return Ok(String::from_utf8_lossy(&shown.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&shown.stderr).trim().to_owned();
    Err(RevisionError::Git { revision: revision.to_owned(), message })
}
