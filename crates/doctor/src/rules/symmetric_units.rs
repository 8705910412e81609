//! Units that are equal, and stay so.

use alloc::format;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::network::{initial_tensors, last_weights, taken_steps};
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "symmetric-units",
    title: "Units have equal weights",
    meaning: "Units with the same incoming and outgoing weights get the same gradient, and stay \
              equal for ever: together they compute no more than one of them. Random weights \
              break the symmetry.",
    formula: "Units of a hidden weight tensor whose incoming weights equal those of another unit, \
              bit for bit, over all its units, in the initial network. The rule fires above \
              `fraction`; from half of the units on it is a warning, however well training goes. \
              Weights of 0 are for another rule.",
    origin: "In f32, two random units with several inputs are never equal. A few equal ones do no \
             harm, so that the default is a tenth.",
    references: "Rumelhart, Hinton, Williams, Nature 323, 1986; Goodfellow, Bengio, Courville, \
                 Deep Learning, 2016, section 8.4.",
    thresholds: &[Threshold {
        key: "fraction",
        default: 0.1,
        meaning: "fraction of equal units of a layer, above which it is symmetric",
    }],
    cures: &[Cure::MatchedInitialiser, Cure::OrthogonalInitialiser, Cure::OtherSeed],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        symptoms::ERRATIC,
        &[
            "initialisation-too-small",
            "initialisation-too-large",
            "learning-rate-too-high",
            "learning-rate-too-low",
            "saturation",
            "dead-relu",
            "constant-output",
            "overfit-one-batch-fails",
        ],
    ],
    check: |context| find(context).into_iter().collect(),
};

/// Fraction of equal units from which a layer has lost most of its width.
const HALF: f64 = 0.5;

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let model = &record.model;
    let threshold = context.threshold("fraction");
    let (samples, last) = (initial_tensors(record), last_weights(model));
    let fraction = |index: usize| {
        let (tensor, sample) = (model.tensors.get(index)?, samples.get(index)?);
        let is_embedding = model.layers.get(tensor.layer).is_some_and(|l| l.kind == "embedding");
        if !tensor.weight || sample.param_norm == Some(0.0) || is_embedding {
            return None;
        }
        let units = tensor.elements.checked_div(tensor.fan_in).filter(|&units| units > 0)?;
        Some(sample.equal_units.min(units) as f64 / units as f64)
    };
    // The output layer's targets differ, and with them its gradients.
    let hidden = (0..model.tensors.len()).filter(|&index| Some(index) != last);
    let symmetric = hidden.filter_map(|index| Some((index, fraction(index)?)));
    let (index, fraction) = symmetric.reduce(|a, b| if b.1 > a.1 { b } else { a })?;
    if fraction <= threshold {
        return None;
    }
    let name = &model.tensors.get(index)?.name;
    let latest = taken_steps(record).next_back();
    let latest = latest.and_then(|step| Some((step.step, step.tensors.get(index)?.equal_units)));
    let stays = latest.is_some_and(|(_, equal)| equal > 0);
    let percent = 100.0 * fraction;
    let mut message =
        format!("{percent:.0} % of the units of {name} have the weights of another unit");
    if let Some((step, _)) = latest.filter(|_| stays) {
        message += &format!(", and some still do at step {step}");
    }
    message += ".";
    let mut finding = context.finding(message).at_layer(name.clone());
    if fraction >= HALF {
        // A layer of equal units is one unit: the network is a narrow one, however well it learns.
        finding.severity = finding.severity.max(Severity::Warning);
    }
    let finding = finding.with("fraction of equal units", fraction, threshold);
    Some(finding.with_confidence(if stays { 0.92 } else { 0.75 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixtures::{for_tensors, healthy, make_stuck};
    use crate::rules::testing::check_rule;

    #[test]
    fn equal_hidden_units_are_found() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        let mut symmetric = |layer: usize, equal: u64| {
            for_tensors(&mut record, |_, tensor, sample| {
                let is_equal = tensor.weight && tensor.layer == layer;
                sample.equal_units = if is_equal { equal } else { 0 };
            });
            check_rule(&RULE, &record)
        };
        let finding = symmetric(0, 64).expect("all units are equal");
        assert_eq!((finding.severity, finding.evidence[0].value), (Severity::Critical, 1.0));
        assert!(finding.confidence > 0.9);
        assert_eq!(symmetric(0, 4), None);
        assert_eq!(symmetric(2, 10), None);
        symmetric(0, 64);
        for_tensors(&mut record, |_, _, sample| sample.param_norm = Some(0.0));
        assert_eq!(check_rule(&RULE, &record), None);
    }

    #[test]
    fn equal_units_that_part_are_a_less_likely_cause() {
        let mut record = healthy(&[784, 64, 10], "relu");
        for_tensors(&mut record, |step, tensor, sample| {
            sample.equal_units = if tensor.weight && step == 0 { 10 } else { 0 };
        });
        let finding = check_rule(&RULE, &record).expect("a sixth of the units");
        assert_eq!((finding.severity, finding.confidence), (Severity::Info, 0.75));
    }
}
