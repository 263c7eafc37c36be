//! The lines that come through a pipe, read without ever blocking on it.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};

/// Bytes that are held at once, and the length at which a line is cut.
const HELD: usize = 1 << 20;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// A pipe and what has been read of it.
#[derive(Debug)]
pub struct Pipe {
    end: Option<PipeReader>,
    buffer: Vec<u8>,
    /// Where in the buffer the next line starts.
    start: usize,
    /// Up to where from there no line ends.
    searched: usize,
}

impl Pipe {
    /// The lines of a pipe.
    ///
    /// # Errors
    /// When the system does not let it be read without blocking.
    pub fn new(end: PipeReader) -> io::Result<Pipe> {
        fcntl(&end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Pipe { end: Some(end), buffer: Vec::new(), start: 0, searched: 0 })
    }

    /// Whether somebody may still write into it.
    pub fn is_open(&self) -> bool {
        self.end.is_some()
    }

    /// Reads no more of it.
    pub fn close(&mut self) {
        self.end = None;
    }

    /// To wait for more of it, while it is open.
    pub fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.end.as_ref().map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN))
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// When the system cannot read it.
    pub fn fill(&mut self) -> io::Result<()> {
        // Lines that were taken go now, all at once, not each when it was taken.
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        // Not to the end of a flood: lines are taken in between.
        while let Some(end) = &mut self.end
            && self.buffer.len() < HELD
        {
            let length = self.buffer.len();
            self.buffer.resize(length + CHUNK, 0);
            let got = end.read(&mut self.buffer[length..]);
            self.buffer.truncate(length + *got.as_ref().unwrap_or(&0));
            match got {
                Ok(0) => self.end = None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes a line out of the buffer; with `last`, also what stands there without a line end.
    pub fn line(&mut self, last: bool) -> Option<String> {
        let found = memchr::memchr(b'\n', &self.buffer[self.searched..]);
        let left = self.buffer.len() - self.start;
        let (end, next) = match found {
            Some(at) => (self.searched + at, self.searched + at + 1),
            // A line that never ends is cut.
            None if left > 0 && (last || left >= HELD) => (self.buffer.len(), self.buffer.len()),
            None => {
                self.searched = self.buffer.len();
                return None;
            }
        };
        let line = String::from_utf8_lossy(&self.buffer[self.start..end]).into_owned();
        (self.start, self.searched) = (next, next);
        Some(line)
    }
}
