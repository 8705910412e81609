//! Validation or test examples that the network was trained on.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::rule::{Context, Rule, Threshold};

pub(super) static RULE: Rule = Rule {
    id: "split-leak",
    title: "Examples of the validation or test set are training examples too",
    meaning: "The score of examples that the network has learnt by heart says nothing of new ones. \
              Sets that overlap hide overfitting, and early stopping and every comparison of \
              models go by a number that is too good.",
    formula: "Validation (test) examples that equal a training example, over all of the set, above \
              `fraction`, and five of them at least.",
    origin: "MNIST has none, and CIFAR-10's test set some percent of near-duplicates, which \
             changed published rankings little. If the training set has duplicates in the same \
             proportion, as tables of a few categories do, a random split explains the overlap, \
             and the finding is less certain. More than `critical` makes the score worthless.",
    references: "Kaufman et al., Leakage in Data Mining, ACM Trans. Knowledge Discovery from Data \
                 6, 2012; Kapoor, Narayanan, Patterns 4, 2023; Barz, Denzler, J. Imaging 6, 2020.",
    thresholds: &[
        Threshold {
            key: "fraction",
            default: 0.005,
            meaning: "fraction of the set that is in the training set too",
        },
        Threshold {
            key: "critical",
            default: 0.2,
            meaning: "fraction above which the finding is critical, unless duplicates explain it",
        },
    ],
    cures: &[Cure::RemoveDuplicates, Cure::SplitAgain],
    causes: &[&["duplicated-examples"]],
    check,
};

/// Leaked examples below which they are an accident.
const EXAMPLES: u64 = 5;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let Some(data) = &context.record.data else { return Vec::new() };
    let duplicates = data.duplicates as f64 / data.train.max(1) as f64;
    let (threshold, critical) = (context.threshold("fraction"), context.threshold("critical"));
    let check_set = |(name, leaked, examples): (&str, u64, u64)| {
        let fraction = leaked as f64 / examples as f64;
        if examples == 0 || leaked < EXAMPLES || fraction <= threshold {
            return None;
        }
        // A held-out example has a twin as often as a training example has.
        let is_natural = fraction <= 1.5 * duplicates;
        let is_worthless = fraction > critical && !is_natural;
        let severity = if is_worthless { Severity::Critical } else { Severity::Warning };
        let message = format!(
            "{leaked} of {examples} {name} examples ({:.1} %) are training examples too.",
            100.0 * fraction
        );
        let finding = Finding::new(RULE.id, severity, message)
            .cured_by(RULE.cures)
            .with("fraction of the set that is in the training set too", fraction, threshold)
            .with("fraction of the training set that has duplicates", duplicates, None);
        Some(finding.with_confidence(if is_natural { 0.3 } else { 0.8 }))
    };
    let sets = [
        ("validation", data.leaked_validation, data.validation),
        ("test", data.leaked_test, data.test),
    ];
    sets.into_iter().filter_map(check_set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Data;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn a_handful_is_common_and_a_fifth_makes_the_score_worthless() {
        let check = |leaked_validation, leaked_test, duplicates| {
            let data = Data { leaked_validation, leaked_test, duplicates, ..mnist() };
            check_rule(&RULE, &record_of_data(data, &[])).map(|f| (f.severity, f.message))
        };
        assert_eq!(check(0, 0, 0), None);
        assert_eq!(check(50, 50, 0), None);
        let (severity, message) = check(0, 51, 0).expect("the test set");
        assert_eq!((severity, message.contains("test")), (Severity::Warning, true));
        assert_eq!(check(2001, 0, 0).expect("a fifth").0, Severity::Critical);
        assert_eq!(check(2001, 0, 10_000).expect("categories").0, Severity::Warning);
        let tiny = Data { train: 80, validation: 20, leaked_validation: 4, ..Data::default() };
        assert_eq!(check_rule(&RULE, &record_of_data(tiny, &[])), None);
    }
}
