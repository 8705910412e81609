//! A network that cannot memorise one batch.

use alloc::format;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "overfit-one-batch-fails",
    title: "The network cannot memorise one batch",
    meaning: "Trained on a single batch, again and again, the network should reach a loss near 0: \
              it has far more parameters than the batch has labels. If it does not, the fault is \
              in the network, the loss or the optimizer, and neither in the amount of data nor in \
              the generalisation.",
    formula: "Loss after some hundred steps on one batch over the loss before them. The rule fires \
              above `ratio`. It is at least a warning unless the training goes well.",
    origin: "Healthy networks reach a hundredth. Strong dropout or conflicting labels leave some \
             of the loss.",
    references: "Karpathy, A recipe for training neural networks, 2019; Goodfellow, Bengio, \
                 Courville, Deep Learning, 2016, section 11.5.",
    thresholds: &[Threshold {
        key: "ratio",
        default: 0.5,
        meaning: "loss after training on one batch over that before, above which it fails",
    }],
    cures: &[
        Cure::RangeTest,
        Cure::Adam,
        Cure::MatchedInitialiser,
        Cure::MatchedLoss,
        Cure::LinearOutput,
        Cure::MoreWidth,
    ],
    causes: &[symptoms::NOT_LEARNING],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let ratio = context.record.initial.as_ref()?.overfit_ratio?;
    let threshold = context.threshold("ratio");
    // A loss that is not finite was not memorised either.
    if ratio <= threshold {
        return None;
    }
    let message = if ratio.is_finite() {
        let percent = 100.0 * ratio;
        format!("The network cannot memorise one batch: {percent:.0} % of its loss remain.")
    } else {
        "The network cannot memorise one batch: its loss is no longer finite.".into()
    };
    let mut finding = context.finding(message);
    if !context.progress.is_well() {
        finding.severity = finding.severity.max(Severity::Warning);
    }
    Some(finding.with("loss after over loss before", ratio, threshold).with_confidence(0.3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixtures::{healthy, make_stuck};
    use crate::rules::testing::check_rule;

    #[test]
    fn a_batch_that_is_not_memorised_is_found() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        let mut find = |ratio| {
            record.initial.as_mut().expect("initial").overfit_ratio = ratio;
            check_rule(&RULE, &record)
        };
        let finding = find(Some(0.97)).expect("hardly any of the loss is gone");
        assert_eq!(finding.severity, Severity::Critical);
        assert!(find(Some(f64::NAN)).is_some());
        assert_eq!(find(Some(0.3)), None);
        assert_eq!(find(None), None);
    }
}
