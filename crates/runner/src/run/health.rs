//! Health of a run's gradients: samples of a few steps of each epoch, tensor by tensor, as
//! `health.jsonl` holds them.
//!
//! The samples of the current epoch are part of the state, so that a run that was stopped and
//! resumed has the same record as one that was not. The probes of [`training`](crate::training)
//! fill it; the [report](crate::report) draws it.

use std::path::Path;

use kernels::statistics::Histogram;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::run::divergence::Divergence;
use crate::run::json;

/// Samples of an epoch: a line of `health.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// The epoch, from 1; 0 before the first.
    pub epoch: u32,
    /// Sampled steps, counted from 1 through the run.
    pub steps: Vec<u64>,
    /// Learning rate of each sampled step. One fewer than `steps` if the last was not taken, since
    /// its gradient is non-finite.
    pub learning_rates: Vec<f64>,
    /// Samples of each parameter tensor, in their order.
    pub tensors: Vec<TensorHealth>,
    /// Activity of the activation layers' units at the end of the epoch; empty before it.
    pub activity: Vec<Activity>,
    /// First few non-finite steps from which the run recovered.
    pub non_finite: Vec<Divergence>,
}

/// Samples of a parameter tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorHealth {
    /// Name of the tensor in `model.safetensors`.
    pub name: String,
    /// Number of elements.
    pub elements: u64,
    /// L2 norm of the gradient at each sampled step, before clipping. NaN if it is non-finite.
    #[serde(with = "crate::run::json::list")]
    pub grad_norms: Vec<f64>,
    /// L2 norm of the parameters, before each step.
    #[serde(with = "crate::run::json::list")]
    pub param_norms: Vec<f64>,
    /// L2 norm of each step's update, divided by that of the parameters: infinite or NaN for
    /// parameters of 0. Only of the steps that were taken.
    #[serde(with = "crate::run::json::list")]
    pub update_ratios: Vec<f64>,
    /// Magnitudes of the gradient's elements, over all sampled steps.
    pub magnitudes: Magnitudes,
}

/// Histogram of magnitudes by powers of two: [`Histogram`] without the empty bins at its ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Magnitudes {
    /// Exponent of the first bin: `counts[i]` elements are at least `2^(exponent + i)` and less
    /// than twice that.
    pub exponent: i32,
    /// Number of elements per bin.
    pub counts: Vec<u64>,
    /// Number of elements that are 0.
    pub zero: u64,
    /// Number of other elements below all bins: below 2^-96.
    pub below: u64,
    /// Number of finite elements above all bins: from 2^32.
    pub above: u64,
    /// Number of NaN and infinities.
    pub non_finite: u64,
}

impl Magnitudes {
    /// Number of all elements.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.zero + self.below + self.above + self.non_finite
    }

    /// Fraction of elements that are 0; 0 if there are none.
    pub fn zero_fraction(&self) -> f64 {
        self.zero as f64 / self.total().max(1) as f64
    }

    /// Adds the counts of `sample`.
    pub(crate) fn add(&mut self, sample: &Histogram) {
        let &mut Self { zero, below, above, non_finite, .. } = self;
        let mut sum = Histogram { zero, below, above, non_finite, ..Histogram::default() };
        let first = usize::try_from(self.exponent - Histogram::MIN_EXPONENT).unwrap_or_default();
        for (bin, count) in sum.bins.iter_mut().skip(first).zip(&self.counts) {
            *bin = *count;
        }
        let Histogram { bins, zero, below, above, non_finite } = sum.merge(sample);
        let first = bins.iter().position(|&count| count > 0).unwrap_or_default();
        let end = bins.iter().rposition(|&count| count > 0).map_or(first, |last| last + 1);
        let exponent = Histogram::MIN_EXPONENT + first as i32;
        *self = Self { exponent, counts: bins[first..end].into(), zero, below, above, non_finite };
    }
}

/// Returns the mean of the finite ones among `values`; `None` if there are none.
pub fn finite_mean(values: &[f64]) -> Option<f64> {
    let finite = || values.iter().filter(|value| value.is_finite());
    let count = finite().count();
    (count > 0).then(|| finite().sum::<f64>() / count as f64)
}

/// Reads the file `path`, a `health.jsonl`; empty if there is no such file. A last line without a
/// line end is the rest of a killed process, and is ignored.
///
/// # Errors
/// [`DataError::Io`](crate::data::DataError::Io) if it cannot be read; [`Error::Malformed`] if a
/// line is not a [`Health`].
pub fn read(path: &Path) -> Result<Vec<Health>, Error> {
    json::read_lines(path, "the health of an epoch")
}

/// Activity of the units of an activation layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activity {
    /// Index of the layer in the network.
    pub layer: usize,
    /// Kind of the layer, as configuration files spell it.
    pub kind: String,
    /// Number of units.
    pub units: u64,
    /// Number of units that are 0 for every example. No gradient passes where the slope is 0 too.
    pub dead: u64,
    /// Number of units at a bound for every example, where the slope is nearly 0. Dead units are
    /// not among them.
    pub saturated: u64,
    /// Fraction of outputs that are 0.
    pub zero_fraction: f64,
    /// Fraction of outputs that are at a bound.
    pub saturated_fraction: f64,
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn line(health: &Health) -> String {
        serde_json::to_string(health).expect("plain") + "\n"
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("health.jsonl");
        assert_eq!(read(&path).expect("no file"), []);
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
            learning_rates: vec![0.1],
            tensors: vec![tensor],
            ..Health::default()
        };
        fs::write(&path, line(&health).repeat(2)).expect("written");
        assert_eq!(read(&path).expect("what was written"), [health.clone(), health.clone()]);
        let unfinished = line(&health);
        fs::write(&path, line(&health) + &unfinished[..unfinished.len() - 1]).expect("written");
        assert_eq!(read(&path).expect("what was written"), [health]);
        fs::write(&path, "{}\n").expect("written");
        let error = read(&path).expect_err("an empty object").to_string();
        assert!(error.contains("health.jsonl") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn a_mean_ignores_non_finite_values() {
        assert_eq!(finite_mean(&[1.0, f64::NAN, 3.0, f64::INFINITY]), Some(2.0));
        assert_eq!(finite_mean(&[f64::NAN]), None);
    }
}
