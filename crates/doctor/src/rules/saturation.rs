//! Bounded activations at their bounds.

use alloc::format;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::network::{initial_layers, is_bounded, layer_name, layer_steps, weight_layers};
use crate::record::{LayerSample, Record};
use crate::rule::{Context, Rule, Threshold};
use crate::statistics::median;
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "saturation",
    title: "Activations are saturated",
    meaning: "The outputs of a sigmoid, tanh or other bounded activation are at its bounds for \
              most examples, where its slope is nearly 0. The gradient ends there: earlier layers \
              get next to none, and the layer's own weights cannot come back.",
    formula: "Fraction of a hidden bounded activation's outputs at a bound, at the last recorded \
              steps, or else in the initial network. The rule fires above `fraction`. The cause \
              is told apart by the layer before: inputs with a root mean square above 10, or else \
              weights that scale them by more than 5.",
    origin: "A trained tanh network has up to a third of its outputs near the bounds, and learns \
             well.",
    references: "Glorot, Bengio, AISTATS 2010; Rakitianskaia, Engelbrecht, IEEE SSCI 2015.",
    thresholds: &[Threshold {
        key: "fraction",
        default: 0.5,
        meaning: "fraction of outputs at a bound, above which a layer is saturated",
    }],
    cures: &[
        Cure::MatchedInitialiser,
        Cure::StandardiseInputs,
        Cure::BatchNorm,
        Cure::LowerRate,
        Cure::Relu,
        Cure::LeakyRelu,
    ],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &[
            "vanishing-gradient",
            "learning-rate-too-low",
            "optimizer-epsilon",
            "precision-too-low",
            "frozen-layer",
            "unchanged-parameters",
            "constant-output",
            "overfit-one-batch-fails",
        ],
    ],
    check: |context| find(context).into_iter().collect(),
};

/// Reason for the saturation of the activation at `layer`, from the initial network.
fn reason(record: &Record, layer: usize) -> Option<&'static str> {
    let samples = initial_layers(record);
    let before = weight_layers(&record.model).into_iter().rev().find(|&index| index < layer)?;
    let rms = |sample: &LayerSample| {
        let (mean, std) = (sample.mean.unwrap_or(0.0), sample.std?);
        Some(libm::sqrt(mean * mean + std * std))
    };
    let input = match before.checked_sub(1) {
        Some(previous) => samples.get(previous).and_then(rms)?,
        None => record.data.as_ref()?.rms?,
    };
    let output = samples.get(before).and_then(rms)?;
    if input > 10.0 {
        Some("its layer's inputs are large")
    } else if output > 5.0 * input {
        Some("its layer's initial weights or biases are large")
    } else {
        None
    }
}

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let model = &record.model;
    let threshold = context.threshold("fraction");
    let initial = initial_layers(record);
    let last = *weight_layers(model).last()?;
    let of_layer = |index: usize| {
        let before = initial.get(index).and_then(|sample| sample.saturated_fraction);
        let latest = layer_steps(record).rev().take(3);
        let after = latest.filter_map(|step| step.layers.get(index)?.saturated_fraction);
        Some((index, before, median(after).or(before)?))
    };
    // The outputs of a network that is sure are near the bounds, and should be.
    let hidden = model.layers.iter().enumerate().take(last);
    let bounded = hidden.filter(|(_, layer)| is_bounded(&layer.kind));
    let fractions = bounded.filter_map(|(index, _)| of_layer(index));
    let (index, before, fraction) = fractions.reduce(|a, b| if b.2 > a.2 { b } else { a })?;
    if fraction.is_nan() || fraction <= threshold {
        return None;
    }
    let name = layer_name(model, index);
    let is_initial = before.is_some_and(|before| before > threshold);
    let since = if is_initial { " since before the first step" } else { "" };
    let why = reason(record, index).map_or("".into(), |reason| format!(": {reason}"));
    let message =
        format!("{:.0} % of the outputs of {name} are at a bound{since}{why}.", 100.0 * fraction);
    let mut finding = context.finding(message).at_layer(name);
    finding = finding.with("fraction of outputs at a bound", fraction, threshold);
    if let Some(before) = before {
        finding = finding.with("same, in the initial network", before, None);
    }
    Some(finding.with_confidence(if is_initial { 0.75 } else { 0.6 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::rules::fixtures::{for_layers, healthy, make_stuck};
    use crate::rules::testing::check_rule;

    fn saturated(activation: &str, before: f64, after: f64) -> Record {
        let mut record = healthy(&[784, 64, 10], activation);
        for_layers(&mut record, |step, layer, sample| {
            let fraction = if step == 0 { before } else { after };
            sample.saturated_fraction = (layer.kind == activation).then_some(fraction);
        });
        record
    }

    #[test]
    fn saturated_hidden_layers_are_found() {
        let mut record = saturated("tanh", 0.1, 0.9);
        let finding = check_rule(&RULE, &record).expect("nine tenths");
        assert_eq!((finding.severity, finding.confidence), (Severity::Info, 0.6));
        make_stuck(&mut record);
        let finding = check_rule(&RULE, &record).expect("nine tenths");
        assert_eq!(finding.layer.as_deref(), Some("layers.1"));
        assert_eq!(finding.severity, Severity::Critical);
        assert_eq!(check_rule(&RULE, &saturated("tanh", 0.1, 0.33)), None);
        assert_eq!(check_rule(&RULE, &saturated("relu", 0.9, 0.9)), None);
    }

    #[test]
    fn the_message_tells_large_inputs_from_large_weights() {
        let mut record = saturated("sigmoid", 0.9, 0.9);
        let message = |record: &Record| check_rule(&RULE, record).expect("a finding").message;
        assert!(!message(&record).contains(": its layer"));
        record.initial.as_mut().expect("initial").layers[0].std = Some(28.0);
        assert!(message(&record).contains("weights or biases"));
        record.data.as_mut().expect("data").rms = Some(80.0);
        assert!(message(&record).contains("inputs are large"));
    }

    #[test]
    fn saturated_outputs_are_no_fault() {
        let mut record = saturated("tanh", 0.1, 0.1);
        let last = record.model.layers[1].clone();
        record.model.layers.push(last);
        for step in &mut record.steps {
            let mut sample = step.layers[1].clone();
            sample.saturated_fraction = Some(0.99);
            step.layers.push(sample);
        }
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
