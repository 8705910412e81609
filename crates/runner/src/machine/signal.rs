//! Ctrl-C and SIGTERM: the first makes the training loop save and stop, the second ends the process
//! immediately.
//!
//! Until [`Signals::defer`] is called there is nothing to save, and the first also ends the
//! process. The command line catches signals; the training loop polls them after each step.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::Error;

/// Signal that requests a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM, the default of `kill`.
    Terminate,
}

impl Signal {
    const ALL: [Self; 2] = [Self::Interrupt, Self::Terminate];

    fn number(self) -> i32 {
        match self {
            Self::Interrupt => SIGINT,
            Self::Terminate => SIGTERM,
        }
    }

    /// Exit code of a process that the signal ends: 128 plus the signal's number, as in shells.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Handler of signals, with the last one received.
#[derive(Clone, Debug)]
pub struct Signals {
    /// `true` if the next signal ends the process.
    armed: Arc<AtomicBool>,
    /// Number of the last signal, 0 for none.
    last: Arc<AtomicUsize>,
}

impl Signals {
    /// Installs handlers of both signals, for the rest of the process.
    ///
    /// # Errors
    /// [`Error::System`] if the operating system refuses.
    pub fn catch() -> Result<Self, Error> {
        let signals = Self { armed: Arc::new(AtomicBool::new(true)), last: Arc::default() };
        for signal in Signal::ALL {
            let (number, code) = (signal.number(), i32::from(signal.exit_code()));
            // Actions on each signal, in this order: exit if armed, else record its number and arm.
            flag::register_conditional_shutdown(number, code, Arc::clone(&signals.armed))
                .and_then(|_| {
                    flag::register_usize(number, Arc::clone(&signals.last), number as usize)
                })
                .and_then(|_| flag::register(number, Arc::clone(&signals.armed)))
                .map_err(|cause| Error::System { action: "catch signals", cause })?;
        }
        Ok(signals)
    }

    /// Defers the first signal from now on: it is recorded, and [`caught`](Self::caught) returns
    /// it.
    pub fn defer(&self) {
        self.armed.store(false, Ordering::SeqCst);
    }

    /// Returns the signal that was received, if any.
    pub fn caught(&self) -> Option<Signal> {
        let last = self.last.load(Ordering::Relaxed);
        Signal::ALL.into_iter().find(|signal| signal.number() as usize == last)
    }
}
