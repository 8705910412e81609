//! `evenkeel train --overfit-batch`: whether a network can learn one batch by heart, which is the first thing to check of one that
//! does not learn (Karpathy, "A recipe for training neural networks", 2019).
//!
//! The steps are those of the run, at its full rate throughout, always with the same examples, and without what makes learning by heart
//! hard: dropout, mixed images, noise and pruning. No run folder is made.

use kernels::Cpu;
use nn::{LayerSpec, Mode, Progress, Workspace};
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
use crate::training::step::{NonFiniteStep, TrainingStep};

/// Steps that are taken, unless it is said otherwise.
const STEPS: u64 = 300;

/// What share of the first loss may be left.
const LEFT: f64 = 0.1;

#[derive(Serialize)]
struct Outcome {
    /// What examples are called.
    #[serde(skip)]
    noun: &'static str,
    images: usize,
    steps: u64,
    #[serde(with = "crate::run::json")]
    first_loss: f64,
    #[serde(with = "crate::run::json")]
    last_loss: f64,
    /// The share of examples answered rightly; `null` where they have values.
    accuracy: Option<f64>,
    learned: bool,
}

/// Does it, with `steps` steps, and prints what came out.
///
/// # Errors
/// [`Error::Unlearned`] if an example is still answered wrongly, or more than a tenth of the loss is left.
pub fn overfit(config: Config, steps: Option<u64>, json: bool) -> Result<(), Error> {
    let mut setup = Setup::new(config)?;
    sizes::check_batch(&setup, setup.rows_per_batch())?;
    dry_run::room(&setup)?;
    let Setup { config, network, .. } = &mut setup;
    (config.mixing, config.noise, config.pruning, config.ema, config.accumulate) =
        (None, None, None, None, 1);
    // The one batch is taken whole, and its rows count the same.
    (config.drop_last, config.class_weights) = (false, None);
    config.augment.clear();
    let mut layers = config.layers.clone().unwrap_or_default();
    layers.iter_mut().for_each(drop_nothing);
    let changed = setup::network(config, network.input(), &layers, false)?
        .with_loss(config.loss.unwrap_or_default());
    (*network, config.layers) = (changed, Some(layers));
    let pool = setup::pool(&setup.config)?;
    let cpu = Cpu::new(setup::isa(&setup.config)?, &pool);
    let steps = steps.unwrap_or(STEPS);
    let outcome = pool.enter(|| match setup.config.dtype {
        Dtype::F32 | Dtype::Bf16 => run::<f32>(&setup, cpu, steps),
        Dtype::F64 => run::<f64>(&setup, cpu, steps),
    })?;
    let Outcome { noun, images, first_loss, last_loss, accuracy, learned, .. } = outcome;
    if json {
        let text = serde_json::to_string_pretty(&outcome);
        output::print(&text.map_err(|error| Error::Usage(format!("outcome: {error}")))?)?;
    } else {
        let share = accuracy.map(|accuracy| format!(", accuracy {:.2} %", 100.0 * accuracy));
        output::print(&format!(
            "{images} {noun}, {steps} steps: loss {first_loss:.4} became {last_loss:.4}{}",
            share.unwrap_or_default()
        ))?;
    }
    if learned {
        Ok(())
    } else {
        Err(Error::Unlearned { noun, steps, first_loss, last_loss, accuracy })
    }
}

/// Without dropout, here and within.
fn drop_nothing(layer: &mut LayerSpec) {
    match layer {
        LayerSpec::Dropout { p } => *p = 0.0,
        LayerSpec::Transformer { dropout, .. } => *dropout = 0.0,
        LayerSpec::Residual { body, shortcut, .. } => {
            body.iter_mut().chain(shortcut).for_each(drop_nothing);
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
        // Statistics are those of the batch, as they are while it is learned.
        network.score(cpu, Mode::Probe, state.weights.view(), batch, &mut workspace)
    };
    let noun = dataset.train.noun();
    let share =
        |correct: usize| (!dataset.has_values()).then(|| correct as f64 / order.len() as f64);
    let first_loss = score(&mut state)?.mean_loss();
    for step in 0..steps {
        let progress = Progress { step, steps, steps_per_epoch: steps };
        if let Err(NonFiniteStep { loss, .. }) =
            training_step.run(setup, cpu, progress, config.rate(), &mut state, &order)?
        {
            let (images, last_loss, accuracy) = (order.len(), loss, share(0));
            return Ok(Outcome {
                noun,
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
    let (last_loss, accuracy) = (last.mean_loss(), share(last.correct));
    let learned = accuracy.is_none_or(|share| share == 1.0) && last_loss <= LEFT * first_loss;
    Ok(Outcome { noun, images: order.len(), steps, first_loss, last_loss, accuracy, learned })
}
