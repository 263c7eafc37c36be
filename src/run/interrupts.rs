//! Interrupts: Ctrl-C and its kin, caught once a process, reach the run that goes on.

use std::mem::MaybeUninit;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{self, SigHandler, Signal};

use super::worker::Told;

/// A way to end a run from outside.
#[derive(Debug, Clone, Default)]
pub struct Interrupts(Arc<Mutex<Reach>>);

#[derive(Debug, Default)]
struct Reach {
    run: Option<Sender<Told>>,
    /// Somebody was too early.
    pending: bool,
    /// Whether there was any.
    is_asked: bool,
}

/// The signals that end a run.
pub(super) const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// For so long, what ended a job may still reach the run: signals to many processes come one after the other.
const TOGETHER: Duration = Duration::from_millis(200);

impl Interrupts {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on, but for those that whoever started this process has it ignore, as
    /// `nohup` does.
    ///
    /// # Errors
    /// When the system does not let us, or it was done before.
    pub fn catch() -> Result<Interrupts, ctrlc::Error> {
        let caught = Interrupts::default();
        let handler = caught.clone();
        let ignored: Vec<Signal> = ENDING.into_iter().filter(|it| is_ignored(*it)).collect();
        ctrlc::set_handler(move || handler.interrupt())?;
        for signal in ignored {
            // SAFETY: to ignore a signal takes no handler that could do anything wrong.
            let restored = unsafe { signal::signal(signal, SigHandler::SigIgn) };
            restored.map_err(|error| ctrlc::Error::System(error.into()))?;
        }
        Ok(caught)
    }

    /// Ends the run, or the next one if there is none yet.
    pub fn interrupt(&self) {
        let mut reach = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reach.is_asked = true;
        // When nobody listens any more, the run is over anyway.
        reach.pending = reach.run.as_ref().is_none_or(|run| run.send(Told::Interrupt).is_err());
    }

    /// Whether somebody has ended the run, or does within a moment.
    pub(super) fn comes(&self) -> bool {
        let until = Instant::now() + TOGETHER;
        loop {
            if self.0.lock().unwrap_or_else(PoisonError::into_inner).is_asked {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(TOGETHER / 20);
        }
    }

    /// A run that listens.
    pub(super) fn reach(&self, run: Sender<Told>) {
        let mut reach = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut reach.pending) {
            let _ = run.send(Told::Interrupt);
        }
        reach.run = Some(run);
    }
}

/// Whether this process was started with a signal ignored.
pub(super) fn is_ignored(signal: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action this only writes the present one, when it says that it did.
    unsafe {
        libc::sigaction(signal as libc::c_int, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}
