//! Steps that were not taken.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "skipped-steps",
    title: "Steps were skipped, since a number was not finite",
    meaning: "A trainer that skips steps with a NaN or infinity goes on, without what these \
              batches would have taught. A few are normal where the loss is scaled for f16; \
              many mean that the training lives at the edge of overflow, or that some examples \
              are broken.",
    formula: "Skipped steps over recorded steps, above `fraction`, and three at least.",
    origin: "Loss scaling skips a step each time that it tries a larger scale, one in a thousand \
             or less. Above half of the steps, the training is critical.",
    references: "Micikevicius et al., Mixed Precision Training, ICLR 2018.",
    thresholds: &[Threshold {
        key: "fraction",
        default: 0.05,
        meaning: "fraction of the recorded steps that were skipped",
    }],
    cures: &[Cure::LowerRate, Cure::ClipNorm, Cure::F32, Cure::StandardiseInputs],
    causes: &[symptoms::NOT_LEARNING],
    check,
};

/// Skipped steps that are an accident.
const STEPS: usize = 2;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let steps = &context.record.steps;
    let skipped = steps.iter().filter(|step| step.skipped).count();
    let fraction = skipped as f64 / steps.len().max(1) as f64;
    let threshold = context.threshold("fraction");
    let Some(first) = steps.iter().find(|step| step.skipped) else { return Vec::new() };
    if skipped <= STEPS || fraction <= threshold {
        return Vec::new();
    }
    let message = format!(
        "{skipped} of {} recorded steps were skipped, step {} first.",
        steps.len(),
        first.step
    );
    let severity = if fraction > 0.5 { Severity::Critical } else { Severity::Warning };
    let finding = Finding::new(RULE.id, severity, message)
        .at_step(first.step)
        .with("fraction of the recorded steps that were skipped", fraction, threshold)
        .cured_by(RULE.cures)
        .with_confidence(0.5);
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{check_rule, record_of_losses};

    #[test]
    fn one_in_a_thousand_is_normal_and_one_in_ten_is_not() {
        let check = |stride: u64, steps: usize| {
            let mut record = record_of_losses((0..steps).map(|_| 1.0));
            for step in &mut record.steps {
                step.skipped = step.step.is_multiple_of(stride);
            }
            check_rule(&RULE, &record).map(|finding| (finding.severity, finding.step))
        };
        assert_eq!(check(1000, 5000), None);
        assert_eq!(check(10, 100), Some((Severity::Warning, Some(10))));
        assert_eq!(check(1, 100), Some((Severity::Critical, Some(1))));
        assert_eq!(check(10, 20), None, "two steps");
    }
}
