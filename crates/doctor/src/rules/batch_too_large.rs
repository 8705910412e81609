//! A batch that leaves too few steps.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::noise::batch_over_noise_scale;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "batch-too-large",
    title: "The batch is so large that there are too few steps",
    meaning: "A larger batch gives a more exact gradient, which is worth the examples only up to \
              the gradient's noise scale. Beyond it, half the batch would take twice the steps at \
              the same cost, and get almost twice as far.",
    formula: "batch / examples > `fraction`, or batch / noise scale > `noise`, with the simple \
              noise scale tr(S) / |G|^2 of the gradient; and the training does not go well; and \
              there are fewer than `steps` planned, or the loss still falls at the end of the \
              planned training, by 5 % over the last 30 % of the steps and by three standard \
              errors.",
    origin: "Below the noise scale, steps and examples trade evenly; at twenty times, 95 % of the \
             examples are wasted. Full batches are healthy for small tables with many steps, \
             and the condition on the progress keeps them so.",
    references: "McCandlish et al., An Empirical Model of Large-Batch Training, 2018; Shallue et \
                 al., J. Machine Learning Research 20, 2019; Keskar et al., ICLR 2017.",
    thresholds: &[
        Threshold { key: "fraction", default: 0.1, meaning: "batch over training examples" },
        Threshold { key: "noise", default: 20.0, meaning: "batch over gradient noise scale" },
        Threshold { key: "steps", default: 50.0, meaning: "planned steps that are too few" },
    ],
    cures: &[Cure::SmallerBatch, Cure::MoreEpochs, Cure::RaiseRate],
    causes: &[symptoms::NOT_LEARNING, &["too-few-steps"]],
    check,
};

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let (batch, planned) = (record.model.batch, record.model.planned_steps);
    let examples = record.model.examples.max(record.data.as_ref().map_or(0, |data| data.train));
    if batch < 2 || examples == 0 || planned == 0 || context.progress.is_well() {
        return Vec::new();
    }
    let (fraction, noise) = (batch as f64 / examples as f64, batch_over_noise_scale(record));
    let (limit, noise_limit) = (context.threshold("fraction"), context.threshold("noise"));
    let is_large = fraction > limit || noise.is_some_and(|noise| noise > noise_limit);
    let losses = curve::losses(record);
    let trend = curve::trend(curve::tail(&losses, 0.3));
    let is_falling = curve::is_complete(record)
        && trend.is_some_and(|trend| trend.ratio < 0.95 && trend.z < -3.0);
    let has_few = (planned as f64) < context.threshold("steps");
    if !is_large || !(is_falling || has_few) {
        return Vec::new();
    }
    let message = format!(
        "Batches of {batch} of {examples} examples leave {planned} steps, which are too few."
    );
    let mut finding = context.finding(message).with("batch over examples", fraction, limit);
    if let Some(noise) = noise {
        finding = finding.with("batch over gradient noise scale", noise, noise_limit);
    }
    if let Some(trend) = trend.filter(|_| is_falling) {
        finding = finding.with("fall of the loss over the last steps", trend.ratio, 0.95);
    }
    Vec::from([finding.with_confidence(0.62)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::rules::testing::{check_rule, record_of_losses};

    fn record(steps: usize, rate: f64, batch: u64) -> Record {
        let mut record = record_of_losses((0..steps).map(|i| 2.3 * libm::exp(-rate * i as f64)));
        record.model.loss = "cross_entropy".into();
        (record.model.classes, record.model.examples) = (10, 1000);
        (record.model.batch, record.model.planned_steps) = (batch, steps as u64);
        record
    }

    #[test]
    fn few_steps_of_a_full_batch_are_found_and_many_are_healthy() {
        assert!(check_rule(&RULE, &record(40, 0.005, 1000)).is_some());
        assert!(check_rule(&RULE, &record(100, 0.005, 500)).is_some(), "it still falls");
        assert_eq!(check_rule(&RULE, &record(2000, 0.005, 1000)), None, "it goes well");
        assert_eq!(check_rule(&RULE, &record(100, 0.005, 50)), None, "20 steps an epoch");
        let mut probe = record(100, 0.005, 500);
        probe.model.planned_steps = 1000;
        assert_eq!(check_rule(&RULE, &probe), None, "a probe");
    }
}
