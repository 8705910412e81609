//! An epsilon that outweighs the second moment.

use alloc::format;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::network::{layer_name, taken_steps, trained_weights};
use crate::rule::{Context, Rule, Threshold};
use crate::statistics::median;
use crate::symptoms;
use crate::updates;

pub(super) static RULE: Rule = Rule {
    id: "optimizer-epsilon",
    title: "The optimizer's epsilon outweighs the gradient",
    meaning: "Adam and its kin divide by the root of the second moment plus epsilon. If epsilon is \
              far larger, the update is the gradient over epsilon: it is no longer adaptive, and \
              far smaller than the learning rate promises.",
    formula: "For each trained weight tensor, r = |gradient| / sqrt(elements), which estimates the \
              root of the second moment; median over the recorded steps. The update is scaled by \
              r / (r + epsilon). The rule fires if the median of that over the tensors is below \
              `scale` while the largest relative update of a weight tensor, median over steps, is \
              below `update`, unless the training goes well. A gradient of 0 is left out. \
              AdaDelta's epsilon has another role.",
    origin: "A large epsilon with a large learning rate works, as stochastic gradient descent \
             does: hence the bound on the update. With the usual 1e-8 the cause is a tiny \
             gradient rather than epsilon, so that the finding ranks lower.",
    references: "Kingma, Ba, ICLR 2015; Choi et al., On empirical comparisons of optimizers for \
                 deep learning, 2019.",
    thresholds: &[
        Threshold {
            key: "scale",
            default: 0.1,
            meaning: "fraction of the update that epsilon leaves, below which it dominates",
        },
        Threshold {
            key: "update",
            default: 1e-3,
            meaning: "largest relative update, from which the training is not starved",
        },
    ],
    cures: &[Cure::UsualOptimizer, Cure::RaiseRate],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &["learning-rate-too-low", "overfit-one-batch-fails", "precision-too-low"],
    ],
    check: |context| find(context).into_iter().collect(),
};

/// Optimizers whose epsilon is added to the root of a second moment.
fn has_epsilon(kind: &str) -> bool {
    matches!(
        kind,
        "adam"
            | "adamw"
            | "amsgrad"
            | "nadam"
            | "radam"
            | "adamax"
            | "adagrad"
            | "rmsprop"
            | "lamb"
    )
}

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let optimizer = &record.model.optimizer;
    let epsilon = optimizer.epsilon.filter(|&epsilon| epsilon > 0.0)?;
    if context.progress.is_well() || !has_epsilon(&optimizer.kind) {
        return None;
    }
    let scales = trained_weights(&record.model).filter_map(|(index, tensor)| {
        let norms = taken_steps(record).filter_map(|step| step.tensors.get(index)?.grad_norm);
        let norm = median(norms).filter(|&norm| norm > 0.0)?;
        let root = norm / libm::sqrt(tensor.elements.max(1) as f64);
        Some((root / (root + epsilon), tensor.layer))
    });
    let scales: alloc::vec::Vec<(f64, usize)> = scales.collect();
    let scale = median(scales.iter().map(|&(scale, _)| scale))?;
    let threshold = context.threshold("scale");
    let update = updates::largest(record).map(|updates| updates.median);
    let most = context.threshold("update");
    if scale >= threshold || update.is_some_and(|update| update >= most) {
        return None;
    }
    let &(_, layer) = scales.iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
    let name = layer_name(&record.model, layer);
    let message = format!(
        "An epsilon of {epsilon:.0e} outweighs the gradient: it scales the updates by \
         {scale:.1e}, most of all those of {name}."
    );
    let mut finding = context.finding(message).at_layer(name);
    finding = finding.with("fraction of the update that epsilon leaves", scale, threshold);
    if let Some(update) = update {
        finding = finding.with("largest relative update", update, most);
    }
    // 1e-8 and 1e-7 are the defaults of the frameworks.
    Some(finding.with_confidence(if epsilon > 2e-7 { 0.86 } else { 0.45 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::rules::fixtures::{for_tensors, healthy, make_stuck};
    use crate::rules::testing::check_rule;

    fn with_epsilon(epsilon: f64, gradient: f64, update: f64) -> Record {
        let mut record = healthy(&[784, 64, 10], "relu");
        record.model.optimizer.kind = "adam".into();
        record.model.optimizer.epsilon = Some(epsilon);
        for_tensors(&mut record, |_, tensor, sample| {
            sample.grad_norm = Some(gradient * libm::sqrt(tensor.elements as f64));
            sample.update_norm = sample.param_norm.map(|norm| update * norm);
        });
        make_stuck(&mut record);
        record
    }

    #[test]
    fn an_epsilon_above_the_gradient_is_found_if_it_starves_the_updates() {
        let finding = check_rule(&RULE, &with_epsilon(1.0, 1e-3, 1e-6)).expect("a thousandth");
        assert!((finding.evidence[0].value - 1e-3 / 1.001).abs() < 1e-9);
        assert!(finding.confidence > 0.8);
        assert_eq!(check_rule(&RULE, &with_epsilon(1e-3, 1e-3, 1e-6)), None);
        assert_eq!(check_rule(&RULE, &with_epsilon(1.0, 1e-3, 1e-2)), None);
        assert_eq!(check_rule(&RULE, &with_epsilon(1.0, 0.0, 1e-6)), None);
        let tiny = check_rule(&RULE, &with_epsilon(1e-8, 1e-10, 1e-6)).expect("a hundredth");
        assert!(tiny.confidence < 0.5);
        let mut record = with_epsilon(1.0, 1e-3, 1e-6);
        record.model.optimizer.kind = "sgd".into();
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
