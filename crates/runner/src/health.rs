//! The health of a run's gradients: what a few steps of each epoch looked like, tensor by tensor, as `health.jsonl` holds it.
//!
//! ```text
//! of the steps of an epoch, eight that are evenly spaced:
//!     before the optimizer's step    norms of gradients and parameters; the gradients' magnitudes, counted by powers of two
//!     after it                       norm of the change, divided by that of the parameters
//! ```
//!
//! Looking changes no bit of the training. What is seen of the epoch at hand is part of the state, so that a run that was
//! stopped has the same record as one that was not. The training loop calls it; the [report](crate::report) draws it.

use std::fs;
use std::path::Path;

use kernels::statistics::{Histogram, histogram};
use kernels::{Cpu, norm};
use nn::Network;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::activity::Activity;
use crate::data::DataError;
use crate::element::Element;
use crate::non_finite::Divergence;
use crate::tensors::malformed;

/// Steps of an epoch that are looked at. One costs about a tenth of a training step of the preset `mlp`, which has two hundred
/// of them an epoch.
const LOOKS: u64 = 8;

/// Whether step `step` (from 0) of an epoch of `steps` is looked at: the first of each eighth.
pub fn is_looked_at(step: u64, steps: u64) -> bool {
    let eighth = |step: u64| u128::from(step) * u128::from(LOOKS) / u128::from(steps.max(1));
    step.checked_sub(1).is_none_or(|last| eighth(last) < eighth(step))
}

/// What was seen of an epoch: a line of `health.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// The epoch, from 1; 0 before the first.
    pub epoch: u32,
    /// The steps looked at, counted from 1 through the run.
    pub steps: Vec<u64>,
    /// The learning rate of each. One fewer where the last was not taken: its gradient was not finite.
    pub rates: Vec<f64>,
    /// What was seen of each tensor of parameters, in their order.
    pub tensors: Vec<TensorHealth>,
    /// What the units of activation layers do at the epoch's end; nothing before it.
    #[serde(default)]
    pub activity: Vec<Activity>,
    /// Where the epoch left the finite numbers and the run went on all the same: the first few places.
    #[serde(default)]
    pub met: Vec<Divergence>,
}

/// What was seen of a tensor of parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorHealth {
    /// Its name in `model.safetensors`.
    pub name: String,
    /// Its elements.
    pub elements: u64,
    /// At each step looked at, the Euclidean norm of its gradient, before clipping. NaN where not all of it is finite.
    #[serde(with = "crate::json::list")]
    pub grad_norms: Vec<f64>,
    /// The norm of the parameters, before the step.
    #[serde(with = "crate::json::list")]
    pub param_norms: Vec<f64>,
    /// The norm of what the step changed, divided by that: infinite or NaN for parameters of 0. Of the steps taken.
    #[serde(with = "crate::json::list")]
    pub update_ratios: Vec<f64>,
    /// The sizes of the gradient's elements, all steps looked at together.
    pub magnitudes: Magnitudes,
}

/// How many numbers have which size: [`Histogram`] without empty ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Magnitudes {
    /// `counts[i]` numbers are at least `2^(exponent + i)` and less than twice that.
    pub exponent: i32,
    /// Numbers by size.
    pub counts: Vec<u64>,
    /// Numbers that are 0.
    pub zero: u64,
    /// Numbers too small for any count: below 2^-96.
    pub below: u64,
    /// Finite numbers too large for any count: from 2^32 on.
    pub above: u64,
    /// NaN and infinities.
    pub non_finite: u64,
}

impl Magnitudes {
    /// Numbers in all.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.zero + self.below + self.above + self.non_finite
    }

    /// The share of numbers that are 0; 0 of none.
    pub fn zero_share(&self) -> f64 {
        self.zero as f64 / self.total().max(1) as f64
    }

    /// Counts those of `seen` as well.
    fn add(&mut self, seen: &Histogram) {
        let &mut Self { zero, below, above, non_finite, .. } = self;
        let mut so_far = Histogram { zero, below, above, non_finite, ..Histogram::default() };
        let first = usize::try_from(self.exponent - Histogram::MIN_EXPONENT).unwrap_or_default();
        for (bin, count) in so_far.bins.iter_mut().skip(first).zip(&self.counts) {
            *bin = *count;
        }
        let Histogram { bins, zero, below, above, non_finite } = so_far.merge(seen);
        let first = bins.iter().position(|&count| count > 0).unwrap_or_default();
        let end = bins.iter().rposition(|&count| count > 0).map_or(first, |last| last + 1);
        let exponent = Histogram::MIN_EXPONENT + first as i32;
        *self = Self { exponent, counts: bins[first..end].into(), zero, below, above, non_finite };
    }
}

/// The mean of those of `values` that are finite.
pub fn finite_mean(values: &[f64]) -> Option<f64> {
    let finite = || values.iter().filter(|value| value.is_finite());
    let count = finite().count();
    (count > 0).then(|| finite().sum::<f64>() / count as f64)
}

/// Whoever looks: keeps the parameters from before a step until after it.
#[derive(Clone, Debug)]
pub struct Observer<T> {
    before: Vec<T>,
}

impl<T: Element> Observer<T> {
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

/// What the file `path` holds, which is `health.jsonl`; nothing if there is no such file. A last line without an end is what a killed
/// process has left of it, and counts as none.
///
/// # Errors
/// [`DataError::Io`] if it cannot be read, [`Error::Malformed`] if a line is no [`Health`].
pub fn read(path: &Path) -> Result<Vec<Health>, Error> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).map_err(DataError::io("read", path))?;
    let parse = |(at, line): (usize, &str)| {
        let expected = format!("the health of an epoch in line {}", at + 1);
        serde_json::from_str(line).map_err(|error| malformed(path, expected, error))
    };
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::{Init, LayerSpec};

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
        let mut observer = Observer::<f32>::new(&network).expect("room");
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

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("health.jsonl");
        assert_eq!(read(&path).expect("nothing"), []);
        let tensor = TensorHealth {
            name: "layers.0.weight".into(),
            elements: 3,
            grad_norms: vec![0.1 + 0.2, f64::INFINITY],
            param_norms: vec![1e-300],
            update_ratios: vec![],
            magnitudes: Magnitudes { exponent: -3, counts: vec![1, 2], ..Magnitudes::default() },
        };
        let health = Health {
            epoch: 3,
            steps: vec![7],
            rates: vec![0.1],
            tensors: vec![tensor],
            ..Health::default()
        };
        fs::write(&path, line(&health).repeat(2)).expect("written");
        assert_eq!(read(&path).expect("what was written"), [health.clone(), health.clone()]);
        let unfinished = line(&health);
        fs::write(&path, line(&health) + &unfinished[..unfinished.len() - 1]).expect("written");
        assert_eq!(read(&path).expect("what was written"), [health]);
        fs::write(&path, "{}\n").expect("written");
        let error = read(&path).expect_err("no health").to_string();
        assert!(error.contains("health.jsonl") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn a_mean_leaves_out_what_is_not_finite() {
        assert_eq!(finite_mean(&[1.0, f64::NAN, 3.0, f64::INFINITY]), Some(2.0));
        assert_eq!(finite_mean(&[f64::NAN]), None);
    }
}
