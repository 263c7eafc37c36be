//! What a worker's thread and its launcher say to each other: frames over a socket, files going along.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::PollTimeout;
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// As many files as go with a frame: standard input, output, error.
const FILES: usize = 3;

/// What a launcher is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ask {
    /// Enter the sandbox whose rules are the fields.
    Enter = b'e',
    /// Start a process: the job file's path or nothing, the program, and its arguments, the first being its name.
    Start = b's',
    /// Ask the process and its children to end, and kill them if they do not.
    End = b't',
    /// Kill them.
    Kill = b'k',
    /// Kill what the process has started, and not itself.
    Sweep = b'w',
}

/// A frame: what is asked, words without NUL, and files.
#[derive(Debug)]
pub struct Frame {
    /// What is asked.
    pub ask: Ask,
    /// The words.
    pub words: Vec<OsString>,
    /// The files.
    pub files: Vec<OwnedFd>,
}

/// What a launcher answers. On the wire: a letter and two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is in the sandbox, or the system's error number.
    Entered(i32),
    /// The process started and has this number.
    Started(i32),
    /// The process cannot be started: the system's error number.
    NotStarted(i32),
    /// The process ended: its wait status, and how many that it had started were left and are killed now.
    Ended(i32, u32),
    /// How many that the process had started were left and are killed now.
    Swept(u32),
}

/// Sends a frame.
///
/// # Errors
/// When nobody reads it any more, or a word holds a NUL.
pub fn send(socket: &UnixStream, ask: Ask, words: &[&OsStr], files: &[BorrowedFd]) -> io::Result<()> {
    let mut frame = vec![ask as u8, 0, 0, 0, 0];
    for word in words {
        if word.as_bytes().contains(&0) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an argument holds a NUL"));
        }
        frame.extend(word.as_bytes());
        frame.push(0);
    }
    let length = u32::try_from(frame.len() - 5).map_err(|_| io::ErrorKind::ArgumentListTooLong)?;
    frame[1..5].copy_from_slice(&length.to_le_bytes());
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(files));
    }
    // A launcher that was killed is an error, not a signal.
    let sent = sendmsg(socket, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL)?;
    let mut rest = &frame[sent..];
    while !rest.is_empty() {
        let sent = rustix::net::send(socket, rest, SendFlags::NOSIGNAL)?;
        rest = &rest[sent..];
    }
    Ok(())
}

/// The next frame; none when the other side is gone.
///
/// # Errors
/// When what comes is no frame.
pub fn receive(mut socket: &UnixStream) -> io::Result<Option<Frame>> {
    let mut head = [0; 5];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut head)];
    let got = recvmsg(socket, into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    if got == 0 {
        return Ok(None);
    }
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            files.extend(came);
        }
    }
    socket.read_exact(&mut head[got..])?;
    let asks = [Ask::Enter, Ask::Start, Ask::End, Ask::Kill, Ask::Sweep];
    let ask = asks.into_iter().find(|ask| *ask as u8 == head[0]);
    let ask = ask.ok_or(io::ErrorKind::InvalidData)?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    let mut body = vec![0; length as usize];
    socket.read_exact(&mut body)?;
    let words = match body.strip_suffix(&[0]) {
        Some(body) => body.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect(),
        None => Vec::new(),
    };
    Ok(Some(Frame { ask, words, files }))
}

impl Answer {
    /// Sends the answer.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub fn send(self, mut socket: &UnixStream) -> io::Result<()> {
        let (letter, number, left) = match self {
            Answer::Entered(error) => (b'e', error, 0),
            Answer::Started(number) => (b's', number, 0),
            Answer::NotStarted(error) => (b'n', error, 0),
            Answer::Ended(status, left) => (b'd', status, left),
            Answer::Swept(left) => (b'w', 0, left),
        };
        let mut answer = [letter; 9];
        answer[1..5].copy_from_slice(&number.to_le_bytes());
        answer[5..].copy_from_slice(&left.to_le_bytes());
        socket.write_all(&answer)
    }

    /// Waits for an answer.
    ///
    /// # Errors
    /// When the launcher is gone, or what comes is no answer.
    pub fn receive(mut socket: &UnixStream) -> io::Result<Answer> {
        let mut answer = [0; 9];
        socket.read_exact(&mut answer)?;
        let [letter, number @ .., l0, l1, l2, l3] = answer;
        let (number, left) = (i32::from_le_bytes(number), u32::from_le_bytes([l0, l1, l2, l3]));
        match letter {
            b'e' => Ok(Answer::Entered(number)),
            b's' => Ok(Answer::Started(number)),
            b'n' => Ok(Answer::NotStarted(number)),
            b'd' => Ok(Answer::Ended(number, left)),
            b'w' => Ok(Answer::Swept(left)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// How long to wait for something to read before a deadline.
pub fn until(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    // Rounded up, so that it has passed when the wait is over; a wait that is too long for the system is cut.
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn frames_arrive_with_their_words_and_files_also_long_ones() {
        let (here, there) = UnixStream::pair().unwrap();
        let long = OsString::from("x".repeat(1 << 20));
        let words = [OsStr::new(""), OsStr::from_bytes(b"\xff \n"), &long];
        let frame = std::thread::scope(|scope| {
            scope.spawn(|| {
                let null = File::open("/dev/null").unwrap();
                send(&here, Ask::Start, &words, &[null.as_fd(); FILES]).unwrap();
                send(&here, Ask::End, &[], &[]).unwrap();
            });
            receive(&there).unwrap().unwrap()
        });
        assert_eq!((frame.ask, frame.files.len()), (Ask::Start, FILES));
        assert_eq!(frame.words, words);
        let second = receive(&there).unwrap().unwrap();
        assert_eq!((second.ask, second.words.len(), second.files.len()), (Ask::End, 0, 0));
        drop(here);
        assert!(receive(&there).unwrap().is_none());
    }

    #[test]
    fn answers_arrive_as_they_were_given() {
        let (here, there) = UnixStream::pair().unwrap();
        for answer in [
            Answer::Entered(0),
            Answer::Started(7),
            Answer::NotStarted(2),
            Answer::Ended(-1, 3),
            Answer::Swept(4),
        ] {
            answer.send(&here).unwrap();
            assert_eq!(Answer::receive(&there).unwrap(), answer);
        }
        assert!(send(&here, Ask::Start, &[OsStr::new("a\0b")], &[]).is_err());
    }
}
