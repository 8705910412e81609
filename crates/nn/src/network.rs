//! A network: a sequence of layers and a loss, run on the caller's flat buffers.
//!
//! ```text
//! forward    inputs -> layers -> outputs -> loss
//! backward  dinputs <- layers <- doutputs        each layer writes its share of the flat gradient
//! ```

use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::Range;

use kernels::Cpu;
use kernels::random::Stream;

use crate::error::check_length;
use crate::layer::standardise;
use crate::layer::{Backward, Describe, Float, Forward, Layer, Mode};
use crate::loss::{ClassWeights, Loss, Outputs, Sum, Targets};
use crate::parameter::Start;
use crate::registry::BuildContext;
use crate::sequence::Sequence;
use crate::workspace::Parts;
use crate::{Compute, Error, LayerSpec, Layout, Registry, Shape, Workspace};

/// A network's architecture: layer shapes and the layout of its tensors. Parameters live in the
/// caller's buffers.
#[derive(Debug)]
pub struct Network {
    sequence: Sequence,
    layout: Layout,
    buffers: Layout,
    loss: Loss,
    class_weights: Option<ClassWeights>,
    /// Range of the targets' `[mean | std]` in the buffers, if the last layer is
    /// [`LayerSpec::Unstandardise`].
    unit: Option<Range<usize>>,
}

/// Parameters and buffers of a network, in its layouts.
#[derive(Debug)]
pub struct Weights<'a, T> {
    /// Trained parameters, in [`Network::layout`].
    pub params: &'a [T],
    /// Untrained tensors such as running statistics, in [`Network::buffers`]. Updated in
    /// [`Mode::Train`].
    pub buffers: &'a mut [T],
}

impl<'a, T> From<&'a [T]> for Weights<'a, T> {
    /// The parameters of a network without buffers.
    fn from(params: &'a [T]) -> Self {
        Self { params, buffers: &mut [] }
    }
}
impl<'a, T> From<&'a Vec<T>> for Weights<'a, T> {
    fn from(params: &'a Vec<T>) -> Self {
        Self::from(&params[..])
    }
}

/// Rows of a data set with their targets.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T> {
    /// Inputs, `[rows, inputs]`.
    pub inputs: &'a [T],
    /// Targets of the rows.
    pub targets: Targets<'a, T>,
}

/// Loss and number of correct predictions of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Number of rows.
    pub rows: usize,
    /// Sum of the rows' losses in nats, added in ascending order in f64.
    pub loss: f64,
    /// Divisor of the mean loss: the rows, or the sum of their weights where
    /// [classes have weights](Network::with_class_weights).
    pub weight: f64,
    /// Rows whose largest output is finite and that of their label; counted by
    /// [`Network::evaluate`] alone.
    pub correct: usize,
}

impl Score {
    /// Mean loss of the rows, in nats: weighted where classes have weights. NaN for no rows.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.weight
    }

    /// Accuracy, 0 to 1. NaN for no rows.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.rows as f64
    }
}

impl core::ops::AddAssign for Score {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.loss += other.loss;
        self.weight += other.weight;
        self.correct += other.correct;
    }
}

impl Network {
    /// Builds a network of these layers over rows of shape `input`, with softmax cross-entropy as
    /// the loss.
    ///
    /// # Errors
    /// [`Error::Layer`] names the first layer that does not fit its input; [`Error::NoLayers`] if
    /// there are no parameters; [`Error::TooLarge`] if they cannot be addressed.
    pub fn new(input: impl Into<Shape>, layers: &[LayerSpec]) -> Result<Self, Error> {
        Self::with_registry(input, layers, &Registry::new())
    }

    /// [`new`](Self::new) with custom layers.
    ///
    /// # Errors
    /// As [`new`](Self::new), and those of the custom layers.
    pub fn with_registry(
        input: impl Into<Shape>,
        layers: &[LayerSpec],
        registry: &Registry,
    ) -> Result<Self, Error> {
        Self::with_compute(input, layers, registry, Compute::default())
    }

    /// [`with_registry`](Self::with_registry) with these options of the matrix products.
    ///
    /// # Errors
    /// As [`with_registry`](Self::with_registry).
    pub fn with_compute(
        input: impl Into<Shape>,
        layers: &[LayerSpec],
        registry: &Registry,
        compute: Compute,
    ) -> Result<Self, Error> {
        let next_id = Cell::new(0);
        let context = BuildContext::new(registry, compute, &next_id);
        let sequence = Sequence::new(input.into(), layers, &context)?;
        let (mut layout, mut buffers) = (Layout::default(), Layout::default());
        for (number, layer) in sequence.layers() {
            let pushed =
                layout.push(number, layer.parameters()).zip(buffers.push(number, layer.buffers()));
            pushed.ok_or_else(|| context.child(number).too_large())?;
        }
        if layout.is_empty() {
            return Err(Error::NoLayers);
        }
        let statistics = 2 * sequence.output().elements();
        let unit = matches!(layers.last(), Some(LayerSpec::Unstandardise(_)))
            .then(|| buffers.len() - statistics..buffers.len());
        Ok(Self { sequence, layout, buffers, loss: Loss::default(), class_weights: None, unit })
    }

    /// The same network with another loss and without class weights.
    pub fn with_loss(self, loss: Loss) -> Self {
        Self { loss, class_weights: None, ..self }
    }

    /// The same network with class weights: PyTorch's `CrossEntropyLoss(weight=...)`.
    ///
    /// ```text
    /// loss of a batch = sum of weights[label] * loss / sum of weights[label]
    /// ```
    ///
    /// Targets that are distributions weigh each of their classes, and the divisor is the number of
    /// rows. The gradient is that of this mean.
    ///
    /// # Errors
    /// [`Error::ClassWeights`] if the loss is not the cross-entropy; [`Error::Length`] unless there
    /// is one weight per output; [`kernels::Error::Parameter`] unless every weight is finite and
    /// above 0.
    pub fn with_class_weights(self, weights: &[f64]) -> Result<Self, Error> {
        let class_weights = Some(ClassWeights::new(self.loss, self.outputs(), weights)?);
        Ok(Self { class_weights, ..self })
    }

    /// Divisor of the mean loss of rows with these labels: their number, or the sum of their class
    /// weights.
    pub fn weight_of<T: Float>(&self, labels: impl Iterator<Item = u32>) -> f64 {
        match self.weights_in::<T>() {
            Some(weights) => labels
                .filter_map(|label| weights.get(label as usize))
                .fold(0.0, |sum, weight| sum + weight.to_f64()),
            None => labels.count() as f64,
        }
    }

    /// Class weights in `T`.
    fn weights_in<T: Float>(&self) -> Option<&[T]> {
        self.class_weights.as_ref().map(|weights| T::of(&weights.narrow, &weights.wide))
    }

    /// Minimum batch size, in rows, for training: 2 where a batch norm has one value per channel
    /// and row, else 1.
    pub fn min_rows(&self) -> usize {
        self.sequence.min_rows()
    }

    /// Input shape of a row.
    pub fn input(&self) -> Shape {
        self.sequence.input()
    }

    /// Output shape of a row.
    pub fn output(&self) -> Shape {
        self.sequence.output()
    }

    /// Elements per input row.
    pub fn inputs(&self) -> usize {
        self.input().elements()
    }

    /// Elements per output row: the number of classes.
    pub fn outputs(&self) -> usize {
        self.output().elements()
    }

    /// The layers.
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// Layout of the parameters.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Layout of the untrained tensors.
    pub fn buffers(&self) -> &Layout {
        &self.buffers
    }

    /// Number of losses of a batch of `rows`.
    pub(crate) fn losses(&self, rows: usize) -> usize {
        rows.saturating_mul(self.loss.per_row(self.outputs()))
    }

    /// Elements of scratch that the loss of a batch of `rows` needs for its operands: one-hot
    /// targets, or outputs and targets where these are
    /// [standardised](Self::standardises_targets). 0 if the loss takes labels.
    pub(crate) fn loss_scratch(&self, rows: usize) -> usize {
        let copies =
            if self.standardises_targets() { 2 } else { usize::from(self.loss.compares_values()) };
        rows.saturating_mul(self.outputs()).saturating_mul(copies)
    }

    /// `true` if the last layer is [`LayerSpec::Unstandardise`] and the loss
    /// [compares differences](Loss::compares_differences).
    ///
    /// Outputs and targets are then in the unit of the targets. The loss compares
    /// `(output - mean) / std` with `(target - mean) / std`, in units of the targets' standard
    /// deviation, so that neither it nor its gradient depends on the unit of the targets.
    pub fn standardises_targets(&self) -> bool {
        self.target_buffers().is_some()
    }

    /// Range of `[mean | std]` of the targets in the buffers, if they are standardised.
    fn target_buffers(&self) -> Option<Range<usize>> {
        self.unit.clone().filter(|_| self.loss.regression().is_some())
    }

    /// Mean and standard deviation of the targets, `[outputs]` each, from the network's `buffers`.
    /// `None` unless targets are [standardised](Self::standardises_targets), or if `buffers` is
    /// too short.
    pub fn target_unit<'a, T>(&self, buffers: &'a [T]) -> Option<(&'a [T], &'a [T])> {
        Some(buffers.get(self.target_buffers()?)?.split_at(self.outputs()))
    }

    /// The loss.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// Draws the initial parameters. A function of `seed` alone, in each type: the first drawn
    /// tensor of layer `i` comes from stream `i` of the seed, its `n`th from stream `i + 2^32 (n -
    /// 1)`. A bias that starts at a constant is not drawn.
    ///
    /// # Errors
    /// [`Error::Length`] if `params` does not have the layout's length.
    pub fn init<T: Float>(&self, cpu: Cpu<'_>, seed: u64, params: &mut [T]) -> Result<(), Error> {
        fill(&self.layout, "params", cpu, seed, params)
    }

    /// Sets the buffers to their initial values.
    ///
    /// # Errors
    /// [`Error::Length`] if `buffers` does not have their layout's length.
    pub fn init_buffers<T: Float>(&self, cpu: Cpu<'_>, buffers: &mut [T]) -> Result<(), Error> {
        fill(&self.buffers, "buffers", cpu, 0, buffers)
    }

    /// Fits the buffers of a first layer that standardises its input. `next` writes one row of the
    /// training set per call, and returns `false` at the end. Returns `false`, without calling
    /// `next`, if there is no such layer.
    ///
    /// # Errors
    /// [`Error::Length`] if `buffers` does not have their layout's length.
    pub fn fit(
        &self,
        cpu: Cpu<'_>,
        mut next: impl FnMut(&mut [f64]) -> bool,
        buffers: &mut [f64],
    ) -> Result<bool, Error> {
        check_length("buffers", self.buffers.len(), buffers.len())?;
        Ok(self.sequence.fit(cpu, &mut next, buffers))
    }

    /// Fits the buffers of a last layer [`LayerSpec::Unstandardise`]. `next` writes one target of
    /// the training set per call, `[outputs]`, and returns `false` at the end. Returns `false`,
    /// without calling `next`, unless targets are [standardised](Self::standardises_targets).
    ///
    /// # Errors
    /// [`Error::Length`] if `buffers` does not have their layout's length.
    pub fn fit_targets(
        &self,
        cpu: Cpu<'_>,
        mut next: impl FnMut(&mut [f64]) -> bool,
        buffers: &mut [f64],
    ) -> Result<bool, Error> {
        check_length("buffers", self.buffers.len(), buffers.len())?;
        let Some(unit) = self.target_buffers() else { return Ok(false) };
        standardise::measure(cpu, &mut next, &mut buffers[unit]);
        Ok(true)
    }

    /// Computes the outputs for `inputs` in evaluation mode: `[rows, outputs]`, in the workspace.
    ///
    /// # Errors
    /// [`Error::Length`] if a buffer does not fit the network; [`Error::Batch`] if the workspace is
    /// too small; [`Error::Workspace`] if it belongs to another network.
    pub fn forward<'a, T: Float>(
        &self,
        cpu: Cpu<'_>,
        weights: impl Into<Weights<'a, T>>,
        inputs: &[T],
        workspace: &'a mut Workspace<T>,
    ) -> Result<&'a [T], Error> {
        self.forward_in(cpu, Mode::Eval, weights, inputs, workspace)
    }

    /// As [`forward`](Self::forward), in any mode.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn forward_in<'a, T: Float>(
        &self,
        cpu: Cpu<'_>,
        mode: Mode,
        weights: impl Into<Weights<'a, T>>,
        inputs: &[T],
        workspace: &'a mut Workspace<T>,
    ) -> Result<&'a [T], Error> {
        let rows = self.run(cpu, mode, false, &mut weights.into(), inputs, workspace)?;
        Ok(&workspace.parts().outputs[..rows * self.outputs()])
    }

    /// Loss of a batch and the gradient of its mean: writes dloss/dparams to `grads`, before any
    /// clipping or decay.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Batch`], [`Error::Workspace`]; [`Error::InferenceWorkspace`] for
    /// a workspace without gradients; any error of the loss. `grads` is unchanged if a length or
    /// the workspace is wrong.
    pub fn gradient<'a, T: Float>(
        &self,
        cpu: Cpu<'_>,
        mode: Mode,
        weights: impl Into<Weights<'a, T>>,
        batch: Batch<'_, T>,
        workspace: &mut Workspace<T>,
        grads: &mut [T],
    ) -> Result<Score, Error> {
        self.gradients(cpu, mode, weights, batch, workspace, grads, None)
    }

    /// As [`gradient`](Self::gradient); also writes dloss/dinputs to `dinputs`, if given.
    ///
    /// # Errors
    /// As for [`gradient`](Self::gradient).
    #[expect(clippy::too_many_arguments, reason = "each is a buffer of its own")]
    pub fn gradients<'a, T: Float>(
        &self,
        cpu: Cpu<'_>,
        mode: Mode,
        weights: impl Into<Weights<'a, T>>,
        batch: Batch<'_, T>,
        workspace: &mut Workspace<T>,
        grads: &mut [T],
        dinputs: Option<&mut [T]>,
    ) -> Result<Score, Error> {
        let Batch { inputs, targets } = batch;
        check_length("grads", self.layout.len(), grads.len())?;
        if let Some(dinputs) = &dinputs {
            check_length("dinputs", inputs.len(), dinputs.len())?;
        }
        if !workspace.trains {
            return Err(Error::InferenceWorkspace);
        }
        let mut weights = weights.into();
        let rows = self.run(cpu, mode, true, &mut weights, inputs, workspace)?;
        let Parts { saved, outputs, doutputs, losses, loss_scratch, scratch, statistics, .. } =
            workspace.parts();
        let width = self.outputs();
        let targets = targets.fitting(rows)?;
        let (y, dy) = (&outputs[..rows * width], &mut doutputs[..rows * width]);
        let losses = &mut losses[..self.losses(rows)];
        let class_weights = self.weights_in();
        let outputs = Outputs { rows, width, values: y, targets, class_weights };
        let Sum { loss, weight } =
            self.compare(cpu, weights.buffers, outputs, loss_scratch, losses, Some(dy))?;
        let score = Score { rows, loss, weight, correct: 0 };
        self.sequence.backward(Backward {
            cpu,
            mode,
            rows,
            params: weights.params,
            buffers: weights.buffers,
            x: inputs,
            y,
            saved,
            statistics,
            dy,
            relu_applied: false,
            dx: dinputs,
            apply_relu: false,
            grads,
            scratch,
        })?;
        Ok(score)
    }

    /// Loss and number of correct predictions of a batch, without a gradient.
    ///
    /// # Errors
    /// As for [`gradient`](Self::gradient).
    pub fn evaluate<'a, T: Float>(
        &self,
        cpu: Cpu<'_>,
        weights: impl Into<Weights<'a, T>>,
        batch: Batch<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<Score, Error> {
        self.score(cpu, Mode::Eval, weights, batch, workspace)
    }

    /// As [`evaluate`](Self::evaluate), in any mode.
    ///
    /// # Errors
    /// As for [`gradient`](Self::gradient).
    pub fn score<'a, T: Float>(
        &self,
        cpu: Cpu<'_>,
        mode: Mode,
        weights: impl Into<Weights<'a, T>>,
        batch: Batch<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<Score, Error> {
        let mut weights = weights.into();
        let rows = self.run(cpu, mode, false, &mut weights, batch.inputs, workspace)?;
        let Parts { outputs, losses, loss_scratch, predictions, .. } = workspace.parts();
        let (width, labels) = (self.outputs(), batch.targets.fitting(rows)?);
        let values = &outputs[..rows * width];
        let correct = labels.correct(cpu, values, width, &mut predictions[..rows])?;
        let class_weights = self.weights_in();
        let outputs = Outputs { rows, width, values, targets: labels, class_weights };
        let losses = &mut losses[..self.losses(rows)];
        let Sum { loss, weight } =
            self.compare(cpu, weights.buffers, outputs, loss_scratch, losses, None)?;
        Ok(Score { rows, loss, weight, correct })
    }

    /// Computes the losses of `outputs`, and the gradient of their mean in `doutputs`, as
    /// [`Loss::run`] does. Outputs and targets are standardised first, where the network
    /// [standardises](Self::standardises_targets) targets. `scratch` has at least
    /// [`loss_scratch`](Self::loss_scratch) elements.
    fn compare<T: Float>(
        &self,
        cpu: Cpu<'_>,
        buffers: &[T],
        outputs: Outputs<'_, T>,
        scratch: &mut [T],
        losses: &mut [T],
        mut doutputs: Option<&mut [T]>,
    ) -> Result<Sum, Error> {
        let Outputs { rows, width, values, targets, class_weights } = outputs;
        let (Some((mean, std)), Targets::Values(target_values)) =
            (self.target_unit(buffers), targets)
        else {
            let targets = targets.one_hot(self.loss, width, scratch)?;
            let outputs = Outputs { rows, width, values, targets, class_weights };
            return self.loss.run(cpu, &outputs, losses, doutputs);
        };
        check_length("values", rows * width, target_values.len())?;
        let (standardised_outputs, standardised_targets) =
            scratch[..2 * rows * width].split_at_mut(rows * width);
        standardise::apply(mean, std, values, standardised_outputs);
        standardise::apply(mean, std, target_values, standardised_targets);
        let targets = Targets::Values(standardised_targets);
        let outputs = Outputs { rows, width, values: standardised_outputs, targets, class_weights };
        let sum = self.loss.run(cpu, &outputs, losses, doutputs.as_deref_mut())?;
        if let Some(doutputs) = doutputs {
            standardise::divide(std, doutputs);
        }
        Ok(sum)
    }

    /// Checks the arguments of a pass, runs the layers, and returns the number of rows.
    pub(crate) fn run<T: Float>(
        &self,
        cpu: Cpu<'_>,
        mode: Mode,
        save: bool,
        weights: &mut Weights<'_, T>,
        x: &[T],
        workspace: &mut Workspace<T>,
    ) -> Result<usize, Error> {
        let Weights { params, buffers } = weights;
        check_length("params", self.layout.len(), params.len())?;
        check_length("buffers", self.buffers.len(), buffers.len())?;
        let rows = x.len() / self.inputs();
        check_length("inputs", rows * self.inputs(), x.len())?;
        if rows == 0 || rows > workspace.capacity {
            return Err(Error::Batch { capacity: workspace.capacity, got: rows });
        }
        if !workspace.fits(self, cpu.executor.threads()) {
            return Err(Error::Workspace);
        }
        let Parts { saved, outputs, scratch, statistics, .. } = workspace.parts();
        let y = &mut outputs[..rows * self.outputs()];
        let pass =
            Forward { cpu, mode, rows, save, params, buffers, x, y, saved, statistics, scratch };
        self.sequence.forward(pass)?;
        Ok(rows)
    }
}

/// Fills `values`, in this layout, with the initial values of its tensors.
fn fill<T: Float>(
    layout: &Layout,
    operand: &'static str,
    cpu: Cpu<'_>,
    seed: u64,
    values: &mut [T],
) -> Result<(), Error> {
    check_length(operand, layout.len(), values.len())?;
    let (mut layer, mut drawn) = (None, 0_u64);
    for tensor in layout.tensors() {
        if layer != Some(tensor.layer) {
            (layer, drawn) = (Some(tensor.layer), 0);
        }
        let values = &mut values[tensor.range.clone()];
        match tensor.start {
            Start::Constant(value) => values.fill(T::from_f64(value)),
            Start::Draw { init, fans } => {
                let stream = Stream::new(seed, tensor.layer as u64 | drawn << 32);
                init.fill(cpu, stream, fans, values)?;
                drawn += 1;
            }
            Start::DrawBias { init, fans } => {
                let stream = Stream::new(seed, tensor.layer as u64 | drawn << 32);
                init.fill_bias(cpu, stream, fans, values)?;
                drawn += 1;
            }
            Start::Forget { units, value } => {
                values.fill(T::ZERO);
                values[units..2 * units].fill(T::from_f64(value));
            }
        }
    }
    Ok(())
}
