//! Which units of a network are dead or saturated: what the outputs of its activation layers are on a few validation images.
//!
//! ```text
//! for each activation layer i of the network
//!     layers 0 to i alone are a network, whose parameters are the first of those of the whole
//!     its outputs for the images: how many units are 0 for all of them, how many at a bound for all of them
//! ```
//!
//! A unit is an element of a vector, or a channel of an image or sequence, which counts in all its places. Done at the end of each
//! epoch, and written down with the epoch's [`Health`](crate::run::health::Health).

use kernels::Cpu;
use nn::{Activation, LayerSpec, Network, Weights, Workspace};

use crate::Error;
use crate::data::element::Element;
use crate::run::batch::Rows;
use crate::run::health::Activity;
use crate::run::setup;
use crate::run::setup::Setup;

/// Images that are looked at, at most: in an epoch of MNIST, one part in four hundred.
const IMAGES: usize = 128;

/// How near a bound an output is at it: this part of the way from the one bound to the other.
const NEAR: f64 = 0.01;

/// The bounds of an activation's outputs that make its slope small, but for a 0 which makes units dead.
fn bounds(activation: Activation) -> Option<[f64; 2]> {
    match activation {
        Activation::CappedRelu { cap } => Some([f64::NEG_INFINITY, cap]),
        Activation::Sigmoid | Activation::HardSigmoid => Some([0.0, 1.0]),
        Activation::Tanh | Activation::HardTanh | Activation::Softsign => Some([-1.0, 1.0]),
        _ => None,
    }
}

/// Whoever looks.
#[derive(Debug)]
pub struct ActivityProbe {
    /// A layer, and the network that ends with it.
    parts: Vec<(usize, Activation, Network)>,
    /// The images, by their places in the training set.
    images: Vec<u32>,
}

impl ActivityProbe {
    /// For the network of `setup`, on the first of its validation images. Activations before the first parameter, and those within
    /// blocks, are left out.
    pub fn new(setup: &Setup) -> Self {
        let layers = setup.config.layers.as_deref().unwrap_or_default();
        let sparse = setup::is_sparse(&setup.dataset);
        let part = |(at, layer): (usize, &LayerSpec)| match layer {
            LayerSpec::Activation(activation) => {
                let input = setup.network.input();
                let network = setup::network(&setup.config, input, &layers[..=at], sparse).ok()?;
                Some((at, *activation, network))
            }
            _ => None,
        };
        let parts = layers.iter().enumerate().filter_map(part).collect();
        Self { parts, images: setup.split.validation.iter().take(IMAGES).copied().collect() }
    }

    /// What the units do under these weights.
    ///
    /// # Errors
    /// [`Error::Network`] if there is no memory to look with.
    pub fn look<T: Element>(
        &self,
        setup: &Setup,
        cpu: Cpu<'_>,
        weights: &crate::run::weights::Weights<T>,
    ) -> Result<Vec<Activity>, Error> {
        let mut rows = Rows::<T>::new(self.images.len(), setup.network.inputs())?;
        let inputs = rows.fill(&setup.dataset.train, &self.images)?.inputs;
        let mut buffers = weights.buffers.clone();
        let look = |(layer, activation, network): &(usize, Activation, Network)| {
            let weights = Weights {
                params: &weights.params[..network.layout().len()],
                buffers: &mut buffers[..network.buffers().len()],
            };
            let mut workspace = Workspace::inference(network, cpu, self.images.len())?;
            let outputs = network.forward(cpu, weights, inputs, &mut workspace)?;
            let units = network.output().features();
            Ok(Activity::of(*layer, *activation, units, outputs))
        };
        self.parts.iter().map(look).collect()
    }
}

impl Activity {
    /// Of `outputs`, one place after the other, of `units` units each.
    fn of<T: Element>(layer: usize, activation: Activation, units: usize, outputs: &[T]) -> Self {
        let bounds = bounds(activation);
        let is_saturated = |y: f64| {
            bounds.is_some_and(|[low, high]| {
                let near = if low.is_finite() { NEAR * (high - low) } else { 0.0 };
                y >= high - near || y <= low + near
            })
        };
        let (mut zeros, mut saturated) = (vec![0_u64; units], vec![0_u64; units]);
        for place in outputs.chunks_exact(units.max(1)) {
            for ((y, zeros), saturated) in place.iter().zip(&mut zeros).zip(&mut saturated) {
                let y = y.to_f64();
                *zeros += u64::from(y == 0.0);
                *saturated += u64::from(is_saturated(y));
            }
        }
        let places = (outputs.len() / units.max(1)) as u64;
        let all = |counts: &[u64]| counts.iter().filter(|&&count| count == places).count() as u64;
        let share =
            |counts: &[u64]| counts.iter().sum::<u64>() as f64 / outputs.len().max(1) as f64;
        // A sigmoid that gives 0 is at its bound, and counted there.
        let dead = zeros
            .iter()
            .zip(&saturated)
            .filter(|&(&zero, &bound)| zero == places && bound < places);
        Self {
            layer,
            kind: LayerSpec::Activation(activation).kind().into(),
            units: units as u64,
            dead: dead.count() as u64,
            saturated: all(&saturated),
            zero_share: share(&zeros),
            saturated_share: share(&saturated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_never_do_anything_are_counted() {
        // Three units in four places.
        let outputs = [0.0_f32, 0.0, 6.0, 0.0, 1.0, 6.0, 0.0, 2.0, 6.0, 0.0, 0.0, 6.0];
        let relu = Activity::of(1, Activation::Relu, 3, &outputs);
        assert_eq!((relu.units, relu.dead, relu.saturated), (3, 1, 0));
        assert_eq!((relu.zero_share, relu.saturated_share, &relu.kind[..]), (0.5, 0.0, "relu"));
        let capped = Activity::of(1, Activation::CappedRelu { cap: 6.0 }, 3, &outputs);
        assert_eq!((capped.dead, capped.saturated, capped.saturated_share), (1, 1, 1.0 / 3.0));
    }

    #[test]
    fn both_bounds_count() {
        let outputs = [0.995_f64, 0.5, 0.0, 0.001, 0.5, 0.0];
        let sigmoid = Activity::of(0, Activation::Sigmoid, 3, &outputs);
        assert_eq!((sigmoid.dead, sigmoid.saturated, sigmoid.zero_share), (0, 2, 1.0 / 3.0));
        let tanh = Activity::of(0, Activation::Tanh, 1, &[-0.99_f64, 0.985]);
        assert_eq!((tanh.dead, tanh.saturated), (0, 1));
        assert_eq!(Activity::of(0, Activation::Tanh, 1, &[0.0_f64, 0.0]).dead, 1);
    }
}
