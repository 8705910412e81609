//! What a run reports: a line of `metrics.jsonl` for each epoch, and `summary.json` at its end.

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
    #[serde(with = "crate::json")]
    pub train_seconds: f64,
    /// Mean loss over its examples, each before the step that it was part of; nats.
    #[serde(with = "crate::json")]
    pub train_loss: f64,
    /// Mean loss over the validation set after it; nats.
    #[serde(with = "crate::json")]
    pub val_loss: f64,
    /// Share of the validation set that is classified rightly after it, 0 to 1. NaN where examples
    /// have values: then files have no such key.
    #[serde(with = "crate::json", default = "nan", skip_serializing_if = "is_nan")]
    pub val_accuracy: f64,
    /// The learning rate of its last step.
    #[serde(with = "crate::json")]
    pub lr: f64,
    /// Mean over its steps of the gradient's Euclidean norm, before clipping.
    #[serde(with = "crate::json")]
    pub grad_norm: f64,
    /// The largest of those norms.
    #[serde(with = "crate::json")]
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

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Every epoch is done, and the test set is scored.
    Done,
    /// A signal came; `--resume` goes on.
    Interrupted,
    /// Loss or gradient was no longer finite.
    Diverged,
    /// A trial of a sweep whose configuration does not fit the data. No run has this status.
    Refused,
}

/// Task of a network: classification or regression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A class for each example.
    #[default]
    Classification,
    /// A value for each example.
    Regression,
}

/// `summary.json`: what a run came to. Times are seconds, accuracies fractions; what is not known is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// How the run stands.
    pub status: Status,
    /// Task of the run. For a regression, [`to_json`](Self::to_json) writes no accuracies.
    #[serde(default)]
    pub task: Task,
    /// Share of the test set that `model.safetensors` classifies rightly.
    #[serde(skip_serializing_if = "is_meaningless")]
    pub test_accuracy: Option<f64>,
    /// Lower end of its 95 % interval (Wilson's).
    #[serde(skip_serializing_if = "is_meaningless")]
    pub test_accuracy_low: Option<f64>,
    /// Upper end of its 95 % interval (Wilson's).
    #[serde(skip_serializing_if = "is_meaningless")]
    pub test_accuracy_high: Option<f64>,
    /// Mean loss over the test set; nats.
    pub test_loss: Option<f64>,
    /// Examples of the test set.
    pub test_images: usize,
    /// Epochs done.
    pub epochs: usize,
    /// The epoch that `model.safetensors` is of, from 1.
    pub best_epoch: Option<u32>,
    /// Its accuracy on the validation set.
    #[serde(skip_serializing_if = "is_meaningless")]
    pub val_accuracy: Option<f64>,
    /// Its mean loss on the validation set.
    #[serde(default)]
    pub val_loss: Option<f64>,
    /// From the start of the process that ended the run.
    pub seconds_total: f64,
    /// From its start until its first step was taken.
    #[serde(default)]
    pub seconds_to_first_step: Option<f64>,
    /// What it spent on checkpoints.
    #[serde(default)]
    pub seconds_checkpoints: f64,
    /// What it spent on the lines of metrics and health, and on the looks at units, at the ends of epochs.
    #[serde(default)]
    pub seconds_journal: f64,
    /// Training seconds of the fastest epoch.
    pub train_seconds_best_epoch: Option<f64>,
    /// Number of parameters.
    pub params: usize,
    /// The most memory the process had in use; known on Linux.
    pub peak_rss_bytes: Option<u64>,
    /// Name of the data set.
    pub dataset: String,
    /// Where it came from, in words.
    pub data_origin: String,
    /// Whether they were generated.
    pub data_generated: bool,
    /// SHA-256 over its examples and their goals.
    pub data_sha256: String,
    /// Rows and columns of an image, or the number of columns of a table.
    #[serde(default)]
    pub input: Vec<usize>,
    /// `true` if images trained on are digits put as MNIST's are; unknown of older runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub centred: Option<bool>,
    /// The standard deviation of the values trained on, if losses are of values in units of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_unit: Option<f64>,
    /// The names of a table's columns that the network is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The names of its classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Name of the network.
    pub preset: String,
    /// The type computed in.
    pub dtype: String,
    /// What every random draw depends on.
    pub seed: u64,
    /// The operating system and processor that it ran on.
    #[serde(default)]
    pub machine: String,
    /// The instruction set used.
    pub isa: String,
    /// The number of threads used.
    pub threads: usize,
    /// SHA-256 over the tensors of `model.safetensors` in file order.
    pub params_sha256: Option<String>,
    /// The run folder.
    pub run: String,
    /// The version of evenkeel.
    pub version: String,
    /// The command line that ended the run.
    #[serde(default)]
    pub command: String,
}

/// `true` for the accuracy of a regression, as [`Summary::to_json`] marks it.
fn is_meaningless(accuracy: &Option<f64>) -> bool {
    accuracy.is_some_and(f64::is_nan)
}

impl Summary {
    /// The text of `summary.json`.
    ///
    /// # Errors
    /// None: all keys are texts.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let mut summary = self.clone();
        if self.task == Task::Regression {
            let Self { test_accuracy, test_accuracy_low, test_accuracy_high, val_accuracy, .. } =
                &mut summary;
            for accuracy in [test_accuracy, test_accuracy_low, test_accuracy_high, val_accuracy] {
                *accuracy = Some(f64::NAN);
            }
        }
        serde_json::to_string_pretty(&summary)
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
