//! `evenkeel train --overfit-batch`: checks that a network can overfit a [single
//! batch](crate::training::one_batch). Writes no run folder.

use serde::Serialize;

use crate::Error;
use crate::commands::{dry_run, output};
use crate::run::config::{Config, Dtype};
use crate::run::setup::Setup;
use crate::run::{setup, sizes};
use crate::training::one_batch::{self, OneBatch, without_regularisation};

/// Default number of steps.
const STEPS: u64 = 300;

/// Maximum ratio of the last loss to the first.
const MAX_LOSS_RATIO: f64 = 0.1;

#[derive(Serialize)]
struct Outcome {
    images: usize,
    steps: u64,
    #[serde(with = "crate::run::json")]
    first_loss: f64,
    #[serde(with = "crate::run::json")]
    last_loss: f64,
    /// Accuracy after the last step, 0 to 1; `null` for a regression.
    accuracy: Option<f64>,
    learned: bool,
}

/// Trains `steps` steps on one batch, and prints loss and accuracy.
///
/// # Errors
/// [`Error::NotOverfit`] if an example is still misclassified, or more than a tenth of the first
/// loss is left.
pub fn overfit(config: Config, steps: Option<u64>, json: bool) -> Result<(), Error> {
    let setup = Setup::new(config)?;
    sizes::check_batch(&setup, setup.rows_per_batch())?;
    dry_run::check_memory(&setup)?;
    let setup = without_regularisation(&setup)?;
    let steps = steps.unwrap_or(STEPS);
    let mut order = setup.order(0);
    order.truncate(setup.config.batch as usize);
    // No loss is small enough to end early.
    let enough = f64::NEG_INFINITY;
    let outcome = setup::on_threads(&setup.config, |cpu| match setup.config.dtype {
        Dtype::F32 | Dtype::Bf16 => one_batch::train::<f32>(&setup, cpu, &order, steps, enough),
        Dtype::F64 => one_batch::train::<f64>(&setup, cpu, &order, steps, enough),
    })?;
    let (unit_name, images) = (setup.dataset.train.noun(), order.len());
    let OneBatch { steps, first_loss, last_loss, correct } = outcome;
    let is_classified = !setup.dataset.has_values();
    let accuracy = is_classified.then(|| correct as f64 / images as f64);
    let learned =
        accuracy.is_none_or(|accuracy| accuracy == 1.0) && last_loss <= MAX_LOSS_RATIO * first_loss;
    if json {
        let outcome = Outcome { images, steps, first_loss, last_loss, accuracy, learned };
        let text = serde_json::to_string_pretty(&outcome);
        output::print(&text.map_err(|error| Error::Usage(format!("outcome: {error}")))?)?;
    } else {
        let accuracy = accuracy.map(|accuracy| format!(", accuracy {:.2} %", 100.0 * accuracy));
        output::print(&format!(
            "{images} {unit_name}, {steps} steps: loss {first_loss:.4} to {last_loss:.4}{}",
            accuracy.unwrap_or_default()
        ))?;
    }
    if learned {
        Ok(())
    } else {
        Err(Error::NotOverfit { unit_name, steps, first_loss, last_loss, accuracy })
    }
}
