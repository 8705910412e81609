//! Inputs whose scale is far from 1.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::{Data, Record};
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "unscaled-inputs",
    title: "The inputs are not scaled",
    meaning: "The gradient of the first layer is proportional to its inputs, and the curvature of \
              the loss to their squares. Inputs of 0 to 255, of an offset many times their \
              spread, or of very different spreads give a loss with steep and flat directions: \
              the learning rate is too high for some, or too low for the others. Large inputs \
              saturate the first activations too.",
    formula: "rms > `rms`, the root mean square of the inputs; or |mean| / std > `offset`, over \
              all inputs; or a range of one input over that of another above `range_ratio`; or \
              the largest |mean| / std of one input over sqrt(n) above `input_offset`. Where \
              ranges were not measured, sqrt(2 / n) times the ratio of standard deviations, n the \
              examples, is a lower bound of their ratio. Networks that standardise their inputs \
              themselves are left out, and so are indices into an embedding.",
    origin: "Standardised inputs have an rms of 1, pixels of 0 to 1 about 0.5, pixels of 0 to 255 \
             about 100. An input that differs from a constant in one example only, like a pixel at \
             the border, has a standard deviation sqrt(n) times below its range: ratios of \
             standard deviations alone would call MNIST unscaled. 8-bit pixels differ in range \
             by 255 at most.",
    references: "LeCun, Bottou, Orr, Mueller, Efficient BackProp, 1998, section 4.3; Popoviciu, \
                 Mathematica 9, 1935 (std <= range / 2).",
    thresholds: &[
        Threshold { key: "rms", default: 10.0, meaning: "root mean square of the inputs" },
        Threshold {
            key: "offset",
            default: 10.0,
            meaning: "|mean| over standard deviation of all inputs",
        },
        Threshold {
            key: "range_ratio",
            default: 1e3,
            meaning: "largest range of an input over the smallest",
        },
        Threshold {
            key: "input_offset",
            default: 10.0,
            meaning: "largest |mean| over standard deviation of an input, over the square root of \
                      the number of examples",
        },
    ],
    cures: &[Cure::StandardiseInputs, Cure::BatchNorm],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        symptoms::ERRATIC,
        symptoms::EXTREME,
        &["non-finite"],
    ],
    check,
};

/// Multiple of a threshold above which inputs are a risk even if the training goes well.
const EXTREME: f64 = 100.0;

/// `true` if the inputs are indices, which have no scale.
pub(super) fn are_indices(record: &Record) -> bool {
    record.model.layers.first().is_some_and(|layer| layer.kind.contains("embedding"))
}

/// |mean| over standard deviation of all inputs together.
fn offset(data: &Data) -> Option<f64> {
    let (mean, rms) = (data.mean?, data.rms?);
    let variance = rms * rms - mean * mean;
    // Below rounding errors of the two, the inputs are constant: another rule's matter.
    (variance > 1e-9 * rms * rms).then(|| libm::fabs(mean) / libm::sqrt(variance))
}

/// A quantity, and its ratio to its threshold.
struct Excess {
    ratio: f64,
    value: f64,
    threshold: f64,
    quantity: &'static str,
    text: String,
    confidence: f64,
}

fn excesses(context: &Context<'_>, data: &Data) -> Vec<Excess> {
    let mut excesses = Vec::new();
    let mut add = |key: &str, value: Option<f64>, quantity, text: &str, confidence| {
        let (Some(value), threshold) = (value, context.threshold(key)) else { return };
        if value > threshold && value.is_finite() {
            let (ratio, text) = (value / threshold, text.replace("{}", &format!("{value:.1}")));
            excesses.push(Excess { ratio, value, threshold, quantity, text, confidence });
        }
    };
    let text = "their root mean square is {}";
    let sure = if data.rms.is_some_and(|rms| rms > 30.0) { 0.9 } else { 0.75 };
    add("rms", data.rms, "root mean square of the inputs", text, sure);
    let text = "their mean is {} standard deviations from 0";
    add("offset", offset(data), "|mean| over standard deviation of the inputs", text, 0.75);
    let examples = data.train as f64;
    let by_std = data.scale_ratio.filter(|_| data.train > 0);
    let bound = by_std.map(|ratio| ratio * libm::sqrt(2.0 / examples));
    let text = "the range of one is at least {} times that of another";
    let range_ratio = data.range_ratio.or(bound);
    add("range_ratio", range_ratio, "largest range of an input over the smallest", text, 0.7);
    let of_input = data.offset_ratio.filter(|_| data.train > 0);
    add(
        "input_offset",
        of_input.map(|offset| offset / libm::sqrt(examples)),
        "largest |mean| over standard deviation of an input, over the root of the examples",
        "the mean of one is far from 0 for its spread, by {} after division by the root of the \
         number of examples",
        0.4,
    );
    excesses.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
    excesses
}

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let Some(data) = record.data.as_ref().filter(|data| !data.standardised) else {
        return Vec::new();
    };
    if are_indices(record) {
        return Vec::new();
    }
    let excesses = excesses(context, data);
    let Some(worst) = excesses.first() else { return Vec::new() };
    let message = format!("The inputs are not scaled: {}.", worst.text);
    let mut finding = context.finding(message);
    if worst.ratio > EXTREME {
        finding.severity = finding.severity.max(Severity::Warning);
    }
    let confidence = excesses.iter().map(|excess| excess.confidence).fold(0.0, f64::max);
    for Excess { quantity, value, threshold, .. } in excesses {
        finding = finding.with(quantity, value, threshold);
    }
    Vec::from([finding.with_confidence(confidence)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Layer;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn raw_pixels_are_critical_for_a_stuck_network_and_a_fact_otherwise() {
        let raw = || Data { max: Some(255.0), mean: Some(33.3), rms: Some(85.4), ..mnist() };
        let mut record = record_of_data(raw(), &[0.1]);
        let finding = check_rule(&RULE, &record).expect("rms 85");
        assert_eq!(finding.severity, Severity::Critical);
        assert!(finding.message.contains("85.4"), "{}", finding.message);
        record.epochs[0].val_accuracy = Some(0.97);
        record.reference =
            Some(crate::record::Reference { val_accuracy: Some(0.9), ..Default::default() });
        assert_eq!(check_rule(&RULE, &record).expect("rms 85").severity, Severity::Info);
        record.data = Some(Data { standardised: true, ..raw() });
        assert_eq!(check_rule(&RULE, &record), None);
        record.data = Some(raw());
        record.model.layers.push(Layer { kind: "embedding".into(), ..Layer::default() });
        assert_eq!(check_rule(&RULE, &record), None);
    }

    #[test]
    fn rare_pixels_do_not_make_a_scale_ratio() {
        assert_eq!(check_rule(&RULE, &record_of_data(mnist(), &[0.1])), None);
        let data = Data { range_ratio: None, ..mnist() };
        assert_eq!(check_rule(&RULE, &record_of_data(data, &[0.1])), None);
        // White background: the border is 1 in all examples but one.
        let white = Data {
            mean: Some(0.87),
            rms: Some(0.92),
            offset_ratio: Some(500.0),
            range_ratio: None,
            ..mnist()
        };
        assert_eq!(check_rule(&RULE, &record_of_data(white, &[0.1])), None);
    }

    #[test]
    fn columns_of_different_units_and_offsets_are_found() {
        let table = |mean: f64, rms: f64, scale_ratio: f64, offset_ratio: f64| {
            let (scale_ratio, offset_ratio) = (Some(scale_ratio), Some(offset_ratio));
            let (mean, rms) = (Some(mean), Some(rms));
            let data = Data {
                train: 500,
                inputs: 8,
                mean,
                rms,
                scale_ratio,
                offset_ratio,
                ..Data::default()
            };
            record_of_data(data, &[])
        };
        let finding =
            |record: &Record| check_rule(&RULE, record).map(|f| f.evidence[0].quantity.clone());
        let quantity = finding(&table(0.1, 1.0, 1e5, 3.0)).expect("units");
        assert!(quantity.contains("range"), "{quantity}");
        let quantity = finding(&table(1.0, 1.001, 2.0, 22.0)).expect("an offset");
        assert!(quantity.starts_with("|mean|"), "{quantity}");
        let quantity = finding(&table(0.1, 1.0, 2.0, 300.0)).expect("an offset of one input");
        assert!(quantity.contains("root of the examples"), "{quantity}");
        assert_eq!(finding(&table(1.5, 3.0, 50.0, 8.0)), None);
    }
}
