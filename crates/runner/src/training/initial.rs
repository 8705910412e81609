//! The weights that a run begins with: drawn, and then fitted to the training set or replaced where the configuration says so.
//!
//! ```text
//! draw -> mean and deviation of the inputs, for a first layer that standardises
//!      -> those of values to be met, for a last layer that restores their unit
//!      -> another run's weights -> LSUV
//! ```
//!
//! `train` begins with them; `dump` shows them.

use kernels::Cpu;
use nn::Registry;

use crate::Error;
use crate::data::Targets;
use crate::data::element::Element;
use crate::run::batch::Rows;
use crate::run::setup::Setup;
use crate::run::state::{Position, State};
use crate::run::weights::Weights;
use crate::training::transfer;

/// What the run `setup` begins with: a function of configuration and data.
///
/// # Errors
/// [`Error::Network`] if there is no memory for them, and what [`transfer::load`] returns.
pub fn weights<T: Element>(setup: &Setup, cpu: Cpu<'_>) -> Result<Weights<T>, Error> {
    let Setup { config, dataset, split, network } = setup;
    let mut weights = Weights::<T>::initial(network, cpu, config.seed)?;

    let mut one = Rows::<f64>::new(1, network.inputs())?;
    let mut images = split.train.chunks(1);
    let next = |row: &mut [f64]| match images.next().map(|index| one.fill(&dataset.train, index)) {
        Some(Ok(batch)) => {
            row.copy_from_slice(batch.inputs);
            true
        }
        // The split has no index beyond the images.
        _ => false,
    };
    let mut buffers = weights.buffers.iter().map(|value| value.to_f64()).collect::<Vec<_>>();
    let is_fitted = network.fit(cpu, next, &mut buffers)?;
    let are_fitted = match dataset.train.targets() {
        Targets::Values(values) => {
            let mut wanted = split.train.iter().map(|&index| f64::from(values[index as usize]));
            let next = |row: &mut [f64]| wanted.next().map(|value| row.fill(value)).is_some();
            network.fit_targets(cpu, next, &mut buffers)?
        }
        Targets::Classes(_) => false,
    };
    if is_fitted || are_fitted {
        weights.buffers = buffers.into_iter().map(T::from_f64).collect();
    }

    transfer::load(setup, &mut weights)?;

    if let Some(lsuv) = config.lsuv {
        let count = setup.rows_per_batch();
        let mut rows = Rows::new(count, network.inputs())?;
        let inputs = rows.fill(&dataset.train, &split.train[..count])?.inputs;
        let (layers, registry) = (config.layers.as_deref().unwrap_or_default(), Registry::new());
        let Weights { params, buffers } = &mut weights;
        lsuv.scale(cpu, network.input(), layers, &registry, params, buffers, inputs)?;
    }
    Ok(weights)
}

/// The state before the first step.
///
/// # Errors
/// [`Error::Network`] if a hyper-parameter is out of range.
pub fn state<T: Element>(setup: &Setup, cpu: Cpu<'_>) -> Result<State<T>, Error> {
    let Setup { config, network, .. } = setup;
    let weights = weights(setup, cpu)?;
    let optimizer = setup.plan()?.start(cpu)?;
    let average = config.ema.map(|_| weights.clone());
    let slow = config.lookahead.map(|_| weights.params.clone());
    let best = Weights::zeros(network)?;
    let position = Position::default();
    let mut state = State { weights, best, optimizer, average, slow, anchor: None, position };
    state.drop_anchor(config.non_finite);
    Ok(state)
}
