//! Classes with very different numbers of examples.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::Task;
use crate::rule::{Context, Rule, Threshold};
use crate::scores::{pooled, recalls};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "class-imbalance",
    title: "Some classes have far fewer examples than others",
    meaning: "The loss is a mean over examples: a rare class hardly counts in it, and predicting \
              the frequent ones is almost as good. The accuracy hides that. Where the rare classes \
              are recognised as well as the others, imbalance is no fault.",
    formula: "Examples of the most frequent class over those of the rarest that has any, above \
              `ratio`. Harm: the recall on the validation set of all classes that are rarer than \
              the most frequent by that factor, below `recall` times that of the others.",
    origin: "The ratio is the one of Amazon SageMaker Debugger. By itself it says little: with \
             recalls measured, on 5 examples at least, they decide.",
    references: "He, Garcia, IEEE Trans. Knowledge and Data Engineering 21, 2009; Buda, Maki, \
                 Mazurowski, Neural Networks 106, 2018; Rauschmayr et al., Amazon SageMaker \
                 Debugger, MLSys 2021.",
    thresholds: &[
        Threshold {
            key: "ratio",
            default: 10.0,
            meaning: "examples of the most frequent class over those of the rarest",
        },
        Threshold {
            key: "recall",
            default: 0.5,
            meaning: "recall of the rare classes over that of the others",
        },
    ],
    cures: &[Cure::BalanceClasses, Cure::MoreData],
    causes: &[symptoms::NOT_LEARNING, &["constant-output", "split-shift"]],
    check,
};

/// Validation examples of rare classes below which their recall says nothing.
const EXAMPLES: u64 = 5;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let counts = record.data.as_ref().map(|data| &data.class_counts[..]).unwrap_or_default();
    let classes = || (0..).zip(counts.iter().copied()).filter(|&(_, count)| count > 0);
    let (Some((rarest, min)), Some((_, max))) =
        (classes().min_by_key(|&(_, n)| n), classes().max_by_key(|&(_, n)| n))
    else {
        return Vec::new();
    };
    let (ratio, threshold) = (max as f64 / min as f64, context.threshold("ratio"));
    if record.model.task != Task::Classification || ratio <= threshold {
        return Vec::new();
    }
    let is_rare =
        |class: usize| counts.get(class).is_some_and(|&n| n as f64 * threshold < max as f64);
    let recalls = recalls(record);
    let of = |rare| pooled(recalls.iter().copied().filter(|r| is_rare(r.class) == rare));
    let scored = of(true).filter(|rare| rare.examples >= EXAMPLES).zip(of(false));
    let relative = scored.map(|(rare, frequent)| rare.recall() / frequent.recall().max(1e-9));
    let limit = context.threshold("recall");
    let mut message = format!(
        "Class {rarest} has {min} training examples, the most frequent class {ratio:.0} times as \
         many"
    );
    let mut finding = context.finding("".into());
    let confidence = match (relative, scored) {
        (Some(relative), Some((rare, frequent))) if relative < limit => {
            finding.severity = finding.severity.max(Severity::Warning);
            message += &format!(
                ": the rare classes' recall is {:.2}, that of the others {:.2}",
                rare.recall(),
                frequent.recall()
            );
            0.65
        }
        (Some(_), _) => {
            finding.severity = Severity::Info;
            message += ", and is recognised nevertheless";
            0.1
        }
        (None, _) => {
            finding.severity = finding.severity.min(Severity::Warning);
            0.3
        }
    };
    finding.message = message + ".";
    finding = finding.with("examples of the most frequent class over the rarest", ratio, threshold);
    if let Some(relative) = relative {
        finding = finding.with("recall of the rare classes over the others'", relative, limit);
    }
    Vec::from([finding.with_confidence(confidence)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Data, Record};
    use crate::rules::testing::{check_rule, record_of_data};

    fn record(rare: u64, correct: [u64; 2]) -> Record {
        let data = Data {
            class_counts: Vec::from([950, rare]),
            validation_class_counts: Vec::from([95, 10]),
            ..Data::default()
        };
        let mut record = record_of_data(data, &[0.95]);
        record.epochs[0].correct_counts = correct.into();
        record
    }

    #[test]
    fn the_recall_of_the_rare_class_decides() {
        let finding = check_rule(&RULE, &record(50, [95, 0])).expect("19 to 1");
        assert_eq!(finding.severity, Severity::Critical, "no better than the frequent class");
        assert_eq!(finding.evidence[1].value, 0.0);
        let finding = check_rule(&RULE, &record(50, [95, 8])).expect("19 to 1");
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(check_rule(&RULE, &record(95, [95, 0])), None);
        let mut unscored = record(50, [95, 0]);
        unscored.epochs.clear();
        let finding = check_rule(&RULE, &unscored).expect("19 to 1");
        assert_eq!(finding.severity, Severity::Warning);
    }
}
