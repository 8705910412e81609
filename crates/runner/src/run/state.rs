//! State of a training run: everything that one step hands to the next.
//!
//! A checkpoint stores it, so that a run that was interrupted anywhere continues to the same bits.

use nn::Running;
use serde::{Deserialize, Serialize};

use crate::data::element::Element;
use crate::run::config::NonFinite;
use crate::run::divergence::Divergence;
use crate::run::epoch::Epoch;
use crate::run::health::Health;
use crate::run::weights::ModelWeights;

/// Maximum number of rollbacks of a run: by then its learning rate is a thousandth.
pub(crate) const MAX_ROLLBACKS: u32 = 10;

/// Maximum number of non-finite steps that are recorded per epoch.
const MAX_RECORDED: usize = 16;

/// Everything that a run carries from one step to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct State<T> {
    /// Parameters and buffers.
    pub weights: ModelWeights<T>,
    /// Weights of the best epoch; zeros before the end of the first one.
    pub best: ModelWeights<T>,
    /// Moments of the optimizer.
    pub optimizer: Running<T>,
    /// Moving average of the weights, if the run has one.
    pub average: Option<ModelWeights<T>>,
    /// Slow weights of lookahead, if the run has them.
    pub slow: Option<Vec<T>>,
    /// Snapshot at the end of the last epoch, if the run rolls back after non-finite steps.
    pub snapshot: Option<Snapshot<T>>,
    /// Progress of the run.
    pub position: Position,
}

/// Progress of a run: finished epochs, and the part of the current one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The finished epochs.
    pub history: Vec<Epoch>,
    /// Steps of the current epoch so far, including the skipped ones.
    pub step: u64,
    /// Sums over those steps.
    pub sums: Sums,
    /// Samples of their gradients; before the first step, those of the previous epoch.
    pub health: Health,
    /// Skipped steps and rollbacks.
    pub recovery: Recovery,
}

/// Sums over the steps of an epoch, added in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Losses of all examples.
    pub loss: f64,
    /// Divisor of the mean loss: examples, or the sum of their class weights.
    pub weight: f64,
    /// Norms of the gradients.
    pub norm: f64,
    /// Largest of those norms.
    pub norm_max: f64,
    /// Time of the steps, in seconds.
    pub seconds: f64,
    /// Number of skipped steps.
    pub skipped: u64,
}

/// Recovery from non-finite steps so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// Number of steps skipped since the last step that was taken.
    pub consecutive_skips: u32,
    /// Number of rollbacks. Each halves the learning rate.
    pub rollbacks: u32,
    /// First non-finite steps of the last epoch that has any.
    pub non_finite: Vec<Divergence>,
}

/// Part of the state that a rollback restores.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<T> {
    /// Parameters and buffers.
    pub weights: ModelWeights<T>,
    /// Moments of the optimizer.
    pub optimizer: Running<T>,
    /// Moving average of the weights, if the run has one.
    pub average: Option<ModelWeights<T>>,
    /// Slow weights of lookahead, if the run has them.
    pub slow: Option<Vec<T>>,
}

impl<T: Element> State<T> {
    /// Takes a snapshot, if `policy` rolls back to it.
    pub(crate) fn take_snapshot(&mut self, policy: NonFinite) {
        self.snapshot = (policy == NonFinite::Rollback).then(|| Snapshot::new(self));
    }

    /// Weights that are scored, and saved if they are the best: the moving average, if there is
    /// one.
    pub(crate) fn scored(&mut self) -> &mut ModelWeights<T> {
        self.average.as_mut().unwrap_or(&mut self.weights)
    }
}

impl Position {
    /// Number of steps of the run so far, including the skipped ones.
    pub fn global_step(&self, steps_per_epoch: u64) -> u64 {
        steps_per_epoch * self.history.len() as u64 + self.step
    }
}

impl Recovery {
    /// Factor of the learning rate after the rollbacks so far.
    pub fn rate(&self) -> f64 {
        (0..self.rollbacks.min(MAX_ROLLBACKS)).fold(1.0, |rate, _| rate / 2.0)
    }

    /// Records a non-finite step, unless the epoch has enough of them.
    pub(crate) fn record(&mut self, divergence: Divergence) {
        self.non_finite.retain(|recorded| recorded.epoch == divergence.epoch);
        if self.non_finite.len() < MAX_RECORDED {
            self.non_finite.push(divergence);
        }
    }
}

impl<T: Element> Snapshot<T> {
    /// Snapshot of `state`.
    pub fn new(state: &State<T>) -> Self {
        let State { weights, optimizer, average, slow, .. } = state.clone();
        Self { weights, optimizer, average, slow }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_global_step_counts_finished_epochs_and_the_current_one() {
        let epoch = Epoch {
            epoch: 1,
            step: 7,
            train_seconds: 0.0,
            train_loss: 0.0,
            val_loss: 0.0,
            val_accuracy: 0.0,
            lr: 0.0,
            grad_norm: 0.0,
            grad_norm_max: 0.0,
            skipped: 0,
            rollbacks: 0,
        };
        let position = Position { history: vec![epoch; 2], step: 3, ..Position::default() };
        assert_eq!((position.global_step(7), Position::default().global_step(7)), (17, 0));
    }

    #[test]
    fn each_rollback_halves_the_rate_exactly() {
        let rate = |rollbacks| Recovery { rollbacks, ..Recovery::default() }.rate();
        assert_eq!((rate(0), rate(1), rate(MAX_ROLLBACKS)), (1.0, 0.5, 1.0 / 1024.0));
    }
}
