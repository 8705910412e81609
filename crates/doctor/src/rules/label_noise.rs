//! Labels of which a part is wrong.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::random_labels::chance;
use super::sorted_examples::is_sorted;
use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::{Data, Record, Task};
use crate::rule::{Context, Rule, Threshold};
use crate::scores::{has_layer, validation_examples};
use crate::statistics::{fraction_margin, median};

pub(super) static RULE: Rule = Rule {
    id: "label-noise",
    title: "A part of the labels is wrong",
    meaning: "Wrong labels bound the accuracy, and a network that is large enough learns them by \
              heart. Inputs that do not determine the label look the same, and have the same \
              effect.",
    formula: "The first of three estimates of the fraction of wrong labels that is above its \
              threshold, and by four standard deviations. With c the agreement of random labels, \
              and r the fraction of labels replaced by random ones, the estimate is r (1 - c). \
              (1) Noise in training alone: r = 1 - (t - c) / (v - c), t the fraction of training \
              examples, v that of validation examples, whose label is that of the nearest other \
              training example; above `training`. (2) Noise in both sets: \
              r = 1 - (t - c) / (m - c), m the fraction whose label is the most frequent one of \
              15 neighbours; above `both`. (3) Median over the second half of the epochs of the \
              validation accuracy before an epoch less the training accuracy within it, or of the \
              last validation accuracy less that of the last batches, without dropout; above \
              `epochs`.",
    origin: "Both labels of a pair of training examples may be wrong, but one of a pair with a \
             clean validation example: t falls by (1 - r)^2, v by 1 - r. A vote outweighs wrong \
             labels, so that m falls by 1 - r too; classes that overlap have such an excess of \
             m over t as well (Cover and Hart): so `both` is higher, and the \
             finding a mere fact if the training goes well. A network that has not \
             seen an example that epoch classifies it like a validation example, or better.",
    references: "Cover, Hart, IEEE Trans. Information Theory 13, 1967; Northcutt, Jiang, Chuang, \
                 Confident Learning, J. Artificial Intelligence Research 70, 2021; Frenay, \
                 Verleysen, IEEE Trans. Neural Networks and Learning Systems 25, 2014.",
    thresholds: &[
        Threshold {
            key: "training",
            default: 0.05,
            meaning: "fraction of wrong labels, estimated from training against validation",
        },
        Threshold {
            key: "both",
            default: 0.15,
            meaning: "fraction of wrong labels, estimated from one neighbour against 15",
        },
        Threshold {
            key: "epochs",
            default: 0.1,
            meaning: "validation accuracy less the training accuracy of the next epoch",
        },
    ],
    cures: &[Cure::CorrectLabels, Cure::EarlyStopping],
    causes: &[&[
        "conflicting-duplicates",
        "overfitting",
        "overtraining",
        "plateau",
        "underfitting",
    ]],
    check,
};

/// Standard deviations by which fractions must differ.
const DEVIATIONS: f64 = 4.0;

/// Sampled examples that neighbours are judged by at least.
const SAMPLED: u64 = 100;

/// Fraction of leaked examples that would raise the agreement of the validation set.
const LEAKED: f64 = 0.02;

struct Estimate {
    wrong: f64,
    threshold: f64,
    confidence: f64,
    /// `true` if classes that overlap would look the same.
    is_ambiguous: bool,
    text: String,
}

/// Fraction of wrong labels by which `low` is below `high`, fractions of `n` and `m` examples;
/// `None` if the difference is not significant.
fn wrong(chance: f64, (low, n): (f64, u64), (high, m): (f64, u64)) -> Option<f64> {
    let margin = |p, n| fraction_margin(p, n, DEVIATIONS);
    let (a, b) = (margin(low, n), margin(high, m));
    let is_significant = high - low > libm::sqrt(a * a + b * b) && high > chance + b;
    is_significant.then(|| (1.0 - ((low - chance) / (high - chance)).max(0.0)) * (1.0 - chance))
}

/// Excess of the last validation accuracy over the accuracy on the last recorded batches, before
/// their steps; `None` if few were recorded.
fn excess_over_batches(record: &Record) -> Option<f64> {
    let accuracies: Vec<f64> = record.steps.iter().filter_map(|step| step.accuracy).collect();
    let last = &accuracies[accuracies.len() - accuracies.len() / 4..];
    let validation = record.epochs.iter().rev().find_map(|epoch| epoch.val_accuracy)?;
    let count = last.len();
    // Accuracies of tiny batches are 0 or 1: their mean counts, over enough examples.
    let is_enough = count >= 4 && (count as u64).saturating_mul(record.model.batch) >= 200;
    is_enough.then(|| validation - last.iter().sum::<f64>() / count as f64)
}

/// Median excess of the validation accuracy before an epoch over the training accuracy within it.
fn excess_of_validation(record: &Record) -> Option<f64> {
    let epochs = &record.epochs[record.epochs.len() / 2..];
    let excess = |pair: &[crate::record::Epoch]| match pair {
        [before, epoch] => Some(before.val_accuracy? - epoch.train_accuracy?),
        _ => None,
    };
    let excesses: Vec<f64> = epochs.windows(2).filter_map(excess).collect();
    (excesses.len() >= 2).then(|| median(excesses))?
}

fn estimate(context: &Context<'_>, data: &Data) -> Option<Estimate> {
    let (record, n) = (context.record, data.neighbours_sampled);
    let agreement = data.neighbour_agreement.zip(chance(data)).filter(|_| n >= SAMPLED);
    if let Some((training, chance)) = agreement {
        let validation = match data.validation {
            0 => n,
            examples => examples.min(n),
        };
        let leaked = data.leaked_validation as f64 / data.validation.max(1) as f64;
        let clean = data.validation_agreement.filter(|_| leaked <= LEAKED);
        let by_validation =
            clean.and_then(|clean| wrong(chance, (training, n), (clean, validation)));
        let threshold = context.threshold("training");
        if let Some(wrong) = by_validation.filter(|&wrong| wrong > threshold) {
            let text = format!(
                "{:.1} % of the nearest neighbours agree among training examples, {:.1} % between \
                 validation and training",
                100.0 * training,
                100.0 * clean.unwrap_or_default()
            );
            return Some(Estimate {
                wrong,
                threshold,
                confidence: 0.75,
                is_ambiguous: false,
                text,
            });
        }
        let vote = data.neighbour_vote;
        let by_vote = vote.and_then(|vote| wrong(chance, (training, n), (vote, n)));
        let threshold = context.threshold("both");
        if let Some(wrong) = by_vote.filter(|&wrong| wrong > threshold) {
            let text = format!(
                "one neighbour is right in {:.1} % of the cases, a vote of 15 in {:.1} %",
                100.0 * training,
                100.0 * vote.unwrap_or_default()
            );
            return Some(Estimate { wrong, threshold, confidence: 0.35, is_ambiguous: true, text });
        }
    }
    // Dropout and tiny batches of a batch norm harm the training accuracy alone.
    let is_alike = !has_layer(record, "dropout")
        && record.model.layers.iter().all(|layer| layer.dropout.is_none_or(|p| p == 0.0))
        && !(has_layer(record, "batch_norm") && (1..16).contains(&record.model.batch))
        // Of examples in the order of their classes, the next batch is unlike those before.
        && record.data.as_ref().is_none_or(|data| !is_sorted(data));
    let excess = excess_of_validation(record).or_else(|| excess_over_batches(record));
    let wrong = excess.filter(|_| is_alike)?;
    let threshold = context.threshold("epochs");
    let examples = validation_examples(record);
    let margin = fraction_margin(0.5, examples, DEVIATIONS);
    let text = format!(
        "the validation accuracy exceeds that of the next training batches by {:.1} points",
        100.0 * wrong
    );
    let is_significant = examples > 0 && wrong > margin;
    (is_significant && wrong > threshold).then_some(Estimate {
        wrong,
        threshold,
        confidence: 0.6,
        is_ambiguous: false,
        text,
    })
}

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let Some(data) = &record.data else { return Vec::new() };
    if record.model.task != Task::Classification {
        return Vec::new();
    }
    let Some(estimate) = estimate(context, data) else { return Vec::new() };
    let Estimate { wrong, threshold, confidence, is_ambiguous, text } = estimate;
    let or = if is_ambiguous { ", or not determined by the inputs" } else { "" };
    let wrong_percent = 100.0 * wrong;
    let message =
        format!("About {wrong_percent:.0} % of the training labels are wrong{or}: {text}.");
    let mut finding = context.finding(message);
    finding.severity = if is_ambiguous {
        finding.severity.min(Severity::Warning)
    } else {
        finding.severity.max(Severity::Warning)
    };
    let quantity = "estimated fraction of wrong labels";
    Vec::from([finding.with(quantity, wrong, threshold).with_confidence(confidence)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Epoch;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    /// Agreements of `mnist` with a fraction of the labels replaced at random.
    fn noisy(training: f64, validation: f64) -> Data {
        let of = |clean: f64, a: f64, b: f64| Some(0.1 + (clean - 0.1) * (1.0 - a) * (1.0 - b));
        Data {
            neighbour_agreement: of(0.965, training, training),
            neighbour_vote: of(0.96, training, 0.0),
            validation_agreement: of(0.965, training, validation),
            ..mnist()
        }
    }

    #[test]
    fn noise_is_estimated_in_training_alone_and_in_both_sets() {
        let check = |training, validation| {
            check_rule(&RULE, &record_of_data(noisy(training, validation), &[0.97]))
        };
        assert_eq!(check(0.0, 0.0), None);
        assert_eq!(check(0.02, 0.0), None);
        let finding = check(0.2, 0.0).expect("18 % in training");
        assert!((finding.evidence[0].value - 0.18).abs() < 1e-9, "{finding:?}");
        assert_eq!(finding.severity, Severity::Warning);
        let finding = check(0.3, 0.3).expect("27 % in both");
        assert!((finding.evidence[0].value - 0.27).abs() < 0.02, "{finding:?}");
    }

    #[test]
    fn hard_and_overlapping_classes_are_not_noise() {
        let check = |one: f64, vote: f64, validation: f64, chance: f64| {
            let data = Data {
                neighbour_agreement: Some(one),
                neighbour_vote: Some(vote),
                validation_agreement: Some(validation),
                same_label_by_chance: Some(chance),
                ..mnist()
            };
            check_rule(&RULE, &record_of_data(data, &[0.5]))
        };
        assert_eq!(check(0.35, 0.36, 0.35, 0.1), None, "photographs, by pixels");
        assert_eq!(check(0.7, 0.75, 0.7, 0.55), None, "a medical table");
    }

    #[test]
    fn validation_may_not_be_easier_than_unseen_training_examples() {
        let record = |train: f64, val: f64| {
            let mut record = record_of_data(mnist(), &[]);
            for epoch in 1..=6 {
                let (train_accuracy, val_accuracy) = (Some(train), Some(val));
                record.epochs.push(Epoch {
                    epoch,
                    train_accuracy,
                    val_accuracy,
                    ..Epoch::default()
                });
            }
            record
        };
        let finding = check_rule(&RULE, &record(0.78, 0.96)).expect("18 points");
        assert!((finding.evidence[0].value - 0.18).abs() < 1e-9);
        assert_eq!(check_rule(&RULE, &record(0.9, 0.96)), None);
        let mut dropout = record(0.78, 0.96);
        dropout
            .model
            .layers
            .push(crate::record::Layer { kind: "dropout".into(), ..Default::default() });
        assert_eq!(check_rule(&RULE, &dropout), None);
    }
}
