//! Validation labels that do not belong to their examples.

use alloc::format;
use alloc::vec::Vec;

use super::random_labels::chance;
use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::{Data, Record, Task};
use crate::rule::{Context, Rule, Threshold};
use crate::scores::{has_layer, validation_margin};
use crate::statistics::fraction_margin;
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "shifted-labels",
    title: "The labels of one set do not fit those of the other",
    meaning: "The labels of the validation set are shifted by a row, permuted, or numbered from 1 \
              where those of training are numbered from 0. The training is healthy, but every \
              score is wrong, and what is chosen by it.",
    formula: "(v - c) / (t - c) < `fraction`, with t the fraction of sampled training examples, \
              and v that of validation examples, whose label is that of the nearest other training \
              example, and c that of random labels; t exceeds c by 0.2 at least, and v is below \
              t by five standard deviations. Or, without these: the training accuracy of the \
              first pass over the data exceeds that of the most frequent class by 0.2, and no \
              validation accuracy does by three standard deviations, without batch norm.",
    origin: "1 for sets of one distribution, 0 for unrelated labels. In the first pass, each \
             example is classified before the network has learnt it: its training accuracy is as \
             honest as a validation accuracy.",
    references: "Northcutt, Athalye, Mueller, Pervasive Label Errors in Test Sets, NeurIPS \
                 Datasets and Benchmarks 2021; Cover, Hart, IEEE Trans. Information Theory 13, \
                 1967.",
    thresholds: &[Threshold {
        key: "fraction",
        default: 0.5,
        meaning: "agreement of validation labels with training labels, over that among training \
                  labels, both above chance",
    }],
    cures: &[Cure::CorrectLabels, Cure::SplitAgain],
    causes: &[
        symptoms::NOT_LEARNING,
        &["overfitting", "overtraining", "split-shift", "too-few-steps", "class-imbalance"],
    ],
    check,
};

/// Excess over chance from which labels are known to have to do with inputs.
const EXCESS: f64 = 0.2;

/// Training accuracy of the first pass over the data and the best validation accuracy, if the first
/// is honest.
pub(super) fn first_pass(record: &Record) -> Option<(f64, f64)> {
    let first = record.epochs.first()?;
    let seen = first.step as f64 * record.model.batch as f64;
    let examples = record.model.examples.max(record.data.as_ref().map_or(0, |data| data.train));
    let duplicates = record.data.as_ref().map_or(0, |data| data.duplicates) as f64;
    // Duplicates are seen twice in one pass. A step of a full batch has not learnt anything.
    let is_first = seen > 0.0 && seen <= 1.01 * examples as f64;
    let is_honest = is_first && duplicates <= 0.1 * examples as f64;
    if !is_honest || has_layer(record, "batch_norm") {
        return None;
    }
    let validation = record.epochs.iter().filter_map(|epoch| epoch.val_accuracy);
    Some((first.train_accuracy?, validation.reduce(f64::max)?))
}

fn check_neighbours(context: &Context<'_>, data: &Data) -> Option<Finding> {
    let (train, chance) = (data.neighbour_agreement?, chance(data)?);
    let (validation, n) = (data.validation_agreement?, data.neighbours_sampled);
    let scored = if data.validation > 0 { data.validation.min(n) } else { n };
    let fraction = (validation - chance) / (train - chance);
    let threshold = context.threshold("fraction");
    let margin = fraction_margin(train, n, 5.0) + fraction_margin(validation, scored, 5.0);
    let is_significant = n > 0 && train - chance > EXCESS && train - validation > margin;
    if !is_significant || fraction >= threshold {
        return None;
    }
    let is_random = validation <= chance + fraction_margin(chance, scored, 3.0);
    let message = format!(
        "The validation labels do not fit the training labels: {:.1} % of the nearest neighbours \
         agree between the sets, {:.1} % within training.",
        100.0 * validation,
        100.0 * train
    );
    let severity = if is_random { Severity::Critical } else { Severity::Warning };
    let quantity = "agreement of validation labels over that of training labels, above chance";
    let finding = Finding::new(RULE.id, severity, message)
        .cured_by(RULE.cures)
        .with(quantity, fraction, threshold)
        .with("agreement of random labels", chance, None);
    Some(finding.with_confidence(if is_random { 0.96 } else { 0.8 }))
}

fn check_epochs(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let (train, validation) = first_pass(record)?;
    let chance = context.progress.chance_accuracy?;
    let limit = chance + validation_margin(record, chance, 3.0);
    if train - chance <= EXCESS || validation > limit {
        return None;
    }
    let message = format!(
        "The validation labels do not fit the training labels: the accuracy of the first pass is \
         {:.1} % on training examples, and never above {:.1} % on validation examples.",
        100.0 * train,
        100.0 * validation
    );
    let finding = Finding::new(RULE.id, Severity::Critical, message)
        .cured_by(RULE.cures)
        .with("training accuracy of the first pass", train, chance + EXCESS)
        .with("best validation accuracy", validation, limit);
    Some(finding.with_confidence(0.9))
}

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    if record.model.task != Task::Classification {
        return Vec::new();
    }
    let by_neighbours = record.data.as_ref().and_then(|data| check_neighbours(context, data));
    by_neighbours.or_else(|| check_epochs(context)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Layer;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn neighbours_agree_within_training_but_not_across_the_sets() {
        let check = |train: f64, validation: f64| {
            let data = Data {
                neighbour_agreement: Some(train),
                validation_agreement: Some(validation),
                ..mnist()
            };
            check_rule(&RULE, &record_of_data(data, &[])).map(|finding| finding.severity)
        };
        assert_eq!(check(0.965, 0.095), Some(Severity::Critical));
        assert_eq!(check(0.965, 0.4), Some(Severity::Warning), "half of the labels");
        assert_eq!(check(0.965, 0.9), None);
        assert_eq!(check(0.1, 0.1), None, "random labels are another rule's");
        assert_eq!(check(0.25, 0.15), None, "hard data");
    }

    #[test]
    fn the_first_pass_is_honest_and_memorised_labels_are_not() {
        let mut record = record_of_data(mnist(), &[0.09, 0.1]);
        let data = record.data.as_mut().expect("mnist");
        (data.neighbour_agreement, data.validation_agreement) = (None, None);
        record.model.batch = 50;
        record.epochs[0].step = 1000;
        record.epochs[0].train_accuracy = Some(0.85);
        let finding = check_rule(&RULE, &record).expect("85 % against 10 %");
        assert_eq!(finding.severity, Severity::Critical);
        let mut later = record.clone();
        later.epochs[0].step = 20_000;
        assert_eq!(check_rule(&RULE, &later), None, "20 passes: learnt by heart");
        let mut scored = record.clone();
        scored.epochs[1].val_accuracy = Some(0.5);
        assert_eq!(check_rule(&RULE, &scored), None);
        record.model.layers.push(Layer { kind: "batch_norm".into(), ..Layer::default() });
        assert_eq!(check_rule(&RULE, &record), None, "its running statistics may lag");
    }
}
