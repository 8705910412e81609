//! Parameter tensors that no step changes.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::record::{Record, TensorSample};
use crate::rule::{Context, Rule, Threshold};

pub(super) static RULE: Rule = Rule {
    id: "unchanged-parameters",
    title: "Steps do not change parameters",
    meaning: "A tensor that is to be trained gets no update: the learning rate is 0, the \
              optimizer does not know the tensor, its gradient is 0, or the update is lost in \
              rounding. The network trains without it.",
    formula: "|update| <= `rounding` |parameters| in L2 norms, at each recorded step, of which \
              there are three at least, for a tensor that is not frozen. A tensor of zeros \
              counts if the update is 0 exactly.",
    origin: "Half the spacing of f32 numbers is 6e-8 of their size: an update far below that \
             leaves every element as it is. For bf16 and f16 parameters kept without a copy in \
             f32, updates below 4e-3 and 5e-4 are lost.",
    references: "Rauschmayr et al., Amazon SageMaker Debugger, MLSys 2021 (rule UnchangedTensor); \
                 Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.1.",
    thresholds: &[Threshold {
        key: "rounding",
        default: 1e-9,
        meaning: "norm of the update over that of the parameters",
    }],
    cures: &[
        Cure::RaiseRate,
        Cure::ConstantSchedule,
        Cure::F32,
        Cure::UsualOptimizer,
        Cure::LeakyRelu,
    ],
    causes: &[
        "stalled-training",
        "loss-not-decreasing",
        "accuracy-at-chance",
        "plateau",
        "underfitting",
        "collapsed-predictions",
        "confusion",
    ],
    check,
};

/// Recorded steps that a tensor is judged by at least.
const STEPS: usize = 3;

/// `None` if a recorded step changes tensor `index`, or too few were recorded; `true` if it has a
/// gradient nevertheless.
fn unchanged(record: &Record, index: usize, rounding: f64) -> Option<bool> {
    let samples = record.steps.iter().filter(|step| !step.skipped);
    let samples: Vec<&TensorSample> = samples
        .filter_map(|step| step.tensors.get(index))
        .filter(|sample| sample.update_norm.is_some())
        .collect();
    let is_unchanged = |sample: &&TensorSample| {
        let (update, param) = (sample.update_norm?, sample.param_norm.unwrap_or(0.0));
        Some(update <= rounding * param || update == 0.0)
    };
    let is_all = samples.len() >= STEPS
        && samples.iter().all(|sample| is_unchanged(sample).unwrap_or(false));
    is_all.then(|| samples.iter().any(|s| s.grad_norm.is_some_and(|norm| norm > 0.0)))
}

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let rounding = context.threshold("rounding");
    let trained = || record.model.tensors.iter().enumerate().filter(|(_, tensor)| !tensor.frozen);
    let unchanged: Vec<(&str, bool)> = trained()
        .filter_map(|(index, tensor)| Some((&tensor.name[..], unchanged(record, index, rounding)?)))
        .collect();
    let Some(&(first, _)) = unchanged.first() else { return Vec::new() };
    let (count, all) = (unchanged.len(), trained().count());
    let has_gradient = unchanged.iter().any(|&(_, has_gradient)| has_gradient);
    let gradient = if has_gradient { "though the gradient is not 0" } else { "the gradient is 0" };
    let message = if count == all {
        format!("No step changes any parameter, {gradient}.")
    } else {
        format!("No step changes {first}, one of {count} such tensors of {all}, {gradient}.")
    };
    // Without a gradient, whatever stops it is the cause.
    let confidence = match (count == all, has_gradient) {
        (true, true) => 0.95,
        (false, true) => 0.8,
        (_, false) => 0.35,
    };
    let finding = context.finding(message).with("unchanged tensors", count as f64, 0.0);
    let finding = finding.with("trained tensors", all as f64, None).with_confidence(confidence);
    Vec::from([if count == all { finding } else { finding.at_layer(first) }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::record::Tensor;
    use crate::rules::testing::{check_rule, record_of_losses};

    fn record(updates: [f64; 2], steps: usize) -> Record {
        let mut record = record_of_losses((0..steps).map(|_| 2.3));
        for name in ["layers.0.weight", "layers.2.weight"] {
            record.model.tensors.push(Tensor { name: name.into(), ..Tensor::default() });
        }
        for step in &mut record.steps {
            let sample = |update: f64| TensorSample {
                update_norm: Some(update),
                param_norm: Some(10.0),
                grad_norm: Some(1.0),
                ..TensorSample::default()
            };
            step.tensors = updates.map(sample).to_vec();
        }
        record
    }

    #[test]
    fn a_learning_rate_of_0_and_a_forgotten_tensor_are_found() {
        let finding = check_rule(&RULE, &record([0.0, 1e-12], 5)).expect("all");
        assert_eq!((finding.layer, finding.severity), (None, Severity::Critical));
        let mut forgotten = record([0.0, 0.01], 5);
        let finding = check_rule(&RULE, &forgotten).expect("the first");
        assert_eq!(finding.layer.as_deref(), Some("layers.0.weight"));
        forgotten.model.tensors[0].frozen = true;
        assert_eq!(check_rule(&RULE, &forgotten), None);
        assert_eq!(check_rule(&RULE, &record([1e-6, 0.01], 5)), None, "slow, but it moves");
        assert_eq!(check_rule(&RULE, &record([0.0, 0.0], 2)), None);
    }
}
