//! Weights that start at 0.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::network::{initial_tensors, last_weights, taken_steps};
use crate::record::Layer;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "zero-initialisation",
    title: "Hidden weights start at 0",
    meaning: "A layer whose weights are 0 passes nothing on: no signal forward, no gradient \
              backward. Two such layers never get a gradient, since each one's is a product with \
              the other's weights or outputs. All units of such a layer are equal. Biases of 0 \
              are usual, and so are an output layer of 0 or the last layer of a residual block.",
    formula: "L2 norm of a weight tensor is 0 in the initial network. The output layer and layers \
              of residual blocks count only if the norm is still 0 at the last of at least `steps` \
              recorded steps, while a hidden layer is 0 too.",
    origin: "An exact zero needs no threshold.",
    references: "Rumelhart, Hinton, Williams, Nature 323, 1986; Goodfellow, Bengio, Courville, \
                 Deep Learning, 2016, section 8.4; Zhang, Dauphin, Ma, ICLR 2019.",
    thresholds: &[Threshold {
        key: "steps",
        default: 3.0,
        meaning: "recorded steps after which weights of 0 count as staying there",
    }],
    cures: &[Cure::MatchedInitialiser, Cure::OrthogonalInitialiser],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        symptoms::ERRATIC,
        &[
            "symmetric-units",
            "initialisation-too-small",
            "frozen-layer",
            "unchanged-parameters",
            "vanishing-gradient",
            "exploding-gradient",
            "dead-relu",
            "saturation",
            "constant-output",
            "learning-rate-too-low",
            "optimizer-epsilon",
            "precision-too-low",
            "overfit-one-batch-fails",
        ],
    ],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let model = &record.model;
    let samples = initial_tensors(record);
    let last = last_weights(model);
    let least = context.threshold("steps");
    let is_zero =
        |index: usize| samples.get(index).is_some_and(|sample| sample.param_norm == Some(0.0));
    let stays = |index: usize| {
        let enough = taken_steps(record).count() as f64 >= least;
        let latest = taken_steps(record).next_back();
        let latest = latest.and_then(|step| step.tensors.get(index));
        enough && latest.is_some_and(|sample| sample.param_norm == Some(0.0))
    };
    let weights = model.tensors.iter().enumerate().filter(|(_, tensor)| tensor.weight);
    let zeros: Vec<usize> =
        weights.clone().map(|(index, _)| index).filter(|&index| is_zero(index)).collect();
    let layer = |index: usize| model.tensors.get(index).and_then(|t| model.layers.get(t.layer));
    let is_hidden = |&index: &usize| {
        let may_be_zero = |l: &Layer| l.residual || matches!(&l.kind[..], "embedding" | "position");
        Some(index) != last && !layer(index).is_some_and(may_be_zero)
    };
    let first = zeros.iter().copied().find(is_hidden)?;
    let name = &model.tensors.get(first)?.name;
    let (count, of) = (zeros.len(), weights.count());
    let staying = zeros.iter().filter(|&&index| stays(index)).count();
    let lasting = if staying > 0 { ", and some still are at the last recorded step" } else { "" };
    let message = format!(
        "The weights of {name} start at 0 ({count} of {of} weight tensors do){lasting}: neither \
         signal nor gradient passes."
    );
    // One layer of 0 gets a gradient; two in one network do not.
    let confidence = if staying > 0 || count > 1 { 0.93 } else { 0.6 };
    let finding = context.finding(message).at_layer(name.clone());
    let finding = finding.with("weight tensors that start at 0", count as f64, 0.0);
    let finding = finding.with("of these, 0 at the last recorded step", staying as f64, None);
    Some(finding.with_confidence(confidence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::rules::fixtures::{for_tensors, healthy, make_stuck};
    use crate::rules::testing::check_rule;

    #[test]
    fn hidden_weights_of_0_are_found_and_biases_or_outputs_of_0_are_not() {
        let mut record = healthy(&[784, 64, 32, 10], "relu");
        make_stuck(&mut record);
        let whole = record.clone();
        for_tensors(&mut record, |_, tensor, sample| {
            if tensor.weight && tensor.layer < 4 {
                sample.param_norm = Some(0.0);
            }
        });
        let finding = check_rule(&RULE, &record).expect("hidden weights of 0");
        assert_eq!(finding.layer.as_deref(), Some("layers.0.weight"));
        assert_eq!((finding.severity, finding.evidence[0].value), (Severity::Critical, 2.0));
        assert!(finding.confidence > 0.9);
        let mut record = whole;
        for_tensors(&mut record, |step, tensor, sample| {
            if !tensor.weight || tensor.layer == 4 && step <= 1 {
                sample.param_norm = Some(0.0);
            }
        });
        assert_eq!(check_rule(&RULE, &record), None);
    }

    #[test]
    fn one_hidden_layer_of_0_that_moves_is_less_likely_the_cause() {
        let mut record = healthy(&[784, 64, 32, 10], "tanh");
        for_tensors(&mut record, |step, tensor, sample| {
            if tensor.weight && tensor.layer == 2 && step <= 1 {
                sample.param_norm = Some(0.0);
            }
        });
        let finding = check_rule(&RULE, &record).expect("hidden weights of 0");
        assert_eq!((finding.severity, finding.confidence), (Severity::Info, 0.6));
    }
}
