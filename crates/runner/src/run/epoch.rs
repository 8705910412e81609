//! Record of an epoch: a line of `metrics.jsonl` and a row of `metrics.csv`.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// One epoch, as `metrics.jsonl` and the checkpoint hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Number of the epoch, from 1.
    pub epoch: u32,
    /// Steps of the run up to the end of the epoch.
    pub step: u64,
    /// Time of the training steps, without validation; seconds.
    #[serde(with = "crate::run::json")]
    pub train_seconds: f64,
    /// Mean loss over the training examples, each before its step; nats.
    #[serde(with = "crate::run::json")]
    pub train_loss: f64,
    /// Mean loss over the validation set at the end of the epoch; nats.
    #[serde(with = "crate::run::json")]
    pub val_loss: f64,
    /// Fraction of the validation set that is classified correctly at the end of the epoch. NaN if
    /// examples have values: then files have no such key.
    #[serde(with = "crate::run::json", default = "nan", skip_serializing_if = "is_nan")]
    pub val_accuracy: f64,
    /// Learning rate of the last step.
    #[serde(with = "crate::run::json")]
    pub lr: f64,
    /// Mean over the steps of the gradient's L2 norm, before clipping.
    #[serde(with = "crate::run::json")]
    pub grad_norm: f64,
    /// Largest of those norms.
    #[serde(with = "crate::run::json")]
    pub grad_norm_max: f64,
    /// Number of steps skipped because of a non-finite loss or gradient: they are part of no mean.
    pub skipped: u64,
    /// Number of rollbacks to the start of the epoch for the same reason, each with half the rate.
    pub rollbacks: u32,
}

fn nan() -> f64 {
    f64::NAN
}

fn is_nan(value: &f64) -> bool {
    value.is_nan()
}

/// Header of `metrics.csv`: comma-separated values (RFC 4180, but for its line ends) with the
/// names of `metrics.jsonl`, and with the column `val_accuracy` only if examples have classes.
pub fn csv_header(has_accuracy: bool) -> String {
    let accuracy = if has_accuracy { "val_accuracy," } else { "" };
    format!(
        "epoch,step,train_seconds,train_loss,val_loss,{accuracy}lr,grad_norm,grad_norm_max,\
         skipped,rollbacks\n"
    )
}

/// Row of `epoch` in `metrics.csv`.
pub fn csv_row(epoch: &Epoch) -> String {
    let losses = match epoch.val_accuracy {
        accuracy if accuracy.is_nan() => format!("{},{}", epoch.train_loss, epoch.val_loss),
        accuracy => format!("{},{},{accuracy}", epoch.train_loss, epoch.val_loss),
    };
    let norms = format!("{},{},{}", epoch.lr, epoch.grad_norm, epoch.grad_norm_max);
    let recovery = format!("{},{}", epoch.skipped, epoch.rollbacks);
    format!("{},{},{},{losses},{norms},{recovery}\n", epoch.epoch, epoch.step, epoch.train_seconds)
}

/// Returns the epoch whose weights a run saves: that of the best validation accuracy; among equals
/// that of the lowest loss; among equals the first.
pub fn best(history: &[Epoch]) -> Option<&Epoch> {
    history.iter().reduce(|best, epoch| if epoch.is_better_than(best) { epoch } else { best })
}

impl Epoch {
    /// `true` if this epoch, the later one, is better than `other`.
    pub fn is_better_than(&self, other: &Self) -> bool {
        match self.val_accuracy.partial_cmp(&other.val_accuracy) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Less) => false,
            // Without accuracies, the loss decides.
            Some(Ordering::Equal) | None => self.val_loss < other.val_loss,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_epoch_has_the_best_accuracy_then_the_lowest_loss_then_comes_first() {
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
