//! A loss that does not fall.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::progress::State;
use crate::rule::{Context, Rule, Threshold};

pub(super) static RULE: Rule = Rule {
    id: "loss-not-decreasing",
    title: "The loss does not fall",
    meaning: "Nothing was learnt in the recorded steps. It is a symptom of most faults, and is \
              reported first only if no rule finds a cause.",
    formula: "Median loss of the last recorded steps over that of the initial network (or of the \
              first steps) above 1 - `fall`, in a training that is stuck or diverges, with finite \
              losses, up to step 50 at least, and not in a warm-up.",
    origin: "The loss of a healthy network falls by a tenth within 50 steps of nearly any \
             training. Single steps are not compared: batches differ by more.",
    references: "Rauschmayr et al., Amazon SageMaker Debugger, MLSys 2021 (rule \
                 LossNotDecreasing); Zhang et al., AutoTrainer, ICSE 2021.",
    thresholds: &[Threshold {
        key: "fall",
        default: 0.03,
        meaning: "fraction by which the loss falls",
    }],
    cures: &[Cure::RangeTest, Cure::Adam, Cure::MatchedInitialiser, Cure::StandardiseInputs],
    causes: &[&["confusion"]],
    check,
};

/// Recorded losses, and step, that the loss is judged by at least.
const LOSSES: usize = 10;
const STEP: u64 = 50;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let (record, progress) = (context.record, context.progress);
    let losses = curve::losses(record);
    let (Some(first), Some(last)) = (progress.first_loss, progress.last_loss) else {
        return Vec::new();
    };
    let is_long = losses.len() >= LOSSES && curve::last_step(record) >= STEP;
    let is_bad = matches!(progress.state, State::Stuck | State::Diverging);
    let (ratio, threshold) = (last / first, 1.0 - context.threshold("fall"));
    let is_judged = is_long && curve::is_finite(record) && !curve::is_warming_up(record);
    if !is_bad || !is_judged || first <= 0.0 || ratio <= threshold || ratio.is_nan() {
        return Vec::new();
    }
    let word = if progress.state == State::Diverging { "grows" } else { "does not fall" };
    let message = format!(
        "The loss {word}: from {first:.4e} to {last:.4e} in {} steps.",
        curve::last_step(record)
    );
    let quantity = "loss of the last steps over the initial one";
    Vec::from([context.finding(message).with(quantity, ratio, threshold).with_confidence(0.15)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::record::Record;
    use crate::rules::testing::{check_rule, record_of_losses};

    fn record(factor: f64, steps: i32) -> Record {
        let rate = libm::log(factor) / f64::from(steps);
        let mut record = record_of_losses((0..steps).map(|i| 2.3 * libm::exp(rate * f64::from(i))));
        record.model.loss = "cross_entropy".into();
        record.model.classes = 10;
        record
    }

    #[test]
    fn a_loss_that_stays_or_grows_is_found() {
        let finding = check_rule(&RULE, &record(1.0, 60)).expect("stuck");
        assert_eq!(finding.severity, Severity::Critical);
        let finding = check_rule(&RULE, &record(10.0, 60)).expect("diverging");
        assert!(finding.message.contains("grows"), "{}", finding.message);
        assert_eq!(check_rule(&RULE, &record(0.8, 60)), None);
        assert_eq!(check_rule(&RULE, &record(1.0, 40)), None, "a short probe");
        let mut warming = record(1.0, 60);
        for step in &mut warming.steps {
            step.learning_rate = Some(step.step as f64);
        }
        assert_eq!(check_rule(&RULE, &warming), None, "a warm-up");
        let mut diverged = record(1.0, 60);
        diverged.steps[50].loss = Some(f64::NAN);
        assert_eq!(check_rule(&RULE, &diverged), None, "another rule's");
    }
}
