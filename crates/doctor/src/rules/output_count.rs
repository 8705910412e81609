//! A number of outputs that differs from the number of classes.

use alloc::format;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::network::{layer_name, weight_layers};
use crate::record::Task;
use crate::rule::{Context, Rule};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "output-count",
    title: "The number of outputs is not the number of classes",
    meaning: "A class without an output cannot be predicted. The softmax of a single output is 1 \
              whatever the output is, so that its gradient is 0. Outputs without a class only \
              waste parameters, or show that the data lack classes.",
    formula: "Outputs of the last layer with weights, compared with the classes of the data. One \
              output is enough for two classes with binary_cross_entropy.",
    origin: "There is no threshold. Too few outputs are critical, too many are a fact.",
    references: "Bishop, Pattern Recognition and Machine Learning, 2006, section 4.3.",
    thresholds: &[],
    cures: &[Cure::LinearOutput],
    causes: &[
        symptoms::NOT_LEARNING,
        &["overfit-one-batch-fails", "constant-output", "unchanged-parameters", "bottleneck"],
    ],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let model = &context.record.model;
    let last = *weight_layers(model).last()?;
    let outputs = model.layers.get(last)?.outputs;
    if model.task != Task::Classification || outputs == 0 || model.classes < 2 {
        return None;
    }
    let is_binary = model.classes == 2 && model.loss == "binary_cross_entropy";
    if outputs == model.classes || is_binary && outputs == 1 {
        return None;
    }
    let name = layer_name(model, last);
    let (too, severity) = if outputs < model.classes {
        ("few", Severity::Critical)
    } else {
        ("many", Severity::Info)
    };
    let classes = model.classes;
    let message =
        format!("{name} has too {too} outputs: {outputs} for the data's {classes} classes.");
    let finding = Finding::new(RULE.id, severity, message)
        .at_layer(name)
        .with("outputs", outputs as f64, classes as f64)
        .cured_by(RULE.cures);
    Some(finding.with_confidence(0.95))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixtures::healthy;
    use crate::rules::testing::check_rule;

    #[test]
    fn too_few_outputs_are_critical_and_too_many_a_fact() {
        let severity = |outputs, classes, loss: &str| {
            let mut record = healthy(&[784, 64, outputs], "relu");
            record.model.classes = classes;
            record.model.loss = loss.into();
            check_rule(&RULE, &record).map(|finding| finding.severity)
        };
        assert_eq!(severity(9, 10, "cross_entropy"), Some(Severity::Critical));
        assert_eq!(severity(1, 2, "cross_entropy"), Some(Severity::Critical));
        assert_eq!(severity(1, 2, "binary_cross_entropy"), None);
        assert_eq!(severity(10, 10, "cross_entropy"), None);
        assert_eq!(severity(12, 10, "cross_entropy"), Some(Severity::Info));
        assert_eq!(severity(10, 0, "cross_entropy"), None);
    }
}
