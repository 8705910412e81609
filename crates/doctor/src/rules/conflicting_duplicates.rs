//! Equal examples with different labels.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::Task;
use crate::rule::{Context, Rule, Threshold};

pub(super) static RULE: Rule = Rule {
    id: "conflicting-duplicates",
    title: "Equal examples have different labels",
    meaning: "Of two equal examples with different labels, no network can classify both \
              correctly: at least one label is wrong, or the inputs lack what tells them apart.",
    formula: "Training examples that have a duplicate with another label, over all training \
              examples, above `fraction`.",
    origin: "The fraction bounds the accuracy: about half of such examples, at the least one of \
             each group, are misclassified. It is a warning above `fraction` if the training does \
             not go well, and above ten times that in any case.",
    references: "Northcutt, Jiang, Chuang, Confident Learning, J. Artificial Intelligence Research \
                 70, 2021.",
    thresholds: &[Threshold {
        key: "fraction",
        default: 0.02,
        meaning: "fraction of the training examples that have a duplicate with another label",
    }],
    cures: &[Cure::CorrectLabels, Cure::RemoveDuplicates],
    causes: &[&["plateau", "confusion", "underfitting"]],
    check,
};

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let Some(data) = &record.data else { return Vec::new() };
    let fraction = data.conflicting_duplicates as f64 / data.train as f64;
    let threshold = context.threshold("fraction");
    let is_task = record.model.task == Task::Classification;
    if !is_task || data.train == 0 || fraction <= threshold {
        return Vec::new();
    }
    let message = format!(
        "{} of {} training examples ({:.1} %) have a duplicate with another label.",
        data.conflicting_duplicates,
        data.train,
        100.0 * fraction
    );
    let severity = if context.progress.is_well() && fraction <= 10.0 * threshold {
        Severity::Info
    } else {
        Severity::Warning
    };
    let quantity = "fraction of training examples with a duplicate of another label";
    let finding = Finding::new(RULE.id, severity, message)
        .cured_by(RULE.cures)
        .with(quantity, fraction, threshold)
        .with_confidence(0.5 + 0.4 * fraction.min(1.0));
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Data;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn a_few_conflicts_are_common_and_many_a_warning() {
        let check = |conflicting_duplicates, task| {
            let data = Data { conflicting_duplicates, duplicates: 20_000, ..mnist() };
            let mut record = record_of_data(data, &[0.97]);
            record.reference =
                Some(crate::record::Reference { val_accuracy: Some(0.9), ..Default::default() });
            record.model.task = task;
            check_rule(&RULE, &record).map(|finding| finding.severity)
        };
        assert_eq!(check(1000, Task::Classification), None);
        assert_eq!(check(1001, Task::Classification), Some(Severity::Info));
        assert_eq!(check(12_000, Task::Classification), Some(Severity::Warning));
        assert_eq!(check(12_000, Task::Regression), None);
    }
}
