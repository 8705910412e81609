//! Samples the gradients of a run: norms, magnitudes and update ratios of every tensor, at a few
//! steps of each epoch.
//!
//! ```text
//! at eight evenly spaced steps of an epoch:
//!     before the optimizer's step    norms of gradients and parameters; histogram of the
//!                                    gradients' magnitudes by powers of two
//!     after it                       norm of the update, divided by that of the parameters
//! ```
//!
//! Sampling changes no bit of the training. The training loop calls it; [`Health`] holds the
//! samples.

use kernels::statistics::histogram;
use kernels::{Cpu, norm};
use nn::Network;

use crate::Error;
use crate::data::element::Element;
use crate::run::health::{Health, Magnitudes, TensorHealth};
use crate::training::update::UpdateNorms;

/// Number of sampled steps per epoch. A sample costs about a tenth of a training step of the preset
/// `mlp`, which has two hundred steps per epoch.
const SAMPLES: u64 = 8;

/// `true` if step `step` (from 0) of an epoch of `steps` steps is sampled: the first of each
/// eighth.
pub fn is_sampled(step: u64, steps: u64) -> bool {
    let eighth = |step: u64| u128::from(step) * u128::from(SAMPLES) / u128::from(steps.max(1));
    step.checked_sub(1).is_none_or(|last| eighth(last) < eighth(step))
}

/// Samples gradients and updates.
#[derive(Clone, Debug)]
pub struct GradientProbe<T> {
    updates: UpdateNorms<T>,
}

impl<T: Element> GradientProbe<T> {
    /// Probe for a run of `network`.
    ///
    /// # Errors
    /// [`Error::Network`] if there is not enough memory.
    pub fn new(network: &Network) -> Result<Self, Error> {
        Ok(Self { updates: UpdateNorms::new(network)? })
    }

    /// Samples step `step` of the run (from 1), in epoch `epoch` (from 1), before it is taken.
    /// `health` is cleared first if it is of another epoch.
    pub fn before_step(
        &mut self,
        health: &mut Health,
        (epoch, step): (u32, u64),
        (cpu, network): (Cpu<'_>, &Network),
        params: &[T],
        grads: &[T],
    ) {
        let tensors = network.layout().tensors();
        if health.epoch != epoch {
            *health = Health { epoch, ..Health::default() };
            health.tensors = tensors
                .iter()
                .map(|tensor| TensorHealth {
                    name: tensor.name.clone(),
                    elements: tensor.range.len() as u64,
                    grad_norms: Vec::new(),
                    param_norms: Vec::new(),
                    update_ratios: Vec::new(),
                    magnitudes: Magnitudes::default(),
                })
                .collect();
        }
        if health.steps.last() == Some(&step) {
            // The run was resumed at a step that diverged, and it diverges again.
            return;
        }
        health.steps.push(step);
        for (samples, tensor) in health.tensors.iter_mut().zip(tensors) {
            let (params, grads) = (&params[tensor.range.clone()], &grads[tensor.range.clone()]);
            samples.grad_norms.push(norm::norm2(cpu, grads).unwrap_or(f64::NAN));
            samples.param_norms.push(norm::norm2(cpu, params).unwrap_or(f64::NAN));
            samples.magnitudes.add(&histogram(cpu, grads));
        }
        self.updates.before_step(params);
    }

    /// Samples the same step after it was taken, with learning rate `rate`.
    pub fn after_step(
        &mut self,
        health: &mut Health,
        (cpu, network): (Cpu<'_>, &Network),
        params: &[T],
        rate: f64,
    ) {
        health.learning_rates.push(rate);
        let norms = self.updates.after_step((cpu, network), params);
        for (samples, update) in health.tensors.iter_mut().zip(norms) {
            let params = samples.param_norms.last().copied().unwrap_or(f64::NAN);
            samples.update_ratios.push(update / params);
        }
    }
}

#[cfg(test)]
mod tests {
    use nn::{Init, LayerSpec};

    use super::*;

    fn line(health: &Health) -> String {
        serde_json::to_string(health).expect("plain") + "\n"
    }

    #[test]
    fn at_most_eight_evenly_spaced_steps_are_sampled() {
        let sampled =
            |steps| (0..steps).filter(|&step| is_sampled(step, steps)).collect::<Vec<_>>();
        assert_eq!(sampled(1), [0]);
        assert_eq!(sampled(5), [0, 1, 2, 3, 4]);
        assert_eq!(sampled(8), (0..8).collect::<Vec<_>>());
        assert_eq!(sampled(16), [0, 2, 4, 6, 8, 10, 12, 14]);
        assert_eq!(sampled(215), [0, 27, 54, 81, 108, 135, 162, 189]);
        for steps in 9..300 {
            assert_eq!(sampled(steps).len(), 8, "{steps}");
        }
    }

    #[test]
    fn samples_have_the_norms_and_magnitudes_of_the_step() {
        let network = Network::new(1, &[LayerSpec::dense(2, Init::Zeros)]).expect("a layer");
        let mut probe = GradientProbe::<f32>::new(&network).expect("memory");
        let mut health = Health::default();
        let context = (Cpu::detect(), &network);
        // Two weights, then two biases.
        probe.before_step(
            &mut health,
            (1, 1),
            context,
            &[3.0, 4.0, 0.0, 0.0],
            &[6.0, -8.0, 0.0, 0.5],
        );
        probe.after_step(&mut health, context, &[3.0, 3.5, 0.0, 1.0], 0.1);
        let [weight, bias] = &health.tensors[..] else { panic!("{health:?}") };
        assert_eq!((&weight.name[..], weight.elements), ("layers.0.weight", 2));
        assert_eq!((&weight.grad_norms[..], &weight.param_norms[..]), (&[10.0][..], &[5.0][..]));
        assert_eq!(
            (&weight.update_ratios[..], &health.learning_rates[..]),
            (&[0.1][..], &[0.1][..])
        );
        assert_eq!((weight.magnitudes.exponent, &weight.magnitudes.counts[..]), (2, &[1, 1][..]));
        assert_eq!((bias.magnitudes.zero_fraction(), bias.update_ratios[0]), (0.5, f64::INFINITY));

        // A second sample adds to the first. A non-finite gradient is counted; its step is not
        // taken.
        probe.before_step(
            &mut health,
            (1, 9),
            context,
            &[3.0, 4.0, 0.0, 0.0],
            &[0.25, f32::NAN, 1e30, 1e-35],
        );
        let [weight, bias] = &health.tensors[..] else { panic!("{health:?}") };
        assert_eq!(
            (weight.magnitudes.exponent, &weight.magnitudes.counts[..]),
            (-2, &[1, 0, 0, 0, 1, 1][..])
        );
        assert_eq!((weight.magnitudes.non_finite, weight.magnitudes.total()), (1, 4));
        assert!(weight.grad_norms[1].is_nan() && weight.update_ratios.len() == 1);
        assert_eq!((bias.magnitudes.below, bias.magnitudes.above), (1, 1));
        assert_eq!(health.steps, [1, 9]);
        // The same step is not sampled twice; another epoch starts a new record.
        let again = health.clone();
        probe.before_step(&mut health, (1, 9), context, &[0.0; 4], &[1.0; 4]);
        assert_eq!(line(&health), line(&again));
        probe.before_step(&mut health, (2, 10), context, &[0.0; 4], &[1.0; 4]);
        assert_eq!((health.epoch, &health.steps[..]), (2, &[10][..]));
    }
}
