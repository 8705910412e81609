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
use crate::layer::{Backward, Describe, Float, Forward, Layer, Mode, Start};
use crate::loss::{ClassWeights, Loss, Outputs, Sum, Targets};
use crate::sequence::Sequence;
use crate::spec::Building;
use crate::workspace::Parts;
use crate::{Compute, Error, LayerSpec, Layout, Registry, Shape, Workspace};

/// A network: shapes, and places of its tensors, but no numbers.
#[derive(Debug)]
pub struct Network {
    sequence: Sequence,
    layout: Layout,
    buffers: Layout,
    loss: Loss,
    class_weights: Option<ClassWeights>,
    /// Where `[mean | std]` of the targets are among the buffers, if the last layer restores their unit.
    unit: Option<Range<usize>>,
}

/// The numbers of a network, each in the layout that the network says.
#[derive(Debug)]
pub struct Weights<'a, T> {
    /// What is trained: [`Network::layout`].
    pub params: &'a [T],
    /// What is not, such as running statistics: [`Network::buffers`]. Changed by a network that learns.
    pub buffers: &'a mut [T],
}

impl<'a, T> From<&'a [T]> for Weights<'a, T> {
    /// Those of a network without buffers.
    fn from(params: &'a [T]) -> Self {
        Self { params, buffers: &mut [] }
    }
}
impl<'a, T> From<&'a Vec<T>> for Weights<'a, T> {
    fn from(params: &'a Vec<T>) -> Self {
        Self::from(&params[..])
    }
}

/// Rows of a data set, and what their outputs should be.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T> {
    /// Row after row.
    pub inputs: &'a [T],
    /// What the outputs should be.
    pub targets: Targets<'a, T>,
}

/// Loss and hits of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Rows.
    pub rows: usize,
    /// The sum of the rows' losses, added in ascending order in f64; nats.
    pub loss: f64,
    /// Divisor of the mean loss: the rows, or the sum of their weights where
    /// [classes have weights](Network::with_class_weights).
    pub weight: f64,
    /// Rows whose largest output is that of their label, and finite; counted by
    /// [`Network::evaluate`] alone.
    pub correct: usize,
}

impl Score {
    /// Mean loss of the rows, in nats: weighted where classes have weights. NaN for no rows.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.weight
    }

    /// The share of correct rows, 0 to 1. NaN for no rows.
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
    /// The network of these layers over rows of shape `input`, with softmax cross-entropy for a loss.
    ///
    /// # Errors
    /// [`Error::Layer`] names the first layer that does not fit what comes before it, [`Error::NoLayers`] says that
    /// there is nothing to train, [`Error::TooLarge`] that it could not be addressed.
    pub fn new(input: impl Into<Shape>, layers: &[LayerSpec]) -> Result<Self, Error> {
        Self::with_registry(input, layers, &Registry::new())
    }

    /// [`new`](Self::new) with layers of your own.
    ///
    /// # Errors
    /// As [`new`](Self::new), and those of your layers.
    pub fn with_registry(
        input: impl Into<Shape>,
        layers: &[LayerSpec],
        registry: &Registry,
    ) -> Result<Self, Error> {
        Self::with_compute(input, layers, registry, Compute::default())
    }

    /// [`with_registry`](Self::with_registry), with products computed in this way.
    ///
    /// # Errors
    /// As [`with_registry`](Self::with_registry).
    pub fn with_compute(
        input: impl Into<Shape>,
        layers: &[LayerSpec],
        registry: &Registry,
        compute: Compute,
    ) -> Result<Self, Error> {
        let numbers = Cell::new(0);
        let building = Building::new(registry, compute, &numbers);
        let sequence = Sequence::new(input.into(), layers, &building)?;
        let (mut layout, mut buffers) = (Layout::default(), Layout::default());
        for (number, layer) in sequence.layers() {
            let placed = layout.push(number, layer.parameters()).zip(buffers.push(number, layer.buffers()));
            placed.ok_or_else(|| building.inside(number).too_large())?;
        }
        if layout.is_empty() {
            return Err(Error::NoLayers);
        }
        let statistics = 2 * sequence.output().elements();
        let unit = matches!(layers.last(), Some(LayerSpec::Unstandardise))
            .then(|| buffers.len() - statistics..buffers.len());
        Ok(Self { sequence, layout, buffers, loss: Loss::default(), class_weights: None, unit })
    }

    /// The same network with another loss, and no class weights.
    pub fn with_loss(self, loss: Loss) -> Self {
        Self { loss, class_weights: None, ..self }
    }

    /// The same network, whose rows count as much as their classes weigh: PyTorch's
    /// `CrossEntropyLoss(weight=...)`.
    ///
    /// ```text
    /// loss of a batch = sum of weights[label] * loss / sum of weights[label]
    /// ```
    ///
    /// Targets that are distributions weigh each class of theirs, and the divisor is the number of
    /// rows. The gradient is that of this mean.
    ///
    /// # Errors
    /// [`Error::ClassWeights`] if the loss is not the cross-entropy; [`Error::Length`] unless there
    /// is a weight for each output; [`kernels::Error::Parameter`] for a weight that is not finite
    /// and above 0.
    pub fn with_class_weights(self, weights: &[f64]) -> Result<Self, Error> {
        let class_weights = Some(ClassWeights::new(self.loss, self.outputs(), weights)?);
        Ok(Self { class_weights, ..self })
    }

    /// Divisor of the mean loss of rows with these labels: their number, or the sum of their
    /// weights.
    pub fn weight_of<T: Float>(&self, labels: impl Iterator<Item = u32>) -> f64 {
        match self.weights_in::<T>() {
            Some(weights) => labels
                .filter_map(|label| weights.get(label as usize))
                .fold(0.0, |sum, weight| sum + weight.to_f64()),
            None => labels.count() as f64,
        }
    }

    /// The class weights, in `T`.
    fn weights_in<T: Float>(&self) -> Option<&[T]> {
        self.class_weights.as_ref().map(|weights| T::of(&weights.narrow, &weights.wide))
    }

    /// Least number of rows of a batch that the network learns from: 2 where it normalises single
    /// values over the batch, else 1.
    pub fn least_rows(&self) -> usize {
        self.sequence.least_rows()
    }

    /// The shape of a row of its input.
    pub fn input(&self) -> Shape {
        self.sequence.input()
    }

    /// The shape of a row of its output.
    pub fn output(&self) -> Shape {
        self.sequence.output()
    }

    /// Elements per row of the input.
    pub fn inputs(&self) -> usize {
        self.input().elements()
    }

    /// Elements per row of the output: the number of classes.
    pub fn outputs(&self) -> usize {
        self.output().elements()
    }

    /// The layers.
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// Where the parameters lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where the numbers lie that are not trained.
    pub fn buffers(&self) -> &Layout {
        &self.buffers
    }

    /// Losses of a batch of `rows`.
    pub(crate) fn losses(&self, rows: usize) -> usize {
        rows.saturating_mul(self.loss.per_row(self.outputs()))
    }

    /// Targets of a batch of `rows` that need room of their own.
    pub(crate) fn spread_targets(&self, rows: usize) -> usize {
        let of_each = if self.standardises_targets() { 2 } else { usize::from(self.loss.compares_values()) };
        rows.saturating_mul(self.outputs()).saturating_mul(of_each)
    }

    /// `true` if the last layer is [`LayerSpec::Unstandardise`] and the loss is a regression's. Then outputs and targets are
    /// in the unit of the targets, and the loss is of `(output - mean) / std` and `(target - mean) / std`: in units of
    /// the targets' standard deviation, so that it and its gradient do not depend on their unit.
    pub fn standardises_targets(&self) -> bool {
        self.unit.is_some() && self.loss.is_regression()
    }

    /// Mean and standard deviation of the targets, `[outputs]` each, among the network's `buffers`.
    /// `None` unless it [standardises](Self::standardises_targets) targets.
    pub fn target_unit<'a, T>(&self, buffers: &'a [T]) -> Option<(&'a [T], &'a [T])> {
        let unit = self.unit.clone().filter(|_| self.loss.is_regression())?;
        Some(buffers.get(unit)?.split_at(self.outputs()))
    }

    /// What outputs are compared with, and how.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// Draws all parameters as their layers say. A function of `seed` alone, in each type: the first tensor that layer `i` draws
    /// comes from stream `i` of the seed, its `n`th from stream `i + 2^32 (n - 1)`.
    ///
    /// # Errors
    /// [`Error::Length`] if `params` is not as long as the layout.
    pub fn init<T: Float>(&self, cpu: Cpu<'_>, seed: u64, params: &mut [T]) -> Result<(), Error> {
        fill(&self.layout, "params", cpu, seed, params)
    }

    /// What the buffers hold at first.
    ///
    /// # Errors
    /// [`Error::Length`] if `buffers` is not as long as their layout.
    pub fn init_buffers<T: Float>(&self, cpu: Cpu<'_>, buffers: &mut [T]) -> Result<(), Error> {
        fill(&self.buffers, "buffers", cpu, 0, buffers)
    }

    /// Sets the buffers of a first layer that standardises its input: `next` fills in one row of the training set after the other,
    /// until it returns `false`. Without such a layer nothing happens, and `false` is returned.
    ///
    /// # Errors
    /// [`Error::Length`] if `buffers` is not as long as their layout.
    pub fn fit(
        &self,
        cpu: Cpu<'_>,
        mut next: impl FnMut(&mut [f64]) -> bool,
        buffers: &mut [f64],
    ) -> Result<bool, Error> {
        check_length("buffers", self.buffers.len(), buffers.len())?;
        Ok(self.sequence.fit(cpu, &mut next, buffers))
    }

    /// Sets the buffers of a last layer that restores the targets' unit, where targets are
    /// [standardised](Self::standardises_targets): `next` fills in one target of the training set after the other, `[outputs]`,
    /// until it returns `false`. Otherwise nothing happens, and `false` is returned.
    ///
    /// # Errors
    /// [`Error::Length`] if `buffers` is not as long as their layout.
    pub fn fit_targets(
        &self,
        cpu: Cpu<'_>,
        mut next: impl FnMut(&mut [f64]) -> bool,
        buffers: &mut [f64],
    ) -> Result<bool, Error> {
        check_length("buffers", self.buffers.len(), buffers.len())?;
        let unit = self.unit.clone().filter(|_| self.loss.is_regression());
        if let Some(unit) = unit.clone() {
            standardise::measure(cpu, &mut next, &mut buffers[unit]);
        }
        Ok(unit.is_some())
    }

    /// The outputs for `inputs`, row after row, in the workspace.
    ///
    /// # Errors
    /// [`Error::Length`] if a buffer does not fit the network, [`Error::Batch`] if the workspace is too small.
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

    /// Loss and gradient of the mean loss over the batch: `grads` gets dloss/dparams, before any clipping or decay.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Batch`], or what the loss refuses. Where a length is wrong, `grads` has not been touched.
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

    /// As [`gradient`](Self::gradient); `dinputs`, if given, gets dloss/dinputs too.
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
            return Err(Error::Length { operand: "gradients of the workspace", expected: 1, got: 0 });
        }
        let mut weights = weights.into();
        let rows = self.run(cpu, mode, true, &mut weights, inputs, workspace)?;
        let Parts { kept, outputs, doutputs, losses, targets: room, scratch, statistics, .. } =
            workspace.parts();
        let width = self.outputs();
        let targets = targets.fitting(rows)?;
        let (y, dy) = (&outputs[..rows * width], &mut doutputs[..rows * width]);
        let losses = &mut losses[..self.losses(rows)];
        let outputs = Outputs { rows, width, values: y, targets, class_weights: self.weights_in() };
        let Sum { loss, weight } = self.compare(cpu, weights.buffers, outputs, room, losses, Some(dy))?;
        let score = Score { rows, loss, weight, correct: 0 };
        self.sequence.backward(Backward {
            cpu,
            mode,
            rows,
            params: weights.params,
            buffers: weights.buffers,
            x: inputs,
            y,
            kept,
            statistics,
            dy,
            folded: false,
            dx: dinputs,
            fold: false,
            grads,
            scratch,
        })?;
        Ok(score)
    }

    /// Loss and hits of a batch, without a gradient.
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
        let Parts { outputs, losses, targets: room, predictions, .. } = workspace.parts();
        let (width, labels) = (self.outputs(), batch.targets.fitting(rows)?);
        let values = &outputs[..rows * width];
        let correct = labels.correct(cpu, values, width, &mut predictions[..rows])?;
        let class_weights = self.weights_in();
        let outputs = Outputs { rows, width, values, targets: labels, class_weights };
        let losses = &mut losses[..self.losses(rows)];
        let Sum { loss, weight } = self.compare(cpu, weights.buffers, outputs, room, losses, None)?;
        Ok(Score { rows, loss, weight, correct })
    }

    /// The sum of the losses of `outputs`, and the gradient of their mean by them, as [`Loss::run`] has it: of standardised
    /// outputs and targets where the network [standardises](Self::standardises_targets) targets. `room` holds
    /// [`spread_targets`](Self::spread_targets) elements at least.
    fn compare<T: Float>(
        &self,
        cpu: Cpu<'_>,
        buffers: &[T],
        outputs: Outputs<'_, T>,
        room: &mut [T],
        losses: &mut [T],
        mut doutputs: Option<&mut [T]>,
    ) -> Result<Sum, Error> {
        let Outputs { rows, width, values, targets, class_weights } = outputs;
        let (Some((mean, std)), Targets::Values(wanted)) = (self.target_unit(buffers), targets) else {
            let targets = targets.spread(self.loss, width, room)?;
            let outputs = Outputs { rows, width, values, targets, class_weights };
            return self.loss.run(cpu, &outputs, losses, doutputs);
        };
        check_length("values", rows * width, wanted.len())?;
        let (of_outputs, of_targets) = room[..2 * rows * width].split_at_mut(rows * width);
        standardise::apply(mean, std, values, of_outputs);
        standardise::apply(mean, std, wanted, of_targets);
        let targets = Targets::Values(of_targets);
        let outputs = Outputs { rows, width, values: of_outputs, targets, class_weights };
        let sum = self.loss.run(cpu, &outputs, losses, doutputs.as_deref_mut())?;
        if let Some(doutputs) = doutputs {
            standardise::divide(std, doutputs);
        }
        Ok(sum)
    }

    /// Checks what every pass needs, runs the layers, and returns the number of rows.
    fn run<T: Float>(
        &self,
        cpu: Cpu<'_>,
        mode: Mode,
        keep: bool,
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
        let Parts { kept, outputs, scratch, statistics, .. } = workspace.parts();
        let y = &mut outputs[..rows * self.outputs()];
        let pass = Forward { cpu, mode, rows, keep, params, buffers, x, y, kept, statistics, scratch };
        self.sequence.forward(pass)?;
        Ok(rows)
    }
}

/// Fills `values`, of this layout, with what they hold at first.
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
            Start::Forget { units, value } => {
                values.fill(T::ZERO);
                values[units..2 * units].fill(T::from_f64(value));
            }
        }
    }
    Ok(())
}
