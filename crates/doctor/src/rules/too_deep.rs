//! More layers than a signal passes.

use alloc::format;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::network::{is_normalisation, weight_layers};
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "too-deep",
    title: "The network is too deep to pass a signal",
    meaning: "In a plain deep network, the outputs for any two inputs become equal, or unrelated, \
              over a number of layers that weights and activation set: the depth scale. Behind \
              several depth scales, nothing of the input is left to learn from. Shortcuts and \
              normalisation keep the signal.",
    formula: "Layers with weights, those in residual blocks left out, over the depth scale of the \
              initial network: the rule fires above `scales`. Without a measured depth scale, it \
              fires for more than `layers` such layers and no normalisation. Both unless the \
              training goes well.",
    origin: "Networks train up to about 6 depth scales. Plain networks of 20 layers and more train \
             badly with any usual initialisation.",
    references: "Schoenholz, Gilmer, Ganguli, Sohl-Dickstein, ICLR 2017; Pennington, Schoenholz, \
                 Ganguli, NeurIPS 2017; He, Zhang, Ren, Sun, CVPR 2016.",
    thresholds: &[
        Threshold {
            key: "scales",
            default: 6.0,
            meaning: "layers over the depth scale, above which no signal passes",
        },
        Threshold {
            key: "layers",
            default: 20.0,
            meaning: "plain layers, above which a network is deep",
        },
    ],
    cures: &[
        Cure::Residual,
        Cure::BatchNorm,
        Cure::OrthogonalInitialiser,
        Cure::MatchedInitialiser,
        Cure::LessDepth,
    ],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &[
            "vanishing-gradient",
            "exploding-gradient",
            "constant-output",
            "overfit-one-batch-fails",
            "learning-rate-too-low",
        ],
    ],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let layers = &record.model.layers;
    if context.progress.is_well() {
        return None;
    }
    let is_plain = |&&index: &&usize| layers.get(index).is_some_and(|layer| !layer.residual);
    let depth = weight_layers(&record.model).iter().filter(is_plain).count() as f64;
    let scale = record.initial.as_ref().and_then(|initial| initial.depth_scale);
    if let Some(scale) = scale.filter(|&scale| scale > 0.0) {
        let most = context.threshold("scales");
        let scales = depth / scale;
        return (scales > most).then(|| {
            let message = format!(
                "The network has {depth} plain layers, {scales:.1} times the {scale:.1} over which \
                 a signal fades."
            );
            let finding = context.finding(message);
            finding.with("layers over the depth scale", scales, most).with_confidence(0.65)
        });
    }
    let most = context.threshold("layers");
    let is_normalised = layers.iter().any(|layer| is_normalisation(&layer.kind));
    (depth > most && !is_normalised).then(|| {
        let message =
            format!("The network has {depth} plain layers, without shortcuts or normalisation.");
        context.finding(message).with("plain layers", depth, most).with_confidence(0.45)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Layer;
    use crate::rules::fixtures::{healthy, make_stuck};
    use crate::rules::testing::check_rule;

    #[test]
    fn many_depth_scales_or_layers_are_found_where_nothing_is_learnt() {
        let mut record = healthy(&[16; 31], "tanh");
        assert_eq!(check_rule(&RULE, &record), None);
        make_stuck(&mut record);
        assert_eq!(check_rule(&RULE, &record).map(|finding| finding.confidence), Some(0.45));
        let mut with_scale = record.clone();
        with_scale.initial.as_mut().expect("initial").depth_scale = Some(3.0);
        let finding = check_rule(&RULE, &with_scale).expect("ten depth scales");
        assert_eq!(finding.evidence[0].value, 10.0);
        with_scale.initial.as_mut().expect("initial").depth_scale = Some(6.0);
        assert_eq!(check_rule(&RULE, &with_scale), None);
        let mut residual = record.clone();
        residual.model.layers.iter_mut().skip(4).for_each(|layer| layer.residual = true);
        assert_eq!(check_rule(&RULE, &residual), None);
        record.model.layers.push(Layer { kind: "layer_norm".into(), ..Layer::default() });
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
