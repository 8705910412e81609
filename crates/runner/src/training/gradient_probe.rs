//! Samples the gradients of a run: norms, magnitudes and update ratios of every tensor, at a few steps of each epoch.
//!
//! ```text
//! at eight evenly spaced steps of an epoch:
//!     before the optimizer's step    norms of gradients and parameters; histogram of the gradients' magnitudes by powers of two
//!     after it                       norm of the update, divided by that of the parameters
//! ```
//!
//! Sampling changes no bit of the training. The training loop calls it; [`Health`] holds the result.

use kernels::statistics::histogram;
use kernels::{Cpu, norm};
use nn::Network;

use crate::Error;
use crate::data::element::Element;
use crate::run::health::{Health, Magnitudes, TensorHealth};

/// Steps of an epoch that are looked at. One costs about a tenth of a training step of the preset `mlp`, which has two hundred
/// of them an epoch.
const LOOKS: u64 = 8;

/// Whether step `step` (from 0) of an epoch of `steps` is looked at: the first of each eighth.
pub fn is_looked_at(step: u64, steps: u64) -> bool {
    let eighth = |step: u64| u128::from(step) * u128::from(LOOKS) / u128::from(steps.max(1));
    step.checked_sub(1).is_none_or(|last| eighth(last) < eighth(step))
}

/// Whoever looks: keeps the parameters from before a step until after it.
#[derive(Clone, Debug)]
pub struct GradientProbe<T> {
    before: Vec<T>,
}

impl<T: Element> GradientProbe<T> {
    /// Of a run of `network`.
    ///
    /// # Errors
    /// [`Error::Network`] if there is no memory for it.
    pub fn new(network: &Network) -> Result<Self, Error> {
        Ok(Self { before: nn::zeros(network.layout().len())? })
    }

    /// Looks at step `step` of the run (from 1), which is of epoch `epoch` (from 1), before it is taken. `health` is begun anew
    /// where it was of another epoch.
    pub fn before(
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
            // The run was resumed at a step that diverges, and does so again.
            return;
        }
        health.steps.push(step);
        for (seen, tensor) in health.tensors.iter_mut().zip(tensors) {
            let (params, grads) = (&params[tensor.range.clone()], &grads[tensor.range.clone()]);
            seen.grad_norms.push(norm::norm2(cpu, grads).unwrap_or(f64::NAN));
            seen.param_norms.push(norm::norm2(cpu, params).unwrap_or(f64::NAN));
            seen.magnitudes.add(&histogram(cpu, grads));
        }
        self.before.copy_from_slice(params);
    }

    /// Looks at the same step after it has been taken, with learning rate `rate`.
    pub fn after(
        &mut self,
        health: &mut Health,
        (cpu, network): (Cpu<'_>, &Network),
        params: &[T],
        rate: f64,
    ) {
        health.rates.push(rate);
        for (before, &after) in self.before.iter_mut().zip(params) {
            let mut change = after;
            change -= *before;
            *before = change;
        }
        for (seen, tensor) in health.tensors.iter_mut().zip(network.layout().tensors()) {
            let change = norm::norm2(cpu, &self.before[tensor.range.clone()]).unwrap_or(f64::NAN);
            seen.update_ratios.push(change / seen.param_norms.last().copied().unwrap_or(f64::NAN));
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
    fn at_most_eight_steps_are_looked_at_the_first_and_then_evenly() {
        let looked =
            |steps| (0..steps).filter(|&step| is_looked_at(step, steps)).collect::<Vec<_>>();
        assert_eq!(looked(1), [0]);
        assert_eq!(looked(5), [0, 1, 2, 3, 4]);
        assert_eq!(looked(8), (0..8).collect::<Vec<_>>());
        assert_eq!(looked(16), [0, 2, 4, 6, 8, 10, 12, 14]);
        assert_eq!(looked(215), [0, 27, 54, 81, 108, 135, 162, 189]);
        for steps in 9..300 {
            assert_eq!(looked(steps).len(), 8, "{steps}");
        }
    }

    #[test]
    fn what_is_seen_is_what_was_there() {
        let network = Network::new(1, &[LayerSpec::dense(2, Init::Zeros)]).expect("a layer");
        let mut observer = GradientProbe::<f32>::new(&network).expect("room");
        let mut health = Health::default();
        let with = (Cpu::detect(), &network);
        // Two weights, then two biases.
        observer.before(&mut health, (1, 1), with, &[3.0, 4.0, 0.0, 0.0], &[6.0, -8.0, 0.0, 0.5]);
        observer.after(&mut health, with, &[3.0, 3.5, 0.0, 1.0], 0.1);
        let [weight, bias] = &health.tensors[..] else { panic!("{health:?}") };
        assert_eq!((&weight.name[..], weight.elements), ("layers.0.weight", 2));
        assert_eq!((&weight.grad_norms[..], &weight.param_norms[..]), (&[10.0][..], &[5.0][..]));
        assert_eq!((&weight.update_ratios[..], &health.rates[..]), (&[0.1][..], &[0.1][..]));
        assert_eq!((weight.magnitudes.exponent, &weight.magnitudes.counts[..]), (2, &[1, 1][..]));
        assert_eq!((bias.magnitudes.zero_share(), bias.update_ratios[0]), (0.5, f64::INFINITY));

        // A second look adds to the first; a gradient that is not finite is counted, and its step was not taken.
        observer.before(
            &mut health,
            (1, 9),
            with,
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
        // The same step again is not seen twice; another epoch begins anew.
        let again = health.clone();
        observer.before(&mut health, (1, 9), with, &[0.0; 4], &[1.0; 4]);
        assert_eq!(line(&health), line(&again));
        observer.before(&mut health, (2, 10), with, &[0.0; 4], &[1.0; 4]);
        assert_eq!((health.epoch, &health.steps[..]), (2, &[10][..]));
    }
}
