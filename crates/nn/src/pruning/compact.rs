//! Removes dead units from a network: those whose weights and biases are all 0.
//!
//! ```text
//! live = elements of a row that can be non-zero
//! for each layer, from the input:
//!     select the rows of its weights by `live`
//!     live = columns of its weights that are not all 0
//! ```

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::Range;

use kernels::Cpu;

use crate::builder::flattens_later;
use crate::error::check_length;
use crate::layer::Describe;
use crate::layout::Tensor;
use crate::registry::BuildContext;
use crate::sequence::Sequence;
use crate::{Compute, Error, Float, LayerSpec, Network, Registry, Shape};

/// A smaller network with the same outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Compacted<T> {
    /// Layers of the smaller network.
    pub layers: Vec<LayerSpec>,
    /// Parameters of the smaller network.
    pub params: Vec<T>,
    /// Buffers of the smaller network.
    pub buffers: Vec<T>,
}

/// Removes the dead units of a network: those whose weights, biases and normalisation parameters
/// are all 0. The outputs stay the same up to rounding, since sums have fewer terms.
///
/// Supports sequences of dense layers, convolutions of one group, batch norm, activations with
/// `act(0) = 0`, pooling, flattening and dropout. Other layers couple units by more than weights.
///
/// # Errors
/// [`Error::Layer`] for an unsupported layer after dead units; [`Error::Length`].
pub fn compact<T: Float>(
    cpu: Cpu<'_>,
    input: Shape,
    layers: &[LayerSpec],
    params: &[T],
    buffers: &[T],
) -> Result<Compacted<T>, Error> {
    let whole = Network::new(input, layers)?;
    check_length("params", whole.layout().len(), params.len())?;
    check_length("buffers", whole.buffers().len(), buffers.len())?;
    let mut small = Compacted { layers: layers.to_vec(), params: Vec::new(), buffers: Vec::new() };
    let last = layers
        .iter()
        .rposition(|layer| matches!(layer, LayerSpec::Dense(_) | LayerSpec::Convolution(_)));
    let (mut shape, mut live) = (input, vec![true; input.elements()]);
    for (i, layer) in layers.iter().enumerate() {
        let own = |tensors: &[Tensor]| {
            tensors
                .iter()
                .filter(|t| t.layer == i)
                .map(|t| t.range.clone())
                .collect::<Vec<Range<usize>>>()
        };
        let (tensors, own_buffers) =
            (own(whole.layout().tensors()), own(whole.buffers().tensors()));
        let output = output(input, &layers[..=i])?;
        let (channels, outputs) = (shape.features(), output.features());
        let per_element = |live: &[bool]| {
            (0..output.elements()).map(|e| live[e % outputs]).collect::<Vec<bool>>()
        };
        let by_channel: Vec<bool> =
            (0..channels).map(|c| (0..shape.positions()).any(|p| live[p * channels + c])).collect();
        match layer {
            LayerSpec::Dense(_) | LayerSpec::Convolution(_) => {
                let [weight, bias @ ..] = &tensors[..] else { continue };
                let groups = match layer {
                    LayerSpec::Convolution(convolution) => convolution.groups,
                    _ => 1,
                };
                let rows = weight.len() / outputs;
                // A dense layer reads the features of each step of a sequence, otherwise all
                // elements of a row.
                let seen = if rows == live.len() { &live } else { &by_channel };
                let dead = |unit: usize| {
                    weight.clone().skip(unit).step_by(outputs).all(|w| params[w] == T::ZERO)
                        && bias.iter().all(|bias| params[bias.start + unit] == T::ZERO)
                };
                // The last layer's units are the network's outputs; grouped convolutions are not
                // supported.
                let grouped = groups > 1;
                let retained: Vec<bool> =
                    (0..outputs).map(|unit| Some(i) == last || grouped || !dead(unit)).collect();
                if grouped && seen.iter().any(|live| !live) {
                    return Err(coupled(layer, i));
                }
                for row in (0..rows).filter(|row| grouped || seen[row % seen.len()]) {
                    let row = &params[weight.start + row * outputs..][..outputs];
                    small.params.extend(
                        row.iter()
                            .zip(&retained)
                            .filter(|(_, retained)| **retained)
                            .map(|(w, _)| *w),
                    );
                }
                for bias in bias {
                    small.params.extend(selected(&params[bias.clone()], &retained));
                }
                let left = retained.iter().filter(|retained| **retained).count();
                match &mut small.layers[i] {
                    LayerSpec::Dense(dense) => dense.units = left,
                    LayerSpec::Convolution(convolution) => convolution.filters = left,
                    _ => {}
                }
                // A layer without units cannot be built.
                if left == 0 {
                    return Err(coupled(layer, i));
                }
                live = per_element(&retained);
            }
            LayerSpec::BatchNorm(_) => {
                // A dead unit stays 0 after batch norm if its scale and shift are 0.
                let dead_here = |c: usize| tensors.iter().all(|t| params[t.start + c] == T::ZERO);
                if (0..channels).any(|c| !by_channel[c] && !dead_here(c)) {
                    return Err(coupled(layer, i));
                }
                for tensor in &tensors {
                    small.params.extend(selected(&params[tensor.clone()], &by_channel));
                }
                for tensor in &own_buffers {
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
            LayerSpec::Dropout(_) => {}
            LayerSpec::Pooling(_) | LayerSpec::GlobalPooling(_) => live = per_element(&by_channel),
            // The next dense layer reads the image.
            LayerSpec::Flatten(_) if flattens_later(layers, i, shape) => continue,
            LayerSpec::Flatten(_) => {
                let positions = shape.positions();
                live = (0..output.elements()).map(|e| by_channel[e / positions]).collect();
            }
            _ if live.contains(&false) => return Err(coupled(layer, i)),
            _ => {
                tensors.iter().for_each(|t| small.params.extend_from_slice(&params[t.clone()]));
                own_buffers
                    .iter()
                    .for_each(|t| small.buffers.extend_from_slice(&buffers[t.clone()]));
                live = vec![true; output.elements()];
            }
        }
        shape = output;
    }
    let expected = Network::new(input, &small.layers)?.layout().len();
    check_length("compacted params", expected, small.params.len())?;
    Ok(small)
}

/// Shape of a row after `layers`.
fn output(input: Shape, layers: &[LayerSpec]) -> Result<Shape, Error> {
    let (registry, next_id) = (Registry::new(), Cell::new(0));
    Ok(Sequence::new(input, layers, &BuildContext::new(&registry, Compute::default(), &next_id))?
        .output())
}

fn selected<'a, T: Float>(values: &'a [T], mask: &'a [bool]) -> impl Iterator<Item = T> + 'a {
    values.iter().zip(mask).filter(|(_, retained)| **retained).map(|(value, _)| *value)
}

fn coupled(layer: &LayerSpec, index: usize) -> Error {
    Error::Layer {
        path: alloc::format!("{index}"),
        kind: layer.kind(),
        expected: String::from(
            "live units only, since it couples units or maps 0 to another value",
        ),
        got: String::from("dead units"),
    }
}
