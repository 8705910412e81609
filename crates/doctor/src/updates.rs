//! Size of the updates, relative to the weights.

use alloc::vec::Vec;

use crate::network::{taken_steps, trained_weights};
use crate::record::{Record, Tensor, TensorSample};
use crate::statistics::median;

/// Relative updates of a training: one number per recorded step that was taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Updates {
    /// Steps and their relative updates; not empty.
    pub(crate) steps: Vec<(u64, f64)>,
    /// Median over the steps.
    pub(crate) median: f64,
}

impl Updates {
    fn new(steps: Vec<(u64, f64)>) -> Option<Self> {
        let median = median(steps.iter().map(|&(_, update)| update))?;
        Some(Self { steps, median })
    }

    /// Mean over the steps: the distance that weights move at most, per step.
    pub(crate) fn mean(&self) -> f64 {
        let updates = || self.steps.iter().map(|&(_, update)| update).filter(|u| u.is_finite());
        updates().sum::<f64>() / updates().count().max(1) as f64
    }

    /// Step with the largest relative update.
    pub(crate) fn peak(&self) -> (u64, f64) {
        let larger = |a: (u64, f64), b: &(u64, f64)| if b.1 > a.1 { *b } else { a };
        self.steps.iter().fold((0, 0.0), larger)
    }
}

/// |update| / |weights| in L2 norms; `None` for weights of 0.
pub(crate) fn relative(sample: &TensorSample) -> Option<f64> {
    let (update, param) = (sample.update_norm?, sample.param_norm?);
    (param > 0.0).then_some(update / param)
}

/// |update| / max(|weights|, sqrt(elements / fan-in)). The second is the norm of weights that keep
/// the signal's scale: weights that are smaller than that may well change by more than their size.
fn relative_to_matched(tensor: &Tensor, sample: &TensorSample) -> Option<f64> {
    let (update, param) = (sample.update_norm?, sample.param_norm?);
    let matched = match tensor.fan_in {
        0 => 0.0,
        fan_in => libm::sqrt(tensor.elements as f64 / fan_in as f64),
    };
    let size = param.max(matched);
    (size > 0.0).then_some(update / size)
}

fn of_steps(
    record: &Record,
    of_step: impl Fn(&mut dyn Iterator<Item = (&Tensor, &TensorSample)>) -> Option<f64>,
) -> Option<Updates> {
    let steps = taken_steps(record).filter_map(|step| {
        let mut samples = trained_weights(&record.model)
            .filter_map(|(index, tensor)| Some((tensor, step.tensors.get(index)?)));
        Some((step.step, of_step(&mut samples)?))
    });
    Updates::new(steps.collect())
}

/// Median over the weight tensors of the update relative to the weights, or to weights that keep
/// the signal's scale if the former are smaller.
pub(crate) fn typical(record: &Record) -> Option<Updates> {
    of_steps(record, |samples| {
        median(samples.filter_map(|(tensor, sample)| relative_to_matched(tensor, sample)))
    })
}

/// Largest of the weight tensors' updates relative to the weights.
pub(crate) fn largest(record: &Record) -> Option<Updates> {
    of_steps(record, |samples| {
        let ratios = samples.filter_map(|(_, sample)| relative(sample));
        ratios.filter(|ratio| ratio.is_finite()).reduce(f64::max)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Step;

    #[test]
    fn updates_of_small_weights_are_compared_with_matched_ones() {
        let mut record = Record::default();
        let tensor = Tensor { weight: true, elements: 400, fan_in: 4, ..Tensor::default() };
        let frozen = Tensor { frozen: true, ..tensor.clone() };
        record.model.tensors = Vec::from([tensor, frozen]);
        let sample = |update, param| TensorSample {
            update_norm: Some(update),
            param_norm: Some(param),
            ..TensorSample::default()
        };
        for (step, update) in [(1, 1.0), (2, 2.0), (3, f64::NAN), (4, 3.0)] {
            let tensors = Vec::from([sample(update, 0.5), sample(1e9, 1.0)]);
            record.steps.push(Step { step, tensors, ..Step::default() });
        }
        record.steps.push(Step { step: 5, skipped: true, ..record.steps[0].clone() });
        let typical = typical(&record).expect("updates were measured");
        assert_eq!((typical.median, typical.peak()), (0.2, (4, 0.3)));
        let largest = largest(&record).expect("updates were measured");
        assert_eq!((largest.median, largest.peak()), (4.0, (4, 6.0)));
        assert_eq!(largest.mean(), 4.0);
    }
}
