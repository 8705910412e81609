//! Weights that have a gradient or should have one, and never change.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::network::{taken_steps, trained_weights};
use crate::record::{Record, TensorSample};
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "unchanged-parameters",
    title: "Trained weights never change",
    meaning: "Weights that are to be trained are the same at every step: the learning rate is 0, \
              the optimizer does not have them, the update is rounded away, or no gradient \
              arrives.",
    formula: "Trained weight tensors with |update| <= `rounding` |weights| in L2 norms at each of \
              at least `steps` recorded steps; without measured updates, those whose norm is the \
              same at each and whose gradient is not 0. Steps that were skipped are left out, and \
              so are biases: before a batch norm they have no gradient.",
    origin: "Half the spacing of f32 numbers is 6e-8 of their size: an update far below that \
             leaves every element as it is. A warm-up may start at a rate of 0, for a step.",
    references: "Goodfellow, Bengio, Courville, Deep Learning, 2016, section 11.5; Rauschmayr et \
                 al., Amazon SageMaker Debugger, MLSys 2021.",
    thresholds: &[
        Threshold {
            key: "steps",
            default: 3.0,
            meaning: "recorded steps without a change, from which weights count as unchanged",
        },
        Threshold {
            key: "rounding",
            default: 1e-9,
            meaning: "norm of the update over that of the weights, up to which none changes",
        },
    ],
    cures: &[Cure::RaiseRate, Cure::Unfreeze, Cure::F32],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &["constant-output", "overfit-one-batch-fails"],
    ],
    check: |context| find(context).into_iter().collect(),
};

/// `true` if the weights of `tensor` are the same at each of at least `least` steps.
fn is_unchanged(record: &Record, tensor: usize, least: f64, rounding: f64) -> bool {
    let samples: Vec<_> = taken_steps(record).filter_map(|step| step.tensors.get(tensor)).collect();
    let updated: Vec<_> = samples.iter().filter(|sample| sample.update_norm.is_some()).collect();
    if !updated.is_empty() {
        let is_lost = |sample: &TensorSample| {
            let bound = rounding * sample.param_norm.unwrap_or(0.0);
            sample.update_norm.is_some_and(|update| update == 0.0 || update <= bound)
        };
        return updated.len() as f64 >= least && updated.iter().all(|sample| is_lost(sample));
    }
    let norms: Vec<f64> = samples.iter().filter_map(|sample| sample.param_norm).collect();
    let has_gradient = samples.iter().any(|sample| sample.grad_norm.is_some_and(|norm| norm > 0.0));
    let same = norms.windows(2).all(|pair| matches!(pair, [a, b] if a == b));
    has_gradient && norms.len() as f64 >= least.max(2.0) && same
}

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let least = context.threshold("steps").max(1.0);
    let rounding = context.threshold("rounding");
    let weights = || trained_weights(&record.model);
    let unchanged: Vec<_> =
        weights().filter(|&(index, _)| is_unchanged(record, index, least, rounding)).collect();
    let &(_, first) = unchanged.first()?;
    let (count, of) = (unchanged.len(), weights().count());
    let mut rates = taken_steps(record).filter_map(|step| step.learning_rate).peekable();
    let has_rates = rates.peek().is_some();
    let is_rate_0 = has_rates && rates.all(|rate| rate == 0.0);
    let has_gradient = unchanged.iter().any(|&(index, _)| {
        let norms = taken_steps(record).filter_map(|step| step.tensors.get(index)?.grad_norm);
        norms.into_iter().any(|norm| norm > 0.0)
    });
    // Without a gradient something before the optimizer is at fault.
    let (why, confidence) = match (is_rate_0, has_gradient) {
        (true, _) => ("the learning rate is 0", 0.95),
        (false, true) => ("though they have a gradient", 0.8),
        (false, false) => ("and have no gradient", 0.4),
    };
    let message = format!(
        "{count} of {of} trained weight tensors never change, from {} on: {why}.",
        first.name
    );
    let finding = context.finding(message).at_layer(first.name.clone());
    let finding = finding.with("unchanged weight tensors", count as f64, 0.0);
    Some(finding.with_confidence(confidence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixtures::{for_tensors, healthy, make_stuck};
    use crate::rules::testing::check_rule;

    #[test]
    fn weights_that_never_change_are_found() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        for_tensors(&mut record, |_, _, sample| sample.update_norm = Some(0.0));
        let finding = check_rule(&RULE, &record).expect("no update");
        assert_eq!((finding.evidence[0].value, finding.confidence), (2.0, 0.8));
        record.steps.iter_mut().for_each(|step| step.learning_rate = Some(0.0));
        let finding = check_rule(&RULE, &record).expect("no update");
        assert!(finding.message.contains("rate is 0"), "{}", finding.message);
        for_tensors(&mut record, |step, _, sample| {
            sample.update_norm = Some(if step == 11 { 1e-6 } else { 0.0 });
        });
        assert_eq!(check_rule(&RULE, &record), None);
        for_tensors(&mut record, |_, _, sample| sample.update_norm = Some(1e-12));
        assert!(check_rule(&RULE, &record).is_some());
        record.steps.truncate(1);
        assert_eq!(check_rule(&RULE, &record), None);
    }

    #[test]
    fn norms_show_it_where_updates_were_not_measured() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        for_tensors(&mut record, |step, tensor, sample| {
            sample.update_norm = None;
            let moves = tensor.layer == 2;
            sample.param_norm = Some(if moves { 1.0 + step as f64 } else { 1.0 });
        });
        let finding = check_rule(&RULE, &record).expect("a norm that stays");
        assert_eq!(finding.layer.as_deref(), Some("layers.0.weight"));
        for_tensors(&mut record, |step, _, sample| sample.param_norm = Some(1.0 + step as f64));
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
