//! A loss that falls, and an accuracy that is no better than chance.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::progress::State;
use crate::rule::{Context, Rule, Threshold};
use crate::scores::validation_margin;

pub(super) static RULE: Rule = Rule {
    id: "accuracy-at-chance",
    title: "The loss falls, but the accuracy is no better than chance",
    meaning: "What the network learns does not help to predict: the frequencies of the classes, or \
              its training examples by heart, or targets that are not the labels. It is a \
              symptom, and is reported first only if no rule finds a cause.",
    formula: "The best accuracy is that of predicting the most frequent class, or below, within \
              three standard deviations; the loss fell by more than `fall`, up to step 50 at \
              least.",
    origin: "A loss that does not fall is another rule's. With few examples the interval is wide, \
             and the accuracy has to be high to leave it.",
    references: "Goodfellow, Bengio, Courville, Deep Learning, 2016, section 11.5.",
    thresholds: &[Threshold {
        key: "fall",
        default: 0.03,
        meaning: "fraction by which the loss falls",
    }],
    cures: &[Cure::MatchedLoss, Cure::CorrectLabels, Cure::MoreEpochs, Cure::RangeTest],
    causes: &[&["confusion", "collapsed-predictions", "overtraining"]],
    check,
};

/// Step that the accuracy is judged by at least.
const STEP: u64 = 50;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let (record, progress) = (context.record, context.progress);
    let (Some(accuracy), Some(chance)) = (progress.accuracy, progress.chance_accuracy) else {
        return Vec::new();
    };
    let (Some(first), Some(last)) = (progress.first_loss, progress.last_loss) else {
        return Vec::new();
    };
    let at_chance = accuracy <= chance + validation_margin(record, chance, 3.0);
    let fell = last < (1.0 - context.threshold("fall")) * first;
    let is_judged = curve::last_step(record) >= STEP && curve::is_finite(record);
    if progress.state != State::Stuck
        || !at_chance
        || !fell
        || !is_judged
        || curve::is_warming_up(record)
    {
        return Vec::new();
    }
    let message = format!(
        "The loss fell from {first:.3e} to {last:.3e}, but the accuracy is {:.1} %, that of the \
         most frequent class {:.1} %.",
        100.0 * accuracy,
        100.0 * chance
    );
    let finding = context.finding(message).with("best accuracy", accuracy, chance);
    Vec::from([finding.with_confidence(0.15)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{check_rule, mnist, record_of_data, record_of_losses};

    #[test]
    fn a_falling_loss_has_to_help() {
        let check = |accuracy: f64, rate: f64, steps: i32| {
            let mut record = record_of_data(mnist(), &[accuracy]);
            let loss = |i: i32| 2.3 * libm::exp(-rate * f64::from(i));
            record.steps = record_of_losses((0..steps).map(loss)).steps;
            check_rule(&RULE, &record)
        };
        assert!(check(0.1, 0.01, 100).is_some());
        assert_eq!(check(0.2, 0.01, 100), None);
        assert_eq!(check(0.1, 0.0, 100), None, "the loss does not fall");
        assert_eq!(check(0.1, 0.01, 40), None, "a short probe");
    }
}
