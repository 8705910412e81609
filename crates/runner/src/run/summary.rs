//! Result of a run: `summary.json`.

use serde::{Deserialize, Serialize};

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
    /// SHA-256 over its examples and their targets.
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
