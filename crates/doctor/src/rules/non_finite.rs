//! A loss, gradient or parameter that is NaN or infinite.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::Step;
use crate::rule::{Context, Rule};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "non-finite",
    title: "A number of the training is NaN or infinite",
    meaning: "A loss, a gradient or a parameter overflowed, or an operation had no result. One \
              such number reaches every parameter with the next update, and nothing is learnt \
              from then on. The first one matters: later ones are its consequences.",
    formula: "The first step whose loss is not finite, or which has a gradient element that is \
              not finite.",
    origin: "There is no threshold: any NaN or infinity counts.",
    references: "Goodfellow, Bengio, Courville, Deep Learning, 2016, section 4.1.",
    thresholds: &[],
    cures: &[Cure::LowerRate, Cure::ClipNorm, Cure::StandardiseInputs, Cure::MatchedInitialiser],
    causes: &[symptoms::NOT_LEARNING, &["skipped-steps", "loss-spikes"]],
    check,
};

fn is_non_finite(step: &Step) -> bool {
    let is_infinite = |number: Option<f64>| number.is_some_and(|number| !number.is_finite());
    step.non_finite.is_some()
        || is_infinite(step.loss)
        || is_infinite(step.grad_norm)
        || step.tensors.iter().any(|tensor| tensor.non_finite > 0)
}

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let Some(step) = record.steps.iter().find(|step| is_non_finite(step)) else {
        return Vec::new();
    };
    // Backward goes from the last layer to the first: the last tensor was the first to be hit.
    let tensor = step.tensors.iter().rposition(|tensor| tensor.non_finite > 0);
    let tensor = tensor.and_then(|index| record.model.tensors.get(index));
    let (place, layer) = match (&step.non_finite, tensor) {
        (Some(first), _) => {
            let mut place = format!(" first in the {} of {}", first.operation, first.name);
            if let Some(element) = first.element {
                place += &format!(", element {element}");
            }
            if let Some(example) = first.example {
                place += &format!(", for training example {example}");
            }
            (place, Some(first.name.clone()))
        }
        (None, Some(tensor)) => {
            (format!(" first in the gradient of {}", tensor.name), Some(tensor.name.clone()))
        }
        (None, None) => ("".into(), None),
    };
    let skipped = record.steps.iter().filter(|step| is_non_finite(step)).count();
    let message = format!("The training is not finite from step {}{place}.", step.step);
    let mut finding = Finding::new(RULE.id, Severity::Critical, message)
        .at_step(step.step)
        .with("recorded steps that are not finite", skipped as f64, 0.0)
        .cured_by(RULE.cures)
        .with_confidence(0.6);
    if let Some(loss) = step.loss {
        finding = finding.with("loss of the step", loss, None);
    }
    finding.layer = layer;
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{NonFinite, Record, Tensor, TensorSample};
    use crate::rules::testing::check_rule;

    #[test]
    fn the_first_step_and_the_last_tensor_of_it_are_named() {
        let mut record = Record::default();
        let tensor = |name: &str| Tensor { name: name.into(), ..Tensor::default() };
        record.model.tensors = Vec::from([tensor("layers.0.weight"), tensor("layers.2.weight")]);
        let sample = |non_finite| TensorSample { non_finite, ..TensorSample::default() };
        let tensors = |counts: [u64; 2]| counts.map(sample).to_vec();
        for (step, counts) in [(1, [0, 0]), (2, [9, 1]), (3, [9, 9])] {
            record.steps.push(Step { step, tensors: tensors(counts), ..Step::default() });
        }
        let finding = check_rule(&RULE, &record).expect("a finding");
        assert_eq!((finding.step, finding.layer.as_deref()), (Some(2), Some("layers.2.weight")));
        let first = NonFinite {
            name: "layers.0".into(),
            operation: "outputs".into(),
            ..Default::default()
        };
        record.steps[1].non_finite = Some(first);
        let finding = check_rule(&RULE, &record).expect("a finding");
        assert_eq!(finding.layer.as_deref(), Some("layers.0"));
        record.steps.truncate(1);
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
