//! A network that predicts one class, or a few, for everything.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::Task;
use crate::rule::{Context, Rule, Threshold};

pub(super) static RULE: Rule = Rule {
    id: "collapsed-predictions",
    title: "Almost all predictions are of one class",
    meaning: "The network predicts a class whatever it is shown: its outputs do not depend on the \
              inputs, or one bias outweighs them. It is a symptom of many faults.",
    formula: "By the last epoch that counted predictions: the fraction of one class exceeds \
              `fraction`, and its fraction of the validation set by 0.2; or, of the classes with \
              five validation examples at least, `never` or more are never predicted.",
    origin: "A set that is almost of one class is predicted so by a healthy network too, hence the \
             comparison with the set.",
    references: "Rauschmayr et al., Amazon SageMaker Debugger, MLSys 2021 (rule ClassImbalance).",
    thresholds: &[
        Threshold {
            key: "fraction",
            default: 0.95,
            meaning: "fraction of predictions of one class",
        },
        Threshold {
            key: "never",
            default: 0.5,
            meaning: "fraction of the classes that are never predicted",
        },
    ],
    cures: &[
        Cure::LowerRate,
        Cure::StandardiseInputs,
        Cure::BalanceClasses,
        Cure::MatchedInitialiser,
    ],
    causes: &[&[
        "confusion",
        "loss-not-decreasing",
        "accuracy-at-chance",
        "plateau",
        "underfitting",
    ]],
    check,
};

/// Predictions, and examples of a class, that are needed.
const PREDICTIONS: u64 = 20;
const EXAMPLES: u64 = 5;

/// Excess of the fraction of predictions over that of the examples.
const EXCESS: f64 = 0.2;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let counted = |epoch: &&crate::record::Epoch| !epoch.predicted_counts.is_empty();
    let Some(epoch) = record.epochs.iter().rev().find(counted) else { return Vec::new() };
    let predicted = &epoch.predicted_counts[..];
    let sum = |counts: &[u64]| counts.iter().map(|&count| count as f64).sum::<f64>();
    let total = sum(predicted);
    let Some((class, most)) = (0..).zip(predicted.iter().copied()).max_by_key(|&(_, count)| count)
    else {
        return Vec::new();
    };
    if record.model.task != Task::Classification || total < PREDICTIONS as f64 {
        return Vec::new();
    }
    let data = record.data.as_ref();
    let validation = data.map(|data| &data.validation_class_counts[..]).unwrap_or_default();
    let train = data.map(|data| &data.class_counts[..]).unwrap_or_default();
    let actual = if validation.is_empty() { train } else { validation };
    let class: usize = class;
    let frequency = match (actual.get(class), sum(actual)) {
        (Some(&count), all) if all > 0.0 => count as f64 / all,
        _ => 1.0 / (record.model.classes.max(predicted.len() as u64) as f64),
    };
    let fraction = most as f64 / total;
    let scored = validation.iter().zip(predicted).filter(|&(&n, _)| n >= EXAMPLES);
    let scored: Vec<u64> = scored.map(|(_, &count)| count).collect();
    let absent = scored.iter().filter(|&&count| count == 0).count();
    let never = absent as f64 / scored.len().max(1) as f64;
    let (limit, never_limit) = (context.threshold("fraction"), context.threshold("never"));
    let is_one = fraction > limit && fraction > frequency + EXCESS;
    // Of two classes, one that is never predicted means that the other always is.
    let is_few = scored.len() > 2 && never >= never_limit;
    let message = if is_one {
        format!(
            "{:.1} % of the predictions are of class {class}, but {:.1} % of the examples.",
            100.0 * fraction,
            100.0 * frequency
        )
    } else if is_few {
        format!("{absent} of {} classes are never predicted.", scored.len())
    } else {
        return Vec::new();
    };
    let mut finding: Finding = context.finding(message);
    finding.severity = finding.severity.max(Severity::Warning);
    let finding = finding
        .at_step(epoch.step)
        .with("fraction of predictions of one class", fraction, limit)
        .with("fraction of classes that are never predicted", never, never_limit)
        .with_confidence(0.3);
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Data;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn one_class_for_everything_is_found() {
        let check = |data: Data, predicted: &[u64]| {
            let mut record = record_of_data(data, &[0.1]);
            record.epochs[0].predicted_counts = predicted.into();
            check_rule(&RULE, &record).map(|finding| finding.severity)
        };
        let collapsed = [0, 0, 10_000, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(check(mnist(), &collapsed), Some(Severity::Critical));
        let few = [0, 0, 5000, 0, 5000, 0, 0, 0, 0, 0];
        assert_eq!(check(mnist(), &few), Some(Severity::Critical));
        assert_eq!(check(mnist(), &[1000; 10]), None);
        assert_eq!(check(mnist(), &[0, 0, 19, 0, 0, 0, 0, 0, 0, 0]), None, "19 predictions");
        let binary = || Data {
            class_counts: Vec::from([900, 100]),
            validation_class_counts: Vec::from([90, 10]),
            ..Data::default()
        };
        assert_eq!(check(binary(), &[99, 1]), None, "the set is so");
        assert_eq!(check(binary(), &[1, 99]), Some(Severity::Critical));
    }
}
