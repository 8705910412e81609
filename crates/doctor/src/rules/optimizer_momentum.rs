//! Momenta that no optimizer works with.

use alloc::format;
use alloc::string::String;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::network::total_steps;
use crate::progress::State;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "optimizer-momentum",
    title: "The optimizer's momentum is unusual",
    meaning: "Momentum m sums the gradients of the last 1 / (1 - m) steps. Close to 1, updates \
              overshoot: they follow gradients of long ago, and plain momentum multiplies the \
              learning rate by that number. A second moment that forgets faster than the first \
              makes updates of Adam far too large after a quiet stretch.",
    formula: "momentum or beta1 of at least `momentum`, if the training is stuck or diverges, or \
              is slow and 1 / (1 - m) exceeds a tenth of its steps; beta2 below `beta2`, or beta1 \
              above sqrt(beta2), for Adam and its kin, unless the training goes well.",
    origin: "0.9 is usual, and 0.99 needs a learning rate ten times smaller. Adam's convergence \
             needs beta1 < sqrt(beta2).",
    references: "Sutskever, Martens, Dahl, Hinton, ICML 2013; Kingma, Ba, ICLR 2015; Zhang, Chen, \
                 Shi, Sun, Luo, NeurIPS 2022.",
    thresholds: &[
        Threshold {
            key: "momentum",
            default: 0.99,
            meaning: "momentum or beta1, from which updates overshoot",
        },
        Threshold {
            key: "beta2",
            default: 0.9,
            meaning: "beta2, below which the second moment is that of a few steps",
        },
    ],
    cures: &[Cure::UsualOptimizer, Cure::LowerRate],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::ERRATIC,
        &[
            "learning-rate-too-high",
            "exploding-updates",
            "non-finite",
            "dead-relu",
            "saturation",
            "overfit-one-batch-fails",
        ],
    ],
    check: |context| find(context).into_iter().collect(),
};

/// Length of a momentum over that of the training from which it overshoots, however well it
/// starts.
const ENDLESS: f64 = 1.0;

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let optimizer = &record.model.optimizer;
    let state = context.progress.state;
    let (most, least) = (context.threshold("momentum"), context.threshold("beta2"));
    let momenta = [("momentum", optimizer.momentum), ("beta1", optimizer.beta1)];
    let momentum = momenta.into_iter().find_map(|(name, value)| {
        let value = value.filter(|&value| value >= most)?;
        // In steps; infinite from a momentum of 1 on.
        let horizon = if value < 1.0 { 1.0 / (1.0 - value) } else { f64::INFINITY };
        let fails = matches!(state, State::Stuck | State::Diverging);
        let share = horizon / (total_steps(record) as f64).max(1.0);
        let harms = fails || share > 0.1 && state == State::Slow || share > ENDLESS;
        harms.then_some((name, value, horizon, share > ENDLESS))
    });
    if let Some((name, value, horizon, is_endless)) = momentum {
        let message = if value < 1.0 {
            format!("A {name} of {value} sums the gradients of the last {horizon:.0} steps.")
        } else {
            format!("A {name} of {value} never forgets a gradient: updates only grow.")
        };
        let confidence = if value >= 1.0 { 0.95 } else { 0.72 };
        let mut finding = context.finding(message).with(name, value, most);
        if is_endless {
            finding.severity = finding.severity.max(Severity::Warning);
        }
        return Some(finding.with_confidence(confidence));
    }
    if state == State::Well {
        return None;
    }
    // Lion's beta2 is that of its momentum.
    let beta2 = optimizer.beta2.filter(|_| optimizer.kind != "lion")?;
    let root = libm::sqrt(beta2.max(0.0));
    let beta1 = optimizer.beta1.unwrap_or(0.0);
    let (message, confidence): (String, f64) = if beta1 > root {
        let text = format!("beta1 is {beta1}, above the root of beta2, {root:.3}");
        (format!("{text}: the second moment forgets faster than the first."), 0.72)
    } else if beta2 < least {
        let steps = 1.0 / (1.0 - beta2);
        (format!("A beta2 of {beta2} makes the second moment that of {steps:.1} steps."), 0.6)
    } else {
        return None;
    };
    let finding = context.finding(message).with("beta2", beta2, least);
    Some(finding.with("beta1", beta1, root).with_confidence(confidence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Optimizer, Record};
    use crate::rules::fixtures::{healthy, make_slow, make_stuck};
    use crate::rules::testing::check_rule;

    fn stuck_with(optimizer: Optimizer) -> Record {
        let mut record = healthy(&[784, 64, 10], "relu");
        let is_endless = optimizer.momentum.is_some_and(|momentum| momentum >= 1.0);
        record.model.optimizer = optimizer;
        // A healthy start is no excuse for an endless memory alone.
        assert_eq!(check_rule(&RULE, &record).is_some(), is_endless);
        make_stuck(&mut record);
        record
    }

    #[test]
    fn a_long_memory_is_found() {
        let with =
            |momentum| stuck_with(Optimizer { momentum: Some(momentum), ..Optimizer::default() });
        assert!(check_rule(&RULE, &with(0.995)).is_some());
        assert_eq!(check_rule(&RULE, &with(1.0)).map(|finding| finding.confidence), Some(0.95));
        assert_eq!(check_rule(&RULE, &with(0.95)), None);
        // 200 of 600 steps, and 100 of 6000.
        let mut slow = with(0.995);
        make_slow(&mut slow);
        assert!(check_rule(&RULE, &slow).is_some());
        slow.model.optimizer.momentum = Some(0.99);
        slow.model.planned_steps = 6000;
        assert_eq!(check_rule(&RULE, &slow), None);
    }

    #[test]
    fn a_second_moment_that_forgets_is_found() {
        let find = |kind: &str, beta1, beta2| {
            let (beta1, beta2) = (Some(beta1), Some(beta2));
            let kind = kind.into();
            check_rule(&RULE, &stuck_with(Optimizer { kind, beta1, beta2, ..Optimizer::default() }))
        };
        assert!(find("adam", 0.9, 0.5).expect("0.9 > 0.71").message.contains("root"));
        assert!(find("adam", 0.5, 0.5).is_some());
        assert_eq!(find("adam", 0.9, 0.999), None);
        assert_eq!(find("adam", 0.9, 0.95), None);
        assert_eq!(find("lion", 0.9, 0.5), None);
    }
}
