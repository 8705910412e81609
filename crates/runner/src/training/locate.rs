//! Locates the first non-finite values of a step, for the message about a divergence.
//!
//! ```text
//! parameters      the first non-finite tensor: the previous step was too large
//! inputs          the batch, if it has non-finite elements
//! outputs         the first layer with non-finite outputs for the examples of the step
//! gradient        the last non-finite tensor: backward goes from the last layer to the first
//! second moment   the tensor whose squared gradient overflows
//! ```
//!
//! A NaN reaches every gradient before it, so the first non-finite gradient tensor says nothing.
//! Called for a step that cannot be taken.

use kernels::Cpu;
use nn::{Mode, Network, Tensor, Weights, Workspace};

use crate::Error;
use crate::data::element::Element;
use crate::run::batch::BatchBuffers;
use crate::run::setup;
use crate::run::setup::Setup;
use crate::run::weights::ModelWeights;

/// Returns the location of the first non-finite values of step `step` (from 0) of a run, on the
/// examples `indices`, with these weights and this gradient. Mixed images are checked unmixed;
/// `None` if nothing is found then.
///
/// # Errors
/// [`Error::Network`] if there is not enough memory.
pub(crate) fn first_non_finite<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    step: u64,
    weights: &ModelWeights<T>,
    indices: &[u32],
    grads: &[T],
) -> Result<Option<String>, Error> {
    let tensors = setup.network.layout().tensors();
    let is_non_finite = |values: &[T], tensor: &&Tensor| !is_finite(&values[tensor.range.clone()]);
    if let Some(tensor) = tensors.iter().find(|tensor| is_non_finite(&weights.params, tensor)) {
        return Ok(Some(format!("the parameters {}", tensor.name)));
    }
    let accumulate = u64::from(setup.config.accumulate);
    for (part, indices) in (0..).zip(indices.chunks(setup.rows_per_batch())) {
        let mode = Mode::Train { seed: setup.config.seed, step: step * accumulate + part };
        if let Some(location) = first_non_finite_outputs(setup, cpu, mode, weights, indices)? {
            return Ok(Some(location));
        }
    }
    let last = tensors.iter().rev().find(|tensor| is_non_finite(grads, tensor));
    Ok(last.map(|tensor| format!("the gradient of {}", tensor.name)))
}

/// Returns the location of a second moment, named `moment`, that would overflow at element `index`
/// of the parameters.
pub(crate) fn second_moment(network: &Network, moment: &str, index: usize) -> Option<String> {
    let tensor = network.layout().tensors().iter().find(|tensor| tensor.range.contains(&index))?;
    let name = &tensor.name;
    Some(format!("the second moment `{moment}` of {name}: the square of the gradient overflows"))
}

/// Returns the inputs if they are non-finite, else the first layer with non-finite outputs.
///
/// The layers up to each one form a network of their own, whose parameters are a prefix of the
/// whole network's. Layers before the first parameter form no network: if one of them comes first,
/// the layer of that parameter is returned.
fn first_non_finite_outputs<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    mode: Mode,
    weights: &ModelWeights<T>,
    indices: &[u32],
) -> Result<Option<String>, Error> {
    let mut batch = BatchBuffers::<T>::new(cpu.isa, indices.len(), setup.network.inputs())?;
    let inputs = batch.fill(&setup.dataset.train, indices)?.inputs;
    if !is_finite(inputs) {
        return Ok(Some("the inputs".into()));
    }
    let layers = setup.config.layers.as_deref().unwrap_or_default();
    for (index, layer) in layers.iter().enumerate() {
        let (input, prefix) = (setup.network.input(), &layers[..=index]);
        let network = match setup::network(&setup.config, input, prefix, false) {
            Err(Error::Network(nn::Error::NoLayers)) => continue,
            network => network?,
        };
        let mut buffers = weights.buffers[..network.buffers().len()].to_vec();
        let weights =
            Weights { params: &weights.params[..network.layout().len()], buffers: &mut buffers };
        let mut workspace = Workspace::inference(&network, cpu, indices.len())?;
        if !is_finite(network.forward_in(cpu, mode, weights, inputs, &mut workspace)?) {
            return Ok(Some(format!("the outputs of layers.{index} ({})", layer.kind())));
        }
    }
    Ok(None)
}

fn is_finite<T: Element>(values: &[T]) -> bool {
    values.iter().all(|value| value.to_f64().is_finite())
}
