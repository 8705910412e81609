//! `evenkeel train --overfit-batch`: checks that a network can overfit a single batch, the first
//! test of a network that does not learn (Karpathy, "A recipe for training neural networks", 2019).
//!
//! Each step is a step of the run on the same examples, at the full learning rate, without what
//! prevents overfitting: dropout, mixup, noise and pruning. Writes no run folder.

use kernels::Cpu;
use nn::{Dropout, LayerSpec, Mode, Progress, Residual, Transformer, Workspace};
use serde::Serialize;

use crate::Error;
use crate::commands::{dry_run, output};
use crate::data::element::Element;
use crate::run::batch::BatchBuffers;
use crate::run::config::{Config, Dtype};
use crate::run::setup::Setup;
use crate::run::state::State;
use crate::run::{setup, sizes};
use crate::training::initial;
use crate::training::observer::Unobserved;
use crate::training::step::{NonFiniteStep, TrainingStep};

/// Default number of steps.
const STEPS: u64 = 300;

/// Maximum ratio of the last loss to the first.
const MAX_LOSS_RATIO: f64 = 0.1;

#[derive(Serialize)]
struct Outcome {
    /// Unit name of an example, such as `images`.
    #[serde(skip)]
    unit_name: &'static str,
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
    let mut setup = Setup::new(config)?;
    sizes::check_batch(&setup, setup.rows_per_batch())?;
    dry_run::check_memory(&setup)?;
    let Setup { config, network, .. } = &mut setup;
    (config.mixing, config.noise, config.pruning, config.ema, config.accumulate) =
        (None, None, None, None, 1);
    // The batch may be incomplete, and its examples have equal weights.
    (config.drop_last, config.class_weights) = (false, None);
    config.augment.clear();
    let mut layers = config.layers.clone().unwrap_or_default();
    layers.iter_mut().for_each(disable_dropout);
    let changed = setup::network(config, network.input(), &layers, false)?
        .with_loss(config.loss.unwrap_or_default());
    (*network, config.layers) = (changed, Some(layers));
    let steps = steps.unwrap_or(STEPS);
    let outcome = setup::on_threads(&setup.config, |cpu| match setup.config.dtype {
        Dtype::F32 | Dtype::Bf16 => run::<f32>(&setup, cpu, steps),
        Dtype::F64 => run::<f64>(&setup, cpu, steps),
    })?;
    let Outcome { unit_name, images, first_loss, last_loss, accuracy, learned, .. } = outcome;
    if json {
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

/// Disables dropout in `layer` and the layers within it.
fn disable_dropout(layer: &mut LayerSpec) {
    match layer {
        LayerSpec::Dropout(Dropout { p }) => *p = 0.0,
        LayerSpec::Transformer(Transformer { dropout, .. }) => *dropout = 0.0,
        LayerSpec::Residual(Residual { body, shortcut, .. }) => {
            body.iter_mut().chain(shortcut).for_each(disable_dropout);
        }
        _ => {}
    }
}

fn run<T: Element>(setup: &Setup, cpu: Cpu<'_>, steps: u64) -> Result<Outcome, Error> {
    let Setup { config, dataset, network, .. } = setup;
    let mut order = setup.order(0);
    order.truncate(config.batch as usize);
    let mut state = initial::state(setup, cpu)?;
    let mut training_step = TrainingStep::new(setup, cpu)?;

    let mut rows = BatchBuffers::new(cpu.isa, order.len(), network.inputs())?;
    let batch = rows.fill(&dataset.train, &order)?;
    let mut workspace = Workspace::inference(network, cpu, order.len())?;
    let mut score = |state: &mut State<T>| {
        // Batch statistics, as in a training step.
        network.score(cpu, Mode::Probe, state.weights.view(), batch, &mut workspace)
    };
    let unit_name = dataset.train.noun();
    let accuracy =
        |correct: usize| (!dataset.has_values()).then(|| correct as f64 / order.len() as f64);
    let first_loss = score(&mut state)?.mean_loss();
    for step in 0..steps {
        let progress = Progress { step, steps, steps_per_epoch: steps };
        if let Err(NonFiniteStep { loss, .. }) = training_step.run(
            setup,
            cpu,
            progress,
            config.rate(),
            &mut state,
            &order,
            &mut Unobserved,
        )? {
            let (images, last_loss, accuracy) = (order.len(), loss, accuracy(0));
            return Ok(Outcome {
                unit_name,
                images,
                steps: step,
                first_loss,
                last_loss,
                accuracy,
                learned: false,
            });
        }
    }
    let last = score(&mut state)?;
    let (last_loss, accuracy) = (last.mean_loss(), accuracy(last.correct));
    let learned =
        accuracy.is_none_or(|accuracy| accuracy == 1.0) && last_loss <= MAX_LOSS_RATIO * first_loss;
    Ok(Outcome { unit_name, images: order.len(), steps, first_loss, last_loss, accuracy, learned })
}
