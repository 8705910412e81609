//! One input value far from all others.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "outlier-inputs",
    title: "A few input values are far from all others",
    meaning: "A placeholder for a missing value, a wrong unit, or a slip of a decimal point. Its \
              example gives a huge gradient, and a scale computed from it squeezes all proper \
              values together.",
    formula: "max(|min|, |max|)^2 / (n * rms^2), n the number of input values: the share of one \
              value in the sum of the squares of all. The rule fires above `share`, for n of at \
              least 1000.",
    origin: "A value among n equal ones has the share 1/n, so that a tenth of the sum is hundreds \
             of standard deviations in a thousand values. One-hot inputs and sparse counts, whose \
             maximum is far above their root mean square too, stay near 1/n.",
    references: "Huber, Ronchetti, Robust Statistics, 2nd edition, 2009.",
    thresholds: &[Threshold {
        key: "share",
        default: 0.1,
        meaning: "share of the largest value in the sum of the squares of all",
    }],
    cures: &[Cure::CorrectInputs],
    causes: &[
        symptoms::EXTREME,
        &[
            "unscaled-inputs",
            "target-scale",
            "loss-spikes",
            "non-finite",
            "loss-not-decreasing",
            "accuracy-at-chance",
            "plateau",
            "underfitting",
        ],
    ],
    check,
};

/// Values below which the share of one is large anyway.
const VALUES: f64 = 1000.0;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let Some(data) = &context.record.data else { return Vec::new() };
    let (Some(min), Some(max), Some(rms)) = (data.min, data.max, data.rms) else {
        return Vec::new();
    };
    let values = data.inputs as f64 * data.train as f64;
    let largest = if -min > max { min } else { max };
    let share = largest * largest / (values * rms * rms);
    let threshold = context.threshold("share");
    if values < VALUES || !share.is_finite() || share <= threshold {
        return Vec::new();
    }
    let message = format!(
        "An input value of {largest:.4e} has {:.0} % of the sum of the squares of all {values} \
         input values.",
        100.0 * share.min(1.0)
    );
    let finding = context
        .finding(message)
        .with("share of the largest value in the sum of the squares", share, threshold)
        .with("root mean square of the inputs", rms, None)
        .with_confidence(0.92);
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Data;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn a_slip_of_a_decimal_point_is_found_and_sparse_inputs_are_not() {
        let table = |min: f64, max: f64, rms: f64, inputs: u64| {
            let (min, max, rms) = (Some(min), Some(max), Some(rms));
            record_of_data(Data { train: 1000, inputs, min, max, rms, ..Data::default() }, &[])
        };
        // One -1e6 in 10 000 standard normal values.
        let rms = libm::sqrt(1.0 + 1e12 / 1e4);
        let finding = check_rule(&RULE, &table(-1e6, 4.0, rms, 10)).expect("an outlier");
        assert!(finding.message.contains("-1.0000e6"), "{}", finding.message);
        // One-hot inputs; a tenth of a column is a placeholder, which is a habit, not a slip.
        assert_eq!(check_rule(&RULE, &table(0.0, 1.0, 0.01, 10_000)), None);
        assert_eq!(check_rule(&RULE, &table(-999.0, 4.0, 99.9, 10)), None);
        assert_eq!(check_rule(&RULE, &record_of_data(mnist(), &[])), None);
    }
}
