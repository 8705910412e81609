//! Inputs that are NaN or infinite.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::rule::{Context, Rule};

pub(super) static RULE: Rule = Rule {
    id: "non-finite-inputs",
    title: "Inputs of the data are NaN or infinite",
    meaning: "Missing values that were read as NaN, or a division by 0 in the preparation of the \
              data. The first batch with such an example makes the loss NaN, and the update every \
              parameter. No setting of the training helps.",
    formula: "The number of NaN and infinite elements among the inputs is above 0.",
    origin: "There is no threshold: any NaN or infinity counts.",
    references: "Little, Rubin, Statistical Analysis with Missing Data, 3rd edition, 2019.",
    thresholds: &[],
    cures: &[Cure::CorrectInputs],
    causes: &[&[
        "non-finite",
        "skipped-steps",
        "loss-not-decreasing",
        "accuracy-at-chance",
        "stalled-training",
        "dead-relu",
        "constant-output",
        "exploding-updates",
        "overfit-one-batch-fails",
    ]],
    check,
};

fn check(context: &Context<'_>) -> Vec<Finding> {
    let Some(data) = context.record.data.as_ref().filter(|data| data.non_finite > 0) else {
        return Vec::new();
    };
    let count = data.non_finite;
    let elements = data.inputs.saturating_mul(data.train);
    let of = if elements > 0 { format!(" of {elements}") } else { "".into() };
    let message = format!("{count} inputs{of} are NaN or infinite.");
    // A loader may leave such examples out, so that the training goes well.
    let severity = if context.progress.is_well() { Severity::Warning } else { Severity::Critical };
    let finding = Finding::new(RULE.id, severity, message)
        .with("NaN and infinite inputs", count as f64, 0.0)
        .cured_by(RULE.cures)
        .with_confidence(0.98);
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Data;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn one_nan_is_critical_unless_training_goes_well() {
        assert_eq!(check_rule(&RULE, &record_of_data(mnist(), &[])), None);
        let data = || Data { non_finite: 1, ..mnist() };
        let finding = check_rule(&RULE, &record_of_data(data(), &[])).expect("a finding");
        assert_eq!(finding.severity, Severity::Critical);
        let mut record = record_of_data(data(), &[0.97]);
        record.reference =
            Some(crate::record::Reference { val_accuracy: Some(0.92), ..Default::default() });
        let finding = check_rule(&RULE, &record).expect("a finding");
        assert_eq!(finding.severity, Severity::Warning);
    }
}
