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

use std::fmt;

use kernels::Cpu;
use nn::{Mode, Network, Tensor, Weights, Workspace};

use crate::Error;
use crate::data::element::Element;
use crate::run::batch::BatchBuffers;
use crate::run::setup;
use crate::run::setup::Setup;
use crate::run::weights::ModelWeights;

/// Location of the first non-finite values of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Part of the step.
    pub part: Part,
    /// Name of the tensor or layer, such as `layers.3`; empty for the inputs.
    pub name: String,
    /// Kind of the layer, or name of the moment; empty for others.
    pub kind: String,
    /// Index of the first such element in the tensor, or in the outputs for the example.
    pub element: usize,
    /// Index of the training example, if the values are of one.
    pub example: Option<u32>,
}

/// Part of a step, in the order of computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A parameter before the step.
    Parameters,
    /// The inputs of an example.
    Inputs,
    /// The outputs of a layer.
    Outputs,
    /// The gradient of a parameter tensor.
    Gradient,
    /// A second moment of the optimizer.
    SecondMoment,
}

impl Part {
    /// Name, in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parameters => "parameters",
            Self::Inputs => "inputs",
            Self::Outputs => "outputs",
            Self::Gradient => "gradient",
            Self::SecondMoment => "second moment",
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, .. } = self;
        match self.part {
            Part::Parameters => write!(f, "the parameters {name}"),
            Part::Inputs => write!(f, "the inputs"),
            Part::Outputs => write!(f, "the outputs of {name} ({kind})"),
            Part::Gradient => write!(f, "the gradient of {name}"),
            Part::SecondMoment => write!(
                f,
                "the second moment `{kind}` of {name}: the square of the gradient overflows"
            ),
        }
    }
}

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
) -> Result<Option<Location>, Error> {
    let tensors = setup.network.layout().tensors();
    let first = |part: Part, values: &[T], tensor: &Tensor| {
        let element = non_finite_element(&values[tensor.range.clone()])?;
        let (name, kind) = (tensor.name.clone(), String::new());
        Some(Location { part, name, kind, element, example: None })
    };
    let parameters = |tensor: &Tensor| first(Part::Parameters, &weights.params, tensor);
    if let Some(location) = tensors.iter().find_map(parameters) {
        return Ok(Some(location));
    }
    let accumulate = u64::from(setup.config.accumulate);
    for (part, indices) in (0..).zip(indices.chunks(setup.rows_per_batch())) {
        let mode = Mode::Train { seed: setup.config.seed, step: step * accumulate + part };
        if let Some(location) = first_non_finite_outputs(setup, cpu, mode, weights, indices)? {
            return Ok(Some(location));
        }
    }
    Ok(tensors.iter().rev().find_map(|tensor| first(Part::Gradient, grads, tensor)))
}

/// Returns the location of a second moment, named `moment`, that would overflow at element `index`
/// of the parameters.
pub(crate) fn second_moment(network: &Network, moment: &str, index: usize) -> Option<Location> {
    let tensor = network.layout().tensors().iter().find(|tensor| tensor.range.contains(&index))?;
    let (name, element) = (tensor.name.clone(), index - tensor.range.start);
    let kind = moment.into();
    Some(Location { part: Part::SecondMoment, name, kind, element, example: None })
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
) -> Result<Option<Location>, Error> {
    // The location of the first non-finite one among the values of each example.
    let first = |part: Part, values: &[T], name: String, kind: &str| {
        let (element, len) = (non_finite_element(values)?, values.len() / indices.len());
        let (example, kind) = (indices.get(element / len).copied(), kind.into());
        Some(Location { part, name, kind, element: element % len, example })
    };
    let mut batch = BatchBuffers::<T>::new(cpu.isa, indices.len(), setup.network.inputs())?;
    let inputs = batch.fill(&setup.dataset.train, indices)?.inputs;
    if let Some(location) = first(Part::Inputs, inputs, String::new(), "") {
        return Ok(Some(location));
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
        let outputs = network.forward_in(cpu, mode, weights, inputs, &mut workspace)?;
        let name = format!("layers.{index}");
        if let Some(location) = first(Part::Outputs, outputs, name, layer.kind()) {
            return Ok(Some(location));
        }
    }
    Ok(None)
}

/// Index of the first NaN or infinity among `values`.
fn non_finite_element<T: Element>(values: &[T]) -> Option<usize> {
    values.iter().position(|value| !value.to_f64().is_finite())
}
