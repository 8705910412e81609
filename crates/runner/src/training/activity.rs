//! Dead and saturated units: outputs of the activation layers for a few validation examples.
//!
//! ```text
//! for each activation layer i of the network
//!     layers 0 to i form a network, whose parameters are a prefix of the whole network's
//!     outputs of that network for the examples
//!     units that are 0 for every example; units that are at a bound for every example
//! ```
//!
//! A unit is an element of a vector, or a channel of an image or a sequence; a channel counts over
//! all positions. Sampled at the end of each epoch, recorded with the epoch's
//! [`Health`](crate::run::health::Health).

use kernels::Cpu;
use nn::{Activation, LayerSpec, Network, Weights, Workspace};

use crate::Error;
use crate::data::element::Element;
use crate::run::batch::BatchBuffers;
use crate::run::health::Activity;
use crate::run::setup;
use crate::run::setup::Setup;
use crate::run::weights::ModelWeights;

/// Maximum number of examples. An epoch of MNIST has about 400 times as many.
const MAX_EXAMPLES: usize = 128;

/// Distance from a bound within which an output is saturated, as a fraction of the range.
const TOLERANCE: f64 = 0.01;

/// Bounds of an activation's outputs at which its slope is nearly 0. The lower bound of a capped
/// ReLU is left out: units there are dead, not saturated.
fn bounds(activation: Activation) -> Option<[f64; 2]> {
    match activation {
        Activation::CappedRelu { cap } => Some([f64::NEG_INFINITY, cap]),
        Activation::Sigmoid | Activation::HardSigmoid => Some([0.0, 1.0]),
        Activation::Tanh | Activation::HardTanh | Activation::Softsign => Some([-1.0, 1.0]),
        _ => None,
    }
}

/// An activation layer, and the network that ends with it.
#[derive(Debug)]
struct Prefix {
    /// Index of the layer.
    layer: usize,
    activation: Activation,
    network: Network,
}

/// Samples the activation layers of a network.
#[derive(Debug)]
pub struct ActivityProbe {
    prefixes: Vec<Prefix>,
    /// Indices of the examples in the training set.
    examples: Vec<u32>,
}

impl ActivityProbe {
    /// Probe for the network of `setup` on its first validation examples. It leaves out activations
    /// before the first parameter, and those within blocks.
    pub fn new(setup: &Setup) -> Self {
        let layers = setup.config.layers.as_deref().unwrap_or_default();
        let sparse = setup::is_sparse(&setup.dataset);
        let prefix = |(index, layer): (usize, &LayerSpec)| match layer {
            LayerSpec::Activation(activation) => {
                let (input, layers) = (setup.network.input(), &layers[..=index]);
                let network = setup::network(&setup.config, input, layers, sparse).ok()?;
                Some(Prefix { layer: index, activation: *activation, network })
            }
            _ => None,
        };
        let prefixes = layers.iter().enumerate().filter_map(prefix).collect();
        let examples = setup.split.validation.iter().take(MAX_EXAMPLES).copied().collect();
        Self { prefixes, examples }
    }

    /// Activity of the units under `weights`, layer by layer.
    ///
    /// # Errors
    /// [`Error::Network`] if there is not enough memory.
    pub fn sample<T: Element>(
        &self,
        setup: &Setup,
        cpu: Cpu<'_>,
        weights: &ModelWeights<T>,
    ) -> Result<Vec<Activity>, Error> {
        let count = self.examples.len();
        let mut batch = BatchBuffers::<T>::new(cpu.isa, count, setup.network.inputs())?;
        let inputs = batch.fill(&setup.dataset.train, &self.examples)?.inputs;
        let mut buffers = weights.buffers.clone();
        let sample = |Prefix { layer, activation, network }: &Prefix| {
            let weights = Weights {
                params: &weights.params[..network.layout().len()],
                buffers: &mut buffers[..network.buffers().len()],
            };
            let mut workspace = Workspace::inference(network, cpu, count)?;
            let outputs = network.forward(cpu, weights, inputs, &mut workspace)?;
            let units = network.output().features();
            Ok(Activity::new(*layer, *activation, units, outputs))
        };
        self.prefixes.iter().map(sample).collect()
    }
}

impl Activity {
    /// Activity of `units` units, from `outputs`: `[examples * positions, units]`.
    pub(crate) fn new<T: Element>(
        layer: usize,
        activation: Activation,
        units: usize,
        outputs: &[T],
    ) -> Self {
        let bounds = bounds(activation);
        let is_saturated = |y: f64| {
            bounds.is_some_and(|[low, high]| {
                let margin = if low.is_finite() { TOLERANCE * (high - low) } else { 0.0 };
                y >= high - margin || y <= low + margin
            })
        };
        let (mut zeros, mut saturated) = (vec![0_u64; units], vec![0_u64; units]);
        for row in outputs.chunks_exact(units.max(1)) {
            for ((y, zeros), saturated) in row.iter().zip(&mut zeros).zip(&mut saturated) {
                let y = y.to_f64();
                *zeros += u64::from(y == 0.0);
                *saturated += u64::from(is_saturated(y));
            }
        }
        let rows = (outputs.len() / units.max(1)) as u64;
        let in_every_row = |counts: &[u64]| counts.iter().filter(|&&n| n == rows).count() as u64;
        let fraction =
            |counts: &[u64]| counts.iter().sum::<u64>() as f64 / outputs.len().max(1) as f64;
        // A sigmoid whose output is 0 is at its lower bound: saturated, not dead.
        let dead = zeros
            .iter()
            .zip(&saturated)
            .filter(|&(&zeros, &saturated)| zeros == rows && saturated < rows);
        Self {
            layer,
            kind: LayerSpec::Activation(activation).kind().into(),
            units: units as u64,
            dead: dead.count() as u64,
            saturated: in_every_row(&saturated),
            zero_fraction: fraction(&zeros),
            saturated_fraction: fraction(&saturated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_and_saturated_units_are_counted() {
        // Three units at four positions.
        let outputs = [0.0_f32, 0.0, 6.0, 0.0, 1.0, 6.0, 0.0, 2.0, 6.0, 0.0, 0.0, 6.0];
        let relu = Activity::new(1, Activation::Relu, 3, &outputs);
        assert_eq!((relu.units, relu.dead, relu.saturated), (3, 1, 0));
        assert_eq!(
            (relu.zero_fraction, relu.saturated_fraction, &relu.kind[..]),
            (0.5, 0.0, "relu")
        );
        let capped = Activity::new(1, Activation::CappedRelu { cap: 6.0 }, 3, &outputs);
        assert_eq!((capped.dead, capped.saturated, capped.saturated_fraction), (1, 1, 1.0 / 3.0));
    }

    #[test]
    fn outputs_near_either_bound_are_saturated() {
        let outputs = [0.995_f64, 0.5, 0.0, 0.001, 0.5, 0.0];
        let sigmoid = Activity::new(0, Activation::Sigmoid, 3, &outputs);
        assert_eq!((sigmoid.dead, sigmoid.saturated, sigmoid.zero_fraction), (0, 2, 1.0 / 3.0));
        let tanh = Activity::new(0, Activation::Tanh, 1, &[-0.99_f64, 0.985]);
        assert_eq!((tanh.dead, tanh.saturated), (0, 1));
        assert_eq!(Activity::new(0, Activation::Tanh, 1, &[0.0_f64, 0.0]).dead, 1);
    }
}
