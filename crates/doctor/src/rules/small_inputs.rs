//! Inputs that are all close to 0.

use alloc::format;
use alloc::vec::Vec;

use super::unscaled_inputs::are_indices;
use crate::cure::Cure;
use crate::finding::Finding;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "small-inputs",
    title: "All inputs are close to 0",
    meaning: "Inputs that were divided by 255 twice, or a unit that makes all values small. The \
              outputs hardly depend on such inputs, and the gradient of the first layer is as \
              small as they are: it learns at a tiny fraction of the others' speed.",
    formula: "max(|min|, |max|) of the inputs, below `magnitude` and above 0. If it was not \
              measured, their root mean square below a tenth of that. Networks that standardise \
              their inputs themselves are left out.",
    origin: "The maximum and not the root mean square is judged: that of one-hot inputs is small \
             too, and they are healthy. Pixels scaled once have a maximum of 1, scaled twice of \
             1/255.",
    references: "LeCun, Bottou, Orr, Mueller, Efficient BackProp, 1998, section 4.3.",
    thresholds: &[Threshold {
        key: "magnitude",
        default: 0.05,
        meaning: "largest magnitude of an input",
    }],
    cures: &[Cure::StandardiseInputs, Cure::BatchNorm, Cure::RaiseRate],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &[
            "learning-rate-too-low",
            "vanishing-gradient",
            "exploding-gradient",
            "constant-output",
            "optimizer-epsilon",
            "large-biases",
            "overfit-one-batch-fails",
            "precision-too-low",
        ],
    ],
    check,
};

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let Some(data) = record.data.as_ref().filter(|data| !data.standardised) else {
        return Vec::new();
    };
    let threshold = context.threshold("magnitude");
    let largest = data.min.zip(data.max).map(|(min, max)| libm::fabs(min).max(libm::fabs(max)));
    let (value, threshold, name) = match (largest, data.rms) {
        (Some(largest), _) => (largest, threshold, "largest magnitude of an input"),
        (None, Some(rms)) => (rms, threshold / 10.0, "root mean square of the inputs"),
        (None, None) => return Vec::new(),
    };
    let is_small = value > 0.0 && value < threshold;
    if !is_small || are_indices(record) {
        return Vec::new();
    }
    let message = format!("All inputs are close to 0: the {name} is {value:.2e}.");
    let finding = context.finding(message).with(name, value, threshold).with_confidence(0.85);
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::record::Data;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn pixels_scaled_twice_are_found_and_one_hot_inputs_are_not() {
        let twice = Data { max: Some(1.0 / 255.0), rms: Some(0.335 / 255.0), ..mnist() };
        let finding = check_rule(&RULE, &record_of_data(twice, &[0.1])).expect("1/255");
        assert_eq!(finding.severity, Severity::Critical);
        let one_hot = Data { max: Some(1.0), rms: Some(0.01), ..mnist() };
        assert_eq!(check_rule(&RULE, &record_of_data(one_hot, &[0.1])), None);
        assert_eq!(check_rule(&RULE, &record_of_data(mnist(), &[0.1])), None);
        let by_rms = Data { min: None, max: None, rms: Some(0.001), ..mnist() };
        assert!(check_rule(&RULE, &record_of_data(by_rms, &[0.1])).is_some());
        let constant = Data { min: Some(0.0), max: Some(0.0), rms: Some(0.0), ..mnist() };
        assert_eq!(check_rule(&RULE, &record_of_data(constant, &[0.1])), None);
    }
}
