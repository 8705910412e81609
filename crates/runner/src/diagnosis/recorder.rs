//! Recorder of a training: measures its steps for the doctor.
//!
//! ```text
//! every step      loss, learning rate, norm of the gradient, scale of clipping
//! sampled steps   each tensor: norms of gradient, parameters, update; counts of NaN, 0, subnormal
//!                 each layer: moments of its outputs, dead and saturated units
//!                 cosine of the gradient with that of the step before
//! ```
//!
//! An [`Observer`] of the training loop. It changes no bit of the training.

use doctor::Record;
use doctor::record::{Data, Initial, LayerSample, NonFinite, Step, TensorSample};
use kernels::argmax::argmax;
use kernels::statistics::statistics;
use kernels::{Cpu, norm};
use nn::{LayerSpec, Network, Residual, Shape};

use crate::Error;
use crate::data::Targets;
use crate::data::element::Element;
use crate::diagnosis::model;
use crate::run::health::Activity;
use crate::run::setup::Setup;
use crate::training::locate::{Location, Part};
use crate::training::observer::{Gradient, Observer, Update};
use crate::training::update::UpdateNorms;

/// Examples of a layer's outputs that are measured.
const ROWS: usize = 128;

/// Elements of a layer's outputs that are measured, if they are more than those of [`FEW`] rows.
const ELEMENTS: usize = 1 << 17;

/// Fewest examples that are measured.
const FEW: usize = 16;

/// Steps at the start of a training that are all sampled.
const FIRST: u64 = 8;

/// Records steps for the doctor.
#[derive(Debug)]
pub struct Recorder<T> {
    /// The record: steps, and the network before the first.
    pub record: Record,
    /// Sampled steps: every so many.
    every: u64,
    updates: UpdateNorms<T>,
    /// Gradient of the step before a sampled one, and its number.
    previous: (u64, Vec<T>),
}

impl<T: Element> Recorder<T> {
    /// Recorder of the training `setup`, whose data are inspected. It samples one step in `every`,
    /// and the first few.
    ///
    /// # Errors
    /// [`Error::Network`] if there is not enough memory.
    pub fn new(setup: &Setup, data: Option<Data>, every: u64) -> Result<Self, Error> {
        let model = model::model(setup);
        Ok(Self {
            record: Record { model, data, ..Record::default() },
            every: every.max(1),
            updates: UpdateNorms::new(&setup.network)?,
            previous: (0, nn::zeros(setup.network.layout().len())?),
        })
    }

    /// Number of the last recorded step; 0 before the first.
    pub fn step(&self) -> u64 {
        self.record.steps.last().map_or(0, |step| step.step)
    }

    fn is_sampled(&self, step: u64) -> bool {
        step <= FIRST || step.is_multiple_of(self.every)
    }
}

impl<T: Element> Observer<T> for Recorder<T> {
    fn on_gradient(&mut self, gradient: &Gradient<'_, T>) {
        let &Gradient { setup, cpu, step, rate, params, grads, score, .. } = gradient;
        let mut record = Step {
            step,
            loss: Some(score.mean_loss()),
            learning_rate: Some(rate),
            ..Step::default()
        };
        if self.is_sampled(step) {
            record.tensors = tensors(&setup.network, cpu, params, grads);
            record.layers = layers(gradient);
            record.accuracy = accuracy(gradient);
            self.updates.before_step(params);
            if self.previous.0 + 1 == step {
                record.cosine = cosine(&self.previous.1, grads);
            }
        }
        if self.is_sampled(step + 1) {
            self.previous.0 = step;
            self.previous.1.copy_from_slice(grads);
        }
        if step == 1 {
            let mut tensors = record.tensors.clone();
            for (sample, tensor) in tensors.iter_mut().zip(setup.network.layout().tensors()) {
                if tensor.shape.len() > 1 {
                    let units = tensor.shape.last().copied().unwrap_or(1);
                    sample.equal_units = equal_units(&params[tensor.range.clone()], units);
                }
            }
            let preflight = self.record.initial.take().unwrap_or_default();
            self.record.initial = Some(Initial {
                loss: record.loss,
                grad_norm: norm::norm2(cpu, grads).ok(),
                layers: record.layers.clone(),
                tensors,
                ..preflight
            });
        }
        self.record.steps.push(record);
    }

    fn on_update(&mut self, update: &Update<'_, T>) {
        let &Update { setup, cpu, params, norm, clip_scale } = update;
        let Some(record) = self.record.steps.last_mut() else { return };
        (record.grad_norm, record.clip_scale) = (Some(norm), Some(clip_scale));
        if record.tensors.is_empty() {
            return;
        }
        let norms = self.updates.after_step((cpu, &setup.network), params);
        for (sample, norm) in record.tensors.iter_mut().zip(norms) {
            sample.update_norm = Some(norm);
        }
    }

    fn on_non_finite(&mut self, location: Option<&Location>) {
        let Some(record) = self.record.steps.last_mut() else { return };
        record.skipped = true;
        record.non_finite = location.map(|location| NonFinite {
            name: match location.part {
                Part::Inputs => "the batch".into(),
                _ => location.name.clone(),
            },
            operation: location.part.name().into(),
            element: Some(location.element as u64),
            example: location.example.map(u64::from),
        });
    }
}

/// Fraction of the last batch of the step that is classified correctly; `None` without classes.
fn accuracy<T: Element>(gradient: &Gradient<'_, T>) -> Option<f64> {
    let &Gradient { setup, cpu, indices, workspace, rows, .. } = gradient;
    let (Targets::Classes(labels), None) = (setup.dataset.train.targets(), &setup.config.mixing)
    else {
        return None;
    };
    let outputs = workspace.outputs(&setup.network, rows);
    let mut classes = vec![0; rows];
    argmax(cpu, outputs, setup.network.outputs(), &mut classes).ok()?;
    let of_batch = &indices[indices.len() - rows..];
    let pairs = of_batch.iter().zip(&classes);
    let correct = pairs.filter(|&(&index, &class)| u32::from(labels[index as usize]) == class);
    (rows > 0).then(|| correct.count() as f64 / rows as f64)
}

/// Measures every parameter tensor before its update.
fn tensors<T: Element>(
    network: &Network,
    cpu: Cpu<'_>,
    params: &[T],
    grads: &[T],
) -> Vec<TensorSample> {
    let sample = |tensor: &nn::Tensor| {
        let (params, grads) = (&params[tensor.range.clone()], &grads[tensor.range.clone()]);
        let counts = statistics(cpu, grads);
        TensorSample {
            grad_norm: Some(norm::norm2(cpu, grads).unwrap_or(f64::NAN)),
            param_norm: Some(norm::norm2(cpu, params).unwrap_or(f64::NAN)),
            non_finite: counts.nan + counts.infinite,
            zero: counts.zero,
            subnormal: counts.subnormal,
            ..TensorSample::default()
        }
    };
    network.layout().tensors().iter().map(sample).collect()
}

/// Measures the outputs of the layers, in the order of the model's layers.
fn layers<T: Element>(gradient: &Gradient<'_, T>) -> Vec<LayerSample> {
    let &Gradient { setup, workspace, rows, .. } = gradient;
    let specs = setup.config.layers.as_deref().unwrap_or_default();
    let mut samples = Vec::new();
    let mut outputs = workspace.layer_outputs(&setup.network, rows).peekable();
    for (index, spec) in specs.iter().enumerate() {
        let output = outputs.next_if(|(of, ..)| *of == index);
        samples.push(output.map_or_else(LayerSample::default, |(_, shape, values)| {
            layer(index, spec, shape, values)
        }));
        samples.extend(std::iter::repeat_n(LayerSample::default(), inner(spec)));
    }
    samples
}

/// Number of layers within `spec`, as the model lists them.
fn inner(spec: &LayerSpec) -> usize {
    let LayerSpec::Residual(Residual { body, shortcut, .. }) = spec else { return 0 };
    body.iter().chain(shortcut).map(|layer| 1 + inner(layer)).sum()
}

/// Measures the outputs `values` of a layer: `[rows, shape]`.
fn layer<T: Element>(index: usize, spec: &LayerSpec, shape: Shape, values: &[T]) -> LayerSample {
    let width = shape.elements().max(1);
    let rows = (ELEMENTS / width).clamp(FEW, ROWS);
    let values = &values[..values.len().min(rows * width)];
    let rows = values.len() / width;
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|x| x.to_f64()).sum::<f64>() / n;
    let (mut between, mut total, mut zeros) = (0.0, 0.0, 0_u64);
    let (mut sums, mut squares) = (vec![0.0; width], vec![0.0; width]);
    for row in values.chunks_exact(width) {
        for ((x, sum), square) in row.iter().zip(&mut sums).zip(&mut squares) {
            let difference = x.to_f64() - mean;
            *sum += difference;
            *square += difference * difference;
            zeros += u64::from(x.to_f64() == 0.0);
        }
    }
    for (sum, square) in sums.iter().zip(&squares) {
        total += square;
        between += (square - sum * sum / rows.max(1) as f64).max(0.0);
    }
    let units = shape.features();
    let activity = match spec {
        LayerSpec::Activation(activation) => Activity::new(index, *activation, units, values),
        _ => Activity::default(),
    };
    LayerSample {
        mean: Some(mean),
        std: Some((total / n).sqrt()),
        std_over_batch: Some((between / n).sqrt()),
        units: units as u64,
        dead: activity.dead,
        saturated: activity.saturated,
        zero_fraction: Some(zeros as f64 / n),
        saturated_fraction: Some(activity.saturated_fraction),
    }
}

/// Cosine of the angle between two gradients; `None` if one is 0 or not finite.
fn cosine<T: Element>(a: &[T], b: &[T]) -> Option<f64> {
    let dot = |a: &[T], b: &[T]| a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum::<f64>();
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    cosine.is_finite().then_some(cosine)
}

/// Number of units, of `units` columns of `weights`, that equal an earlier one bit for bit.
fn equal_units<T: Element>(weights: &[T], units: usize) -> u64 {
    let mut hashes = vec![0_u64; units];
    for row in weights.chunks_exact(units) {
        for (hash, weight) in hashes.iter_mut().zip(row) {
            let mixed = (*hash ^ weight.to_f64().to_bits()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *hash = mixed ^ (mixed >> 29);
        }
    }
    hashes.sort_unstable();
    hashes.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64
}
