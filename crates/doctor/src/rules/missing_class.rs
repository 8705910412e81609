//! A class without training examples.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::Task;
use crate::rule::{Context, Rule};

pub(super) static RULE: Rule = Rule {
    id: "missing-class",
    title: "A class has no training example",
    meaning: "A class that the network never saw, it never predicts. If there is only one class \
              left, there is nothing to learn: the labels were read wrongly, or the examples were \
              cut off before the other classes began.",
    formula: "The number of training examples of a class of the model, or of one that the \
              validation set has, is 0.",
    origin: "There is no threshold: a class has examples or none. It is critical if all examples \
             have one label, and a mere fact if the validation set lacks the class too.",
    references: "Rauschmayr et al., Amazon SageMaker Debugger, MLSys 2021 (rule ClassImbalance).",
    thresholds: &[],
    cures: &[Cure::SplitAgain, Cure::MoreData, Cure::CorrectLabels],
    causes: &[&[
        "class-imbalance",
        "split-shift",
        "confusion",
        "collapsed-predictions",
        "overfitting",
    ]],
    check,
};

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let Some(data) = &record.data else { return Vec::new() };
    let (counts, scored) = (&data.class_counts[..], &data.validation_class_counts[..]);
    let present = counts.iter().filter(|&&count| count > 0).count() as u64;
    let classes = record.model.classes.max(counts.len() as u64).max(scored.len() as u64);
    if record.model.task != Task::Classification || present == 0 || present >= classes {
        return Vec::new();
    }
    let missing = classes - present;
    let count_of = |class: u64| usize::try_from(class).ok().and_then(|class| counts.get(class));
    let is_missing = |&class: &u64| count_of(class).is_none_or(|&count| count == 0);
    // Beyond the counts all are missing: the search ends at the first of them.
    let first = (0..classes).find(is_missing).unwrap_or_default();
    let of_validation: u64 = (0..)
        .zip(scored)
        .filter(|(class, _)| is_missing(class))
        .fold(0, |sum, (_, &count)| sum.saturating_add(count));
    let name = if missing == 1 {
        format!("Class {first} has")
    } else {
        format!("{missing} of {classes} classes, class {first} first, have")
    };
    let (severity, message) = if present == 1 {
        let class = counts.iter().position(|&count| count > 0).unwrap_or_default();
        (Severity::Critical, format!("All training examples are of class {class}."))
    } else if of_validation > 0 {
        let message =
            format!("{name} no training example, but {of_validation} validation examples.");
        (Severity::Warning, message)
    } else if scored.is_empty() {
        (Severity::Warning, format!("{name} no training example."))
    } else {
        (Severity::Info, format!("{name} no example in training or validation."))
    };
    let finding = Finding::new(RULE.id, severity, message)
        .cured_by(RULE.cures)
        .with("classes without training examples", missing as f64, 0.0)
        .with("validation examples of these classes", of_validation as f64, None)
        .with_confidence(if present == 1 { 0.99 } else { 0.85 });
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Data;
    use crate::rules::testing::{check_rule, record_of_data};

    #[test]
    fn a_class_that_only_validation_has_is_a_warning_and_one_class_is_critical() {
        let check = |classes, counts: &[u64], validation: &[u64]| {
            let data = Data {
                class_counts: counts.into(),
                validation_class_counts: validation.into(),
                ..Data::default()
            };
            let mut record = record_of_data(data, &[]);
            record.model.classes = classes;
            check_rule(&RULE, &record).map(|finding| (finding.severity, finding.message))
        };
        let (severity, message) = check(3, &[50, 0, 50], &[5, 5, 5]).expect("class 1");
        assert_eq!(severity, Severity::Warning);
        assert_eq!(message, "Class 1 has no training example, but 5 validation examples.");
        // Labels from 1: class 0 is an output that nothing needs.
        assert_eq!(check(3, &[0, 50, 50], &[0, 5, 5]).expect("class 0").0, Severity::Info);
        assert_eq!(check(2, &[0, 50], &[]).expect("one class").0, Severity::Critical);
        let (severity, message) = check(u64::MAX, &[50, 50], &[]).expect("classes 2 and on");
        assert_eq!(severity, Severity::Warning);
        assert!(message.contains("class 2 first"), "{message}");
        assert_eq!(check(2, &[50, 1], &[5, 5]), None);
        assert_eq!(check(2, &[], &[5, 5]), None);
    }
}
