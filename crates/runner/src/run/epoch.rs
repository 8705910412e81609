//! Record of an epoch: a line of `metrics.jsonl` and a row of `metrics.csv`.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// One epoch, as `metrics.jsonl` and the checkpoint hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: u32,
    /// Steps of the run up to its end.
    pub step: u64,
    /// Seconds spent on its training steps, without validation.
    #[serde(with = "crate::run::json")]
    pub train_seconds: f64,
    /// Mean loss over its examples, each before the step that it was part of; nats.
    #[serde(with = "crate::run::json")]
    pub train_loss: f64,
    /// Mean loss over the validation set after it; nats.
    #[serde(with = "crate::run::json")]
    pub val_loss: f64,
    /// Share of the validation set that is classified rightly after it, 0 to 1. NaN where examples
    /// have values: then files have no such key.
    #[serde(with = "crate::run::json", default = "nan", skip_serializing_if = "is_nan")]
    pub val_accuracy: f64,
    /// The learning rate of its last step.
    #[serde(with = "crate::run::json")]
    pub lr: f64,
    /// Mean over its steps of the gradient's Euclidean norm, before clipping.
    #[serde(with = "crate::run::json")]
    pub grad_norm: f64,
    /// The largest of those norms.
    #[serde(with = "crate::run::json")]
    pub grad_norm_max: f64,
    /// Its steps that were left out, since loss or gradient was not finite: they are part of no mean.
    #[serde(default)]
    pub skipped: u64,
    /// How often it was begun anew for the same reason, each time with half the rate.
    #[serde(default)]
    pub rollbacks: u32,
}

fn nan() -> f64 {
    f64::NAN
}

fn is_nan(value: &f64) -> bool {
    value.is_nan()
}

/// The head of a table of epochs: comma-separated values (RFC 4180, but for its line ends) with the
/// names of `metrics.jsonl`, and with the column `val_accuracy` only if examples have classes.
pub fn head(has_accuracy: bool) -> String {
    let accuracy = if has_accuracy { "val_accuracy," } else { "" };
    format!(
        "epoch,step,train_seconds,train_loss,val_loss,{accuracy}lr,grad_norm,grad_norm_max,skipped,rollbacks\n"
    )
}

/// The row of `epoch` in that table.
pub fn row(epoch: &Epoch) -> String {
    let losses = match epoch.val_accuracy {
        accuracy if accuracy.is_nan() => format!("{},{}", epoch.train_loss, epoch.val_loss),
        accuracy => format!("{},{},{accuracy}", epoch.train_loss, epoch.val_loss),
    };
    let norms = format!("{},{},{}", epoch.lr, epoch.grad_norm, epoch.grad_norm_max);
    let missed = format!("{},{}", epoch.skipped, epoch.rollbacks);
    format!("{},{},{},{losses},{norms},{missed}\n", epoch.epoch, epoch.step, epoch.train_seconds)
}

/// The epoch whose parameters a run keeps: the best validation accuracy; of equals the lower loss; of equals the
/// first.
pub fn best(history: &[Epoch]) -> Option<&Epoch> {
    history.iter().reduce(|best, epoch| if epoch.is_better_than(best) { epoch } else { best })
}

impl Epoch {
    /// Whether this epoch, which is the later one, is to be kept rather than `other`.
    pub fn is_better_than(&self, other: &Self) -> bool {
        match self.val_accuracy.partial_cmp(&other.val_accuracy) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Less) => false,
            // Where there are no accuracies, the loss decides.
            Some(Ordering::Equal) | None => self.val_loss < other.val_loss,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_epoch_is_the_most_accurate_then_the_surest_then_the_first() {
        let epoch = |epoch, val_accuracy, val_loss| Epoch {
            epoch,
            step: 0,
            train_seconds: 0.0,
            train_loss: 0.0,
            val_loss,
            val_accuracy,
            lr: 0.0,
            grad_norm: 0.0,
            grad_norm_max: 0.0,
            skipped: 0,
            rollbacks: 0,
        };
        let best_of = |history: &[Epoch]| best(history).map(|epoch| epoch.epoch);
        assert_eq!(best_of(&[]), None);
        assert_eq!(best_of(&[epoch(1, 0.5, 1.0), epoch(2, 0.6, 2.0), epoch(3, 0.4, 0.1)]), Some(2));
        assert_eq!(best_of(&[epoch(1, 0.5, 1.0), epoch(2, 0.5, 0.9), epoch(3, 0.5, 0.9)]), Some(2));
        let none = f64::NAN;
        assert_eq!(
            best_of(&[epoch(1, none, 1.0), epoch(2, none, 0.8), epoch(3, none, 0.9)]),
            Some(2)
        );
    }
}
