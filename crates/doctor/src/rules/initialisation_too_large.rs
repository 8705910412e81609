//! Initial weights that blow the signal up.

use alloc::format;

use crate::cure::Cure;
use crate::finding::{Finding, Severity};
use crate::network::layer_name;
use crate::rule::{Context, Rule, Threshold};
use crate::signal::{gains, growth, normalised_gain};
use crate::symptoms;

pub(super) static RULE: Rule = Rule {
    id: "initialisation-too-large",
    title: "The initial weights are too large",
    meaning: "Each layer multiplies the standard deviation of its inputs by a gain. With large \
              weights it is far above 1. Bounded activations then saturate, and others grow from \
              layer to layer, as do the logits, the loss and the gradient. Updates of the usual \
              size hardly change such weights.",
    formula: "Gain of a layer with weights: standard deviation of its outputs over the root mean \
              square of its inputs, in the initial network; without samples of the layers, the \
              root mean square of its weights times the root of the fan-in. The rule fires if a \
              layer's gain is above `gain`, or if the standard deviation of the last such layer's \
              inputs is above `growth` times that of the network's inputs. Layers in residual \
              blocks are left out; before a normalisation, the weights alone count, from a gain \
              of twice `gain` on, unless training goes well.",
    origin: "Glorot's weights have a gain of 1, He's of 1.4, those for tanh of 1.7. Weights of \
             unit variance have the root of the fan-in: 28 for 784 inputs.",
    references: "Glorot, Bengio, AISTATS 2010; He, Zhang, Ren, Sun, ICCV 2015; Poole et al., \
                 NeurIPS 2016.",
    thresholds: &[
        Threshold {
            key: "gain",
            default: 5.0,
            meaning: "gain of a layer, above which its weights are too large",
        },
        Threshold {
            key: "growth",
            default: 100.0,
            meaning: "standard deviation of the last hidden outputs over that of the inputs, \
                      above which the weights are too large",
        },
    ],
    cures: &[Cure::MatchedInitialiser, Cure::Lsuv, Cure::OrthogonalInitialiser, Cure::BatchNorm],
    causes: &[
        symptoms::NOT_LEARNING,
        symptoms::SLOW,
        symptoms::ERRATIC,
        &[
            "exploding-gradient",
            "vanishing-gradient",
            "saturation",
            "dead-relu",
            "initial-loss",
            "learning-rate-too-high",
            "learning-rate-too-low",
            "exploding-updates",
            "clip-always",
            "clip-never",
            "non-finite",
            "overfit-one-batch-fails",
        ],
    ],
    check: |context| find(context).into_iter().collect(),
};

/// Initial loss, over that of chance, from which large weights harm however well training goes.
const HARMFUL: f64 = 10.0;

fn find(context: &Context<'_>) -> Option<Finding> {
    let record = context.record;
    let (most_gain, most_growth) = (context.threshold("gain"), context.threshold("growth"));
    let gains = gains(record);
    let largest = gains.iter().reduce(|a, b| if b.value > a.value { b } else { a });
    let growth = growth(record);
    let grows = growth.is_some_and(|growth| growth > most_growth);
    let Some(largest) = largest.filter(|largest| largest.value > most_gain || grows) else {
        return find_normalised(context);
    };
    let (name, gain) = (layer_name(&record.model, largest.layer), largest.value);
    let mut message = format!(
        "The initial weights are too large: {name} scales its inputs by {gain:.1}, where about 1 \
         keeps the signal"
    );
    if let Some(growth) = growth.filter(|_| grows) {
        message += &format!(", and it reaches the output layer {growth:.1e} times as large");
    }
    message += ".";
    let mut finding = context.finding(message).at_layer(name).with("gain", gain, most_gain);
    if let Some(growth) = growth {
        let quantity = "standard deviation of the last hidden outputs over that of the inputs";
        finding = finding.with(quantity, growth, most_growth);
    }
    let chance = context.progress.chance_loss.filter(|chance| *chance > 0.0);
    let excess = context.progress.first_loss.zip(chance).map(|(loss, chance)| loss / chance);
    if let Some(excess) = excess.filter(|excess| *excess > HARMFUL) {
        // What is learnt from there on undoes the initial weights first.
        finding.severity = finding.severity.max(Severity::Warning);
        finding = finding.with("initial loss over that of chance", excess, HARMFUL);
    }
    Some(finding.with_confidence(0.82))
}

/// Weights before a normalisation: their size changes no output, but the update relative to it.
fn find_normalised(context: &Context<'_>) -> Option<Finding> {
    let most = 2.0 * context.threshold("gain");
    let largest = normalised_gain(context.record).filter(|largest| largest.value > most)?;
    if context.progress.is_well() {
        return None;
    }
    let (name, gain) = (layer_name(&context.record.model, largest.layer), largest.value);
    let message = format!(
        "The initial weights are too large: those of {name} would scale their inputs by {gain:.1} \
         without the normalisation, which divides their gradient by as much."
    );
    let finding = context.finding(message).at_layer(name).with("gain", gain, most);
    Some(finding.with_confidence(0.82))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Initial;
    use crate::rules::fixtures::{for_layers, for_tensors, healthy, make_stuck};
    use crate::rules::testing::check_rule;

    #[test]
    fn large_gains_are_found_and_large_inputs_are_none() {
        let mut record = healthy(&[784, 64, 10], "tanh");
        make_stuck(&mut record);
        let mut with_std = |std: f64| {
            for_layers(&mut record, |_, layer, sample| {
                if layer.name == "layers.0" {
                    sample.std = Some(std);
                }
            });
            check_rule(&RULE, &record)
        };
        assert_eq!(with_std(2.0), None);
        let finding = with_std(28.0).expect("weights of unit variance");
        assert_eq!(finding.layer.as_deref(), Some("layers.0"));
        assert_eq!(finding.severity, Severity::Critical);
        record.data.as_mut().expect("data").rms = Some(28.0);
        assert_eq!(check_rule(&RULE, &record), None);
    }

    #[test]
    fn growth_over_many_layers_is_found() {
        let mut record = healthy(&[784, 64, 64, 64, 64, 64, 10], "relu");
        make_stuck(&mut record);
        let mut grow = |factor: f64| {
            for_layers(&mut record, |_, layer, sample| {
                let index: i32 = layer.name.trim_start_matches("layers.").parse().expect("number");
                sample.std = Some(libm::pow(factor, f64::from(index / 2 + 1)));
                sample.mean = Some(0.0);
            });
            check_rule(&RULE, &record)
        };
        assert!(grow(3.0).is_some());
        assert_eq!(grow(1.5), None);
    }

    #[test]
    fn weights_alone_show_it_if_layers_were_not_measured() {
        let mut record = healthy(&[784, 64, 10], "relu");
        let tensors = record.initial.take().expect("initial").tensors;
        record.initial = Some(Initial { tensors, ..Initial::default() });
        record.steps.iter_mut().for_each(|step| step.layers.clear());
        assert_eq!(check_rule(&RULE, &record), None);
        for_tensors(&mut record, |_, tensor, sample| {
            sample.param_norm = Some(libm::sqrt(tensor.elements as f64));
        });
        let finding = check_rule(&RULE, &record).expect("weights of unit variance");
        assert_eq!((finding.severity, finding.evidence[0].value), (Severity::Info, 28.0));
    }
}
