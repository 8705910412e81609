//! Weight decay or a penalty that outweighs the loss.

use alloc::format;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::network::{initial_tensors, taken_steps, trained_weights};
use crate::progress::State;
use crate::record::Record;
use crate::rule::{Context, Rule, Threshold};
use crate::statistics::median;
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "regularisation-too-strong",
    title: "Regularisation shrinks the weights faster than the loss grows them",
    meaning: "Weight decay and an L1 penalty pull all weights towards 0. If that pull is stronger \
              than the gradient of the loss, the weights shrink, and with them the signal, until \
              the network is constant.",
    formula: "Median over the trained weight tensors of |weights| at the last recorded steps over \
              |weights| in the initial network. With weight decay or an L1 penalty, the rule \
              fires below `shrinkage`, or if the learning rate times the weight decay is above \
              1, unless the training goes well.",
    origin: "Without regularisation, norms of the weights grow in training. With the usual decay \
             they fall by some ten percent. A decay times rate above 1 reverses the weights' sign \
             at each step.",
    references: "Krogh, Hertz, NeurIPS 1991; Loshchilov, Hutter, ICLR 2019; Tibshirani, J. Royal \
                 Statistical Society B 58, 1996.",
    thresholds: &[Threshold {
        key: "shrinkage",
        default: 0.5,
        meaning: "norm of the weights over that of the initial ones, below which decay is too \
                  strong",
    }],
    cures: &[Cure::LessRegularisation],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        symptoms::ERRATIC,
        &[
            "vanishing-gradient",
            "exploding-gradient",
            "constant-output",
            "dead-relu",
            "exploding-updates",
            "learning-rate-too-high",
            "learning-rate-too-low",
            "optimizer-epsilon",
            "precision-too-low",
            "overfit-one-batch-fails",
            "non-finite",
            "frozen-layer",
            "unchanged-parameters",
        ],
    ],
    check: |context| find(context).into_iter().collect(),
};

/// Recorded steps at the end, over which norms are medians.
const STEPS: usize = 3;

/// Median over the trained weight tensors of their last norm over the initial one.
fn shrinkage(record: &Record) -> Option<f64> {
    let initial = initial_tensors(record);
    if taken_steps(record).count() < STEPS {
        return None;
    }
    let ratios = trained_weights(&record.model).filter_map(|(index, _)| {
        let start = initial.get(index)?.param_norm.filter(|&norm| norm > 0.0)?;
        let steps = taken_steps(record).rev().take(STEPS);
        let end = median(steps.filter_map(|step| step.tensors.get(index)?.param_norm))?;
        Some(end / start)
    });
    median(ratios)
}

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let optimizer = &record.model.optimizer;
    let positive = |number: Option<f64>| number.filter(|&number| number > 0.0);
    let (decay, l1) = (positive(optimizer.weight_decay), positive(optimizer.l1));
    if context.progress.is_well() || decay.is_none() && l1.is_none() {
        return None;
    }
    let rates = record.steps.iter().filter_map(|step| step.learning_rate);
    let rate = median(rates).or(record.model.learning_rate);
    let per_step = decay.zip(rate).map(|(decay, rate)| decay * rate);
    let reverses = per_step.is_some_and(|per_step| per_step > 1.0);
    let threshold = context.threshold("shrinkage");
    let shrinkage = shrinkage(record);
    let shrinks = shrinkage.is_some_and(|shrinkage| shrinkage < threshold);
    if !shrinks && !reverses {
        return None;
    }
    let name = match (decay, l1) {
        (Some(decay), _) => format!("weight decay of {decay}"),
        (None, l1) => format!("L1 penalty of {}", l1.unwrap_or(0.0)),
    };
    let message = match (shrinkage, per_step) {
        (Some(shrinkage), _) if shrinks => format!(
            "The {name} outweighs the loss: the weights have shrunk to {shrinkage:.1e} of their \
             initial norm."
        ),
        (_, per_step) => format!(
            "The {name} reverses the weights: times the learning rate, it takes {:.1} of them \
             away at each step.",
            per_step.unwrap_or(0.0)
        ),
    };
    let mut finding = context.finding(message);
    if let Some(shrinkage) = shrinkage {
        finding = finding.with("norm of the weights over the initial norm", shrinkage, threshold);
    }
    if let Some(per_step) = per_step {
        finding = finding.with("weight decay times learning rate", per_step, 1.0);
    }
    let is_collapsed = shrinkage.is_some_and(|shrinkage| shrinkage < 0.2 * threshold);
    let is_stuck = matches!(context.progress.state, State::Stuck | State::Diverging);
    Some(finding.with_confidence(match (is_collapsed || reverses, is_stuck) {
        (true, true) => 0.9,
        (true, false) => 0.8,
        (false, _) => 0.7,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::rules::fixtures::{for_tensors, healthy, make_stuck};
    use crate::rules::testing::check_rule;

    /// A training whose weights end at `factor` of their initial norm.
    fn shrinking(factor: f64) -> Record {
        let mut record = healthy(&[784, 64, 10], "relu");
        record.model.optimizer.weight_decay = Some(0.1);
        for_tensors(&mut record, |step, _, sample| {
            let shrunk = libm::pow(factor, step as f64 / 600.0);
            sample.param_norm = sample.param_norm.map(|norm| norm * shrunk);
        });
        record
    }

    #[test]
    fn shrunk_weights_are_found_if_the_training_is_harmed() {
        let mut record = shrinking(0.01);
        assert_eq!(check_rule(&RULE, &record), None);
        make_stuck(&mut record);
        let finding = check_rule(&RULE, &record).expect("a hundredth is left");
        assert_eq!((finding.severity, finding.confidence), (Severity::Critical, 0.9));
        record.model.optimizer.weight_decay = None;
        assert_eq!(check_rule(&RULE, &record), None);
        record.model.optimizer.l1 = Some(0.1);
        assert!(check_rule(&RULE, &record).is_some());
        let mut record = shrinking(0.8);
        make_stuck(&mut record);
        assert_eq!(check_rule(&RULE, &record), None);
        record.model.optimizer.weight_decay = Some(150.0);
        let finding = check_rule(&RULE, &record).expect("1.5 of the weights per step");
        assert!(finding.message.contains("reverses"), "{}", finding.message);
    }
}
