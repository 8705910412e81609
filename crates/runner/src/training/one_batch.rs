//! Training on a single batch, again and again: the first test of a network that does not learn
//! (Karpathy, "A recipe for training neural networks", 2019).
//!
//! Each step is a step of the run on the same examples, at the full learning rate, without what
//! prevents overfitting: dropout, mixup, noise and pruning.

use kernels::Cpu;
use nn::{Dropout, LayerSpec, Mode, Progress, Residual, Transformer, Workspace};

use crate::Error;
use crate::data::element::Element;
use crate::run::batch::BatchBuffers;
use crate::run::config::Config;
use crate::run::setup::Setup;
use crate::training::initial;
use crate::training::observer::Unobserved;
use crate::training::step::{NonFiniteStep, TrainingStep};

/// Steps after which the loss is looked at.
const STEPS_PER_LOOK: u64 = 25;

/// Loss of a batch before and after training on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneBatch {
    /// Number of steps.
    pub steps: u64,
    /// Mean loss before them.
    pub first_loss: f64,
    /// Mean loss after them. Not finite if the training ended at a number that is not.
    pub last_loss: f64,
    /// Examples that are classified correctly after them.
    pub correct: usize,
}

impl OneBatch {
    /// Loss after the steps over that before them.
    pub fn ratio(&self) -> f64 {
        self.last_loss / self.first_loss
    }
}

/// The run `setup` without what prevents overfitting.
///
/// # Errors
/// As for [`Setup::with_config`].
pub fn without_regularisation(setup: &Setup) -> Result<Setup, Error> {
    let mut config = Config {
        mixing: None,
        noise: None,
        pruning: None,
        ema: None,
        accumulate: 1,
        // The batch may be incomplete, and its examples have equal weights.
        drop_last: false,
        class_weights: None,
        augment: Vec::new(),
        ..setup.config.clone()
    };
    config.layers.iter_mut().flatten().for_each(disable_dropout);
    setup.with_config(config)
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

/// Trains the initial network of `setup`, which is [without
/// regularisation](without_regularisation), for `steps` steps on the examples `order`; fewer if the
/// loss is at most `enough` times the first before.
///
/// # Errors
/// [`Error::Network`] if there is not enough memory, or the batch does not fit the network.
pub fn train<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    order: &[u32],
    steps: u64,
    enough: f64,
) -> Result<OneBatch, Error> {
    let Setup { config, dataset, network, .. } = setup;
    let mut state = initial::state::<T>(setup, cpu)?;
    let mut training_step = TrainingStep::new(setup, cpu)?;
    let mut rows = BatchBuffers::new(cpu.isa, order.len(), network.inputs())?;
    let batch = rows.fill(&dataset.train, order)?;
    let mut workspace = Workspace::inference(network, cpu, order.len())?;
    // Batch statistics, as in a training step.
    let first = network.score(cpu, Mode::Probe, state.weights.view(), batch, &mut workspace)?;
    let mut outcome = OneBatch {
        steps: 0,
        first_loss: first.mean_loss(),
        last_loss: first.mean_loss(),
        correct: first.correct,
    };
    while outcome.steps < steps {
        let step = outcome.steps;
        let progress = Progress { step, steps, steps_per_epoch: steps };
        if let Err(NonFiniteStep { loss, .. }) = training_step.run(
            setup,
            cpu,
            progress,
            config.rate(),
            &mut state,
            order,
            &mut Unobserved,
        )? {
            return Ok(OneBatch { last_loss: loss, correct: 0, ..outcome });
        }
        outcome.steps += 1;
        if outcome.steps == steps || outcome.steps.is_multiple_of(STEPS_PER_LOOK) {
            let weights = state.weights.view();
            let last = network.score(cpu, Mode::Probe, weights, batch, &mut workspace)?;
            (outcome.last_loss, outcome.correct) = (last.mean_loss(), last.correct);
            if outcome.ratio() <= enough {
                break;
            }
        }
    }
    Ok(outcome)
}
