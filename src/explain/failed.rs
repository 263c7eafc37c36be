//! How a job's last run ended when it did not end well: what its log says.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::hash::Key;
use crate::store::Store;

/// A worker's last line in the log of a job that did not end well begins with this.
const MARK: &str = "failed: ";

/// How jobs end when their run is interrupted.
const ASKED_TO_END: &str = "it was ended by signal 15";

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

/// How a job with this key ended, which has no record; none when it never ran.
pub fn bad_end(store: &Store, key: Key) -> Option<BadEnd> {
    let tail = tail(store, key).ok()?;
    let (_, what) = tail.rsplit_once(&format!("\n{MARK}"))?;
    Some(if what.trim_end() == ASKED_TO_END { BadEnd::Ended } else { BadEnd::Failed })
}

/// The end of a key's log, after a line break.
fn tail(store: &Store, key: Key) -> io::Result<String> {
    let mut file = File::open(store.log_path(key))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = b"\n".to_vec();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
