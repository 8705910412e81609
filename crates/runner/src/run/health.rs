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

use kernels::statistics::Histogram;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::data::DataError;
use crate::run::divergence::Divergence;

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
    #[serde(with = "crate::run::json::list")]
    pub grad_norms: Vec<f64>,
    /// The norm of the parameters, before the step.
    #[serde(with = "crate::run::json::list")]
    pub param_norms: Vec<f64>,
    /// The norm of what the step changed, divided by that: infinite or NaN for parameters of 0. Of the steps taken.
    #[serde(with = "crate::run::json::list")]
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
    pub(crate) fn add(&mut self, seen: &Histogram) {
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
        serde_json::from_str(line).map_err(|error| Error::malformed(path, expected, error))
    };
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.enumerate().map(parse).collect()
}

/// What the units of an activation layer do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activity {
    /// The layer's number in the network.
    pub layer: usize,
    /// Its kind, as configuration files spell it.
    pub kind: String,
    /// Its units.
    pub units: u64,
    /// Units that are 0 for every image: nothing is learned through them where that is for want of a slope.
    pub dead: u64,
    /// Units at a bound for every image, where the slope is next to nothing. Not those that are dead.
    pub saturated: u64,
    /// The share of outputs that are 0.
    pub zero_share: f64,
    /// The share of outputs that are at a bound.
    pub saturated_share: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(health: &Health) -> String {
        serde_json::to_string(health).expect("plain") + "\n"
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
