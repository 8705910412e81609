//! Inputs that are the same in all examples.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "constant-inputs",
    title: "Inputs do not vary between examples",
    meaning: "An input with one value in all training examples tells nothing. If all are such, \
              every example is the same to the network, and it can only learn the frequencies of \
              the labels: the data were read wrongly, or overwritten.",
    formula: "Number of inputs with one value in all training examples, over the number of \
              inputs. All of them are critical whatever the training does; a fraction above \
              `fraction` is a finding.",
    origin: "The border of an image is constant in healthy data: 8.5 % of MNIST's pixels are.",
    references: "LeCun, Bottou, Orr, Mueller, Efficient BackProp, 1998, section 4.3.",
    thresholds: &[Threshold {
        key: "fraction",
        default: 0.9,
        meaning: "fraction of the inputs that are constant",
    }],
    cures: &[Cure::CorrectInputs],
    causes: &[
        symptoms::NOT_LEARNING,
        &[
            "random-labels",
            "duplicated-examples",
            "conflicting-duplicates",
            "split-leak",
            "unscaled-inputs",
            "small-inputs",
            "constant-output",
            "overfit-one-batch-fails",
            "learning-rate-too-low",
        ],
    ],
    check,
};

fn check(context: &Context<'_>) -> Vec<Finding> {
    let Some(data) = &context.record.data else { return Vec::new() };
    let (constant, inputs) = (data.constant_inputs, data.inputs);
    let fraction = constant as f64 / inputs as f64;
    let threshold = context.threshold("fraction");
    // One example is constant by itself.
    if inputs == 0 || data.train == 1 || fraction <= threshold {
        return Vec::new();
    }
    let (finding, confidence) = if constant >= inputs {
        let message = format!("All {inputs} inputs are the same in every training example.");
        (Finding::new(RULE.id, Severity::Critical, message).cured_by(RULE.cures), 0.99)
    } else {
        let message = format!("{constant} of {inputs} inputs are the same in every example.");
        (context.finding(message), 0.5)
    };
    let quantity = "fraction of constant inputs";
    Vec::from([finding.with(quantity, fraction, threshold).with_confidence(confidence)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Data;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn a_border_is_healthy_and_a_blank_image_is_not() {
        let check = |constant_inputs| {
            check_rule(&RULE, &record_of_data(Data { constant_inputs, ..mnist() }, &[]))
        };
        assert_eq!(check(67), None);
        assert_eq!(check(705), None);
        assert_eq!(check(706).expect("90 %").severity, Severity::Warning);
        assert_eq!(check(784).expect("all").severity, Severity::Critical);
        let unknown = record_of_data(Data { inputs: 0, ..mnist() }, &[]);
        assert_eq!(check_rule(&RULE, &unknown), None);
    }
}
