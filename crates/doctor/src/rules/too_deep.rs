//! More layers than a signal passes.

use alloc::format;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::mean_field::{MeanField, plain_layers};
use crate::network::is_normalisation;
use crate::rule::{Context, Rule, Threshold};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "too-deep",
    title: "The network is too deep to pass a signal",
    meaning: "In a plain deep network, the outputs for any two inputs become equal, or unrelated, \
              over a number of layers that weights and activation set: the depth scale. Behind \
              several depth scales, nothing of the input is left to learn from. Shortcuts and \
              normalisation keep the signal.",
    formula: "The rule fires for more than `layers` layers with weights, those in residual blocks \
              left out, and no normalisation, unless the training goes well. It is more certain \
              if they are more than `scales` depth scales of the initial network, by mean-field \
              theory.",
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
    let (depth, most) = (plain_layers(&record.model) as f64, context.threshold("layers"));
    let is_normalised = layers.iter().any(|layer| is_normalisation(&layer.kind));
    if depth <= most || is_normalised {
        return None;
    }
    let mut message =
        format!("The network has {depth} plain layers, without shortcuts or normalisation");
    let (field, limit) = (MeanField::of(record), context.threshold("scales"));
    let scales = field.map(|field| depth / field.depth_scale);
    if let Some((field, scales)) = field.zip(scales).filter(|(_, scales)| *scales > limit) {
        let scale = field.depth_scale;
        message += &format!(", {scales:.1} times the {scale:.1} over which a signal fades");
    }
    message += ".";
    let mut finding = context.finding(message).with("plain layers", depth, most);
    if let Some(scales) = scales {
        finding = finding.with("layers over the depth scale", scales, limit);
    }
    let is_beyond = scales.is_some_and(|scales| scales > limit);
    Some(finding.with_confidence(if is_beyond { 0.65 } else { 0.45 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Layer;
    use crate::rules::fixtures::{healthy, make_stuck};
    use crate::rules::testing::check_rule;

    #[test]
    fn many_depth_scales_or_layers_are_found_where_nothing_is_learnt() {
        // He's weights are critical for rectifiers: only the number of layers is left.
        let mut record = healthy(&[16; 31], "relu");
        assert_eq!(check_rule(&RULE, &record), None);
        make_stuck(&mut record);
        assert_eq!(check_rule(&RULE, &record).map(|finding| finding.confidence), Some(0.45));
        // With half of their variance, the depth scale is 1 / ln 2.
        let mut small = record.clone();
        for sample in &mut small.initial.as_mut().expect("initial").tensors {
            sample.param_norm = sample.param_norm.map(|norm| norm * 0.5_f64.sqrt());
        }
        let finding = check_rule(&RULE, &small).expect("30 layers");
        let scales = finding.evidence[1].value;
        assert!((scales - 30.0 * core::f64::consts::LN_2).abs() < 1e-6, "{scales}");
        let mut residual = record.clone();
        residual.model.layers.iter_mut().skip(4).for_each(|layer| layer.residual = true);
        assert_eq!(check_rule(&RULE, &residual), None);
        record.model.layers.push(Layer { kind: "layer_norm".into(), ..Layer::default() });
        assert_eq!(check_rule(&RULE, &record), None);
    }
}
