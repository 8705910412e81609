//! Results of a run: `summary.json`.

use serde::{Deserialize, Serialize};

/// Status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Every epoch is done, and the test set is scored.
    Done,
    /// The run was stopped; `--resume` continues it.
    Interrupted,
    /// A loss or a gradient became NaN or infinite.
    Diverged,
}

/// Task of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A class for each example.
    #[default]
    Classification,
    /// A value for each example.
    Regression,
    /// The inputs of each example.
    Reconstruction,
}

/// `summary.json`: the results of a run. Times are seconds, accuracies fractions; what is unknown
/// is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Format of the run's files.
    pub format: u32,
    /// Status of the run.
    pub status: Status,
    /// Task of the run. [`to_json`](Self::to_json) writes accuracies of classifications alone.
    pub task: Task,
    /// Fraction of the test set that `model.safetensors` classifies correctly.
    #[serde(skip_serializing_if = "is_meaningless")]
    pub test_accuracy: Option<f64>,
    /// Lower end of its 95 % interval (Wilson's).
    #[serde(skip_serializing_if = "is_meaningless")]
    pub test_accuracy_low: Option<f64>,
    /// Upper end of its 95 % interval (Wilson's).
    #[serde(skip_serializing_if = "is_meaningless")]
    pub test_accuracy_high: Option<f64>,
    /// Mean loss over the test set; nats.
    #[serde(with = "crate::run::json::option")]
    pub test_loss: Option<f64>,
    /// Number of examples of the test set.
    pub test_examples: usize,
    /// Number of these without a prediction, since their outputs are NaN or infinite.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub test_unpredicted: usize,
    /// Number of finished epochs.
    pub epochs: usize,
    /// Epoch of the weights in `model.safetensors`, from 1.
    pub best_epoch: Option<u32>,
    /// Accuracy of these weights on the validation set.
    #[serde(skip_serializing_if = "is_meaningless")]
    pub val_accuracy: Option<f64>,
    /// Mean loss of these weights on the validation set.
    #[serde(with = "crate::run::json::option")]
    pub val_loss: Option<f64>,
    /// Time from the start of the process that ended the run.
    pub seconds_total: f64,
    /// Time from its start to the end of its first step.
    pub seconds_to_first_step: Option<f64>,
    /// Time spent on checkpoints.
    pub seconds_checkpoints: f64,
    /// Time spent on metrics, and on samples of the units at the ends of epochs.
    pub seconds_logging: f64,
    /// Training time of the fastest epoch.
    pub train_seconds_best_epoch: Option<f64>,
    /// Number of parameters.
    pub params: usize,
    /// Peak resident memory of the process; known on Linux.
    pub peak_rss_bytes: Option<u64>,
    /// Name of the data set.
    pub dataset: String,
    /// Origin of the data, as text.
    pub data_origin: String,
    /// `true` if the data were generated.
    pub data_synthetic: bool,
    /// SHA-256 over all examples and their targets.
    pub data_sha256: String,
    /// Rows and columns of an image, or the number of columns of a table.
    pub input_shape: Vec<usize>,
    /// `true` if the training images are digits centred as MNIST's are; absent for tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digits_centred: Option<bool>,
    /// Standard deviation of the target values trained on, if losses are in units of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_std: Option<f64>,
    /// Names of the table columns that are inputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Names of the classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Name of the network.
    pub preset: String,
    /// Type of the arithmetic.
    pub dtype: String,
    /// Seed of all random draws.
    pub seed: u64,
    /// Operating system and processor architecture.
    pub platform: String,
    /// Instruction set that was used.
    pub isa: String,
    /// Number of threads that were used.
    pub threads: usize,
    /// SHA-256 over the tensors of `model.safetensors` in file order.
    pub params_sha256: Option<String>,
    /// Path of the run folder.
    pub run: String,
    /// Version of evenkeel.
    pub version: String,
    /// Command line of the process that ended the run.
    pub command: String,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// `true` for the accuracy of another task than a classification, as [`Summary::to_json`] marks it.
fn is_meaningless(accuracy: &Option<f64>) -> bool {
    accuracy.is_some_and(f64::is_nan)
}

impl Summary {
    /// Text of `summary.json`.
    pub fn to_json(&self) -> String {
        let mut summary = self.clone();
        if self.task != Task::Classification {
            let Self { test_accuracy, test_accuracy_low, test_accuracy_high, val_accuracy, .. } =
                &mut summary;
            for accuracy in [test_accuracy, test_accuracy_low, test_accuracy_high, val_accuracy] {
                *accuracy = Some(f64::NAN);
            }
        }
        serde_json::to_string_pretty(&summary).expect("keys are strings")
    }
}
