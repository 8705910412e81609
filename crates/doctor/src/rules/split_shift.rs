//! A validation or test set that is unlike the training set.

use alloc::format;
use alloc::vec::Vec;

use super::shifted_labels::first_pass;
use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::{Data, Task};
use crate::rule::{Context, Rule, Threshold};
use crate::scores::validation_margin;

pub(super) static RULE: Rule = Rule {
    id: "split-shift",
    title: "The validation or test set is unlike the training set",
    meaning: "The sets were scaled differently, or split by the order of the examples rather than \
              at random. The score then measures the difference of the sets, not what was learnt.",
    formula: "One of three. (1) d > `shift` + 4 sqrt(1/n + 1/m), d the distance of the mean inputs \
              of the sets in standard deviations of the training inputs, root mean square over \
              inputs, n and m the examples. (2) Half the sum of |p - q| over classes, p and q \
              their frequencies in the sets, above `classes` + sqrt(k / m), k the classes. (3) \
              Training accuracy of the first pass over the data less the best validation \
              accuracy, above `accuracy` and four standard deviations, without batch norm.",
    origin: "Means of samples of one distribution differ by sqrt(1/n + 1/m). A difference of a \
             quarter of a standard deviation in every input is far beyond what MNIST (0.02) or \
             tables that were split at random have. Above `critical` the sets were prepared \
             differently.",
    references: "Quinonero-Candela et al. (editors), Dataset Shift in Machine Learning, 2009; \
                 Rabanser, Guennemann, Lipton, Failing Loudly, NeurIPS 2019.",
    thresholds: &[
        Threshold {
            key: "shift",
            default: 0.25,
            meaning: "distance of mean inputs in standard deviations",
        },
        Threshold {
            key: "critical",
            default: 3.0,
            meaning: "distance above which the finding is critical",
        },
        Threshold {
            key: "classes",
            default: 0.15,
            meaning: "total variation distance of the class frequencies",
        },
        Threshold {
            key: "accuracy",
            default: 0.15,
            meaning: "training accuracy of the first pass less the best validation accuracy",
        },
    ],
    cures: &[Cure::SplitAgain, Cure::CorrectInputs],
    causes: &[&[
        "shifted-labels",
        "overfitting",
        "overtraining",
        "confusion",
        "collapsed-predictions",
        "underfitting",
        "class-imbalance",
    ]],
    check,
};

/// Total variation distance of two lists of class counts, if both have examples.
fn distance(a: &[u64], b: &[u64]) -> Option<f64> {
    let total = |counts: &[u64]| counts.iter().map(|&count| count as f64).sum::<f64>();
    let (total_a, total_b) = (total(a), total(b));
    let at = |counts: &[u64], class: usize| counts.get(class).map_or(0.0, |&count| count as f64);
    let differs = |class| libm::fabs(at(a, class) / total_a - at(b, class) / total_b);
    let classes = a.len().max(b.len());
    (total_a > 0.0 && total_b > 0.0).then(|| (0..classes).map(differs).sum::<f64>() / 2.0)
}

fn check_means(context: &Context<'_>, data: &Data) -> Vec<Finding> {
    let sets = [
        ("validation", data.validation_shift, data.validation),
        ("test", data.test_shift, data.test),
    ];
    let check_set = |(name, shift, examples): (&str, Option<f64>, u64)| {
        let shift = shift?;
        let error = libm::sqrt(1.0 / data.train as f64 + 1.0 / examples as f64);
        let threshold = context.threshold("shift") + 4.0 * error;
        if data.train == 0 || examples == 0 || !shift.is_finite() || shift <= threshold {
            return None;
        }
        let message = format!(
            "The {name} inputs are unlike the training inputs: their means differ by {shift:.2} \
             standard deviations."
        );
        let is_critical = shift > context.threshold("critical");
        let severity = if is_critical { Severity::Critical } else { Severity::Warning };
        let quantity = "distance of the mean inputs in standard deviations";
        let finding = Finding::new(RULE.id, severity, message).cured_by(RULE.cures);
        let confidence = if is_critical { 0.97 } else { 0.6 };
        Some(finding.with(quantity, shift, threshold).with_confidence(confidence))
    };
    sets.into_iter().filter_map(check_set).collect()
}

fn check_classes(context: &Context<'_>, data: &Data) -> Option<Finding> {
    let (train, validation) = (&data.class_counts[..], &data.validation_class_counts[..]);
    let distance = distance(train, validation)?;
    let examples = validation.iter().map(|&count| count as f64).sum::<f64>();
    let classes = train.len().max(validation.len()) as f64;
    let threshold = context.threshold("classes") + libm::sqrt(classes / examples);
    if distance <= threshold {
        return None;
    }
    let message = format!(
        "The class frequencies of the validation set are unlike those of training: {:.0} % of the \
         examples would have to change their class.",
        100.0 * distance
    );
    let mut finding = context.finding(message);
    finding.severity = finding.severity.min(Severity::Warning);
    let quantity = "total variation distance of the class frequencies";
    Some(finding.with(quantity, distance, threshold).with_confidence(0.5))
}

fn check_first_pass(context: &Context<'_>) -> Option<Finding> {
    let (train, validation) = first_pass(context.record)?;
    let difference = train - validation;
    let threshold = context.threshold("accuracy");
    let margin = validation_margin(context.record, validation, 4.0);
    if difference <= threshold.max(margin) {
        return None;
    }
    let message = format!(
        "The validation set is unlike the training set: the accuracy of the first pass is {:.1} % \
         on training examples, and never above {:.1} % on validation examples.",
        100.0 * train,
        100.0 * validation
    );
    let quantity = "training accuracy of the first pass less the best validation accuracy";
    let finding = Finding::new(RULE.id, Severity::Warning, message).cured_by(RULE.cures);
    Some(finding.with(quantity, difference, threshold.max(margin)).with_confidence(0.65))
}

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let Some(data) = &record.data else { return Vec::new() };
    let mut findings = check_means(context, data);
    if record.model.task == Task::Classification {
        findings.extend(check_classes(context, data));
        if findings.is_empty() {
            findings.extend(check_first_pass(context));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn means_may_differ_by_what_sampling_gives() {
        let check = |train, test, test_shift: f64| {
            let test_shift = Some(test_shift);
            let data = Data { train, test, test_shift, ..Data::default() };
            check_rule(&RULE, &record_of_data(data, &[])).map(|finding| finding.severity)
        };
        assert_eq!(check(80, 10, 0.9), None, "ten rows");
        assert_eq!(check(50_000, 10_000, 0.25), None);
        assert_eq!(check(50_000, 10_000, 0.5), Some(Severity::Warning));
        assert_eq!(check(50_000, 10_000, 108.0), Some(Severity::Critical));
        assert_eq!(check(50_000, 0, 108.0), None);
        assert_eq!(check_rule(&RULE, &record_of_data(mnist(), &[])), None);
    }

    #[test]
    fn class_frequencies_may_differ_by_what_sampling_gives() {
        let check = |train: &[u64], validation: &[u64]| {
            let data = Data {
                class_counts: train.into(),
                validation_class_counts: validation.into(),
                ..Data::default()
            };
            check_rule(&RULE, &record_of_data(data, &[]))
        };
        let finding = check(&[500, 500, 0], &[0, 0, 300]).expect("split by order");
        assert!((finding.evidence[0].value - 1.0).abs() < 1e-12);
        assert_eq!(check(&[34, 33, 33], &[4, 10, 6]), None);
        assert_eq!(check(&[500, 500], &[]), None);
    }

    #[test]
    fn the_first_pass_may_not_beat_the_validation_set() {
        let mut record = record_of_data(mnist(), &[0.5]);
        record.model.batch = 50;
        record.epochs[0].step = 1000;
        record.epochs[0].train_accuracy = Some(0.85);
        assert_eq!(check_rule(&RULE, &record).expect("35 points").severity, Severity::Warning);
        record.epochs[0].train_accuracy = Some(0.6);
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
