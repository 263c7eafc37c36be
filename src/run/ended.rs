//! How a job's last run ended when it did not end well: what its log says.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::hash::Key;
use crate::store::Store;

/// The last line in the log of a job that failed begins with this.
pub(crate) const FAILED: &str = "[ribbon: failed] ";

/// The last line in the log of a job whose run was interrupted begins with this.
pub(crate) const INTERRUPTED: &str = "[ribbon: interrupted] ";

/// Bytes at the end of a log in which the failure is looked for.
const TAIL: u64 = 1 << 14;

/// How a job ended that made nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEnd {
    /// By itself.
    #[error("it failed when it last ran")]
    Failed,
    /// With its run.
    #[error("it was ended when it last ran")]
    Ended,
}

/// How a job with this key ended, which has no record; none when it never ran to an end.
pub fn bad_end(store: &Store, key: Key) -> Option<BadEnd> {
    // What stands above is the job's own.
    match tail(store, key).ok()?.lines().last()? {
        last if last.starts_with(FAILED) => Some(BadEnd::Failed),
        last if last.starts_with(INTERRUPTED) => Some(BadEnd::Ended),
        _ => None,
    }
}

/// The end of a key's log.
fn tail(store: &Store, key: Key) -> io::Result<String> {
    let mut file = File::open(store.log_path(key))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
