//! A training that ends while its loss falls.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::rule::{Context, Rule, Threshold};

pub(super) static RULE: Rule = Rule {
    id: "too-few-steps",
    title: "The training ends while its loss still falls",
    meaning: "The network was learning when the last planned step was taken. More steps, or \
              longer ones, would have brought it further.",
    formula: "At the end of the planned training: the fitted loss falls by more than 1 - `factor` \
              over the last 30 % of the recorded steps, by three standard errors; the validation \
              loss is within 2 % of its best; and the training does not go well.",
    origin: "The logarithm of a loss that approaches 0 falls for ever, so that a training that \
             goes well is not judged. A probe of the first steps is not either.",
    references: "Goodfellow, Bengio, Courville, Deep Learning, 2016, section 8.1; Hoffmann et \
                 al., Training Compute-Optimal Large Language Models, NeurIPS 2022.",
    thresholds: &[Threshold {
        key: "factor",
        default: 0.9,
        meaning: "loss at the end over that before the last 30 % of the steps",
    }],
    cures: &[Cure::MoreEpochs, Cure::RaiseRate, Cure::SmallerBatch, Cure::Adam],
    causes: &["underfitting", "confusion", "collapsed-predictions"],
    check,
};

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    if context.progress.is_well() || !curve::is_complete(record) {
        return Vec::new();
    }
    let losses = curve::losses(record);
    let Some(trend) = curve::trend(curve::tail(&losses, 0.3)) else { return Vec::new() };
    let scored: Vec<f64> = record.epochs.iter().filter_map(|epoch| epoch.val_loss).collect();
    let best = scored.iter().copied().fold(f64::INFINITY, f64::min);
    let is_best = scored.last().is_none_or(|&last| last <= best + 0.02 * libm::fabs(best));
    let threshold = context.threshold("factor");
    if trend.factor >= threshold || trend.z > -3.0 || !is_best {
        return Vec::new();
    }
    let steps = record.model.planned_steps;
    let message = format!(
        "The training ends after {steps} steps while the loss still falls: by {:.0} % over the \
         last 30 % of them.",
        100.0 * (1.0 - trend.factor)
    );
    let finding = context
        .finding(message)
        .with("loss at the end over that before the last steps", trend.factor, threshold)
        .with("slope over its standard error", trend.z, -3.0)
        .with_confidence(0.5);
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Epoch;
    use crate::rules::testing::{check_rule, record_of_losses};

    #[test]
    fn a_loss_that_falls_at_the_planned_end_is_found() {
        let record = |rate: f64, steps: i32, planned: u64| {
            let loss = |i| 2.3 * libm::exp(-rate * f64::from(i));
            let mut record = record_of_losses((0..steps).map(loss));
            record.model.loss = "cross_entropy".into();
            (record.model.classes, record.model.planned_steps) = (10, planned);
            record
        };
        let mut falling = record(0.004, 150, 150);
        assert!(check_rule(&RULE, &falling).is_some());
        assert_eq!(check_rule(&RULE, &record(0.004, 150, 1000)), None, "a probe");
        assert_eq!(check_rule(&RULE, &record(0.004, 150, 0)), None, "no plan");
        assert_eq!(check_rule(&RULE, &record(0.04, 150, 150)), None, "it goes well");
        assert_eq!(check_rule(&RULE, &record(0.0005, 150, 150)), None, "it hardly falls");
        let val_losses = [1.0, 1.5];
        for (epoch, val_loss) in (1..).zip(val_losses) {
            falling.epochs.push(Epoch { epoch, val_loss: Some(val_loss), ..Epoch::default() });
        }
        assert_eq!(check_rule(&RULE, &falling), None, "it overfits");
    }
}
