//! Weights that are not trained, or that no gradient reaches.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::network::{taken_steps, trained_weights};
use crate::record::Record;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "frozen-layer",
    title: "Weights are not trained",
    meaning: "A layer is frozen, or cut off from the loss: its gradient is exactly 0 at every \
              step, while other layers have one. It stays as it was initialised. Frozen layers of \
              a trained network serve transfer learning; frozen random layers waste capacity.",
    formula: "Fraction of the parameters of weight tensors that are frozen. Or trained weight \
              tensors whose gradient norm is exactly 0 at each of at least `steps` recorded steps, \
              while that of another is not.",
    origin: "Exact zeros need no threshold: rounding does not produce them in every element. A \
             few steps rule out a batch that happens to have none.",
    references: "Yosinski, Clune, Bengio, Lipson, NeurIPS 2014.",
    thresholds: &[Threshold {
        key: "steps",
        default: 3.0,
        meaning: "recorded steps without a gradient, from which a layer counts as cut off",
    }],
    cures: &[Cure::Unfreeze],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &["unchanged-parameters", "overfit-one-batch-fails", "learning-rate-too-low"],
    ],
    check,
};

fn check(context: &Context<'_>) -> Vec<Finding> {
    [find_frozen(context), find_cut_off(context)].into_iter().flatten().collect()
}

fn find_frozen(context: &Context<'_>) -> Option<Finding> {
    let weights = || context.record.model.tensors.iter().filter(|tensor| tensor.weight);
    let total = weights().map(|tensor| tensor.elements as f64).sum::<f64>();
    let frozen = || weights().filter(|tensor| tensor.frozen);
    let first = frozen().next()?;
    let elements = frozen().map(|tensor| tensor.elements as f64).sum::<f64>();
    let (count, of) = (frozen().count(), weights().count());
    let percent = if total > 0.0 { 100.0 * elements / total } else { 0.0 };
    let message = format!(
        "{count} of {of} weight tensors are frozen, {percent:.0} % of the weights, from {} on.",
        first.name
    );
    let mut finding = context.finding(message).at_layer(first.name.clone());
    if count == of && !context.progress.is_well() {
        finding.severity = Severity::Critical;
    }
    // Frozen weights are the configuration's will; they are the cause if hardly any are trained.
    let confidence = if count == of { 0.95 } else { 0.55 + 0.3 * percent / 100.0 };
    Some(finding.with("fraction of the weights", percent / 100.0, None).with_confidence(confidence))
}

/// `true` if `tensor` has a gradient norm at each of at least `least` taken steps, all of them 0.
fn is_cut_off(record: &Record, tensor: usize, least: f64) -> bool {
    let norms = taken_steps(record)
        .filter_map(|step| step.tensors.get(tensor)?.grad_norm)
        .collect::<Vec<f64>>();
    norms.len() as f64 >= least && norms.iter().all(|&norm| norm == 0.0)
}

fn find_cut_off(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let least = context.threshold("steps").max(1.0);
    let weights = || trained_weights(&record.model);
    let cut_off = || weights().filter(|&(index, _)| is_cut_off(record, index, least));
    let (_, first) = cut_off().next()?;
    let (count, of) = (cut_off().count(), weights().count());
    if count == of {
        // No layer has a gradient: that is for the rule on unchanged parameters.
        return None;
    }
    let message = format!(
        "No gradient reaches {} ({count} of {of} weight tensors): it is exactly 0 at every \
         recorded step.",
        first.name
    );
    let finding = context.finding(message).at_layer(first.name.clone());
    Some(finding.with("weight tensors without a gradient", count as f64, 0.0).with_confidence(0.6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixtures::{for_tensors, healthy, make_stuck};
    use crate::rules::testing::check_rule;

    #[test]
    fn frozen_weights_are_a_fact_if_the_training_goes_well() {
        let mut record = healthy(&[784, 64, 10], "relu");
        record.model.tensors[0].frozen = true;
        let finding = check_rule(&RULE, &record).expect("a frozen layer");
        assert_eq!(finding.severity, Severity::Info);
        make_stuck(&mut record);
        let finding = check_rule(&RULE, &record).expect("a frozen layer");
        assert_eq!(finding.severity, Severity::Critical);
        assert!(finding.evidence[0].value > 0.98);
        record.model.tensors[0].frozen = false;
        record.model.tensors[1].frozen = true;
        assert_eq!(check_rule(&RULE, &record), None);
    }

    #[test]
    fn a_layer_without_any_gradient_is_cut_off() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        for_tensors(&mut record, |_, tensor, sample| {
            sample.grad_norm = Some(if tensor.layer == 0 { 0.0 } else { 0.1 });
        });
        let finding = check_rule(&RULE, &record).expect("no gradient");
        assert_eq!(finding.layer.as_deref(), Some("layers.0.weight"));
        record.steps[7].tensors[0].grad_norm = Some(1e-30);
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
