//! Training examples that occur more than once.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::rule::{Context, Rule, Threshold};

pub(super) static RULE: Rule = Rule {
    id: "duplicated-examples",
    title: "Many training examples occur more than once",
    meaning: "Duplicates weigh their examples more than others, and there is less data than it \
              seems. They are harmless where they are meant, as with a class that was copied to \
              balance it, and natural in tables of a few categories.",
    formula: "Training examples that occur more than once, over all training examples, above \
              `fraction`.",
    origin: "Real data sets have a few percent of duplicates. Since many may be meant, the \
             finding is no more than a fact, unless most examples are duplicates and the training \
             does not go well.",
    references: "Barz, Denzler, Do We Train on Test Data?, J. Imaging 6, 2020; Lee et al., \
                 Deduplicating Training Data, ACL 2022.",
    thresholds: &[Threshold {
        key: "fraction",
        default: 0.1,
        meaning: "fraction of the training examples that occur more than once",
    }],
    cures: &[Cure::RemoveDuplicates],
    causes: &[&["small-data"]],
    check,
};

/// Fraction of duplicates above which they may be the fault.
const MOST: f64 = 0.5;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let Some(data) = &context.record.data else { return Vec::new() };
    let fraction = data.duplicates as f64 / data.train as f64;
    let threshold = context.threshold("fraction");
    if data.train == 0 || fraction <= threshold {
        return Vec::new();
    }
    let message = format!(
        "{} of {} training examples ({:.1} %) occur more than once.",
        data.duplicates,
        data.train,
        100.0 * fraction
    );
    let mut finding = context.finding(message);
    let most = if fraction > MOST { Severity::Warning } else { Severity::Info };
    finding.severity = finding.severity.min(most);
    let quantity = "fraction of training examples that occur more than once";
    Vec::from([finding.with(quantity, fraction, threshold).with_confidence(0.2)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Data;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn duplicates_are_a_fact_and_a_risk_only_if_most_are() {
        let check =
            |duplicates| check_rule(&RULE, &record_of_data(Data { duplicates, ..mnist() }, &[0.1]));
        assert_eq!(check(5000), None);
        assert_eq!(check(5001).expect("10 %").severity, Severity::Info);
        assert_eq!(check(50_000).expect("all").severity, Severity::Warning);
    }
}
