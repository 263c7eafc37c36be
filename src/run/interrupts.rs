//! Interrupts: Ctrl-C and its kin, caught once a process, reach the run that goes on.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use super::worker::Told;

/// A way to end a run from outside.
#[derive(Debug, Clone, Default)]
pub struct Interrupts(Arc<Mutex<Reach>>);

#[derive(Debug, Default)]
struct Reach {
    run: Option<Sender<Told>>,
    /// Somebody was too early.
    pending: bool,
}

impl Interrupts {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on.
    ///
    /// # Errors
    /// When the system does not let us, or it was done before.
    pub fn catch() -> Result<Interrupts, ctrlc::Error> {
        let caught = Interrupts::default();
        let handler = caught.clone();
        ctrlc::set_handler(move || handler.interrupt())?;
        Ok(caught)
    }

    /// Ends the run, or the next one if there is none yet.
    pub fn interrupt(&self) {
        let mut reach = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // When nobody listens any more, the run is over anyway.
        reach.pending = reach.run.as_ref().is_none_or(|run| run.send(Told::Interrupt).is_err());
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
