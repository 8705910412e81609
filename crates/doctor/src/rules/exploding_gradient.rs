//! A gradient that grows from layer to layer on its way to the first.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::depth::{self, Depth};
use crate::finding::Finding;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "exploding-gradient",
    title: "The gradient explodes towards the first layers",
    meaning: "Backward multiplies the gradient by each layer's Jacobian. If these enlarge it, the \
              first layers get a gradient many orders of magnitude above that of the last. One \
              learning rate cannot serve both: the first layers are destroyed, or the last do not \
              learn.",
    formula: "For each weight tensor, g = |gradient| / |weights| in L2 norms, of the initial \
              network or as median over the first recorded steps. A line is fitted to ln g over \
              the layers' index; e^-slope is the factor per layer from last to first. The rule \
              fires if g of the first layer is more than `ratio` times that of the last, and the \
              fitted slope is negative by two standard errors.",
    origin: "The ratio is relative, so that neither the loss's scale nor the batch matters. It is \
             the inverse of the one for a vanishing gradient.",
    references: "Hochreiter, Untersuchungen zu dynamischen neuronalen Netzen, 1991; Pascanu, \
                 Mikolov, Bengio, ICML 2013; Philipp, Song, Carbonell, The exploding gradient \
                 problem demystified, 2017.",
    thresholds: &[Threshold {
        key: "ratio",
        default: 1e3,
        meaning: "relative gradient of the first layer over that of the last, above which it \
                  explodes",
    }],
    cures: &[
        Cure::MatchedInitialiser,
        Cure::BatchNorm,
        Cure::ClipNorm,
        Cure::OrthogonalInitialiser,
        Cure::Lsuv,
        Cure::Residual,
        Cure::LessDepth,
    ],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::ERRATIC,
        &[
            "learning-rate-too-high",
            "exploding-updates",
            "non-finite",
            "dead-relu",
            "saturation",
            "clip-always",
            "clip-never",
            "overfit-one-batch-fails",
        ],
    ],
    check,
};

fn check(context: &Context<'_>) -> Vec<Finding> {
    let Some(Depth { ratio, line, first, layers, step, .. }) = depth::profile(context.record)
    else {
        return Vec::new();
    };
    let threshold = context.threshold("ratio");
    if ratio <= threshold || line.slope >= -2.0 * line.error {
        return Vec::new();
    }
    let factor = libm::exp(-line.slope);
    let message = format!(
        "The gradient explodes towards {first}: relative to its weights, it is {ratio:.1e} times \
         that of the last layer, a factor of {factor:.1} per layer over {layers} layers."
    );
    let mut finding = context
        .finding(message)
        .at_layer(first)
        .with("relative gradient of the first layer over that of the last", ratio, threshold)
        .with("factor per layer, from last to first", factor, None)
        .with_confidence(0.78);
    finding.step = step;
    Vec::from([finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{check_rule, record_of_depth};

    #[test]
    fn a_factor_per_layer_is_found_and_small_ones_are_not() {
        let finding = check_rule(&RULE, &record_of_depth(12, 3.0)).expect("3 to the 11th");
        assert_eq!((finding.layer.as_deref(), finding.step), (Some("layers.0"), Some(1)));
        let factor = finding.evidence[1].value;
        assert!((factor - 3.0).abs() < 1e-9, "{factor}");
        assert_eq!(check_rule(&RULE, &record_of_depth(12, 1.5)), None);
        assert_eq!(check_rule(&RULE, &record_of_depth(12, 0.3)), None);
        assert_eq!(check_rule(&RULE, &record_of_depth(1, 3.0)), None);
    }

    #[test]
    fn one_small_tensor_is_no_trend_over_depth() {
        let mut record = record_of_depth(12, 1.0);
        for step in &mut record.steps {
            step.tensors[0].param_norm = Some(1e-4);
            step.tensors[11].grad_norm = Some(2.0);
            step.tensors[5].grad_norm = Some(1e-6);
        }
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
