//! Training examples that are learnt by heart.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::record::{Epoch, Record};
use crate::rule::{Context, Rule, Threshold};
use crate::scores::validation_margin;
use crate::statistics::median;

pub(super) static RULE: Rule = Rule {
    id: "overfitting",
    title: "The network learns its training examples by heart",
    meaning: "What improves on training examples no longer improves on new ones. The network has \
              more freedom than its examples determine, or the sets differ, or labels are wrong.",
    formula: "One of three, by the last epochs. (1) Training accuracy less validation accuracy \
              above `gap`, and by four standard deviations, with the former above 0.5. (2) The \
              validation accuracy is below its best by `fall`, and by four standard deviations, \
              while the training loss is lower than then, and the training accuracy at \
              that best at least. (3) The validation loss is above its \
              best by the factor `rise`, for two epochs at least, while the training loss is lower \
              than then. Without accuracies, (1) is the gap of the losses over the loss of a \
              constant prediction, and (3) is a warning.",
    origin: "The validation loss of a classifier rises with its confidence while its accuracy \
             stays: by itself that is a fact. Small validation sets have wide intervals.",
    references: "Prechelt, Early Stopping - But When?, 1998; Zhang et al., ICLR 2017; Guo et al., \
                 On Calibration of Modern Neural Networks, ICML 2017; Rauschmayr et al., Amazon \
                 SageMaker Debugger, MLSys 2021 (rule Overfit).",
    thresholds: &[
        Threshold {
            key: "gap",
            default: 0.15,
            meaning: "training accuracy less validation accuracy",
        },
        Threshold {
            key: "fall",
            default: 0.02,
            meaning: "best validation accuracy less that of the last epochs",
        },
        Threshold {
            key: "rise",
            default: 1.1,
            meaning: "validation loss of the last epochs over the best",
        },
    ],
    cures: &[Cure::EarlyStopping, Cure::WeightDecay, Cure::MoreDropout, Cure::MoreData],
    causes: &[&["overtraining", "confusion"]],
    check,
};

/// Last epochs whose median counts: one is an accident.
const LAST: usize = 2;

/// Training accuracy below which the examples are not known by heart.
const KNOWN: f64 = 0.5;

/// Median of a number over the last epochs that have it.
fn last(record: &Record, number: fn(&Epoch) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = record.epochs.iter().filter_map(number).collect();
    median(values.iter().rev().take(LAST).copied())
}

/// Evidence of one condition.
struct Evidence {
    severity: Severity,
    quantity: &'static str,
    value: f64,
    threshold: f64,
    text: alloc::string::String,
}

fn by_gap(context: &Context<'_>) -> Option<Evidence> {
    let record = context.record;
    let gap_limit = context.threshold("gap");
    let (train, val) = (|e: &Epoch| e.train_accuracy, |e: &Epoch| e.val_accuracy);
    if let (Some(train), Some(val)) = (last(record, train), last(record, val)) {
        let threshold = gap_limit.max(validation_margin(record, val, 4.0));
        let text = format!(
            "the accuracy is {:.1} % on training and {:.1} % on validation examples",
            100.0 * train,
            100.0 * val
        );
        let quantity = "training accuracy less validation accuracy";
        let severity = context.progress.severity().max(Severity::Warning);
        let (value, is_known) = (train - val, train > KNOWN);
        return (is_known && value > threshold).then_some(Evidence {
            severity,
            quantity,
            value,
            threshold,
            text,
        });
    }
    let (train, val) = (last(record, |e| e.train_loss)?, last(record, |e| e.val_loss)?);
    let chance = context.progress.chance_loss.filter(|&chance| chance > 0.0)?;
    let value = (val - train) / chance;
    let text = format!("the loss is {train:.3e} on training and {val:.3e} on validation examples");
    let quantity = "validation loss less training loss, over that of a constant prediction";
    let severity = context.progress.severity().max(Severity::Warning);
    (value > gap_limit && train < 0.5 * chance).then_some(Evidence {
        severity,
        quantity,
        value,
        threshold: gap_limit,
        text,
    })
}

/// Index of the best epoch by `number`, largest first, and the number.
fn best(record: &Record, number: impl Fn(&Epoch) -> Option<f64>) -> Option<(usize, f64)> {
    let scored = record.epochs.iter().enumerate();
    let scored = scored.filter_map(|(index, epoch)| Some((index, number(epoch)?)));
    scored.filter(|(_, value)| value.is_finite()).reduce(|a, b| if b.1 > a.1 { b } else { a })
}

/// `true` if the training loss, or else accuracy, is better at the end than at epoch `index`.
fn trains_on(record: &Record, index: usize) -> bool {
    let Some(epoch) = record.epochs.get(index) else { return false };
    let loss = epoch.train_loss.zip(last(record, |e| e.train_loss));
    let accuracy = epoch.train_accuracy.zip(last(record, |e| e.train_accuracy));
    match (loss, accuracy) {
        (Some((then, now)), _) => now < then,
        (None, Some((then, now))) => now > then,
        (None, None) => false,
    }
}

fn by_fall(context: &Context<'_>) -> Option<Evidence> {
    let record = context.record;
    let (index, best) = best(record, |epoch| epoch.val_accuracy)?;
    let now = last(record, |epoch| epoch.val_accuracy)?;
    let threshold = context.threshold("fall").max(validation_margin(record, best, 4.0));
    let text =
        format!("the validation accuracy fell from {:.1} % to {:.1} %", 100.0 * best, 100.0 * now);
    let quantity = "best validation accuracy less that of the last epochs";
    let (value, severity) = (best - now, Severity::Warning);
    // A training that hardly learns has accuracies that wander.
    let is_known = last(record, |epoch| epoch.train_accuracy).is_none_or(|train| train >= best);
    (value > threshold && is_known && trains_on(record, index)).then_some(Evidence {
        severity,
        quantity,
        value,
        threshold,
        text,
    })
}

fn by_rise(context: &Context<'_>) -> Option<Evidence> {
    let record = context.record;
    let (index, best) = best(record, |epoch| epoch.val_loss.map(|loss| -loss))?;
    let (best, now) = (-best, last(record, |epoch| epoch.val_loss)?);
    let (value, threshold) = (now / best, context.threshold("rise"));
    let after = record.epochs.iter().skip(index + 1).filter(|e| e.val_loss.is_some()).count();
    let text = format!("the validation loss rose from {best:.3e} to {now:.3e}");
    let quantity = "validation loss of the last epochs over the best";
    let has_accuracy = record.epochs.iter().any(|epoch| epoch.val_accuracy.is_some());
    let severity = if has_accuracy { Severity::Info } else { Severity::Warning };
    (best > 0.0 && value > threshold && after >= LAST && trains_on(record, index))
        .then_some(Evidence { severity, quantity, value, threshold, text })
}

fn check(context: &Context<'_>) -> Vec<Finding> {
    let evidence: Vec<Evidence> =
        [by_gap(context), by_fall(context), by_rise(context)].into_iter().flatten().collect();
    let Some(first) = evidence.first() else { return Vec::new() };
    let message = format!("The network learns its training examples by heart: {}.", first.text);
    let mut finding = Finding::new(RULE.id, first.severity, message).cured_by(RULE.cures);
    for Evidence { quantity, value, threshold, .. } in evidence {
        finding = finding.with(quantity, value, threshold);
    }
    Vec::from([finding.with_confidence(0.5)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Task;
    use crate::rules::testing::{check_rule, mnist, record_of_data};

    /// Epochs of training loss and accuracy, validation loss and accuracy.
    fn record(epochs: &[[f64; 4]]) -> Record {
        let mut record = record_of_data(mnist(), &[]);
        for (epoch, &[train_loss, train_accuracy, val_loss, val_accuracy]) in (1..).zip(epochs) {
            record.epochs.push(Epoch {
                epoch,
                train_loss: Some(train_loss),
                train_accuracy: Some(train_accuracy),
                val_loss: Some(val_loss),
                val_accuracy: Some(val_accuracy),
                ..Epoch::default()
            });
        }
        record
    }

    #[test]
    fn a_gap_and_a_fall_of_accuracy_are_warnings_and_confidence_is_a_fact() {
        let check = |epochs: &[[f64; 4]]| {
            check_rule(&RULE, &record(epochs)).map(|finding| finding.severity)
        };
        let gap = [[1.0, 0.6, 1.2, 0.5], [0.3, 0.9, 1.6, 0.52], [0.1, 0.97, 2.2, 0.52]];
        assert_eq!(check(&gap), Some(Severity::Warning));
        let fall = [[0.9, 0.6, 0.9, 0.6], [0.8, 0.63, 1.0, 0.55], [0.7, 0.65, 1.1, 0.54]];
        assert_eq!(check(&fall), Some(Severity::Warning));
        let confident =
            [[0.2, 0.94, 0.09, 0.972], [0.01, 0.997, 0.11, 0.98], [0.0, 1.0, 0.14, 0.98]];
        assert_eq!(check(&confident), Some(Severity::Info));
        let healthy =
            [[0.2, 0.94, 0.09, 0.972], [0.05, 0.985, 0.08, 0.976], [0.03, 0.99, 0.08, 0.978]];
        assert_eq!(check(&healthy), None);
        let wandering = [[1.6, 0.3, 1.6, 0.36], [1.59, 0.32, 1.6, 0.26], [1.58, 0.33, 1.6, 0.26]];
        assert_eq!(check(&wandering), None);
        assert_eq!(check(&[]), None);
    }

    #[test]
    fn a_small_validation_set_and_a_regression_have_their_own_scale() {
        let mut small = record(&[[0.3, 0.95, 0.5, 0.8], [0.2, 0.98, 0.5, 0.8]]);
        small.data = Some(crate::record::Data { validation: 20, ..Default::default() });
        assert_eq!(check_rule(&RULE, &small), None);
        let regression = |train: f64, val: f64| {
            let mut record = record(&[[train, 0.0, val, 0.0], [train, 0.0, val, 0.0]]);
            (record.model.task, record.model.loss) = (Task::Regression, "mse".into());
            record.data.as_mut().expect("data").target_std = Some(1.0);
            for epoch in &mut record.epochs {
                (epoch.train_accuracy, epoch.val_accuracy) = (None, None);
            }
            check_rule(&RULE, &record).map(|finding| finding.severity)
        };
        assert_eq!(regression(0.05, 0.6), Some(Severity::Warning));
        assert_eq!(regression(0.01, 0.03), None, "three times, of a small loss");
    }
}
