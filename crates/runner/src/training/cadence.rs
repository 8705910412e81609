//! When a run writes `checkpoint.safetensors` of its own accord: so that a crash loses little, and that it costs next to nothing.
//!
//! ```text
//! checkpoint_steps = N     after every Nth step of the run
//! checkpoint_epochs = N    after every Nth epoch
//! neither                  after an epoch, at most a hundredth of the time
//! ```
//!
//! However a run ends, it writes one last. `train` asks.

use std::time::{Duration, Instant};

use crate::run::config::Config;

/// How long a run without such keys goes on before its first checkpoint, at least: what is not known by then is what one costs.
const FIRST: Duration = Duration::from_secs(5);
/// The part of the time that checkpoints may then take, as one in so many.
const ONE_IN: u32 = 100;

/// When the next one is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cadence {
    steps: Option<u64>,
    epochs: Option<u32>,
    not_before: Instant,
}

impl Cadence {
    /// Of a run that is at work from `now` on.
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        let Config { checkpoint_steps, checkpoint_epochs, .. } = config;
        Self { steps: *checkpoint_steps, epochs: *checkpoint_epochs, not_before: now + FIRST }
    }

    /// Whether one is due after `taken` steps of the run.
    pub(crate) fn is_due_after_steps(&self, taken: u64) -> bool {
        self.steps.is_some_and(|every| taken.is_multiple_of(every))
    }

    /// Whether one is due at the end of an epoch, the `done`th, which came at `now`.
    pub(crate) fn is_due_after_epochs(&self, done: usize, now: Instant) -> bool {
        match (self.epochs, self.steps) {
            (Some(every), _) => done.is_multiple_of(every as usize),
            (None, Some(_)) => false,
            (None, None) => now >= self.not_before,
        }
    }

    /// One was written by `now`, and that took `seconds`.
    pub(crate) fn wrote(&mut self, now: Instant, seconds: Duration) {
        self.not_before = now + seconds * ONE_IN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_by_and_otherwise_the_time_is_looked_at() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut paced = Cadence::new(&Config::default(), start);
        assert!(!paced.is_due_after_steps(1_000));
        assert!(
            !paced.is_due_after_epochs(1, after(4_999))
                && paced.is_due_after_epochs(2, after(5_000))
        );
        paced.wrote(after(5_030), Duration::from_millis(30));
        assert!(
            !paced.is_due_after_epochs(3, after(8_029))
                && paced.is_due_after_epochs(4, after(8_030))
        );

        let steps = Config { checkpoint_steps: Some(5), ..Config::default() };
        let counted = Cadence::new(&steps, start);
        assert!(counted.is_due_after_steps(10) && !counted.is_due_after_steps(11));
        assert!(!counted.is_due_after_epochs(5, after(60_000)));
        let both = Cadence::new(&Config { checkpoint_epochs: Some(2), ..steps }, start);
        assert!(both.is_due_after_steps(5) && !both.is_due_after_epochs(3, after(60_000)));
        assert!(both.is_due_after_epochs(4, start));
    }
}
