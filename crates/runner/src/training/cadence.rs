//! When a run writes `checkpoint.safetensors`: often enough that a crash loses little, at a cost of
//! at most a hundredth of the time.
//!
//! ```text
//! checkpoint_steps = N     after every Nth step of the run
//! checkpoint_epochs = N    after every Nth epoch
//! neither                  after an epoch, such that checkpoints take at most 1 % of the time
//! ```
//!
//! A run also writes one when it ends or is stopped. `train` calls it.

use std::time::{Duration, Instant};

use crate::run::config::Config;

/// Minimum time before the first checkpoint of a run without such keys: its cost is not known yet.
const FIRST_AFTER: Duration = Duration::from_secs(5);
/// Minimum ratio of the time between checkpoints to the time that the last one took.
const TIME_PER_COST: u32 = 100;

/// Decides when the next checkpoint is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cadence {
    steps: Option<u64>,
    epochs: Option<u32>,
    not_before: Instant,
}

impl Cadence {
    /// Cadence of a run that starts or resumes at `now`.
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        let Config { checkpoint_steps, checkpoint_epochs, .. } = config;
        Self { steps: *checkpoint_steps, epochs: *checkpoint_epochs, not_before: now + FIRST_AFTER }
    }

    /// `true` if a checkpoint is due after `global_step` steps of the run.
    pub(crate) fn is_due_after_step(&self, global_step: u64) -> bool {
        self.steps.is_some_and(|every| global_step.is_multiple_of(every))
    }

    /// `true` if a checkpoint is due after `epochs` epochs of the run, the last of which ended at
    /// `now`.
    pub(crate) fn is_due_after_epoch(&self, epochs: usize, now: Instant) -> bool {
        match (self.epochs, self.steps) {
            (Some(every), _) => epochs.is_multiple_of(every as usize),
            (None, Some(_)) => false,
            (None, None) => now >= self.not_before,
        }
    }

    /// Records that a checkpoint was written until `now`, which took `cost`.
    pub(crate) fn record(&mut self, now: Instant, cost: Duration) {
        self.not_before = now + cost * TIME_PER_COST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_epochs_are_counted_or_the_time_is_measured() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut timed = Cadence::new(&Config::default(), start);
        assert!(!timed.is_due_after_step(1_000));
        assert!(
            !timed.is_due_after_epoch(1, after(4_999)) && timed.is_due_after_epoch(2, after(5_000))
        );
        timed.record(after(5_030), Duration::from_millis(30));
        assert!(
            !timed.is_due_after_epoch(3, after(8_029)) && timed.is_due_after_epoch(4, after(8_030))
        );

        let steps = Config { checkpoint_steps: Some(5), ..Config::default() };
        let by_steps = Cadence::new(&steps, start);
        assert!(by_steps.is_due_after_step(10) && !by_steps.is_due_after_step(11));
        assert!(!by_steps.is_due_after_epoch(5, after(60_000)));
        let both = Cadence::new(&Config { checkpoint_epochs: Some(2), ..steps }, start);
        assert!(both.is_due_after_step(5) && !both.is_due_after_epoch(3, after(60_000)));
        assert!(both.is_due_after_epoch(4, start));
    }
}
