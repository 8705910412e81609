//! Biases that outweigh what the inputs contribute.

use alloc::format;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::network::{initial_layers, initial_tensors, weight_layers};
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "large-biases",
    title: "Biases outweigh the inputs",
    meaning: "A layer's initial biases are far larger than the variation of its weighted inputs. \
              Its units then have outputs that hardly depend on the example: they are saturated, \
              dead or linear, as the bias's sign has it.",
    formula: "Root mean square of a hidden layer's initial biases over the standard deviation of \
              its outputs over the batch. The rule fires above `ratio`. Output layers may start \
              at the targets' mean, and are left out.",
    origin: "A forget gate's bias of 1 and Glorot's or He's weights are a factor of 5 below the \
             default.",
    references: "Jozefowicz, Zaremba, Sutskever, ICML 2015; Goodfellow, Bengio, Courville, Deep \
                 Learning, 2016, section 8.4.",
    thresholds: &[Threshold {
        key: "ratio",
        default: 10.0,
        meaning: "root mean square of the biases over the outputs' standard deviation over the \
                  batch, above which they are large",
    }],
    cures: &[Cure::ZeroBiases],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &[
            "dead-relu",
            "saturation",
            "vanishing-gradient",
            "exploding-gradient",
            "initial-loss",
            "constant-output",
            "learning-rate-too-low",
            "overfit-one-batch-fails",
            "frozen-layer",
            "unchanged-parameters",
        ],
    ],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let model = &record.model;
    let threshold = context.threshold("ratio");
    let (layers, samples) = (initial_layers(record), initial_tensors(record));
    let weight_layers = weight_layers(model);
    let (_, hidden) = weight_layers.split_last()?;
    let ratios = model.tensors.iter().zip(samples).filter_map(|(tensor, sample)| {
        if tensor.weight || tensor.elements == 0 || !hidden.contains(&tensor.layer) {
            return None;
        }
        let bias = sample.param_norm? / libm::sqrt(tensor.elements as f64);
        let std = layers.get(tensor.layer)?.std_over_batch?;
        (std > 0.0).then_some((tensor, bias, bias / std))
    });
    let (tensor, bias, ratio) = ratios.reduce(|a, b| if b.2 > a.2 { b } else { a })?;
    (ratio > threshold).then(|| {
        let name = &tensor.name;
        let message = format!(
            "The initial biases {name} are about {bias:.1e}, {ratio:.0} times the variation of \
             their layer's outputs from example to example."
        );
        let finding = context.finding(message).at_layer(name.clone());
        finding
            .with("biases over the outputs' standard deviation", ratio, threshold)
            .with("root mean square of the biases", bias, None)
            .with_confidence(0.85)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fixtures::{for_tensors, healthy, make_stuck};
    use crate::rules::testing::check_rule;

    #[test]
    fn biases_of_ten_standard_deviations_are_large() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        // The outputs' standard deviation over the batch is 0.5.
        let mut find = |layer: usize, bias: f64| {
            for_tensors(&mut record, |_, tensor, sample| {
                if !tensor.weight {
                    let size = if tensor.layer == layer { bias } else { 0.0 };
                    sample.param_norm = Some(size * libm::sqrt(tensor.elements as f64));
                }
            });
            check_rule(&RULE, &record)
        };
        let finding = find(0, 20.0).expect("40 standard deviations");
        assert_eq!(finding.layer.as_deref(), Some("layers.0.bias"));
        assert_eq!(find(0, 4.0), None);
        assert_eq!(find(2, 20.0), None);
    }
}
