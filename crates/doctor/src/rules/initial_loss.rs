//! A loss of the initial network far above that of a guess.

use alloc::format;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::record::{Record, Task};
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "initial-loss",
    title: "The initial loss is far above that of a guess",
    meaning: "A network that knows nothing should say so: its loss is that of equal probabilities, \
              or of the mean target. A far larger loss means that its outputs are large and \
              wrong. The first steps are spent on shrinking them, with large gradients.",
    formula: "Loss before the first step over that of a guess: ln(classes) for cross_entropy, \
              ln 2 for binary_cross_entropy, the variance of the targets for mse. The rule fires \
              above `ratio`, for mse above `squared_ratio`.",
    origin: "Logits of unit variance add about 0.5 to a cross-entropy, those of He's weights in \
             the output layer about 1. Outputs of unit variance double a squared error.",
    references: "Glorot, Bengio, AISTATS 2010; Goodfellow, Bengio, Courville, Deep Learning, 2016, \
                 section 8.4.",
    thresholds: &[
        Threshold {
            key: "ratio",
            default: 3.0,
            meaning: "initial cross-entropy over that of a guess, above which the logits are too \
                      large",
        },
        Threshold {
            key: "squared_ratio",
            default: 10.0,
            meaning: "initial squared error over that of a guess, above which the outputs are too \
                      large",
        },
    ],
    cures: &[
        Cure::MatchedInitialiser,
        Cure::StandardiseInputs,
        Cure::StandardiseTargets,
        Cure::Lsuv,
    ],
    causes: &[symptoms::NOT_LEARNING, &["learning-rate-too-high", "exploding-updates"]],
    check: |context| find(context).into_iter().collect(),
};

/// Loss of a guess, and the threshold's name.
fn guess(record: &Record, chance: Option<f64>) -> Option<(f64, &'static str)> {
    let model = &record.model;
    match (model.task, &model.loss[..]) {
        // The classes' frequencies are not known to the network yet.
        (Task::Classification, "cross_entropy") if model.classes > 1 => {
            Some((libm::log(model.classes as f64), "ratio"))
        }
        (Task::Classification, "binary_cross_entropy") => Some((core::f64::consts::LN_2, "ratio")),
        (Task::Regression, "mse") => Some((chance?, "squared_ratio")),
        _ => None,
    }
}

/// Initial loss over a guess's from which what follows is its symptom.
const CERTAIN: f64 = 10.0;

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let before = record.initial.as_ref().and_then(|initial| initial.loss);
    let loss = before.or_else(|| record.steps.first().filter(|step| step.step <= 1)?.loss)?;
    let (guess, key) = guess(record, context.progress.chance_loss)?;
    let threshold = context.threshold(key);
    let ratio = loss / guess;
    if !(guess > 0.0 && ratio.is_finite() && ratio > threshold) {
        return None;
    }
    let message = format!(
        "The initial loss is {loss:.3}, {ratio:.1} times the {guess:.3} of a guess: the initial \
         outputs are too large."
    );
    let confidence = if ratio > CERTAIN { 0.87 } else { 0.5 };
    let finding = context.finding(message).with("initial loss over a guess's", ratio, threshold);
    Some(finding.with("initial loss", loss, None).with_confidence(confidence))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::record::Data;
    use crate::rules::fixtures::{healthy, make_stuck};
    use crate::rules::testing::check_rule;

    #[test]
    fn a_loss_of_large_logits_is_found() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        let mut find = |loss: f64| {
            record.initial.as_mut().expect("initial").loss = Some(loss);
            check_rule(&RULE, &record)
        };
        let finding = find(30.0).expect("13 times ln 10");
        assert!((finding.evidence[0].value - 30.0 / libm::log(10.0)).abs() < 1e-9);
        assert_eq!(find(5.0), None);
        assert_eq!(find(f64::INFINITY), None);
        // The entropy of rare classes is small, but the network does not know that they are rare.
        record.data.as_mut().expect("data").class_counts = Vec::from([10_000, 1]);
        record.initial.as_mut().expect("initial").loss = Some(2.5);
        assert_eq!(check_rule(&RULE, &record), None);
    }

    #[test]
    fn a_squared_error_is_compared_with_the_variance() {
        let mut record = healthy(&[8, 64, 1], "relu");
        record.model.task = Task::Regression;
        record.model.loss = "mse".into();
        record.data = Some(Data { target_std: Some(10.0), ..Data::default() });
        record.initial.as_mut().expect("initial").loss = Some(200.0);
        assert_eq!(check_rule(&RULE, &record), None);
        record.initial.as_mut().expect("initial").loss = Some(2000.0);
        assert!(check_rule(&RULE, &record).is_some());
    }
}
