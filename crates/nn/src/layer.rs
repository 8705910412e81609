//! The layer interface: shapes, parameter tensors, and two passes over borrowed buffers.
//!
//! ```text
//! forward    x -> y            and `saved`: whatever backward needs besides x and y
//! backward   dy -> dx, grads   gradients of the layer's input and of its parameters
//! ```
//!
//! A layer owns no parameters. It is built once for the shape of its input, declares the buffers
//! that it needs, and allocates nothing from then on. A type with [`Describe`], and [`Layer`] for
//! any `T: Float`, is a layer like those of this crate: see [`Registry`](crate::Registry).

pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod convolution;
pub(crate) mod custom;
pub(crate) mod dense;
pub(crate) mod dropout;
pub(crate) mod elementwise;
pub(crate) mod embedding;
mod fused;
pub(crate) mod group_norm;
pub(crate) mod layer_norm;
pub(crate) mod pooling;
pub(crate) mod position;
pub(crate) mod prelu;
pub(crate) mod recurrent;
pub(crate) mod reshape;
pub(crate) mod residual;
pub(crate) mod softmax;
mod split;
pub(crate) mod standardise;
pub(crate) mod transformer;

use alloc::vec::Vec;

use kernels::activation::Activation;
use kernels::random::Stream;
use kernels::{Cpu, Window};

use crate::compute::Product;
pub use crate::parameter::{Parameter, Start};
use crate::{Error, Shape};

/// Mode of a pass: training or evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Evaluation: no dropout, running statistics.
    Eval,
    /// Probe of a training: batch statistics, but no dropout, and buffers stay unchanged.
    Probe,
    /// Training.
    Train {
        /// Seed of the run.
        seed: u64,
        /// Step number: random draws are a function of seed, step and layer.
        step: u64,
    },
}

impl Mode {
    /// Random stream of layer `layer` in this step; `None` outside training. Streams below 2^63 of
    /// a seed are used by initialisers and by the caller.
    pub fn stream(self, layer: u32) -> Option<Stream> {
        match self {
            Self::Eval | Self::Probe => None,
            Self::Train { seed, step } => {
                Some(Stream::new(seed, 1 << 63 | u64::from(layer) << 40 | step))
            }
        }
    }
}

/// Operation on a pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Max of the window.
    Max,
    /// Mean of the window, padding included.
    Mean,
}

/// A layer's shapes and buffer lengths, independent of the type that it computes in.
pub trait Describe: core::fmt::Debug + Send + Sync {
    /// Output shape of a row.
    fn output(&self) -> Shape;
    /// Trained tensors in order. They are contiguous in the flat buffers.
    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }
    /// Untrained tensors of the layer, such as running statistics.
    fn buffers(&self) -> Vec<Parameter> {
        Vec::new()
    }
    /// Elements that forward saves for backward, for a batch of `rows`.
    fn saved(&self, rows: usize) -> usize {
        let _ = rows;
        0
    }
    /// f64 elements that forward saves for backward, whatever type the layer computes in.
    fn statistics(&self, rows: usize) -> usize {
        let _ = rows;
        0
    }
    /// Fits the buffers to the rows of a training set. `next` writes one input row per call, and
    /// returns `false` at the end. Returns `true` if the layer has buffers to fit.
    fn fit(
        &self,
        cpu: Cpu<'_>,
        next: &mut dyn FnMut(&mut [f64]) -> bool,
        buffers: &mut [f64],
    ) -> bool {
        let _ = (cpu, next, buffers);
        false
    }
    /// Minimum batch size, in rows, for training: more than 1 where a layer needs the variance of
    /// the batch.
    fn min_rows(&self) -> usize {
        1
    }
    /// Fuses the activation that follows into this layer; `false` leaves it to a layer of its own.
    /// Called at most once, while the network is built.
    fn fuse(&mut self, activation: Activation) -> bool {
        let _ = activation;
        false
    }
    /// Fuses the pooling by `window` that follows this layer and its [fused](Self::fuse)
    /// activation; the output shape becomes that of the pooling. `false` leaves it to a layer of
    /// its own. Called at most once, while the network is built.
    fn fuse_pooling(&mut self, pool: Pool, window: Window) -> bool {
        let _ = (pool, window);
        false
    }
    /// `true` if its output is that of ReLU, so that the next layer may apply ReLU's gradient for
    /// it.
    fn is_relu(&self) -> bool {
        false
    }
    /// `true` if its backward pass can apply the gradient of a ReLU before it to `dx`, in an
    /// epilogue.
    fn fuses_relu_backward(&self) -> bool {
        false
    }
}

/// A layer that computes in `T`.
pub trait Layer<T>: Describe {
    /// Elements of scratch for a pass over `rows` rows on `threads` threads.
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let _ = (rows, threads);
        0
    }
    /// Computes `y` from `x`.
    ///
    /// # Errors
    /// Any error of a kernel.
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error>;
    /// Computes `dx` and `grads` from `dy`.
    ///
    /// # Errors
    /// Any error of a kernel.
    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error>;
}

/// A layer that computes in f32 and f64, as a network needs it.
pub trait AnyLayer: Layer<f32> + Layer<f64> {}
impl<L: Layer<f32> + Layer<f64>> AnyLayer for L {}

/// Type that a network computes in: f32 or f64.
pub trait Float: Product {
    /// `layer` as a layer of this type.
    fn layer(layer: &dyn AnyLayer) -> &dyn Layer<Self>;
    /// Selects the slice of this type.
    fn of<'a>(narrow: &'a [f32], wide: &'a [f64]) -> &'a [Self];
}
impl Float for f32 {
    fn of<'a>(narrow: &'a [f32], _: &'a [f64]) -> &'a [Self] {
        narrow
    }
    fn layer(layer: &dyn AnyLayer) -> &dyn Layer<Self> {
        layer
    }
}
impl Float for f64 {
    fn of<'a>(_: &'a [f32], wide: &'a [f64]) -> &'a [Self] {
        wide
    }
    fn layer(layer: &dyn AnyLayer) -> &dyn Layer<Self> {
        layer
    }
}

/// Buffers of a forward pass. Those of a batch are `[rows, ...]`.
#[derive(Debug)]
pub struct Forward<'a, T> {
    /// Instruction set and threads.
    pub cpu: Cpu<'a>,
    /// Training or evaluation.
    pub mode: Mode,
    /// Rows of the batch.
    pub rows: usize,
    /// `true` if a backward pass follows, which reads `saved` as this pass leaves it.
    pub save: bool,
    /// Parameters of the layer, tensor after tensor.
    pub params: &'a [T],
    /// Untrained tensors of the layer. Only a pass in [`Mode::Train`] changes them.
    pub buffers: &'a mut [T],
    /// Input.
    pub x: &'a [T],
    /// Output.
    pub y: &'a mut [T],
    /// Saved for backward.
    pub saved: &'a mut [T],
    /// Saved for backward, in f64.
    pub statistics: &'a mut [f64],
    /// Scratch of this pass, with arbitrary contents.
    pub scratch: &'a mut [T],
}

/// Buffers of a backward pass.
#[derive(Debug)]
pub struct Backward<'a, T> {
    /// Instruction set and threads.
    pub cpu: Cpu<'a>,
    /// Mode of the forward pass.
    pub mode: Mode,
    /// Rows of the batch.
    pub rows: usize,
    /// Parameters of the layer, tensor after tensor.
    pub params: &'a [T],
    /// Untrained tensors of the layer.
    pub buffers: &'a [T],
    /// Input of the forward pass.
    pub x: &'a [T],
    /// Output of the forward pass.
    pub y: &'a [T],
    /// Saved by the forward pass.
    pub saved: &'a mut [T],
    /// Saved by the forward pass, in f64.
    pub statistics: &'a mut [f64],
    /// Gradient with respect to `y`; may be overwritten.
    pub dy: &'a mut [T],
    /// `true` if `dy` has been multiplied by the gradient of this layer's [fused](Describe::fuse)
    /// ReLU.
    pub relu_applied: bool,
    /// Output: the gradient with respect to `x`, if needed.
    pub dx: Option<&'a mut [T]>,
    /// `true` if `dx` is multiplied by the gradient of the ReLU whose output is `x`. Only if
    /// [`Describe::fuses_relu_backward`].
    pub apply_relu: bool,
    /// Output: the gradient with respect to `params`; overwritten, not accumulated.
    pub grads: &'a mut [T],
    /// Scratch of this pass, with arbitrary contents.
    pub scratch: &'a mut [T],
}
