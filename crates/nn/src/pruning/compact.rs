//! A network without its dead units: those whose weights and biases are all 0.
//!
//! ```text
//! live = which elements of a row are not 0 whatever the input
//! layer by layer from the input:    rows of weights by `live`;   live = columns that are not all 0
//! ```

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::Range;

use kernels::Cpu;

use crate::layer::Describe;
use crate::layout::Tensor;
use crate::sequence::{Sequence, flattens_later};
use crate::spec::Building;
use crate::{Compute, Error, Float, LayerSpec, Network, Registry, Shape};

/// A smaller network with the same outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Compacted<T> {
    /// Its layers.
    pub layers: Vec<LayerSpec>,
    /// Its parameters.
    pub params: Vec<T>,
    /// What it has that is not trained.
    pub buffers: Vec<T>,
}

/// Takes the dead units out of a network: those whose weights, biases and normalisation are all 0. Up to rounding (sums have fewer terms),
/// its outputs stay what they were.
///
/// Sequences of dense layers, convolutions of one group, batch norm, activations that are 0 at 0, pooling, flattening and dropout can be
/// compacted; in others units are coupled by more than weights.
///
/// # Errors
/// [`Error::Layer`] for a layer that cannot be compacted while units before it are dead; [`Error::Length`].
pub fn compact<T: Float>(
    cpu: Cpu<'_>,
    input: Shape,
    layers: &[LayerSpec],
    params: &[T],
    buffers: &[T],
) -> Result<Compacted<T>, Error> {
    let whole = Network::new(input, layers)?;
    crate::error::check_length("params", whole.layout().len(), params.len())?;
    crate::error::check_length("buffers", whole.buffers().len(), buffers.len())?;
    let mut small = Compacted { layers: layers.to_vec(), params: Vec::new(), buffers: Vec::new() };
    let last =
        layers.iter().rposition(|layer| matches!(layer, LayerSpec::Dense { .. } | LayerSpec::Convolution(_)));
    let (mut shape, mut live) = (input, vec![true; input.elements()]);
    for (i, layer) in layers.iter().enumerate() {
        let own = |tensors: &[Tensor]| {
            tensors.iter().filter(|t| t.layer == i).map(|t| t.range.clone()).collect::<Vec<Range<usize>>>()
        };
        let (tensors, kept) = (own(whole.layout().tensors()), own(whole.buffers().tensors()));
        let output = output(input, &layers[..=i])?;
        let (channels, outputs) = (shape.features(), output.features());
        let through =
            |live: &[bool]| (0..output.elements()).map(|e| live[e % outputs]).collect::<Vec<bool>>();
        let by_channel: Vec<bool> =
            (0..channels).map(|c| (0..shape.places()).any(|p| live[p * channels + c])).collect();
        match layer {
            LayerSpec::Dense { .. } | LayerSpec::Convolution(_) => {
                let [weight, bias @ ..] = &tensors[..] else { continue };
                let groups = match layer {
                    LayerSpec::Convolution(convolution) => convolution.groups,
                    _ => 1,
                };
                let rows = weight.len() / outputs;
                // A dense layer over the steps of a sequence sees features, over anything else all elements.
                let seen = if rows == live.len() { &live } else { &by_channel };
                let dead = |unit: usize| {
                    weight.clone().skip(unit).step_by(outputs).all(|w| params[w] == T::ZERO)
                        && bias.iter().all(|bias| params[bias.start + unit] == T::ZERO)
                };
                // The last layer's units are the network's outputs; groups are left as they are.
                let apart = groups > 1;
                let keep: Vec<bool> =
                    (0..outputs).map(|unit| Some(i) == last || apart || !dead(unit)).collect();
                if apart && seen.iter().any(|live| !live) {
                    return Err(coupled(layer, i));
                }
                for row in (0..rows).filter(|row| apart || seen[row % seen.len()]) {
                    let row = &params[weight.start + row * outputs..][..outputs];
                    small.params.extend(row.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(w, _)| *w));
                }
                for bias in bias {
                    small.params.extend(selected(&params[bias.clone()], &keep));
                }
                let left = keep.iter().filter(|keep| **keep).count();
                match &mut small.layers[i] {
                    LayerSpec::Dense { units, .. } => *units = left,
                    LayerSpec::Convolution(convolution) => convolution.filters = left,
                    _ => {}
                }
                // A layer of which nothing is left would be none.
                if left == 0 {
                    return Err(coupled(layer, i));
                }
                live = through(&keep);
            }
            LayerSpec::BatchNorm { .. } => {
                // A dead unit is 0 behind it too, if its scale and shift are.
                let dead_here = |c: usize| tensors.iter().all(|t| params[t.start + c] == T::ZERO);
                if (0..channels).any(|c| !by_channel[c] && !dead_here(c)) {
                    return Err(coupled(layer, i));
                }
                for tensor in &tensors {
                    small.params.extend(selected(&params[tensor.clone()], &by_channel));
                }
                for tensor in &kept {
                    match tensor.len() {
                        len if len == channels => {
                            small.buffers.extend(selected(&buffers[tensor.clone()], &by_channel));
                        }
                        _ => small.buffers.extend_from_slice(&buffers[tensor.clone()]),
                    }
                }
            }
            LayerSpec::Activation(activation) => {
                let mut zero = [T::ZERO];
                activation.forward(cpu, &[T::ZERO], &mut zero)?;
                if zero[0] != T::ZERO && live.contains(&false) {
                    return Err(coupled(layer, i));
                }
            }
            LayerSpec::Dropout { .. } => {}
            LayerSpec::Pooling { .. } | LayerSpec::GlobalPooling => live = through(&by_channel),
            // The dense layer behind sees the image.
            LayerSpec::Flatten if flattens_later(layers, i, shape) => continue,
            LayerSpec::Flatten => {
                let places = shape.places();
                live = (0..output.elements()).map(|e| by_channel[e / places]).collect();
            }
            _ if live.contains(&false) => return Err(coupled(layer, i)),
            _ => {
                tensors.iter().for_each(|t| small.params.extend_from_slice(&params[t.clone()]));
                kept.iter().for_each(|t| small.buffers.extend_from_slice(&buffers[t.clone()]));
                live = vec![true; output.elements()];
            }
        }
        shape = output;
    }
    let expected = Network::new(input, &small.layers)?.layout().len();
    crate::error::check_length("compacted params", expected, small.params.len())?;
    Ok(small)
}

/// The shape of a row behind `layers`.
fn output(input: Shape, layers: &[LayerSpec]) -> Result<Shape, Error> {
    let (registry, numbers) = (Registry::new(), Cell::new(0));
    Ok(Sequence::new(input, layers, &Building::new(&registry, Compute::default(), &numbers))?.output())
}

fn selected<'a, T: Float>(values: &'a [T], keep: &'a [bool]) -> impl Iterator<Item = T> + 'a {
    values.iter().zip(keep).filter(|(_, keep)| **keep).map(|(value, _)| *value)
}

fn coupled(layer: &LayerSpec, place: usize) -> Error {
    Error::Layer {
        path: alloc::format!("{place}"),
        kind: layer.kind(),
        expected: String::from("live units only, as it couples them or makes them other than 0"),
        got: String::from("dead ones"),
    }
}
