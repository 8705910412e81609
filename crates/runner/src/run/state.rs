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
use crate::run::weights::Weights;

/// Times that a run goes back, at most: its rate is a thousandth by then.
pub(crate) const MOST_ROLLBACKS: u32 = 10;

/// Places of an epoch that are written down, at most.
const MOST_NOTED: usize = 16;

/// All that a run carries from one step to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct State<T> {
    /// The parameters, and what belongs to them.
    pub weights: Weights<T>,
    /// Those of the best epoch; zeros before the end of the first.
    pub best: Weights<T>,
    /// The moments.
    pub optimizer: Running<T>,
    /// Their average, if the run has one.
    pub average: Option<Weights<T>>,
    /// The slow ones, if the run looks ahead.
    pub slow: Option<Vec<T>>,
    /// What the run goes back to where a step is not finite, if that is its policy: the end of the last epoch.
    pub anchor: Option<Anchor<T>>,
    /// How far the run is.
    pub position: Position,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The epochs that are done.
    pub history: Vec<Epoch>,
    /// Steps taken in the epoch at hand.
    pub step: u64,
    /// Sums over those steps.
    pub sums: Sums,
    /// What was seen of their gradients; before the first of them, of those of the epoch before.
    #[serde(default)]
    pub health: Health,
    /// What was done about steps that were not finite.
    #[serde(default)]
    pub recovery: Recovery,
}

/// Sums over the steps of an epoch, added in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Losses of all rows.
    pub loss: f64,
    /// Divisor of the mean loss: rows, or the sum of their classes' weights. Checkpoints from before
    /// class weights have it as `rows`.
    #[serde(alias = "rows")]
    pub weight: f64,
    /// Norms of the gradients.
    pub norm: f64,
    /// The largest of them.
    pub norm_max: f64,
    /// Seconds.
    pub seconds: f64,
    /// Steps that were left out.
    #[serde(default)]
    pub skipped: u64,
}

/// What has been done about steps that were not finite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// Steps left out since the last one that was taken.
    pub in_a_row: u32,
    /// How often the run went back. Its rate is halved each time.
    pub rollbacks: u32,
    /// Where, in the last epoch that there was such a step in: the first few places.
    pub met: Vec<Divergence>,
}

/// What a run goes back to.
#[derive(Clone, Debug, PartialEq)]
pub struct Anchor<T> {
    /// The parameters, and what belongs to them.
    pub weights: Weights<T>,
    /// The moments.
    pub optimizer: Running<T>,
    /// The average of the weights, if the run has one.
    pub average: Option<Weights<T>>,
    /// The slow weights, if it looks ahead.
    pub slow: Option<Vec<T>>,
}

impl<T: Element> State<T> {
    /// Remembers where the run stands, if it is to go back there.
    pub(crate) fn drop_anchor(&mut self, policy: NonFinite) {
        self.anchor = (policy == NonFinite::Rollback).then(|| Anchor::of(self));
    }

    /// What is scored, and kept if it is the best: the average of the weights, or else the weights.
    pub(crate) fn scored(&mut self) -> &mut Weights<T> {
        self.average.as_mut().unwrap_or(&mut self.weights)
    }
}

impl Recovery {
    /// What the learning rate is multiplied by.
    pub fn rate(&self) -> f64 {
        (0..self.rollbacks.min(MOST_ROLLBACKS)).fold(1.0, |rate, _| rate / 2.0)
    }

    pub(crate) fn note(&mut self, found: Divergence) {
        self.met.retain(|met| met.epoch == found.epoch);
        if self.met.len() < MOST_NOTED {
            self.met.push(found);
        }
    }
}

impl<T: Element> Anchor<T> {
    /// Where the run `state` stands.
    pub fn of(state: &State<T>) -> Self {
        let State { weights, optimizer, average, slow, .. } = state.clone();
        Self { weights, optimizer, average, slow }
    }
}
