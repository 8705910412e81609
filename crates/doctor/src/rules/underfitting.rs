//! A network that ends below a linear model, on training examples too.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::progress::State;
use crate::rule::{Context, Rule, Threshold};
use crate::scores::validation_margin;
use crate::statistics::median;

pub(super) static RULE: Rule = Rule {
    id: "underfitting",
    title: "The network ends below a linear model, on its training examples too",
    meaning: "The training has ended, and the network has not even learnt its training examples \
              as well as a linear model classifies new ones: it is too small, regularised too \
              much, or trained too slowly.",
    formula: "At the end of the planned training, which learnt something: the accuracy of the \
              last epoch on its training examples (or of the last 5 % of the recorded steps) is \
              below the validation accuracy of the reference, by `margin` and by three standard \
              deviations. Without accuracies: the loss exceeds the reference's by a fifth.",
    origin: "The reference saw the same examples. A probe of the first steps is not judged, and \
             neither is a training whose plan is unknown.",
    references: "Goodfellow, Bengio, Courville, Deep Learning, 2016, section 5.2.",
    thresholds: &[Threshold {
        key: "margin",
        default: 0.02,
        meaning: "accuracy of the reference less the training accuracy",
    }],
    cures: &[
        Cure::MoreWidth,
        Cure::LessRegularisation,
        Cure::LessDropout,
        Cure::RaiseRate,
        Cure::MoreEpochs,
    ],
    causes: &[&["confusion"]],
    check,
};

/// Loss over that of the reference, above which it is worse.
const WORSE: f64 = 1.2;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let Some(reference) = &record.reference else { return Vec::new() };
    if context.progress.state != State::Slow || !curve::is_complete(record) {
        return Vec::new();
    }
    let from_steps = |of: fn(&crate::record::Step) -> Option<f64>| {
        let count = record.steps.len().div_ceil(20);
        median(record.steps.iter().rev().take(count).filter_map(of))
    };
    let last = record.epochs.last();
    let accuracy = last.and_then(|epoch| epoch.train_accuracy);
    let accuracy = accuracy.or_else(|| from_steps(|step| step.accuracy));
    let loss = last.and_then(|epoch| epoch.train_loss).or_else(|| from_steps(|step| step.loss));
    let (quantity, value, threshold, text) =
        if let (Some(ours), Some(theirs)) = (accuracy, reference.val_accuracy) {
            let margin = context.threshold("margin").max(validation_margin(record, theirs, 3.0));
            if ours >= theirs - margin {
                return Vec::new();
            }
            let text = format!(
                "its training accuracy is {:.1} %, the reference's validation accuracy {:.1} %",
                100.0 * ours,
                100.0 * theirs
            );
            ("training accuracy", ours, theirs - margin, text)
        } else if let (Some(ours), Some(theirs)) = (loss, reference.val_loss) {
            if ours <= WORSE * theirs {
                return Vec::new();
            }
            let text = format!(
                "its training loss is {ours:.3e}, the reference's validation loss {theirs:.3e}"
            );
            ("training loss", ours, WORSE * theirs, text)
        } else {
            return Vec::new();
        };
    let message = format!("The network underfits: {text}.");
    let finding = context.finding(message).with(quantity, value, threshold).with_confidence(0.28);
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, Reference};
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn a_training_that_ended_below_the_reference_underfits_and_a_probe_does_not() {
        let record = |train: f64, planned: u64| {
            let mut record: Record = record_of_data(mnist(), &[0.7]);
            record.model.planned_steps = planned;
            record.epochs[0].step = 1000;
            record.epochs[0].train_accuracy = Some(train);
            record.reference = Some(Reference { val_accuracy: Some(0.9), ..Reference::default() });
            record
        };
        assert!(check_rule(&RULE, &record(0.7, 1000)).is_some());
        assert_eq!(check_rule(&RULE, &record(0.7, 10_000)), None, "a probe");
        assert_eq!(check_rule(&RULE, &record(0.7, 0)), None, "no plan");
        assert_eq!(check_rule(&RULE, &record(0.95, 1000)), None, "it overfits");
        let mut alone = record(0.7, 1000);
        alone.reference = None;
        assert_eq!(check_rule(&RULE, &alone), None);
    }
}
