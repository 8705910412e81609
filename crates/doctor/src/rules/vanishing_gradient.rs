//! A gradient that shrinks from layer to layer on its way to the first.

use alloc::format;
use alloc::vec::Vec;

use crate::cure::Cure;
use crate::depth::{self, Depth};
use crate::finding::Finding;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "vanishing-gradient",
    title: "The gradient vanishes towards the first layers",
    meaning: "Backward multiplies the gradient by each layer's Jacobian. If these shrink it, by \
              the slope of a saturated activation or by small weights, the first layers get almost \
              nothing, and stay as they were initialised. What they destroy of the input, no later \
              layer can restore.",
    formula: "For each weight tensor, g = |gradient| / |weights| in L2 norms, median over the \
              first recorded steps. A line is fitted to ln g over the layers' index; e^slope is \
              the factor per layer. The rule fires if g of the first layer is less than `ratio` \
              times that of the last, and the fitted slope is positive by two standard errors.",
    origin: "The ratio is relative, so that neither the loss's scale nor the batch matters. \
             Adaptive optimizers cancel the gradient's size but not its noise, so that the default \
             is generous; it was calibrated on healthy networks of up to 100 layers.",
    references: "Hochreiter, Untersuchungen zu dynamischen neuronalen Netzen, 1991; Bengio, \
                 Simard, Frasconi, IEEE Trans. Neural Networks 5, 1994; Glorot, Bengio, AISTATS \
                 2010; Schoenholz et al., ICLR 2017.",
    thresholds: &[Threshold {
        key: "ratio",
        default: 1e-3,
        meaning: "relative gradient of the first layer over that of the last, below which it \
                  vanishes",
    }],
    cures: &[
        Cure::MatchedInitialiser,
        Cure::Relu,
        Cure::BatchNorm,
        Cure::Residual,
        Cure::OrthogonalInitialiser,
        Cure::Lsuv,
        Cure::LessDepth,
    ],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &[
            "learning-rate-too-low",
            "optimizer-epsilon",
            "precision-too-low",
            "frozen-layer",
            "unchanged-parameters",
            "constant-output",
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
    if ratio >= threshold || line.slope <= 2.0 * line.error {
        return Vec::new();
    }
    let factor = libm::exp(-line.slope);
    let message = format!(
        "The gradient vanishes towards {first}: relative to its weights, it is {ratio:.1e} times \
         that of the last layer, a factor of {factor:.2} per layer over {layers} layers."
    );
    let finding = context
        .finding(message)
        .at_layer(first)
        .with("relative gradient of the first layer over that of the last", ratio, threshold)
        .with("factor per layer, from last to first", factor, None)
        .with_confidence(0.8);
    let jacobian = context.record.initial.as_ref().and_then(|initial| initial.jacobian_max);
    let finding = match jacobian {
        Some(max) => finding.with("largest singular value of the Jacobian", max, None),
        None => finding,
    };
    Vec::from([match step {
        Some(step) => finding.at_step(step),
        None => finding,
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{check_rule, record_of_depth};

    #[test]
    fn a_factor_per_layer_is_found_and_small_ones_are_not() {
        let finding = check_rule(&RULE, &record_of_depth(12, 0.3)).expect("0.3 to the 11th");
        assert_eq!(finding.layer.as_deref(), Some("layers.0"));
        let factor = finding.evidence[1].value;
        assert!((factor - 0.3).abs() < 1e-9, "{factor}");
        assert_eq!(check_rule(&RULE, &record_of_depth(12, 0.9)), None);
        assert_eq!(check_rule(&RULE, &record_of_depth(12, 2.0)), None);
        assert_eq!(check_rule(&RULE, &record_of_depth(1, 0.3)), None);
    }
}
