//! A batch whose gradient is mostly noise.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::noise::batch_over_noise_scale;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "batch-too-small",
    title: "The batch is so small that its gradient is mostly noise",
    meaning: "The gradient of a few examples points elsewhere for each batch. The steps cancel, \
              and the loss hovers at a level that is set by the learning rate times the noise. \
              Single examples are a fair choice with a learning rate that is low enough.",
    formula: "batch <= `batch`, and fewer than a hundredth of the examples; batch / noise scale < \
              `noise`, with the simple noise scale tr(S) / |G|^2 of the gradient, or, if it was \
              not measured, a median change of the loss from step to step by more than a factor \
              of 2; the loss falls by less than 5 % over the second half of the steps; and the \
              training does not go well.",
    origin: "At the end of a healthy training every gradient is mostly noise, so that this is a \
             fault only of one that neither goes well nor improves.",
    references: "McCandlish et al., An Empirical Model of Large-Batch Training, 2018; Masters, \
                 Luschi, Revisiting Small Batch Training, 2018; Bottou, Curtis, Nocedal, SIAM \
                 Review 60, 2018.",
    thresholds: &[
        Threshold { key: "batch", default: 8.0, meaning: "examples per step" },
        Threshold { key: "noise", default: 0.05, meaning: "batch over gradient noise scale" },
    ],
    cures: &[Cure::LargerBatch, Cure::LowerRate, Cure::CosineSchedule],
    causes: &[symptoms::NOT_LEARNING, &["loss-spikes"]],
    check,
};

/// Recorded losses that are needed.
const LOSSES: usize = 40;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let batch = record.model.batch;
    let examples = record.model.examples.max(record.data.as_ref().map_or(0, |data| data.train));
    let limit = context.threshold("batch");
    let is_small = batch > 0 && batch as f64 <= limit && examples > batch.saturating_mul(100);
    let losses = curve::losses(record);
    if !is_small || context.progress.is_well() || losses.len() < LOSSES {
        return Vec::new();
    }
    let ratio = batch_over_noise_scale(record);
    let (jump, noise_limit) = (curve::jump(&losses, 1), context.threshold("noise"));
    let is_noisy = match ratio {
        Some(ratio) => ratio < noise_limit,
        None => jump.is_some_and(|jump| jump > core::f64::consts::LN_2),
    };
    let trend = curve::trend(curve::tail(&losses, 0.5));
    let has_stopped = trend.is_some_and(|trend| trend.ratio > 0.95 || trend.z > -2.0);
    if !is_noisy || !has_stopped {
        return Vec::new();
    }
    let message =
        format!("The gradient of a batch of {batch} is mostly noise, and the loss has stopped.");
    let mut finding = context.finding(message).with("examples per step", batch as f64, limit);
    if let Some(ratio) = ratio {
        finding = finding.with("batch over gradient noise scale", ratio, noise_limit);
    }
    if let Some(jump) = jump {
        finding = finding.with("median |change of ln loss| per step", jump, None);
    }
    Vec::from([finding.with_confidence(0.4)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::rules::testing::{check_rule, record_of_losses};

    fn record(batch: u64, factor: f64, rate: f64) -> Record {
        // Alternating by threes, so that successive losses differ but no trend results.
        let loss = |i: i32| {
            libm::pow(factor, f64::from(i * 7 % 3)) * 2.0 * libm::exp(-rate * f64::from(i))
        };
        let mut record = record_of_losses((0..120).map(loss));
        record.model.loss = "cross_entropy".into();
        record.model.classes = 10;
        (record.model.batch, record.model.examples) = (batch, 50_000);
        record
    }

    #[test]
    fn noise_without_progress_is_found() {
        let mut noisy = record(1, 3.0, 0.0);
        assert!(check_rule(&RULE, &noisy).is_some());
        assert_eq!(check_rule(&RULE, &record(64, 3.0, 0.0)), None);
        assert_eq!(check_rule(&RULE, &record(1, 1.1, 0.0)), None, "little noise");
        assert_eq!(check_rule(&RULE, &record(1, 3.0, 0.02)), None, "it falls");
        for step in &mut noisy.steps {
            step.cosine = Some(0.4);
        }
        assert_eq!(check_rule(&RULE, &noisy), None, "the gradients agree");
    }
}
