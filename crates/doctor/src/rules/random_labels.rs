//! Labels that have nothing to do with the inputs.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::{Data, Task};
use crate::rule::{Context, Rule, Threshold};
use crate::scores::beats_chance;
use crate::statistics::fraction_margin;
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "random-labels",
    title: "The labels have nothing to do with the inputs",
    meaning: "Labels and examples were read in different orders, or joined by the wrong key. A \
              large network learns them by heart, and predicts new examples no better than \
              chance. No hyper-parameter helps.",
    formula: "|a - c| <= z * sqrt(c (1 - c) / n) (after Agresti and Coull), z = `deviations`, \
              with a the fraction of n sampled training examples whose label is that of their \
              nearest other example, and c the same for random labels, the sum of the squared \
              class frequencies. n is 100 at least. The rule is silent if the network or the \
              reference ever beat chance on the validation set.",
    origin: "Neighbours may have nothing in common in data of many noisy inputs, or a label that \
             always differs (parity): so a model that predicts better than chance refutes the \
             finding.",
    references: "Zhang et al., Understanding Deep Learning Requires Rethinking Generalization, \
                 ICLR 2017; Cover, Hart, IEEE Trans. Information Theory 13, 1967; Agresti, Coull, \
                 The American Statistician 52, 1998.",
    thresholds: &[Threshold {
        key: "deviations",
        default: 3.0,
        meaning: "standard deviations of chance within which neighbours agree",
    }],
    cures: &[Cure::CorrectLabels],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        symptoms::ERRATIC,
        &[
            "conflicting-duplicates",
            "label-noise",
            "overfitting",
            "overtraining",
            "constant-output",
            "learning-rate-too-low",
            "dropout-too-strong",
        ],
    ],
    check,
};

/// Sampled examples below which agreement cannot be told from chance.
const SAMPLED: u64 = 100;

/// Agreement of random labels in `data`; `None` if the class frequencies are unknown.
pub(super) fn chance(data: &Data) -> Option<f64> {
    data.same_label_by_chance.or_else(|| {
        let total = data.class_counts.iter().map(|&count| count as f64).sum::<f64>();
        let squares = data.class_counts.iter().map(|&count| {
            let frequency = count as f64 / total;
            frequency * frequency
        });
        (total > 0.0).then(|| squares.sum())
    })
}

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let Some(data) = &record.data else { return Vec::new() };
    let (Some(agreement), Some(chance)) = (data.neighbour_agreement, chance(data)) else {
        return Vec::new();
    };
    let sampled = data.neighbours_sampled;
    let margin = fraction_margin(chance, sampled, context.threshold("deviations"));
    let is_random = libm::fabs(agreement - chance) <= margin;
    let is_task = record.model.task == Task::Classification;
    // With one class, all agree and nothing can be told.
    let is_told = sampled >= SAMPLED && chance + margin < 0.9;
    let frequency = context.progress.chance_accuracy.unwrap_or(chance);
    if !is_task || !is_random || !is_told || beats_chance(record, frequency) {
        return Vec::new();
    }
    let message = format!(
        "The labels have nothing to do with the inputs: {:.1} % of the nearest neighbours agree, \
         random labels would by {:.1} %.",
        100.0 * agreement,
        100.0 * chance
    );
    let finding = Finding::new(RULE.id, Severity::Critical, message)
        .cured_by(RULE.cures)
        .with("fraction of nearest neighbours with one label", agreement, chance + margin)
        .with("same for random labels", chance, None)
        .with_confidence(0.9);
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn agreement_by_chance_is_critical_unless_a_model_refutes_it() {
        let check = |agreement: f64, accuracy: f64| {
            let data = Data { neighbour_agreement: Some(agreement), ..mnist() };
            check_rule(&RULE, &record_of_data(data, &[accuracy]))
        };
        let finding = check(0.104, 0.098).expect("chance");
        assert_eq!(finding.severity, Severity::Critical);
        assert!(finding.cures.iter().all(|cure| cure.is_of_data()));
        assert_eq!(check(0.104, 0.4), None, "the network knows better");
        assert_eq!(check(0.17, 0.1), None, "hard, but not random");
        assert_eq!(check(0.0, 0.1), None, "parity: neighbours never agree");
        assert_eq!(check(0.965, 0.1), None, "healthy data of a stuck network");
    }

    #[test]
    fn few_samples_and_one_class_tell_nothing() {
        let data = || Data { neighbour_agreement: Some(0.1), neighbours_sampled: 99, ..mnist() };
        assert_eq!(check_rule(&RULE, &record_of_data(data(), &[])), None);
        let data =
            Data { neighbour_agreement: Some(1.0), same_label_by_chance: Some(1.0), ..mnist() };
        assert_eq!(check_rule(&RULE, &record_of_data(data, &[])), None);
    }
}
