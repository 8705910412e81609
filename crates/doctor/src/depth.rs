//! Profile of gradient and activations over depth: shared by the rules on vanishing and exploding
//! gradients.

use alloc::string::String;
use alloc::vec::Vec;

use crate::network::{initial_layers, weight_layers};
use crate::record::{Record, TensorSample};
use crate::statistics::{Line, fit_line, median};

/// Recorded steps that the profile is the median of. Later ones show what training made of it.
const STEPS: usize = 5;

/// Profile of the relative gradient over the weight tensors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Depth {
    /// Relative gradient of the first weight tensor over that of the last.
    pub(crate) ratio: f64,
    /// Fit of the logarithm of the relative gradient over the tensor's index.
    pub(crate) line: Line,
    /// Name of the first layer with weights.
    pub(crate) first: String,
    /// Number of weight tensors in the profile.
    pub(crate) layers: usize,
    /// First step of the profile; `None` if it is that of the initial network.
    pub(crate) step: Option<u64>,
}

/// Profile of `record`; `None` unless two weight tensors have a gradient.
pub(crate) fn profile(record: &Record) -> Option<Depth> {
    let measured = record.steps.iter().filter(|step| !step.tensors.is_empty());
    let from_steps: Vec<&[TensorSample]> =
        measured.clone().take(STEPS).map(|step| &step.tensors[..]).collect();
    let initial = record.initial.as_ref().map(|initial| &initial.tensors[..]);
    let (samples, step) = match initial {
        Some(tensors) if tensors.iter().any(|tensor| tensor.grad_norm.is_some()) => {
            (Vec::from([tensors]), None)
        }
        _ => (from_steps, measured.clone().next().map(|step| step.step)),
    };
    let relative = |sample: &TensorSample| {
        let (grad, param) = (sample.grad_norm?, sample.param_norm?);
        (param > 0.0).then_some(grad / param)
    };
    let tensors = record.model.tensors.iter().enumerate().filter(|(_, tensor)| tensor.weight);
    let gradients: Vec<(usize, f64)> = tensors
        .filter_map(|(index, tensor)| {
            let values = samples.iter().filter_map(|sample| relative(sample.get(index)?));
            Some((tensor.layer, median(values)?))
        })
        .collect();
    let (&(first, first_gradient), &(_, last_gradient)) = (gradients.first()?, gradients.last()?);
    if last_gradient == 0.0 {
        return None;
    }
    // A gradient of 0 counts as the smallest number of f64, so that it has a logarithm.
    let logarithm = |gradient: f64| libm::log(gradient.max(f64::MIN_POSITIVE));
    let points = (0..).zip(&gradients).map(|(x, &(_, g))| (f64::from(x), logarithm(g)));
    Some(Depth {
        ratio: first_gradient / last_gradient,
        line: fit_line(points)?,
        first: record.model.layers.get(first)?.name.clone(),
        layers: gradients.len(),
        step,
    })
}

/// Growth of a quantity per layer with weights, with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Growth {
    /// Ratio of one layer's quantity to that of the layer before, fitted to the logarithms.
    pub ratio: f64,
    /// Lower end of its interval, two standard errors below.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Number of layers.
    pub layers: usize,
}

impl Growth {
    /// Ratio e^`slope` of a fitted line.
    fn new(Line { slope, error, .. }: Line, layers: usize) -> Self {
        let [ratio, low, high] = [slope, slope - 2.0 * error, slope + 2.0 * error].map(libm::exp);
        Self { ratio, low, high, layers }
    }
}

/// Growth of the gradient over the weights, in L2 norms, per layer on the way back, from the last
/// layer to the first; `None` for fewer than three layers.
pub fn gradient_growth(record: &Record) -> Option<Growth> {
    let Depth { line, layers, .. } = profile(record)?;
    let back = Line { slope: -line.slope, ..line };
    (layers > 2).then(|| Growth::new(back, layers))
}

/// Growth of the outputs' standard deviation per layer with weights, in the initial network; `None`
/// for fewer than three layers.
pub fn activation_growth(record: &Record) -> Option<Growth> {
    let samples = initial_layers(record);
    let of_layer = |layer: usize| samples.get(layer)?.std.filter(|std| *std > 0.0);
    let stds: Vec<f64> = weight_layers(&record.model).into_iter().filter_map(of_layer).collect();
    let line = fit_line((0..).map(f64::from).zip(stds.iter().map(|std| libm::log(*std))))?;
    (stds.len() > 2).then(|| Growth::new(line, stds.len()))
}
