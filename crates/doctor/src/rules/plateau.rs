//! A loss that stalls above what a linear model reaches.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::{Finding, Severity};
use crate::progress::State;
use crate::rule::{Context, Rule, Threshold};

pub(super) static RULE: Rule = Rule {
    id: "plateau",
    title: "The loss stalls at a high level",
    meaning: "The network learnt something, and then nothing more, though a linear model does \
              better. It is a symptom: of a learning rate that is too high to settle or too low \
              to move, of a schedule, of the network, or of the data.",
    formula: "The training learns less well than the reference, and the fitted loss falls by less \
              than 1 - `factor`, or by less than two standard errors, over the second half of the \
              recorded steps: 40 at least, up to step 100 at least, and not in a warm-up.",
    origin: "Without a reference, the level may be what the data allow, and the finding is a \
             fact.",
    references: "Goodfellow, Bengio, Courville, Deep Learning, 2016, section 8.2; Ainsworth, Shin, \
                 Plateau Phenomenon in Gradient Descent Training, Machine Learning 110, 2021.",
    thresholds: &[Threshold {
        key: "factor",
        default: 0.98,
        meaning: "loss at the end over that at half of the recorded steps",
    }],
    cures: &[Cure::RangeTest, Cure::Adam, Cure::CosineSchedule, Cure::MoreWidth],
    causes: &[&["underfitting", "confusion"]],
    check,
};

/// Recorded losses, and step, that a plateau is judged by at least.
const LOSSES: usize = 40;
const STEP: u64 = 100;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let record = context.record;
    let losses = curve::losses(record);
    let Some(trend) = curve::trend(curve::tail(&losses, 0.5)) else { return Vec::new() };
    let is_long = losses.len() >= LOSSES && curve::last_step(record) >= STEP;
    let threshold = context.threshold("factor");
    let is_flat = trend.ratio > threshold || trend.z > -2.0;
    let is_judged = context.progress.state == State::Slow && curve::is_finite(record);
    if !is_judged || !is_long || !is_flat || curve::is_warming_up(record) {
        return Vec::new();
    }
    let level = context.progress.last_loss.unwrap_or(f64::NAN);
    let message = format!(
        "The loss stalls at {level:.3e}, and changed by {:+.1} % over the second half of the \
         recorded steps.",
        100.0 * (trend.ratio - 1.0)
    );
    let mut finding = context.finding(message);
    if record.reference.is_none() {
        finding.severity = Severity::Info;
    }
    let quantity = "loss at the end over that at half of the steps";
    Vec::from([finding.with(quantity, trend.ratio, threshold).with_confidence(0.2)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, Reference};
    use crate::rules::testing::{check_rule, record_of_losses};

    fn record(level: f64, rate: f64, steps: i32) -> Record {
        let loss = |i: i32| level + (2.3 - level) * libm::exp(-rate * f64::from(i));
        let mut record = record_of_losses((0..steps).map(loss));
        record.model.loss = "cross_entropy".into();
        record.model.classes = 10;
        record.reference = Some(Reference { val_loss: Some(0.4), ..Reference::default() });
        record
    }

    #[test]
    fn a_level_above_the_reference_is_a_plateau() {
        let finding = check_rule(&RULE, &record(1.5, 0.1, 200)).expect("1.5");
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(check_rule(&RULE, &record(0.3, 0.1, 200)), None, "better than the reference");
        assert_eq!(check_rule(&RULE, &record(1.0, 0.005, 200)), None, "it falls");
        assert_eq!(check_rule(&RULE, &record(1.5, 0.1, 60)), None, "a short probe");
        let mut alone = record(1.5, 0.1, 200);
        alone.reference = None;
        assert_eq!(check_rule(&RULE, &alone).expect("1.5").severity, Severity::Info);
    }
}
