//! One regression target far from all others.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::Task;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "outlier-targets",
    title: "One target has a large part of the variance of all",
    meaning: "A placeholder, a wrong unit, or a slip of a decimal point among the targets. With a \
              squared error, its example outweighs all others, in the loss, in the gradient, and \
              in the scale that targets are standardised by.",
    formula: "(x - mean)^2 / (n std^2), x the target farthest from the mean: its share in the \
              variance of n targets. The rule fires above `share`, for n of at least 100.",
    origin: "The largest of a hundred normal targets has a share of 0.06, of ten thousand 0.0015. \
             Only heavy tails and mistakes reach a third.",
    references: "Huber, Ronchetti, Robust Statistics, 2nd edition, 2009.",
    thresholds: &[Threshold {
        key: "share",
        default: 0.3,
        meaning: "share of the farthest target in the variance of all",
    }],
    cures: &[Cure::CorrectLabels],
    causes: &[
        symptoms::EXTREME,
        &[
            "target-scale",
            "loss-spikes",
            "plateau",
            "loss-not-decreasing",
            "accuracy-at-chance",
            "underfitting",
        ],
    ],
    check,
};

/// Targets below which one has a large share anyway.
const TARGETS: u64 = 100;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let Some(data) = &record.data else { return Vec::new() };
    let (Some(mean), Some(std)) = (data.target_mean, data.target_std) else { return Vec::new() };
    let (Some(min), Some(max)) = (data.target_min, data.target_max) else { return Vec::new() };
    let farthest = if mean - min > max - mean { min } else { max };
    let distance = (farthest - mean) / std;
    let share = distance * distance / data.train as f64;
    let threshold = context.threshold("share");
    let is_task = record.model.task == Task::Regression && data.train >= TARGETS;
    if !is_task || !share.is_finite() || share <= threshold {
        return Vec::new();
    }
    let message = format!(
        "A target of {farthest:.4e} has {:.0} % of the variance of all {} targets.",
        100.0 * share.min(1.0),
        data.train
    );
    let mut finding = context.finding(message);
    finding.severity = finding.severity.max(Severity::Warning);
    let quantity = "share of the farthest target in the variance of all";
    Vec::from([finding.with(quantity, share, threshold).with_confidence(0.9)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Data, Record};
    use crate::rules::testing::check_rule;

    #[test]
    fn a_target_in_another_unit_is_found_and_a_long_tail_is_not() {
        let check = |std: f64, max: f64, train: u64| {
            let mut record = Record::default();
            record.model.task = Task::Regression;
            record.data = Some(Data {
                train,
                target_mean: Some(0.0),
                target_std: Some(std),
                target_min: Some(-1.0),
                target_max: Some(max),
                ..Data::default()
            });
            check_rule(&RULE, &record).map(|finding| finding.severity)
        };
        // One of 1e4 in a thousand standard normal targets.
        assert_eq!(check(libm::sqrt(1.0 + 1e8 / 1e3), 1e4, 1000), Some(Severity::Warning));
        assert_eq!(check(1.0, 15.0, 1000), None, "a share of 0.225");
        assert_eq!(check(1.0, 5.0, 50), None, "few targets");
    }
}
