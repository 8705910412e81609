//! A class that is hardly recognised, while the others are.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::{Finding, Severity};
use crate::record::Task;
use crate::rule::{Context, Rule, Threshold};
use crate::scores::{Recall, recalls};
use crate::statistics::{fraction_margin, median};

pub(super) static RULE: Rule = Rule {
    id: "confusion",
    title: "A class is hardly recognised, while the others are",
    meaning: "The network takes a class's examples for another's. Its labels may be wrong or \
              merged with those of another class, it may be rare, or it is the last that is \
              learnt.",
    formula: "Recall of a class on the validation set, plus two standard deviations, below \
              `recall` times the median recall of the classes. The class has 20 validation \
              examples at least, and the median recall exceeds 0.3.",
    origin: "Recalls of healthy networks differ: a cat of CIFAR-10 is recognised half as often \
             as a ship. Before half of the planned steps, the finding is a fact, since classes \
             are learnt one after the other.",
    references: "Rauschmayr et al., Amazon SageMaker Debugger, MLSys 2021 (rule Confusion).",
    thresholds: &[Threshold {
        key: "recall",
        default: 0.3,
        meaning: "recall of a class over the median recall",
    }],
    cures: &[Cure::BalanceClasses, Cure::MoreEpochs, Cure::CorrectLabels],
    causes: &[],
    check,
};

/// Validation examples of a class that are needed.
const EXAMPLES: u64 = 20;

/// Median recall below which no class is recognised.
const MEDIAN: f64 = 0.3;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let recalls = recalls(record);
    let Some(typical) = median(recalls.iter().map(Recall::recall)) else { return Vec::new() };
    let limit = context.threshold("recall") * typical;
    let is_confused = |recall: &&Recall| {
        let value = recall.recall();
        recall.examples >= EXAMPLES && value + fraction_margin(value, recall.examples, 2.0) < limit
    };
    let confused: Vec<&Recall> = recalls.iter().filter(is_confused).collect();
    let worst = confused.iter().min_by(|a, b| a.recall().total_cmp(&b.recall()));
    let is_task = record.model.task == Task::Classification && typical > MEDIAN;
    let Some(worst) = worst.filter(|_| is_task) else { return Vec::new() };
    let others = match confused.len() {
        1 => "".into(),
        count => format!(", one of {count} such classes"),
    };
    let message = format!(
        "Class {}{others} is hardly recognised: its recall is {:.2}, the median {typical:.2}.",
        worst.class,
        worst.recall()
    );
    let is_early = curve::completed(record).is_some_and(|completed| completed < 0.5);
    let severity = if is_early { Severity::Info } else { Severity::Warning };
    let finding = Finding::new(RULE.id, severity, message)
        .cured_by(RULE.cures)
        .with("recall of the class", worst.recall(), limit)
        .with("median recall", typical, None)
        .with("classes that are hardly recognised", confused.len() as f64, None)
        .with_confidence(0.35);
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Data;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn one_class_may_be_harder_but_not_lost() {
        let check = |correct: u64, planned: u64| {
            let mut record = record_of_data(mnist(), &[0.9]);
            record.model.planned_steps = planned;
            record.epochs[0].step = 1000;
            record.epochs[0].correct_counts = Vec::from([950; 10]);
            record.epochs[0].correct_counts[3] = correct;
            check_rule(&RULE, &record).map(|finding| (finding.severity, finding.message))
        };
        let (severity, message) = check(40, 1000).expect("class 3");
        assert_eq!(severity, Severity::Warning);
        assert!(message.starts_with("Class 3 is"), "{message}");
        assert_eq!(check(40, 10_000).expect("class 3").0, Severity::Info, "a probe");
        assert_eq!(check(400, 1000), None);
        let mut few = record_of_data(
            Data { validation_class_counts: Vec::from([8; 3]), ..Data::default() },
            &[0.6],
        );
        few.epochs[0].correct_counts = Vec::from([8, 8, 1]);
        assert_eq!(check_rule(&RULE, &few), None, "eight examples");
    }
}
