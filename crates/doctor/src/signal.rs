//! Scale of the signal in the initial network: how much each layer with weights amplifies it.

use alloc::vec::Vec;

use crate::network::{
    initial_layers, initial_tensors, is_bounded, is_normalisation, is_rectifier,
    until_next_weights, weight_layers,
};
use crate::record::{LayerSample, Record};

/// Amplification by a layer with weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Gain {
    /// Index of the layer.
    pub(crate) layer: usize,
    /// Standard deviation of its outputs over the root mean square of its inputs; about 1 for
    /// Glorot's weights, 1.4 for He's.
    pub(crate) value: f64,
    /// `true` if it is the last layer with weights.
    pub(crate) is_last: bool,
}

/// Gains of the layers with weights, in order. Those of layers in residual blocks, before a
/// normalisation and with attention are left out, since their weights do not set the scale of what
/// follows.
///
/// Without samples of the layers, a gain is that of independent weights: their root mean square
/// times the root of the fan-in.
pub(crate) fn gains(record: &Record) -> Vec<Gain> {
    let model = &record.model;
    let (samples, weights) = (initial_layers(record), weight_layers(model));
    let last = weights.last().copied();
    let gain = |&layer: &usize| {
        let is_normalised = is_normalised(record, layer);
        let spec = model.layers.get(layer)?;
        // Attention averages over positions, which no weights make up for.
        let averages = matches!(&spec.kind[..], "attention" | "transformer");
        if is_normalised || spec.residual || averages {
            return None;
        }
        let measured = input_rms(record, layer, samples).and_then(|input| {
            let output = samples.get(layer)?.std?;
            (input > 0.0).then_some(output / input)
        });
        let value = measured.or_else(|| predicted_gain(record, layer))?;
        value.is_finite().then_some(Gain { layer, value, is_last: Some(layer) == last })
    };
    weights.iter().filter_map(gain).collect()
}

/// `true` if the outputs of `layer` are normalised before the next weights. A normalisation within
/// a residual block leaves the sum as it is.
fn is_normalised(record: &Record, layer: usize) -> bool {
    let following = until_next_weights(&record.model, layer);
    following.iter().any(|layer| is_normalisation(&layer.kind) && !layer.residual)
}

/// Largest gain that the weights of a layer before a normalisation would have without it. It has no
/// effect on the outputs, but divides the gradient.
pub(crate) fn normalised_gain(record: &Record) -> Option<Gain> {
    let weights = weight_layers(&record.model);
    let last = weights.last().copied();
    let normalised = weights.iter().copied().filter(|&layer| is_normalised(record, layer));
    let gains = normalised.filter_map(|layer| {
        let value = predicted_gain(record, layer).filter(|gain| gain.is_finite())?;
        Some(Gain { layer, value, is_last: Some(layer) == last })
    });
    gains.reduce(|a, b| if b.value > a.value { b } else { a })
}

/// Root mean square of the inputs of `layer` in the initial network.
fn input_rms(record: &Record, layer: usize, samples: &[LayerSample]) -> Option<f64> {
    let Some(previous) = layer.checked_sub(1) else {
        return record.data.as_ref()?.rms;
    };
    let sample = samples.get(previous)?;
    let (mean, std) = (sample.mean.unwrap_or(0.0), sample.std?);
    Some(libm::sqrt(mean * mean + std * std))
}

fn predicted_gain(record: &Record, layer: usize) -> Option<f64> {
    let of_layer = |tensor: &crate::record::Tensor| tensor.layer == layer && tensor.weight;
    let index = record.model.tensors.iter().position(of_layer)?;
    let tensor = record.model.tensors.get(index)?;
    let norm = initial_tensors(record).get(index)?.param_norm?;
    let is_known = tensor.fan_in > 0 && tensor.elements > 0;
    is_known.then(|| norm * libm::sqrt(tensor.fan_in as f64 / tensor.elements as f64))
}

/// Standard deviation of the inputs of the last layer with weights over that of the network's
/// inputs; from the gains of all layers before it if layers were not measured. `None` if there is
/// one layer with weights, or if too little is known.
pub(crate) fn growth(record: &Record) -> Option<f64> {
    let model = &record.model;
    let weights = weight_layers(model);
    let (&first, &last) = (weights.first()?, weights.last()?);
    if first == last {
        return None;
    }
    let samples = initial_layers(record);
    let std = |layer: usize| samples.get(layer).and_then(|sample| sample.std);
    let start = match first.checked_sub(1) {
        Some(previous) => std(previous),
        None => record.data.as_ref().and_then(|data| data.rms),
    };
    let end = last.checked_sub(1).and_then(std);
    if let (Some(start), Some(end)) = (start.filter(|&start| start > 0.0), end) {
        return (end / start).is_finite().then_some(end / start);
    }
    let gains: Vec<Gain> = gains(record).into_iter().filter(|gain| !gain.is_last).collect();
    if !samples.is_empty() || gains.len() + 1 != weights.len() {
        return None;
    }
    let through = |growth: f64, gain: &Gain| {
        let output = growth * gain.value;
        match until_next_weights(model, gain.layer).first() {
            Some(layer) if is_rectifier(&layer.kind) => output * core::f64::consts::FRAC_1_SQRT_2,
            Some(layer) if is_bounded(&layer.kind) => output.min(1.0),
            _ => output,
        }
    };
    Some(gains.iter().fold(1.0, through))
}
