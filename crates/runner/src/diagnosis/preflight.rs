//! Preflight: what the initial network shows before any step of the run.
//!
//! ```text
//! gradient     a few parameters against finite differences, in f64
//! Jacobian     singular values of d outputs / d inputs, for a few examples
//! one batch    loss after training on a few examples alone, over that before
//! ```
//!
//! The moments of layers and gradients, and with them the numbers of mean-field theory, come from
//! the first step. All effort is counted in operations rather than in seconds, so that the numbers
//! are the same on every machine.

use doctor::record::Initial;
use kernels::Cpu;
use nn::{LayerSpec, Mode, gradcheck_largest, jacobian};

use crate::Error;
use crate::data::element::Element;
use crate::diagnosis::singular_values::singular_values;
use crate::run::batch::BatchBuffers;
use crate::run::config::{Config, Dtype};
use crate::run::setup::Setup;
use crate::run::weights::ModelWeights;
use crate::training::one_batch;

/// Examples of the gradient check.
const CHECKED_ROWS: usize = 4;

/// Operations of the gradient check.
const CHECK_OPERATIONS: f64 = 5e8;

/// Parameters that it checks.
const CHECKED: std::ops::RangeInclusive<f64> = 2.0..=24.0;

/// Parameters of a network up to which its gradient is checked, for which they are copied in f64.
const MAX_PARAMETERS: usize = 1 << 24;

/// Examples whose Jacobian is computed.
const JACOBIANS: usize = 3;

/// Outputs up to which it is.
const MAX_OUTPUTS: usize = 64;

/// Examples of the one batch.
const BATCH: usize = 16;

/// Operations of training on it.
const BATCH_OPERATIONS: f64 = 1.2e10;

/// Steps of that training.
const BATCH_STEPS: std::ops::RangeInclusive<f64> = 50.0..=200.0;

/// Fraction of the first loss at which it has been memorised.
const MEMORISED: f64 = 0.1;

/// Measures the initial `weights` of the run `setup`. What cannot be measured is left out: a pass
/// that fails here fails in the probe too, which reports it.
///
/// # Errors
/// [`Error::Network`] if there is not enough memory.
pub fn measure<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    weights: &ModelWeights<T>,
) -> Result<Initial, Error> {
    let singular = measured(singular_range(setup, cpu, weights))?;
    Ok(Initial {
        gradient_error: measured(gradient_error(setup, cpu, weights))?,
        jacobian_max: singular.map(|(_, max)| max),
        jacobian_min: singular.map(|(min, _)| min),
        overfit_ratio: measured(overfit_ratio::<T>(setup, cpu))?,
        ..Initial::default()
    })
}

/// The measurement; `None` if a pass failed, and an error if there was not enough memory.
fn measured<M>(result: Result<Option<M>, Error>) -> Result<Option<M>, Error> {
    match result {
        Err(error @ Error::Network(nn::Error::Memory { .. })) => Err(error),
        result => Ok(result.ok().flatten()),
    }
}

/// Operations of a training step, per example: a product forward, and one each for the gradients
/// of inputs and weights.
pub(crate) fn operations(setup: &Setup) -> f64 {
    let network = &setup.network;
    let positions =
        |layer: usize| network.sequence().shapes().get(layer).map_or(1, |shape| shape.positions());
    let weights = network.layout().tensors().iter().filter(|tensor| tensor.shape.len() > 1);
    let products: f64 =
        weights.map(|tensor| (tensor.range.len() * positions(tensor.layer)) as f64).sum();
    6.0 * products
}

/// First examples of the run.
fn examples(setup: &Setup, count: usize) -> Vec<u32> {
    let mut order = setup.order(0);
    order.truncate(count);
    order
}

/// Largest relative error of the gradient, in f64, with the random numbers of the first step.
fn gradient_error<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    weights: &ModelWeights<T>,
) -> Result<Option<f64>, Error> {
    if weights.params.len() > MAX_PARAMETERS {
        return Ok(None);
    }
    let setup = setup.with_config(Config { dtype: Dtype::F64, ..setup.config.clone() })?;
    let mut weights = weights.converted::<f64>();
    let order = examples(&setup, CHECKED_ROWS.max(setup.network.min_rows()));
    let mut rows = BatchBuffers::new(cpu.isa, order.len(), setup.network.inputs())?;
    let batch = rows.fill(&setup.dataset.train, &order)?;
    // Forward takes a third of a step's operations, and an element four passes.
    let per_element = operations(&setup) * order.len() as f64 * 4.0 / 3.0;
    let elements = (CHECK_OPERATIONS / per_element).clamp(*CHECKED.start(), *CHECKED.end());
    let mode = Mode::Train { seed: setup.config.seed, step: 0 };
    let (network, elements) = (&setup.network, elements as usize);
    let checks = gradcheck_largest(cpu, network, mode, weights.view(), batch, elements)?;
    let errors = checks.iter().filter(|check| check.elements > 0).map(|check| check.max_rel_error);
    Ok(errors.reduce(f64::max).filter(|error| error.is_finite()))
}

/// Smallest and largest singular value of the Jacobian of a few examples. `None` for a network with
/// batch norm, whose outputs are functions of the whole batch.
fn singular_range<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    weights: &ModelWeights<T>,
) -> Result<Option<(f64, f64)>, Error> {
    let Setup { config, dataset, network, .. } = setup;
    let has_batch_norm = config.layers.iter().flatten().any(has_batch_norm);
    if network.outputs() > MAX_OUTPUTS || has_batch_norm {
        return Ok(None);
    }
    let mut weights = weights.clone();
    let mut rows = BatchBuffers::<T>::new(cpu.isa, 1, network.inputs())?;
    let mut range: Option<(f64, f64)> = None;
    for index in examples(setup, JACOBIANS) {
        let inputs = rows.fill(&dataset.train, &[index])?.inputs;
        let jacobian = jacobian(cpu, network, weights.view(), inputs)?;
        let jacobian: Vec<f64> = jacobian.into_iter().map(|value| value.to_f64()).collect();
        let values = singular_values(&jacobian, network.inputs());
        let (Some(&max), Some(&min)) = (values.first(), values.last()) else { return Ok(None) };
        if !max.is_finite() {
            return Ok(None);
        }
        range = Some(range.map_or((min, max), |(low, high)| (low.min(min), high.max(max))));
    }
    Ok(range)
}

/// `true` if `layer` normalises over the batch, or one within it does.
fn has_batch_norm(layer: &LayerSpec) -> bool {
    match layer {
        LayerSpec::BatchNorm(_) => true,
        LayerSpec::Residual(residual) => {
            residual.body.iter().chain(&residual.shortcut).any(has_batch_norm)
        }
        _ => false,
    }
}

/// Loss after training on one batch alone, over that before; not finite if the training diverged,
/// and `None` if the first loss is not above 0.
fn overfit_ratio<T: Element>(setup: &Setup, cpu: Cpu<'_>) -> Result<Option<f64>, Error> {
    let setup = one_batch::without_regularisation(setup)?;
    let rows = BATCH.min(setup.config.batch as usize).max(setup.network.min_rows());
    let order = examples(&setup, rows);
    let per_step = operations(&setup) * order.len() as f64;
    let steps = (BATCH_OPERATIONS / per_step).clamp(*BATCH_STEPS.start(), *BATCH_STEPS.end());
    let outcome = one_batch::train::<T>(&setup, cpu, &order, steps as u64, MEMORISED)?;
    Ok((outcome.first_loss > 0.0).then(|| outcome.ratio()))
}
