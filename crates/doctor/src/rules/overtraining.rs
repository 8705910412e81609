//! Epochs that bring nothing.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::rule::{Context, Rule, Threshold};

pub(super) static RULE: Rule = Rule {
    id: "overtraining",
    title: "The last epochs brought nothing",
    meaning: "The validation score was as good long before the end. The epochs since then cost \
              time, and may have made the network worse.",
    formula: "The best validation score of the epochs after the first `fraction` of them is not \
              better than the best within it, by 1 % of the loss (or 0.001 of the accuracy, if no \
 loss was measured), over ten epochs at least, in a training that goes well.",
    origin: "The best of one part is compared with the best of the other, so that a lucky epoch \
             counts on either side. It is a fact: time was lost, the network may be fine.",
    references: "Prechelt, Early Stopping - But When?, 1998; Rauschmayr et al., Amazon SageMaker \
                 Debugger, MLSys 2021 (rule Overtraining).",
    thresholds: &[Threshold {
        key: "fraction",
        default: 0.5,
        meaning: "fraction of the epochs after which nothing improved",
    }],
    cures: &[Cure::EarlyStopping, Cure::CosineSchedule],
    causes: &[],
    check,
};

/// Epochs that are needed.
const EPOCHS: usize = 10;

fn check(context: &Context<'_>) -> Vec<Finding> {
    let epochs = &context.record.epochs;
    let losses: Vec<f64> = epochs.iter().filter_map(|epoch| epoch.val_loss).collect();
    let errors = epochs.iter().filter_map(|epoch| Some(1.0 - epoch.val_accuracy?));
    let is_loss = losses.len() >= EPOCHS;
    let scores: Vec<f64> = if is_loss { losses } else { errors.collect() };
    let fraction = context.threshold("fraction");
    let split = (fraction.clamp(0.0, 1.0) * scores.len() as f64) as usize;
    let (first, second) = scores.split_at(split.min(scores.len()));
    let min = |scores: &[f64]| scores.iter().copied().fold(f64::INFINITY, f64::min);
    let (before, after) = (min(first), min(second));
    let needed = if is_loss { before - 0.01 * libm::fabs(before) } else { before - 0.001 };
    let is_known = before.is_finite() && after.is_finite() && scores.len() >= EPOCHS;
    if !context.progress.is_well() || !is_known || after < needed {
        return Vec::new();
    }
    let best = first.iter().position(|&score| score == before).unwrap_or_default() + 1;
    let (name, before, after) =
        if is_loss { ("loss", before, after) } else { ("accuracy", 1.0 - before, 1.0 - after) };
    let message = format!(
        "The validation {name} was {before:.4} after epoch {best}, and no better than {after:.4} \
         in the last {} of {} epochs.",
        second.len(),
        scores.len()
    );
    let finding = Finding::new(RULE.id, Severity::Info, message)
        .cured_by(RULE.cures)
        .with("best score of the first epochs", before, None)
        .with("best score of the others", after, before)
        .with_confidence(0.3);
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    #[test]
    fn epochs_that_improve_nothing_are_a_fact() {
        let check = |loss: fn(f64) -> f64| {
            let mut record = record_of_data(mnist(), &[0.9; 12]);
            record.reference =
                Some(crate::record::Reference { val_accuracy: Some(0.9), ..Default::default() });
            for (index, epoch) in (0..).zip(&mut record.epochs) {
                epoch.val_loss = Some(loss(f64::from(index)));
            }
            check_rule(&RULE, &record)
        };
        let finding = check(|x| 0.1 + 0.01 * (x - 3.0) * (x - 3.0)).expect("best after epoch 4");
        assert!(finding.message.contains("after epoch 4"), "{}", finding.message);
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(check(|x| 1.0 / (1.0 + x)), None);
        let mut by_accuracy = record_of_data(mnist(), &[0.9; 12]);
        assert!(check_rule(&RULE, &by_accuracy).is_none(), "its progress is unknown");
        by_accuracy.reference =
            Some(crate::record::Reference { val_accuracy: Some(0.9), ..Default::default() });
        assert!(check_rule(&RULE, &by_accuracy).is_some());
        by_accuracy.epochs.truncate(9);
        assert_eq!(check_rule(&RULE, &by_accuracy), None);
    }
}
