//! Outputs that do not depend on the inputs.

use alloc::format;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::network::{layer_name, layer_steps};
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "constant-output",
    title: "The outputs do not depend on the inputs",
    meaning: "The network gives the same outputs for every example: it has learnt the targets' \
              mean and nothing else. A layer that is dead, saturated, too narrow, or has weights \
              near 0 lets nothing pass.",
    formula: "Standard deviation of the last layer's outputs over the batch, over the larger of \
              their |mean| and their standard deviation over batch and units, at the last \
              recorded step after the first. The rule fires below `variation`, unless the training \
              goes well.",
    origin: "The outputs of a healthy network vary by about their own size.",
    references: "Goodfellow, Bengio, Courville, Deep Learning, 2016, section 11.5.",
    thresholds: &[Threshold {
        key: "variation",
        default: 1e-3,
        meaning: "variation of the outputs over the batch over their size, below which they are \
                  constant",
    }],
    cures: &[
        Cure::MatchedInitialiser,
        Cure::LowerRate,
        Cure::StandardiseInputs,
        Cure::BatchNorm,
        Cure::LeakyRelu,
    ],
    causes: &[symptoms::NOT_LEARNING, &["overfit-one-batch-fails"]],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    if context.progress.is_well() || record.model.batch == 1 {
        return None;
    }
    let last = record.model.layers.len().checked_sub(1)?;
    // An output layer may start at 0.
    let step = layer_steps(record).rev().find(|step| step.step > 1)?;
    let sample = step.layers.get(last)?;
    let (std, over_batch) = (sample.std?, sample.std_over_batch?);
    let size = std.max(libm::fabs(sample.mean.unwrap_or(0.0)));
    let variation = if size > 0.0 { over_batch / size } else { 0.0 };
    let threshold = context.threshold("variation");
    (variation < threshold).then(|| {
        let name = layer_name(&record.model, last);
        let message = format!(
            "The network's outputs ({name}) hardly depend on the example: they vary by \
             {variation:.1e} of their size."
        );
        let finding = context.finding(message).at_layer(name).at_step(step.step);
        finding
            .with("variation of the outputs over their size", variation, threshold)
            .with_confidence(0.35)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixtures::{for_layers, healthy, make_stuck};
    use crate::rules::testing::check_rule;

    #[test]
    fn outputs_without_variation_are_found_after_the_first_step() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        assert_eq!(check_rule(&RULE, &record), None);
        for_layers(&mut record, |_, layer, sample| {
            if layer.name == "layers.2" {
                sample.std_over_batch = Some(1e-6);
            }
        });
        let finding = check_rule(&RULE, &record).expect("a millionth");
        assert_eq!((finding.layer.as_deref(), finding.step), (Some("layers.2"), Some(591)));
        record.steps.truncate(1);
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
