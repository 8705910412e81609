//! Ctrl-C and SIGTERM: the first asks the training loop to save and stop, the second ends the process at once.
//!
//! Until [`Signals::defer`] is called there is nothing to save, and the first ends the process as well. The command
//! line catches signals, the training loop asks for them after each step.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::Error;

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What `kill` sends.
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

    /// 128 plus the signal's number, as shells have it.
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

/// The signals that have come.
#[derive(Clone, Debug)]
pub struct Signals {
    /// Whether the next signal ends the process.
    at_once: Arc<AtomicBool>,
    /// The number of the last signal, 0 for none.
    last: Arc<AtomicUsize>,
}

impl Signals {
    /// Catches both signals from here on, for the rest of the process.
    ///
    /// # Errors
    /// [`Error::System`] if the operating system refuses.
    pub fn catch() -> Result<Self, Error> {
        let signals = Self { at_once: Arc::new(AtomicBool::new(true)), last: Arc::default() };
        for signal in Signal::ALL {
            let (number, code) = (signal.number(), i32::from(signal.exit_code()));
            // Run in this order on each signal: leave if armed, else note which it was and arm.
            flag::register_conditional_shutdown(number, code, Arc::clone(&signals.at_once))
                .and_then(|_| {
                    flag::register_usize(number, Arc::clone(&signals.last), number as usize)
                })
                .and_then(|_| flag::register(number, Arc::clone(&signals.at_once)))
                .map_err(|cause| Error::System { action: "catch signals", cause })?;
        }
        Ok(signals)
    }

    /// From here on, the first signal is only noted: [`caught`](Self::caught) tells.
    pub fn defer(&self) {
        self.at_once.store(false, Ordering::SeqCst);
    }

    /// The signal that has come, if any.
    pub fn caught(&self) -> Option<Signal> {
        let last = self.last.load(Ordering::Relaxed);
        Signal::ALL.into_iter().find(|signal| signal.number() as usize == last)
    }
}
