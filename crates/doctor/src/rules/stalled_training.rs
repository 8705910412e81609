//! Steps that leave the loss exactly as it is.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::curve;
use crate::finding::Finding;
use crate::rule::{Context, Rule, Threshold};

pub(super) static RULE: Rule = Rule {
    id: "stalled-training",
    title: "The loss does not change at all",
    meaning: "Batches differ, and so do their losses, unless the outputs do not depend on the \
              inputs, or every example is the same. With full batches, the loss stays the same if \
              the parameters do.",
    formula: "The last recorded losses, `steps` of them at least, differ by less than 1e-12 of \
              their size, and are not 0.",
    origin: "Ten equal losses in f32 do not happen by chance. A loss of 0 is that of a training \
             that has reached its end.",
    references: "Rauschmayr et al., Amazon SageMaker Debugger, MLSys 2021 (rules StalledTraining, \
                 LossNotDecreasing).",
    thresholds: &[Threshold {
        key: "steps",
        default: 10.0,
        meaning: "last recorded steps with one loss",
    }],
    cures: &[Cure::RaiseRate, Cure::MatchedInitialiser, Cure::LeakyRelu, Cure::LowerRate],
    causes: &[&[
        "loss-not-decreasing",
        "accuracy-at-chance",
        "plateau",
        "underfitting",
        "collapsed-predictions",
    ]],
    check,
};

fn check(context: &Context<'_>) -> Vec<Finding> {
    let losses = curve::losses(context.record);
    let Some(&(last_step, last)) = losses.last() else { return Vec::new() };
    let is_equal = |loss: f64| libm::fabs(loss - last) <= 1e-12 * libm::fabs(last);
    let equal: Vec<u64> = losses
        .iter()
        .rev()
        .take_while(|&&(_, loss)| is_equal(loss))
        .map(|&(step, _)| step)
        .collect();
    let (count, threshold) = (equal.len(), context.threshold("steps"));
    let Some(&first_step) = equal.last() else { return Vec::new() };
    if (count as f64) < threshold || last == 0.0 || first_step == last_step {
        return Vec::new();
    }
    let message = format!("The loss is {last} at each recorded step from {first_step}.");
    let finding = context
        .finding(message)
        .at_step(first_step)
        .with("last recorded steps with one loss", count as f64, threshold)
        .with_confidence(0.3);
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::rules::testing::{check_rule, record_of_losses};

    #[test]
    fn equal_losses_stall_and_noise_and_zero_do_not() {
        let finding =
            check_rule(&RULE, &record_of_losses([2.31, 2.3].into_iter().chain([2.31; 12])));
        let finding = finding.expect("twelve");
        assert_eq!((finding.step, finding.severity), (Some(3), Severity::Critical));
        assert_eq!(check_rule(&RULE, &record_of_losses([2.3; 9])), None);
        assert_eq!(check_rule(&RULE, &record_of_losses([0.0; 50])), None);
        let noise = (0..50).map(|i| 2.3 + 1e-6 * f64::from(i % 3));
        assert_eq!(check_rule(&RULE, &record_of_losses(noise)), None);
    }
}
