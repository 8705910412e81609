//! Noise of the gradient of a batch: shared by the rules on the batch size.

use alloc::vec::Vec;

use crate::record::{Record, Step};
use crate::statistics::median;

/// Cosine of successive gradients below which they do not just fluctuate, but turn around.
const OSCILLATION: f64 = -0.1;

/// Batch over the simple noise scale of McCandlish et al. (2018), median over the recorded steps:
/// the squared norm of the true gradient over the variance of that of a batch.
///
/// ```text
/// snr       |G|^2 / tr(S) of a tensor, G its mean gradient, S the covariance of an example's
/// |g|^2     |G|^2 + tr(S) / B: squared norm of the gradient of a batch of B
/// result    B * sum |G|^2 / sum tr(S), sums over tensors
/// ```
///
/// Without signal-to-noise ratios, successive gradients are taken for two samples of one true
/// gradient: the cosine of their angle is then r / (1 + r), r the result. `None` if neither was
/// measured, or the batch is unknown.
pub(crate) fn batch_over_noise_scale(record: &Record) -> Option<f64> {
    let batch = record.model.batch as f64;
    if batch == 0.0 {
        return None;
    }
    let of_step = |step: &Step| {
        let (mut signal, mut noise) = (0.0, 0.0);
        for sample in &step.tensors {
            let (Some(snr), Some(norm)) = (sample.signal_to_noise, sample.grad_norm) else {
                continue;
            };
            if snr >= 0.0 && norm.is_finite() && snr.is_finite() {
                let squared = norm * norm;
                signal += squared * batch * snr / (1.0 + batch * snr);
                noise += squared * batch / (1.0 + batch * snr);
            }
        }
        (noise > 0.0).then(|| batch * signal / noise)
    };
    let ratios: Vec<f64> = record.steps.iter().filter_map(of_step).collect();
    median(ratios).or_else(|| {
        let cosine = median(record.steps.iter().filter_map(|step| step.cosine))?;
        let is_noise = cosine > OSCILLATION && cosine < 1.0;
        is_noise.then(|| cosine.max(0.0) / (1.0 - cosine))
    })
}

/// Simple noise scale of the gradient in examples: the critical batch, up to which twice the
/// examples per step need about half of the steps. `None` if it was not measured, or the gradients
/// are all noise.
pub fn noise_scale(record: &Record) -> Option<f64> {
    let ratio = batch_over_noise_scale(record)?;
    (ratio > 0.0).then(|| record.model.batch as f64 / ratio)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TensorSample;

    #[test]
    fn the_noise_scale_is_summed_over_tensors_and_cosines_stand_in_for_it() {
        let mut record = Record::default();
        record.model.batch = 4;
        // |G|^2 = 1 and 2, tr(S) = 100 and 8: noise scale 36, batch over it 1/9.
        let sample = |signal: f64, noise: f64| TensorSample {
            grad_norm: Some(libm::sqrt(signal + noise / 4.0)),
            signal_to_noise: Some(signal / noise),
            ..TensorSample::default()
        };
        let tensors = Vec::from([sample(1.0, 100.0), sample(2.0, 8.0)]);
        record.steps.push(Step { tensors, ..Step::default() });
        let ratio = batch_over_noise_scale(&record).expect("two tensors");
        assert!((ratio - 1.0 / 9.0).abs() < 1e-12, "{ratio}");
        let scale = noise_scale(&record).expect("two tensors");
        assert!((scale - 36.0).abs() < 1e-9, "{scale}");
        record.steps = Vec::from([Step { cosine: Some(0.1), ..Step::default() }]);
        let ratio = batch_over_noise_scale(&record).expect("a cosine");
        assert!((ratio - 1.0 / 9.0).abs() < 1e-12, "{ratio}");
        record.steps[0].cosine = Some(-0.9);
        assert_eq!(batch_over_noise_scale(&record), None);
        record.model.batch = 0;
        assert_eq!(batch_over_noise_scale(&record), None);
    }
}
