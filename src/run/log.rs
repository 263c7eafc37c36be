//! The log of a job: what it printed, kept in the store, and its last lines for who is told of its failure.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;

use super::assignment::Assignment;
use crate::hash::Key;
use crate::store::Store;

/// Lines of a failed job's log that are shown with its failure.
const TAIL: usize = 20;

/// Bytes of a job's log that are kept.
const LOG: u64 = 16 << 20;

/// Bytes of how a job ended that its last line has at most.
const LAST: usize = 4096;

/// A job's log: a file that is made with the first line, and the last lines.
pub(super) struct Log<'a> {
    store: &'a Store,
    key: Key,
    is_kept: bool,
    file: Option<File>,
    written: u64,
    tail: VecDeque<String>,
}

impl<'a> Log<'a> {
    /// The log of a job, empty.
    pub fn new(store: &'a Store, job: &Assignment) -> Log<'a> {
        if !job.discard {
            let _ = fs::remove_file(store.log_path(job.key));
        }
        let (key, is_kept) = (job.key, !job.discard);
        Log { store, key, is_kept, file: None, written: 0, tail: VecDeque::new() }
    }

    /// Keeps a line. A log that cannot be written is no reason to fail a job.
    pub fn line(&mut self, text: &str) {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(text.to_owned());
        let before = self.written;
        self.written += text.len() as u64 + 1;
        match () {
            () if self.written <= LOG => self.write(text),
            () if before <= LOG => self.write(&format!("[cut: a log is kept up to {} MiB]", LOG >> 20)),
            () => {}
        }
    }

    /// Keeps how the job ended, however long the log is. The last line begins with the mark.
    pub fn end(&mut self, mark: &str, text: &str) {
        let (above, last) = text.trim_end().rsplit_once('\n').unwrap_or(("", text));
        above.lines().for_each(|line| self.line(line));
        let cut = last.floor_char_boundary(LAST);
        self.write(&format!("{mark}{}", &last[..cut]));
    }

    fn write(&mut self, line: &str) {
        if self.file.is_none() && self.is_kept {
            self.file = self.store.create_log(self.key).ok();
        }
        if let Some(file) = &mut self.file {
            let _ = writeln!(file, "{line}");
        }
    }

    /// The last lines, taken out.
    pub fn take_tail(&mut self) -> Vec<String> {
        std::mem::take(&mut self.tail).into()
    }
}
