//! A loss that does not fit the task.

use alloc::format;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::record::Task;
use crate::rule::{Context, Rule};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "loss-mismatch",
    title: "The loss does not fit the task",
    meaning: "A squared or absolute error of class probabilities has a gradient that vanishes \
              where the network is confidently wrong, and its scale shrinks with the number of \
              classes. A cross-entropy or a hinge loss takes targets that are classes or \
              probabilities; for other values it has no minimum at the target.",
    formula: "Loss among mse, mae, huber for a classification; among cross_entropy, \
              binary_cross_entropy, hinge for a regression. The rule fires unless the training \
              goes well. Reconstruction takes either.",
    origin: "There is no threshold. A squared error is a proper scoring rule and can reach the \
             same accuracy, so that it is no fault where the training goes well.",
    references: "Golik, Doetsch, Ney, Interspeech 2013; Glorot, Bengio, AISTATS 2010, section 4.1; \
                 Hui, Belkin, ICLR 2021.",
    thresholds: &[],
    cures: &[Cure::MatchedLoss],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &["overfit-one-batch-fails", "learning-rate-too-low", "initial-loss"],
    ],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    if context.progress.is_well() {
        return None;
    }
    let model = &context.record.model;
    let loss = &model.loss[..];
    let (task, fitting) = match (model.task, loss) {
        (Task::Classification, "mse" | "mae" | "huber") => ("a classification", "cross_entropy"),
        (Task::Regression, "cross_entropy" | "binary_cross_entropy" | "hinge") => {
            ("a regression", "mse")
        }
        _ => return None,
    };
    let message =
        format!("The loss is {loss} for {task}, where {fitting} has a gradient that fits.");
    // An absolute error of one-hot targets is least for outputs of 0; a squared one works, but
    // slowly. For values, a cross-entropy is wrong.
    let confidence = match loss {
        "mse" | "huber" => 0.6,
        "mae" => 0.8,
        _ => 0.9,
    };
    Some(context.finding(message).with_confidence(confidence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::rules::fixtures::{healthy, make_slow, make_stuck};
    use crate::rules::testing::check_rule;

    #[test]
    fn a_mismatch_is_found_unless_the_training_goes_well() {
        let mut record = healthy(&[784, 64, 10], "relu");
        record.model.loss = "mse".into();
        assert_eq!(check_rule(&RULE, &record), None);
        make_slow(&mut record);
        let finding = check_rule(&RULE, &record).expect("a squared error of classes");
        assert_eq!(finding.severity, Severity::Warning);
        make_stuck(&mut record);
        record.model.task = Task::Regression;
        assert_eq!(check_rule(&RULE, &record), None);
        record.model.loss = "hinge".into();
        assert!(check_rule(&RULE, &record).is_some());
        record.model.task = Task::Classification;
        assert_eq!(check_rule(&RULE, &record), None);
        record.model.task = Task::Reconstruction;
        record.model.loss = "binary_cross_entropy".into();
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
