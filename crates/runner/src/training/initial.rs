//! Initial weights of a run: drawn, then fitted to the training set or replaced as configured.
//!
//! ```text
//! draw -> mean and deviation of the inputs, if the first layer standardises
//!      -> mean and deviation of the target values, if the last layer restores their unit
//!      -> weights of another run -> LSUV
//! ```
//!
//! `train` starts from them; `dump` writes them.

use kernels::Cpu;
use nn::Registry;

use crate::Error;
use crate::data::Targets;
use crate::data::element::Element;
use crate::run::batch::BatchBuffers;
use crate::run::setup::Setup;
use crate::run::state::{Position, State};
use crate::run::weights::ModelWeights;
use crate::training::transfer;

/// Returns the initial weights of the run `setup`, a function of configuration and data.
///
/// # Errors
/// [`Error::Network`] if there is not enough memory, and the errors of [`transfer::load`].
pub fn weights<T: Element>(setup: &Setup, cpu: Cpu<'_>) -> Result<ModelWeights<T>, Error> {
    let Setup { config, dataset, split, network } = setup;
    let mut weights = ModelWeights::<T>::initial(network, cpu, config.seed)?;

    let mut example = BatchBuffers::<f64>::new(cpu.isa, 1, network.inputs())?;
    let next_input = next_input(&mut example, setup);
    let mut buffers = weights.buffers.iter().map(|value| value.to_f64()).collect::<Vec<_>>();
    let has_fitted_inputs = network.fit(cpu, next_input, &mut buffers)?;
    let has_fitted_targets = match dataset.train.targets() {
        Targets::Values(values) => {
            let mut targets = split.train.iter().map(|&index| f64::from(values[index as usize]));
            let next_target =
                |row: &mut [f64]| targets.next().map(|value| row.fill(value)).is_some();
            network.fit_targets(cpu, next_target, &mut buffers)?
        }
        Targets::Inputs(_) => {
            let next_target = self::next_input(&mut example, setup);
            network.fit_targets(cpu, next_target, &mut buffers)?
        }
        Targets::Classes(_) => false,
    };
    if has_fitted_inputs || has_fitted_targets {
        weights.buffers = buffers.into_iter().map(T::from_f64).collect();
    }

    transfer::load(setup, &mut weights)?;

    if let Some(lsuv) = config.lsuv {
        let count = setup.rows_per_batch();
        let mut batch = BatchBuffers::new(cpu.isa, count, network.inputs())?;
        let inputs = batch.fill(&dataset.train, &split.train[..count])?.inputs;
        let (layers, registry) = (config.layers.as_deref().unwrap_or_default(), Registry::new());
        let ModelWeights { params, buffers } = &mut weights;
        lsuv.scale(cpu, network.input(), layers, &registry, params, buffers, inputs)?;
    }
    Ok(weights)
}

/// Function that writes the inputs of one training example of `setup` after the other, and returns
/// `false` at the end. `example` has the capacity of one.
fn next_input(example: &mut BatchBuffers<f64>, setup: &Setup) -> impl FnMut(&mut [f64]) -> bool {
    let Setup { dataset, split, .. } = setup;
    let mut indices = split.train.chunks(1);
    move |row| match indices.next().map(|index| example.fill(&dataset.train, index)) {
        Some(Ok(batch)) => {
            row.copy_from_slice(batch.inputs);
            true
        }
        // `fill` has no error here: the indices of the split are in range.
        _ => false,
    }
}

/// Returns the state before the first step.
///
/// # Errors
/// [`Error::Network`] if a hyper-parameter is out of range, and the errors of [`weights`].
pub fn state<T: Element>(setup: &Setup, cpu: Cpu<'_>) -> Result<State<T>, Error> {
    let Setup { config, network, .. } = setup;
    let weights = weights(setup, cpu)?;
    let optimizer = setup.plan()?.start(cpu)?;
    let average = config.ema.map(|_| weights.clone());
    let slow = config.lookahead.map(|_| weights.params.clone());
    let best = ModelWeights::zeros(network)?;
    let position = Position::default();
    let mut state = State { weights, best, optimizer, average, slow, snapshot: None, position };
    state.take_snapshot(config.non_finite);
    Ok(state)
}
