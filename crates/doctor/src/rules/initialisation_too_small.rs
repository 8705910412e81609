//! Initial weights that shrink the signal.

use alloc::format;

use crate::cure::Cure;
use crate::finding::Finding;
use crate::network::{initial_layers, layer_name};
use crate::rule::{Context, Rule, Threshold};
use crate::signal::{gains, growth};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "initialisation-too-small",
    title: "The initial weights are too small",
    meaning: "Each layer multiplies the standard deviation of its inputs by a gain. With small \
              weights the gain is below 1, and the signal fades on its way forward. So does the \
              gradient on its way backward. The network's outputs are nearly constant, and \
              training starts at a saddle point.",
    formula: "Gain of a layer with weights: standard deviation of its outputs over the root mean \
              square of its inputs, in the initial network; without samples of the layers, the \
              root mean square of its weights times the root of the fan-in. The rule fires if a \
              hidden layer's gain is below `gain`, or if the standard deviation of the last such \
              layer's inputs is below `growth` times that of the network's inputs. Layers before \
              a normalisation and in residual blocks are left out.",
    origin: "Glorot's weights have a gain of 1, He's of 1.4, LeCun's of 1. PyTorch's default of \
             0.58 halves the signal per layer with ReLU, and trains well for up to five layers.",
    references: "Glorot, Bengio, AISTATS 2010; He, Zhang, Ren, Sun, ICCV 2015; Mishkin, Matas, \
                 ICLR 2016.",
    thresholds: &[
        Threshold {
            key: "gain",
            default: 0.05,
            meaning: "gain of a hidden layer, below which its weights are too small",
        },
        Threshold {
            key: "growth",
            default: 1e-2,
            meaning: "standard deviation of the last hidden outputs over that of the inputs, \
                      below which the weights are too small",
        },
    ],
    cures: &[Cure::MatchedInitialiser, Cure::Lsuv, Cure::OrthogonalInitialiser, Cure::BatchNorm],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        &[
            "vanishing-gradient",
            "exploding-gradient",
            "learning-rate-too-high",
            "learning-rate-too-low",
            "optimizer-epsilon",
            "precision-too-low",
            "constant-output",
            "overfit-one-batch-fails",
            "frozen-layer",
            "unchanged-parameters",
            "too-deep",
        ],
    ],
    check: |context| find(context).into_iter().collect(),
};

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let (least_gain, least_growth) = (context.threshold("gain"), context.threshold("growth"));
    let gains = gains(record);
    let hidden = gains.iter().filter(|gain| !gain.is_last);
    let smallest = hidden.reduce(|a, b| if b.value < a.value { b } else { a })?;
    let growth = growth(record);
    // Dead units pass nothing on, whatever the weights.
    let dies = initial_layers(record)
        .iter()
        .any(|sample| sample.dead > 0 && sample.dead * 10 >= sample.units * 9);
    let fades = growth.is_some_and(|growth| growth < least_growth) && !dies;
    // A gain of 0 is that of weights or inputs of 0, which are faults of their own.
    if smallest.value == 0.0 || smallest.value >= least_gain && !fades {
        return None;
    }
    let (name, gain) = (layer_name(&record.model, smallest.layer), smallest.value);
    let mut message = format!(
        "The initial weights are too small: {name} scales its inputs by {gain:.1e}, where about 1 \
         keeps the signal"
    );
    if let Some(growth) = growth.filter(|_| fades) {
        message += &format!(", and {growth:.1e} of it reaches the output layer");
    }
    message += ".";
    let mut finding = context.finding(message).at_layer(name).with("gain", gain, least_gain);
    if let Some(growth) = growth {
        let quantity = "standard deviation of the last hidden outputs over that of the inputs";
        finding = finding.with(quantity, growth, least_growth);
    }
    Some(finding.with_confidence(0.82))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::record::{Initial, Layer};
    use crate::rules::fixtures::{for_layers, for_tensors, healthy, make_stuck};
    use crate::rules::testing::check_rule;

    /// Scales the outputs of the first layer and all later ones by `factor` per hidden layer.
    fn fading(widths: &[u64], factor: f64) -> crate::record::Record {
        let mut record = healthy(widths, "tanh");
        for_layers(&mut record, |_, layer, sample| {
            let index: i32 = layer.name.trim_start_matches("layers.").parse().expect("a number");
            let scale = libm::pow(factor, f64::from(index / 2 + 1));
            sample.std = Some(scale);
            sample.mean = Some(0.0);
        });
        make_stuck(&mut record);
        record
    }

    #[test]
    fn a_fading_signal_is_found() {
        let finding = check_rule(&RULE, &fading(&[784, 64, 10], 3e-3)).expect("3e-3 per layer");
        assert_eq!(finding.layer.as_deref(), Some("layers.0"));
        assert_eq!(finding.severity, Severity::Critical);
        assert_eq!(finding.evidence[1].value, 3e-3);
        let deep = [784, 64, 64, 64, 64, 64, 10];
        assert!(check_rule(&RULE, &fading(&deep, 0.35)).is_some());
        // PyTorch's default.
        assert_eq!(check_rule(&RULE, &fading(&deep[..5], 0.41)), None);
        assert_eq!(check_rule(&RULE, &fading(&[784, 10], 1e-3)), None);
    }

    #[test]
    fn small_inputs_and_normalised_layers_are_no_small_weights() {
        let mut record = fading(&[784, 64, 10], 3e-3);
        record.data.as_mut().expect("data").rms = Some(3e-3);
        assert_eq!(check_rule(&RULE, &record), None);
        let mut record = fading(&[784, 64, 10], 3e-3);
        record.model.layers[1] = Layer { kind: "batch_norm".into(), ..Layer::default() };
        record.initial.as_mut().expect("initial").layers[1].std = Some(1.0);
        assert_eq!(check_rule(&RULE, &record), None);
    }

    #[test]
    fn weights_alone_show_it_if_layers_were_not_measured() {
        let mut record = healthy(&[784, 64, 10], "relu");
        make_stuck(&mut record);
        let tensors = record.initial.take().expect("initial").tensors;
        record.initial = Some(Initial { tensors, ..Initial::default() });
        record.steps.iter_mut().for_each(|step| step.layers.clear());
        assert_eq!(check_rule(&RULE, &record), None);
        for_tensors(&mut record, |_, tensor, sample| {
            if tensor.weight {
                sample.param_norm = sample.param_norm.map(|norm| 0.01 * norm);
            }
        });
        let finding = check_rule(&RULE, &record).expect("a hundredth of He's weights");
        assert!((finding.evidence[0].value - 0.01 * libm::sqrt(2.0)).abs() < 1e-9);
    }
}
