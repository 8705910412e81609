//! Structure of a network, as rules need it: kinds of layers, which have weights, which samples
//! are of the initial network.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::record::{Layer, LayerSample, Model, Record, Step, Tensor, TensorSample};

/// `true` for an activation whose output and slope are 0 for negative inputs.
pub(crate) fn is_rectifier(kind: &str) -> bool {
    matches!(kind, "relu" | "capped_relu")
}

/// `true` for an activation with a lower and an upper bound that it approaches from all units'
/// inputs alone.
pub(crate) fn is_bounded(kind: &str) -> bool {
    matches!(kind, "sigmoid" | "hard_sigmoid" | "tanh" | "hard_tanh" | "softsign")
}

/// `true` for a layer that sets the scale of its outputs.
pub(crate) fn is_normalisation(kind: &str) -> bool {
    matches!(kind, "batch_norm" | "layer_norm" | "rms_norm" | "group_norm")
}

/// Indices of the layers with weights, in order; embeddings left out, since their inputs are
/// indices. By the tensors, or by the layers' kinds if there are none.
pub(crate) fn weight_layers(model: &Model) -> Vec<usize> {
    let of_tensors = model.tensors.iter().filter(|tensor| tensor.weight);
    let mut indices: Vec<usize> = of_tensors.map(|tensor| tensor.layer).collect();
    if indices.is_empty() {
        let has_weights = |layer: &Layer| {
            matches!(
                &layer.kind[..],
                "dense" | "convolution" | "rnn" | "lstm" | "gru" | "attention" | "transformer"
            )
        };
        let layers = model.layers.iter().enumerate();
        indices = layers.filter(|(_, layer)| has_weights(layer)).map(|(index, _)| index).collect();
    }
    let is_multiplied =
        |layer: &Layer| !matches!(&layer.kind[..], "embedding" | "position") && !is_norm(layer);
    indices.retain(|&index| model.layers.get(index).is_some_and(is_multiplied));
    indices.sort_unstable();
    indices.dedup();
    indices
}

fn is_norm(layer: &Layer) -> bool {
    is_normalisation(&layer.kind)
}

/// Layers after the last one with weights: what becomes of the network's linear outputs.
pub(crate) fn tail(model: &Model) -> &[Layer] {
    let after = weight_layers(model).last().map(|last| last + 1);
    after.and_then(|after| model.layers.get(after..)).unwrap_or_default()
}

/// Layers between the one with weights at `index` and the next such.
pub(crate) fn until_next_weights(model: &Model, index: usize) -> &[Layer] {
    let next = weight_layers(model).into_iter().find(|&next| next > index);
    let end = next.unwrap_or(model.layers.len());
    model.layers.get(index + 1..end).unwrap_or_default()
}

/// Name of the layer at `index`.
pub(crate) fn layer_name(model: &Model, index: usize) -> String {
    match model.layers.get(index) {
        Some(layer) if !layer.name.is_empty() => layer.name.clone(),
        _ => format!("layer {index}"),
    }
}

/// Weight tensors that are trained, with their indices.
pub(crate) fn trained_weights(model: &Model) -> impl Iterator<Item = (usize, &Tensor)> {
    let tensors = model.tensors.iter().enumerate();
    tensors.filter(|(_, tensor)| tensor.weight && !tensor.frozen)
}

/// Index of the last weight tensor: that of the output layer.
pub(crate) fn last_weights(model: &Model) -> Option<usize> {
    model.tensors.iter().rposition(|tensor| tensor.weight)
}

/// Parameter tensors of the initial network, as measured before training or at the first step.
pub(crate) fn initial_tensors(record: &Record) -> &[TensorSample] {
    let before = record.initial.as_ref().map(|initial| &initial.tensors[..]);
    match before {
        Some(tensors) if !tensors.is_empty() => tensors,
        _ => record.steps.first().filter(|step| step.step <= 1).map_or(&[], |step| &step.tensors),
    }
}

/// Layers of the initial network, as measured before training or at the first step.
pub(crate) fn initial_layers(record: &Record) -> &[LayerSample] {
    let before = record.initial.as_ref().map(|initial| &initial.layers[..]);
    match before {
        Some(layers) if !layers.is_empty() => layers,
        _ => record.steps.first().filter(|step| step.step <= 1).map_or(&[], |step| &step.layers),
    }
}

/// Recorded steps without a non-finite loss. The others tell nothing of layers and tensors.
fn finite_steps(record: &Record) -> impl DoubleEndedIterator<Item = &Step> + Clone {
    let is_finite =
        |step: &&Step| step.non_finite.is_none() && step.loss.is_none_or(f64::is_finite);
    record.steps.iter().filter(is_finite)
}

/// Finite steps that were taken and whose tensors were measured.
pub(crate) fn taken_steps(record: &Record) -> impl DoubleEndedIterator<Item = &Step> + Clone {
    finite_steps(record).filter(|step| !step.skipped && !step.tensors.is_empty())
}

/// Finite steps whose layers were measured.
pub(crate) fn layer_steps(record: &Record) -> impl DoubleEndedIterator<Item = &Step> + Clone {
    finite_steps(record).filter(|step| !step.layers.is_empty())
}

/// Last step of the training: the last recorded, or the last planned if that is later.
pub(crate) fn total_steps(record: &Record) -> u64 {
    let recorded = record.steps.last().map_or(0, |step| step.step);
    recorded.max(record.model.planned_steps)
}

/// `true` if the optimizer divides the gradient by its size, so that a constant factor of the
/// gradient has no effect but through epsilon.
pub(crate) fn is_adaptive(optimizer: &str) -> bool {
    matches!(
        optimizer,
        "adam"
            | "adamw"
            | "amsgrad"
            | "nadam"
            | "radam"
            | "adamax"
            | "adagrad"
            | "adadelta"
            | "rmsprop"
            | "lion"
            | "lamb"
            | "lars"
            | "muon"
    )
}
