//! Too few training examples for the number of classes.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::Task;
use crate::rule::{Context, Rule, Threshold};

pub(super) static RULE: Rule = Rule {
    id: "small-data",
    title: "There are very few training examples",
    meaning: "What varies within a class cannot be learnt from a handful of its examples. The \
              network learns them by heart instead, and the score depends on which they are.",
    formula: "Training examples below `per_class` times the number of classes, or, in a \
              regression, below `values`.",
    origin: "A rule of thumb: the finding is a fact, and a warning if the training does not go \
             well. The number of parameters does not enter, since networks with far more of them \
             than examples generalise.",
    references: "Raudys, Jain, IEEE Trans. Pattern Analysis and Machine Intelligence 13, 1991; \
                 Zhang et al., ICLR 2017.",
    thresholds: &[
        Threshold { key: "per_class", default: 10.0, meaning: "training examples per class" },
        Threshold { key: "values", default: 20.0, meaning: "training examples of a regression" },
    ],
    cures: &[Cure::MoreData, Cure::WeightDecay, Cure::EarlyStopping],
    causes: &[&["overfitting", "overtraining", "confusion", "batch-too-large", "batch-too-small"]],
    check,
};

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let data = record.data.as_ref();
    let examples = data.map_or(0, |data| data.train).max(record.model.examples);
    let classes = record.model.classes.max(data.map_or(0, |data| data.class_counts.len() as u64));
    let needed = match record.model.task {
        Task::Classification => context.threshold("per_class") * classes as f64,
        Task::Regression => context.threshold("values"),
        Task::Reconstruction => return Vec::new(),
    };
    if examples == 0 || examples as f64 >= needed {
        return Vec::new();
    }
    let of = if record.model.task == Task::Classification {
        format!(" for {classes} classes")
    } else {
        "".into()
    };
    let message = format!("There are only {examples} training examples{of}.");
    let mut finding = context.finding(message);
    finding.severity = finding.severity.min(Severity::Warning);
    let quantity = "training examples";
    Vec::from([finding.with(quantity, examples as f64, needed).with_confidence(0.4)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::rules::testing::check_rule;

    #[test]
    fn a_handful_per_class_is_a_warning_and_a_small_table_is_not() {
        let check = |task, classes, examples| {
            let mut record = Record::default();
            (record.model.task, record.model.classes) = (task, classes);
            record.model.examples = examples;
            check_rule(&RULE, &record).map(|finding| finding.severity)
        };
        assert_eq!(check(Task::Classification, 10, 60), Some(Severity::Warning));
        assert_eq!(check(Task::Classification, 3, 105), None);
        assert_eq!(check(Task::Classification, 10, 0), None);
        assert_eq!(check(Task::Regression, 0, 15), Some(Severity::Warning));
        assert_eq!(check(Task::Regression, 0, 100), None);
    }
}
