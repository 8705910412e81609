//! A sequential network: built from data, then forward, loss and backward on the caller's flat buffers.
//!
//! ```text
//! forward    x -> stage 0 -> stage 1 -> ... -> logits -> loss       each stage's output is kept
//! backward   dx <- stage 0 <- stage 1 <- ... <- dlogits             dW and db go to the flat gradient
//! ```
//!
//! A stage is a dense layer together with the activation that follows it, which is applied while the product is in
//! registers; or an activation on its own. On the way back the activation's gradient is applied, where it can be,
//! while the gradient that reaches it is in registers: `folded` says that this has been done.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use kernels::activation;
use kernels::argmax::argmax;
use kernels::gemm::{Epilogue, gemm, gemm_scratch};
use kernels::loss::{CrossEntropy, Targets};
use kernels::random::Stream;
use kernels::{Cpu, Float, MatMut, MatRef};

use crate::error::check_length;
use crate::{Activation, Error, Init, LayerSpec, Layout, Workspace};

/// A sequential network: shapes and places of its parameters, but no numbers.
#[derive(Clone, Debug)]
pub struct Network {
    inputs: usize,
    stages: Vec<Stage>,
    layout: Layout,
}

#[derive(Clone, Debug)]
struct Stage {
    dense: Option<Dense>,
    activation: Option<Activation>,
    /// Elements per row of the output.
    width: usize,
    /// Where the output begins among the activations, in elements per row of the batch.
    place: usize,
}

#[derive(Clone, Debug)]
struct Dense {
    /// inputs x outputs.
    weight: Range<usize>,
    /// outputs.
    bias: Range<usize>,
    inputs: usize,
    init: Init,
    /// The layer's number, which names its tensors and its random stream.
    layer: usize,
}

/// Loss and hits of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Rows.
    pub rows: usize,
    /// The sum of the rows' losses, added in ascending order in f64; nats.
    pub loss: f64,
    /// Rows whose largest logit is that of their label; counted by [`Network::evaluate`] alone.
    pub correct: usize,
}

impl Score {
    /// Loss per row, in nats. NaN for no rows.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.rows as f64
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
        self.correct += other.correct;
    }
}

impl Network {
    /// The network of these layers over rows of `inputs` elements.
    ///
    /// # Errors
    /// [`Error::Layer`] names the first layer that does not fit what comes before it, [`Error::NoLayers`] says that
    /// there is nothing to train.
    pub fn new(inputs: usize, layers: &[LayerSpec]) -> Result<Self, Error> {
        let mut network = Self { inputs, stages: Vec::new(), layout: Layout::default() };
        let mut width = inputs;
        for (index, layer) in layers.iter().enumerate() {
            let fail = |expected, got| Error::Layer { index, kind: layer.kind(), expected, got };
            if width == 0 {
                return Err(fail("an input of at least one element per row", 0));
            }
            match *layer {
                LayerSpec::Dense { units: 0, .. } => return Err(fail("at least one unit", 0)),
                LayerSpec::Dense { units, init } => {
                    let layout = &mut network.layout;
                    let mut place = |name: &str, shape: &[usize]| {
                        layout.push(format!("layers.{index}.{name}"), shape).ok_or(Error::TooLarge { index })
                    };
                    let weight = place("weight", &[width, units])?;
                    let bias = place("bias", &[units])?;
                    let dense = Dense { weight, bias, inputs: width, init, layer: index };
                    network.push(Some(dense), None, units);
                    width = units;
                }
                LayerSpec::Activation(activation) => match network.stages.last_mut() {
                    Some(stage) if stage.activation.is_none() => stage.activation = Some(activation),
                    _ => network.push(None, Some(activation), width),
                },
            }
        }
        if network.layout.is_empty() {
            return Err(Error::NoLayers);
        }
        Ok(network)
    }

    fn push(&mut self, dense: Option<Dense>, activation: Option<Activation>, width: usize) {
        let place = self.activations();
        self.stages.push(Stage { dense, activation, width, place });
    }

    /// Elements per row of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Elements per row of the output: the number of classes.
    pub fn outputs(&self) -> usize {
        self.stages.last().map_or(self.inputs, |stage| stage.width)
    }

    /// Where the parameters lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Elements of all activations, per row of the batch.
    pub(crate) fn activations(&self) -> usize {
        self.stages.last().map_or(0, |stage| stage.place + stage.width)
    }

    /// The widest output.
    pub(crate) fn widest(&self) -> usize {
        self.stages.iter().map(|stage| stage.width).max().unwrap_or(0)
    }

    /// The most scratch that a product of a step with `rows` rows needs.
    pub(crate) fn scratch<T: Float>(&self, cpu: Cpu<'_>, rows: usize) -> usize {
        let threads = cpu.executor.threads();
        let need = |stage: &Stage| {
            let inputs = stage.dense.as_ref().map_or(0, |dense| dense.inputs);
            let product = |m, n, k| gemm_scratch::<T>(threads, m, n, k);
            product(rows, stage.width, inputs).max(product(inputs, stage.width, rows)).max(product(
                rows,
                inputs,
                stage.width,
            ))
        };
        self.stages.iter().map(need).max().unwrap_or(0)
    }

    /// Draws all parameters: weights as their layers say, biases 0. A function of `seed` alone, in each type: layer
    /// `i` draws from stream `i` of the seed.
    ///
    /// # Errors
    /// [`Error::Length`] if `params` is not as long as the layout.
    pub fn init<T: Float>(&self, cpu: Cpu<'_>, seed: u64, params: &mut [T]) -> Result<(), Error> {
        check_length("params", self.layout.len(), params.len())?;
        for (dense, width) in self.stages.iter().filter_map(|s| Some((s.dense.as_ref()?, s.width))) {
            let stream = Stream::new(seed, dense.layer as u64);
            dense.init.fill(cpu, stream, dense.inputs, width, &mut params[dense.weight.clone()])?;
            params[dense.bias.clone()].fill(T::ZERO);
        }
        Ok(())
    }

    /// The logits of `input` (rows x inputs): rows x outputs, in the workspace.
    ///
    /// # Errors
    /// [`Error::Length`] if a buffer does not fit the network, [`Error::Batch`] if the workspace is too small.
    pub fn forward<'a, T: Float>(
        &self,
        cpu: Cpu<'_>,
        params: &[T],
        input: &[T],
        workspace: &'a mut Workspace<T>,
    ) -> Result<&'a [T], Error> {
        let rows = self.check(params, input, workspace)?;
        let Workspace { capacity, outputs, scratch, .. } = workspace;
        for (s, stage) in self.stages.iter().enumerate() {
            let (below, here) = outputs.split_at_mut(stage.place * *capacity);
            let x = self.output_below(s, *capacity, rows, below, input);
            let y = &mut here[..rows * stage.width];
            match &stage.dense {
                Some(dense) => dense.forward(cpu, stage.activation, params, x, y, scratch)?,
                None => apply(cpu, stage.activation, x, y)?,
            }
        }
        Ok(&outputs[self.logits(*capacity, rows)])
    }

    /// Loss and gradient of the mean softmax cross-entropy over the batch: `grads` gets dloss/dparams.
    ///
    /// `input` is rows x inputs, `labels` one class a row. The gradient is that of the mean loss, before any clipping
    /// or decay.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Batch`], or a label that is not below the number of outputs.
    pub fn gradient<T: Float>(
        &self,
        cpu: Cpu<'_>,
        params: &[T],
        input: &[T],
        labels: &[u32],
        workspace: &mut Workspace<T>,
        grads: &mut [T],
    ) -> Result<Score, Error> {
        self.gradient_and_input_gradient(cpu, params, input, labels, workspace, grads, None)
    }

    /// As [`gradient`](Self::gradient); `dinput`, if given, gets dloss/dinput (rows x inputs) too.
    ///
    /// # Errors
    /// As for [`gradient`](Self::gradient).
    #[expect(clippy::too_many_arguments, reason = "each is a buffer of its own")]
    pub fn gradient_and_input_gradient<T: Float>(
        &self,
        cpu: Cpu<'_>,
        params: &[T],
        input: &[T],
        labels: &[u32],
        workspace: &mut Workspace<T>,
        grads: &mut [T],
        dinput: Option<&mut [T]>,
    ) -> Result<Score, Error> {
        let rows = self.check(params, input, workspace)?;
        check_length("labels", rows, labels.len())?;
        check_length("grads", self.layout.len(), grads.len())?;
        if let Some(dinput) = &dinput {
            check_length("dinput", rows * self.inputs, dinput.len())?;
        }
        self.forward(cpu, params, input, workspace)?;
        let Workspace { capacity, outputs, gradients, losses, .. } = &mut *workspace;
        let classes = self.outputs();
        let logits = &outputs[self.logits(*capacity, rows)];
        let (losses, dlogits) = (&mut losses[..rows], &mut gradients[0][..rows * classes]);
        let scale = T::from_f64(1.0 / rows as f64);
        let labels = Targets::Labels(labels);
        CrossEntropy::default().gradient(cpu, logits, classes, labels, scale, losses, dlogits)?;
        let score = Score { rows, loss: sum(losses), correct: 0 };
        self.backward(cpu, params, input, rows, workspace, grads, dinput)?;
        Ok(score)
    }

    /// Loss and hits of a batch, without a gradient.
    ///
    /// # Errors
    /// As for [`gradient`](Self::gradient).
    pub fn evaluate<T: Float>(
        &self,
        cpu: Cpu<'_>,
        params: &[T],
        input: &[T],
        labels: &[u32],
        workspace: &mut Workspace<T>,
    ) -> Result<Score, Error> {
        let rows = self.forward(cpu, params, input, workspace)?.len() / self.outputs();
        check_length("labels", rows, labels.len())?;
        let Workspace { capacity, outputs, losses, predictions, .. } = workspace;
        let classes = self.outputs();
        let logits = &outputs[self.logits(*capacity, rows)];
        let (losses, predictions) = (&mut losses[..rows], &mut predictions[..rows]);
        CrossEntropy::default().losses(cpu, logits, classes, Targets::Labels(labels), losses)?;
        argmax(cpu, logits, classes, predictions)?;
        let correct = predictions.iter().zip(labels).filter(|(p, l)| p == l).count();
        Ok(Score { rows, loss: sum(losses), correct })
    }

    /// From dlogits, which lie in the workspace's first gradient buffer, down to the parameters.
    #[expect(clippy::too_many_arguments, reason = "each is a buffer of its own")]
    fn backward<T: Float>(
        &self,
        cpu: Cpu<'_>,
        params: &[T],
        input: &[T],
        rows: usize,
        workspace: &mut Workspace<T>,
        grads: &mut [T],
        mut dinput: Option<&mut [T]>,
    ) -> Result<(), Error> {
        let Workspace { capacity, outputs, gradients: [dy, dx], scratch, .. } = workspace;
        // Whether dy already holds the gradient before the activation of the stage at hand.
        let mut folded = false;
        for (s, stage) in self.stages.iter().enumerate().rev() {
            let (below, here) = outputs.split_at(stage.place * *capacity);
            let x = self.output_below(s, *capacity, rows, below, input);
            let dy_here = &mut dy[..rows * stage.width];
            if let (Some(Activation::Relu), false) = (stage.activation, folded) {
                activation::relu_backward(cpu, &here[..rows * stage.width], dy_here)?;
            }
            let Some(dense) = &stage.dense else {
                // An activation alone: dy is the gradient of its input as well.
                folded = false;
                if let (0, Some(dinput)) = (s, &mut dinput) {
                    dinput.copy_from_slice(dy_here);
                }
                continue;
            };
            dense.backward_params(cpu, x, dy_here, grads, scratch)?;
            let activation_below = s.checked_sub(1).and_then(|s| self.stages[s].activation);
            folded = activation_below.is_some();
            let dx_here = match (s, &mut dinput) {
                (0, None) => break,
                (0, Some(dinput)) => &mut **dinput,
                _ => &mut dx[..rows * dense.inputs],
            };
            dense.backward_input(cpu, activation_below, params, x, dy_here, dx_here, scratch)?;
            core::mem::swap(dy, dx);
        }
        Ok(())
    }

    /// The input of stage `s`: the output below it, or the network's.
    fn output_below<'a, T>(
        &self,
        s: usize,
        capacity: usize,
        rows: usize,
        below: &'a [T],
        input: &'a [T],
    ) -> &'a [T] {
        match s.checked_sub(1).map(|s| &self.stages[s]) {
            Some(stage) => &below[stage.place * capacity..][..rows * stage.width],
            None => input,
        }
    }

    /// Where the logits of `rows` rows lie among the activations.
    fn logits(&self, capacity: usize, rows: usize) -> Range<usize> {
        let start = (self.activations() - self.outputs()) * capacity;
        start..start + rows * self.outputs()
    }

    /// Checks what every pass needs, and returns the number of rows.
    fn check<T>(&self, params: &[T], input: &[T], workspace: &Workspace<T>) -> Result<usize, Error> {
        check_length("params", self.layout.len(), params.len())?;
        let rows = input.len() / self.inputs;
        check_length("input", rows * self.inputs, input.len())?;
        check_length("workspace", self.activations() * workspace.capacity, workspace.outputs.len())?;
        if rows == 0 || rows > workspace.capacity {
            return Err(Error::Batch { capacity: workspace.capacity, got: rows });
        }
        Ok(rows)
    }
}

impl Dense {
    fn outputs(&self) -> usize {
        self.bias.len()
    }

    fn weight<'a, T>(&self, params: &'a [T]) -> Result<MatRef<'a, T>, kernels::Error> {
        MatRef::row_major(&params[self.weight.clone()], self.inputs, self.outputs())
    }

    /// y = act(x W + b), where x is rows x inputs and y rows x outputs.
    fn forward<T: Float>(
        &self,
        cpu: Cpu<'_>,
        activation: Option<Activation>,
        params: &[T],
        x: &[T],
        y: &mut [T],
        scratch: &mut [T],
    ) -> Result<(), Error> {
        let rows = x.len() / self.inputs;
        let epilogue = Epilogue::bias(&params[self.bias.clone()]);
        let epilogue = match activation {
            None => epilogue,
            Some(Activation::Relu) => epilogue.relu(),
        };
        let x = MatRef::row_major(x, rows, self.inputs)?;
        let y = MatMut::row_major(y, rows, self.outputs())?;
        Ok(gemm(cpu, T::ONE, x, self.weight(params)?, T::ZERO, y, epilogue, scratch)?)
    }

    /// dW = x^T dy and db = the column sums of dy, in one pass over dy.
    fn backward_params<T: Float>(
        &self,
        cpu: Cpu<'_>,
        x: &[T],
        dy: &[T],
        grads: &mut [T],
        scratch: &mut [T],
    ) -> Result<(), Error> {
        let rows = x.len() / self.inputs;
        let x = MatRef::row_major(x, rows, self.inputs)?.transpose();
        let dy = MatRef::row_major(dy, rows, self.outputs())?;
        // The bias lies behind the weight.
        let (dw, db) = grads[..self.bias.end].split_at_mut(self.bias.start);
        let dw = MatMut::row_major(&mut dw[self.weight.clone()], self.inputs, self.outputs())?;
        Ok(gemm(cpu, T::ONE, x, dy, T::ZERO, dw, Epilogue::NONE.column_sums(db), scratch)?)
    }

    /// dx = dy W^T, times the gradient of the activation whose output x is.
    #[expect(clippy::too_many_arguments, reason = "each is a buffer of its own")]
    fn backward_input<T: Float>(
        &self,
        cpu: Cpu<'_>,
        activation_below: Option<Activation>,
        params: &[T],
        x: &[T],
        dy: &[T],
        dx: &mut [T],
        scratch: &mut [T],
    ) -> Result<(), Error> {
        let rows = x.len() / self.inputs;
        let epilogue = match activation_below {
            None => Epilogue::NONE,
            Some(Activation::Relu) => Epilogue::NONE.relu_gradient(MatRef::row_major(x, rows, self.inputs)?),
        };
        let dy = MatRef::row_major(dy, rows, self.outputs())?;
        let dx = MatMut::row_major(dx, rows, self.inputs)?;
        Ok(gemm(cpu, T::ONE, dy, self.weight(params)?.transpose(), T::ZERO, dx, epilogue, scratch)?)
    }
}

/// y = act(x), for an activation that follows no dense layer.
fn apply<T: Float>(cpu: Cpu<'_>, activation: Option<Activation>, x: &[T], y: &mut [T]) -> Result<(), Error> {
    match activation {
        Some(Activation::Relu) => activation::relu(cpu, x, y)?,
        None => y.copy_from_slice(x),
    }
    Ok(())
}

/// The sum in ascending order, in f64.
fn sum<T: Float>(losses: &[T]) -> f64 {
    losses.iter().fold(0.0, |sum, loss| sum + loss.to_f64())
}
