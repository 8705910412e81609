//! A gradient that grows by orders of magnitude from step to step.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::progress::State;
use crate::rule::{Context, Rule, Threshold};
use crate::statistics::median;
use crate::symptoms;
use crate::updates;

pub(super) static RULE: Rule = Rule {
    id: "exploding-updates",
    title: "The gradient grows from step to step",
    meaning: "Each update makes the next gradient larger. The loss grows, and after some more \
              steps numbers overflow. It is the course of a divergence, whose cause is a learning \
              rate, a momentum, or data that are too large.",
    formula: "Gradient norm, or else the relative update, of each recorded step over its median \
              over the first ones. The rule fires if it exceeds `growth`, and the loss has jumped \
              to twice its start or the training diverges.",
    origin: "As a network starts to learn, its gradient may grow tenfold, while the loss falls. In \
             a divergence it grows without bound.",
    references: "Pascanu, Mikolov, Bengio, ICML 2013; Cohen et al., ICLR 2021.",
    thresholds: &[Threshold {
        key: "growth",
        default: 100.0,
        meaning: "gradient norm over that of the first steps, above which it explodes",
    }],
    cures: &[Cure::LowerRate, Cure::ClipNorm, Cure::WarmUp, Cure::StandardiseInputs],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::ERRATIC,
        &["non-finite", "clip-always", "clip-never"],
    ],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let norms = record.steps.iter().filter_map(|step| {
        let norm = step.grad_norm.filter(|norm| norm.is_finite() && *norm > 0.0)?;
        Some((step.step, norm))
    });
    let mut sizes: Vec<(u64, f64)> = norms.collect();
    let mut quantity = "gradient norm over that of the first steps";
    if sizes.is_empty() {
        sizes = updates::typical(record)?.steps;
        quantity = "relative update over that of the first steps";
    }
    if sizes.len() < 3 {
        return None;
    }
    let few = (sizes.len() / 4).clamp(1, 5);
    let start = median(sizes.iter().take(few).map(|&(_, size)| size)).filter(|&s| s > 0.0)?;
    let threshold = context.threshold("growth");
    let &(step, _) = sizes.iter().find(|&&(_, size)| size > threshold * start)?;
    let (_, largest) = sizes.into_iter().reduce(|a, b| if b.1 > a.1 { b } else { a })?;
    let jumped = curve::rise(record, &context.progress).is_some_and(|(ratio, _)| ratio > 2.0);
    if context.progress.is_well() || !jumped && context.progress.state != State::Diverging {
        return None;
    }
    let growth = largest / start;
    let message = format!(
        "The gradient grows from step to step: from step {step} on, its norm is {threshold:.0} \
         and up to {growth:.1e} times that of the first steps."
    );
    let finding = context.finding(message).at_step(step).with(quantity, growth, threshold);
    Some(finding.with_confidence(0.5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::record::Record;
    use crate::rules::fixtures::{healthy, make_stuck, set_losses};
    use crate::rules::testing::check_rule;

    fn growing(factor: f64, loss: f64) -> Record {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        for step in &mut record.steps {
            step.grad_norm = Some(libm::pow(factor, step.step as f64 / 600.0));
        }
        set_losses(&mut record, |step| 2.3 * libm::pow(loss, step as f64 / 600.0));
        record
    }

    #[test]
    fn growth_is_found_if_the_loss_grows_too() {
        let finding = check_rule(&RULE, &growing(1e6, 100.0)).expect("a million");
        assert_eq!(finding.severity, Severity::Critical);
        assert!(finding.step.is_some_and(|step| (200..250).contains(&step)), "{:?}", finding.step);
        assert_eq!(check_rule(&RULE, &growing(1e6, 0.9)), None);
        assert_eq!(check_rule(&RULE, &growing(10.0, 100.0)), None);
        let mut record = growing(1e6, 100.0);
        record.steps.truncate(2);
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
