//! Steps that undo each other.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::record::Record;
use crate::rule::{Context, Rule, Threshold};

pub(super) static RULE: Rule = Rule {
    id: "oscillation",
    title: "The steps oscillate across a valley of the loss",
    meaning: "A step that is longer than the valley is wide ends on the other side, where the \
              gradient points back. The next step does the same, and there is no progress along \
              the valley.",
    formula: "Median cosine of successive gradients below `cosine`, over ten steps at least; or \
              median |ln L(t+1) - ln L(t)| over median |ln L(t+2) - ln L(t)| above `alternation`, \
              over 40 successive steps at least, with a median change of 5 % or more. Losses are \
              not compared if an epoch has two to four steps, whose batches alternate themselves.",
    origin: "Noise gives cosines of 0 or more, and a quotient of 1; a trend gives 1/2. Full-batch \
             gradient descent reaches the edge of stability in healthy trainings too, where it \
             oscillates and learns: so this is a fault only of a training that goes badly.",
    references: "Cohen et al., Gradient Descent on Neural Networks Typically Occurs at the Edge of \
                 Stability, ICLR 2021; LeCun, Bottou, Orr, Mueller, Efficient BackProp, 1998, \
                 section 5.",
    thresholds: &[
        Threshold {
            key: "cosine",
            default: -0.3,
            meaning: "median cosine of the angle between successive gradients",
        },
        Threshold {
            key: "alternation",
            default: 1.5,
            meaning: "median change of ln(loss) over one step, over that over two steps",
        },
    ],
    cures: &[Cure::LowerRate, Cure::Adam, Cure::UsualOptimizer, Cure::BatchNorm],
    causes: &[&[
        "plateau",
        "underfitting",
        "loss-not-decreasing",
        "accuracy-at-chance",
        "loss-spikes",
    ]],
    check,
};

/// Cosines that are needed.
const COSINES: usize = 10;

/// Successive losses that are needed.
const LOSSES: usize = 40;

/// Median change of the loss that matters.
const CHANGE: f64 = 0.05;

/// Steps per epoch, from which batches do not alternate.
const EPOCH: u64 = 5;

fn is_alternating_by_itself(record: &Record) -> bool {
    let (batch, examples) = (record.model.batch, record.model.examples);
    let steps = if batch == 0 { 0 } else { examples.div_ceil(batch) };
    (2..EPOCH).contains(&steps)
}

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let cosines = record.steps.iter().filter(|step| step.cosine.is_some()).count();
    let cosine = curve::cosine(record).filter(|_| cosines >= COSINES);
    let losses = curve::losses(record);
    let jumps = curve::jump(&losses, 1).zip(curve::jump(&losses, 2));
    let is_judged = losses.len() >= LOSSES && !is_alternating_by_itself(record);
    let alternation = jumps
        .filter(|&(one, _)| is_judged && one > CHANGE)
        .map(|(one, two)| one / two.max(1e-3 * one));
    let (cosine_limit, limit) = (context.threshold("cosine"), context.threshold("alternation"));
    let turns = cosine.filter(|&cosine| cosine < cosine_limit);
    let alternates = alternation.filter(|&alternation| alternation > limit);
    let message = match (turns, alternates) {
        (Some(cosine), _) => format!(
            "The steps oscillate: the median cosine of successive gradients is {cosine:.2}."
        ),
        (None, Some(alternation)) => format!(
            "The loss goes up and down with every step, {alternation:.1} times as much as over two."
        ),
        (None, None) => return Vec::new(),
    };
    let mut finding = context.finding(message);
    if let Some(cosine) = cosine {
        finding = finding.with("median cosine of successive gradients", cosine, cosine_limit);
    }
    if let Some(alternation) = alternation {
        let quantity = "median change of ln(loss) over one step, over that over two";
        finding = finding.with(quantity, alternation, limit);
    }
    Vec::from([finding.with_confidence(if turns.is_some() { 0.6 } else { 0.5 })])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::rules::testing::{check_rule, record_of_losses};

    /// Pseudo-random numbers in [0, 1).
    fn noise(i: i32) -> f64 {
        let x = libm::sin(12.9898 * f64::from(i)) * 43758.5453;
        x - libm::floor(x)
    }

    #[test]
    fn gradients_that_turn_around_are_found() {
        let check = |cosine: f64, fall: f64| {
            let mut record = record_of_losses((0..30).map(|i| libm::exp(-fall * f64::from(i))));
            for step in &mut record.steps {
                step.cosine = Some(cosine);
            }
            check_rule(&RULE, &record).map(|finding| finding.severity)
        };
        assert_eq!(check(-0.8, 0.0), Some(Severity::Critical));
        assert_eq!(check(-0.8, 0.2), Some(Severity::Info), "the edge of stability");
        assert_eq!(check(-0.1, 0.0), None);
    }

    #[test]
    fn losses_that_alternate_are_found_and_noise_is_not() {
        let alternating = |i: i32| 2.0 + 0.5 * f64::from(i % 2) + 0.1 * noise(i);
        let mut record = record_of_losses((0..80).map(alternating));
        assert!(check_rule(&RULE, &record).is_some());
        (record.model.batch, record.model.examples) = (50, 100);
        assert_eq!(check_rule(&RULE, &record), None, "two batches");
        let noisy = record_of_losses((0..80).map(|i| 2.0 + noise(i)));
        assert_eq!(check_rule(&RULE, &noisy), None);
        let falling = record_of_losses((0..80).map(|i| 2.0 * libm::exp(-0.1 * f64::from(i))));
        assert_eq!(check_rule(&RULE, &falling), None);
    }
}
