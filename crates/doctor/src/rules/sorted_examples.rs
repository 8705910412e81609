//! Training examples in the order of their labels.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::Data;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "sorted-examples",
    title: "The training examples are in the order of their labels",
    meaning: "A batch of one class teaches the network to predict that class for everything, and \
              the next one to forget it. Gradients of batches are estimates of the whole \
              gradient only if their examples are drawn at random.",
    formula: "(s - c) / (1 - c), with s the fraction of successive training examples with one \
              label, in the order of training, and c the same in a random order, above `excess`, \
              and by more than five standard deviations of chance. Full batches have no order. \
              It is at least a warning above 0.9.",
    origin: "0 in a random order, 1 if each class is one block. The half leaves room for data \
             that come in short runs.",
    references: "Bengio, Practical Recommendations for Gradient-Based Training of Deep \
                 Architectures, 2012; Bottou, Stochastic Gradient Descent Tricks, 2012.",
    thresholds: &[Threshold {
        key: "excess",
        default: 0.5,
        meaning: "excess of equal labels in succession over chance, 1 at most",
    }],
    cures: &[Cure::Shuffle],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::ERRATIC,
        &[
            "non-finite",
            "split-shift",
            "exploding-updates",
            "learning-rate-too-high",
            "constant-output",
        ],
    ],
    check,
};

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let Some(data) = &record.data else { return Vec::new() };
    let (Some(same), Some(chance)) = (data.same_label_successors, data.same_label_by_chance) else {
        return Vec::new();
    };
    let excess = excess(data).unwrap_or(f64::NAN);
    let deviation = libm::sqrt(chance * (1.0 - chance) / data.train as f64);
    let threshold = context.threshold("excess");
    let is_full_batch = data.train > 0 && record.model.batch >= data.train;
    let is_significant = same - chance > 5.0 * deviation;
    if !is_significant || excess <= threshold || !excess.is_finite() || is_full_batch {
        return Vec::new();
    }
    let message = format!(
        "{:.1} % of successive training examples have one label, against {:.1} % in a random \
         order: they are sorted.",
        100.0 * same,
        100.0 * chance
    );
    let quantity = "excess of equal labels in succession over chance";
    let mut finding = context.finding(message);
    if excess > SORTED {
        // The last classes overwrite the first, however well the first steps went.
        finding.severity = finding.severity.max(Severity::Warning);
    }
    Vec::from([finding.with(quantity, excess, threshold).with_confidence(0.93)])
}

/// Excess from which the examples are in the order of their classes.
const SORTED: f64 = 0.9;

/// Excess of equal labels in succession over a random order: 1 for examples in the order of their
/// classes. `None` if it was not measured.
fn excess(data: &Data) -> Option<f64> {
    let (same, chance) = data.same_label_successors.zip(data.same_label_by_chance)?;
    let excess = (same - chance) / (1.0 - chance);
    excess.is_finite().then_some(excess)
}

/// `true` if the examples are in the order of their classes.
pub(super) fn is_sorted(data: &Data) -> bool {
    excess(data).is_some_and(|excess| excess > SORTED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn blocks_of_a_class_are_found_and_short_runs_are_not() {
        let check = |same: f64, batch: u64| {
            let data = Data { same_label_successors: Some(same), ..mnist() };
            let mut record = record_of_data(data, &[0.1]);
            record.model.batch = batch;
            check_rule(&RULE, &record)
        };
        assert_eq!(check(0.9998, 64).expect("sorted").severity, Severity::Critical);
        assert_eq!(check(0.5, 64), None);
        assert_eq!(check(0.9998, 50_000), None);
        let few = Data {
            train: 12,
            same_label_successors: Some(0.8),
            same_label_by_chance: Some(0.5),
            ..Data::default()
        };
        assert_eq!(check_rule(&RULE, &record_of_data(few, &[])), None, "chance among 12 rows");
    }
}
