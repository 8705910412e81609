//! A gradient that differs from finite differences.

use alloc::format;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "gradient-check",
    title: "The gradient is wrong",
    meaning: "Backward does not compute the derivative of forward: a layer or a loss of one's own \
              has a mistake. Updates then go in a direction in which the loss need not fall. \
              Training may still make some progress, which hides the mistake.",
    formula: "Maximum over sampled parameters of |g - d| / max(|g|, |d|), with g the gradient of \
              backward and d the central difference of the loss, both in f64. The rule fires \
              above `error`, however well the training goes.",
    origin: "In f64, central differences at the best step size have a relative error of about \
             1e-10 to 1e-7. An activation with a kink within the step reaches more in single \
             parameters, which the measurement has to leave out.",
    references: "Griewank, Walther, Evaluating Derivatives, SIAM 2008; Bengio, Practical \
                 recommendations for gradient-based training of deep architectures, 2012, \
                 section 4.1.",
    thresholds: &[Threshold {
        key: "error",
        default: 1e-4,
        meaning: "relative error of the gradient against finite differences, above which it is \
                  wrong",
    }],
    cures: &[Cure::CorrectGradient],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        symptoms::ERRATIC,
        &["overfit-one-batch-fails", "exploding-updates", "unchanged-parameters"],
    ],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let error = context.record.initial.as_ref()?.gradient_error?;
    let threshold = context.threshold("error");
    // NaN is for the rule on non-finite numbers.
    (error > threshold).then(|| {
        let message = format!(
            "The gradient is wrong: it differs from finite differences by a relative {error:.1e}, \
             and at most {threshold:.0e} is rounding."
        );
        Finding::new(RULE.id, Severity::Critical, message)
            .with("relative error of the gradient", error, threshold)
            .cured_by(RULE.cures)
            .with_confidence(0.95)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Initial, Record};
    use crate::rules::testing::check_rule;

    #[test]
    fn an_error_beyond_rounding_is_critical() {
        let record = |gradient_error| Record {
            initial: Some(Initial { gradient_error, ..Initial::default() }),
            ..Record::default()
        };
        let finding = check_rule(&RULE, &record(Some(0.03))).expect("3 percent");
        assert_eq!(finding.severity, Severity::Critical);
        for healthy in [None, Some(5e-5), Some(f64::NAN)] {
            assert_eq!(check_rule(&RULE, &record(healthy)), None);
        }
    }
}
