//! Where numbers stopped being finite: what the message about a divergence names.
//!
//! ```text
//! parameters    the first tensor that is not finite: the step before was too large
//! inputs        a batch that holds such numbers
//! outputs       the first layer whose outputs are not, for the images of the step
//! gradient      the last tensor whose gradient is not: gradients come from the last layer down to the first
//! second moment the tensor whose squared gradient the optimizer cannot hold
//! ```
//!
//! A NaN reaches every gradient before it, so that the first tensor of the gradient says nothing. A step calls it when it cannot be taken.

use kernels::Cpu;
use nn::{Mode, Network, Tensor, Weights, Workspace};

use crate::Error;
use crate::data::element::Element;
use crate::run::batch::Rows;
use crate::run::setup::Setup;
use crate::run::{setup, weights};

/// Where step `number` of a run (from 0), which is by the images `indices`, left the finite numbers, under these weights, with this
/// gradient. `None` where nothing is found: images that were mixed are looked at as they are.
///
/// # Errors
/// [`Error::Network`] if there is no memory to look with.
pub(crate) fn of<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    number: u64,
    weights: &weights::Weights<T>,
    indices: &[u32],
    grads: &[T],
) -> Result<Option<String>, Error> {
    let tensors = setup.network.layout().tensors();
    let is_broken = |values: &[T], tensor: &&Tensor| !is_finite(&values[tensor.range.clone()]);
    if let Some(tensor) = tensors.iter().find(|tensor| is_broken(&weights.params, tensor)) {
        return Ok(Some(format!("the parameters {}", tensor.name)));
    }
    let accumulate = u64::from(setup.config.accumulate);
    for (part, images) in (0..).zip(indices.chunks(setup.rows_per_batch())) {
        let mode = Mode::Train { seed: setup.config.seed, step: number * accumulate + part };
        if let Some(place) = first_broken_outputs(setup, cpu, mode, weights, images)? {
            return Ok(Some(place));
        }
    }
    let last = tensors.iter().rev().find(|tensor| is_broken(grads, tensor));
    Ok(last.map(|tensor| format!("the gradient of {}", tensor.name)))
}

/// The second moment `moment` of the tensor that has element `index` of the parameters: the square
/// of its gradient overflows.
pub(crate) fn of_second_moment(network: &Network, moment: &str, index: usize) -> Option<String> {
    let tensor = network.layout().tensors().iter().find(|tensor| tensor.range.contains(&index))?;
    let name = &tensor.name;
    Some(format!("the second moment `{moment}` of {name}: the square of the gradient overflows"))
}

/// The inputs, if they are non-finite, else the first layer with non-finite outputs. The layers up to each are a network of their own,
/// whose parameters are the first of those of the whole. Layers before the first parameter are no network: should one of them be
/// the first, the layer of that parameter is named.
fn first_broken_outputs<T: Element>(
    setup: &Setup,
    cpu: Cpu<'_>,
    mode: Mode,
    weights: &weights::Weights<T>,
    images: &[u32],
) -> Result<Option<String>, Error> {
    let mut rows = Rows::<T>::new(images.len(), setup.network.inputs())?;
    let inputs = rows.fill(&setup.dataset.train, images)?.inputs;
    if !is_finite(inputs) {
        return Ok(Some("the inputs".into()));
    }
    let layers = setup.config.layers.as_deref().unwrap_or_default();
    for (at, layer) in layers.iter().enumerate() {
        let network =
            match setup::network(&setup.config, setup.network.input(), &layers[..=at], false) {
                Err(Error::Network(nn::Error::NoLayers)) => continue,
                network => network?,
            };
        let mut buffers = weights.buffers[..network.buffers().len()].to_vec();
        let weights =
            Weights { params: &weights.params[..network.layout().len()], buffers: &mut buffers };
        let mut workspace = Workspace::inference(&network, cpu, images.len())?;
        if !is_finite(network.forward_in(cpu, mode, weights, inputs, &mut workspace)?) {
            return Ok(Some(format!("the outputs of layers.{at} ({})", layer.kind())));
        }
    }
    Ok(None)
}

fn is_finite<T: Element>(values: &[T]) -> bool {
    values.iter().all(|value| value.to_f64().is_finite())
}
