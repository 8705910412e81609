//! A training that ends while its loss falls.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::record::Record;
use crate::rule::{Context, Rule, Threshold};

pub(super) static RULE: Rule = Rule {
    id: "too-few-steps",
    title: "The training ends while its loss still falls",
    meaning: "The network was learning when the last planned step was taken. More steps, or \
              longer ones, would have brought it further.",
    formula: "At the end of the planned training: the fitted loss falls by more than 1 - `factor` \
              over the last 30 % of the recorded steps, by three standard errors, or the \
              validation loss does since an epoch between half and 0.8 of the steps; the last \
              validation loss is within 2 % of its best; and the training does not go well.",
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
    causes: &[&["underfitting", "confusion", "collapsed-predictions"]],
    check,
};

/// Last validation loss over that of the first epoch that ends between half and 0.8 of the steps.
fn of_validation(record: &Record) -> Option<f64> {
    let last = record.epochs.last()?;
    let end = last.step as f64;
    let is_before = |step: u64| (0.5 * end..=0.8 * end).contains(&(step as f64));
    let before = record.epochs.iter().find(|epoch| is_before(epoch.step))?;
    let (after, before) = (last.val_loss?, before.val_loss?);
    (before > 0.0).then(|| after / before)
}

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    if context.progress.is_well() || !curve::is_complete(record) {
        return Vec::new();
    }
    let losses = curve::losses(record);
    let trend = curve::trend(curve::tail(&losses, 0.3));
    let of_steps = trend.filter(|trend| trend.z < -3.0).map(|trend| trend.ratio);
    let scored: Vec<f64> = record.epochs.iter().filter_map(|epoch| epoch.val_loss).collect();
    let best = scored.iter().copied().fold(f64::INFINITY, f64::min);
    let is_best = scored.last().is_none_or(|&last| last <= best + 0.02 * libm::fabs(best));
    let threshold = context.threshold("factor");
    let falls = [of_steps, of_validation(record)].into_iter().flatten();
    let Some(factor) = falls.reduce(f64::min).filter(|&factor| factor < threshold && is_best)
    else {
        return Vec::new();
    };
    let steps = record.model.planned_steps;
    let message = format!(
        "The training ends after {steps} steps while the loss still falls: by {:.0} % over the \
         last third of them.",
        100.0 * (1.0 - factor)
    );
    let finding = context
        .finding(message)
        .with("loss at the end over that before the last steps", factor, threshold)
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
        let mut noisy = record(0.0005, 150, 150);
        for (epoch, val_loss) in (1..).zip([2.3, 1.8, 1.4]) {
            let val_loss = Some(val_loss);
            noisy.epochs.push(Epoch { epoch, step: 50 * epoch, val_loss, ..Epoch::default() });
        }
        assert!(check_rule(&RULE, &noisy).is_some(), "the validation loss falls");
        let val_losses = [1.0, 1.5];
        for (epoch, val_loss) in (1..).zip(val_losses) {
            falling.epochs.push(Epoch { epoch, val_loss: Some(val_loss), ..Epoch::default() });
        }
        assert_eq!(check_rule(&RULE, &falling), None, "it overfits");
    }
}
