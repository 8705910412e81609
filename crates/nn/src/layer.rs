//! What a layer is: a shape, tensors of parameters, and two passes over buffers that are lent to it.
//!
//! ```text
//! forward    x -> y            and `kept`: whatever backward needs besides x and y
//! backward   dy -> dx, grads   the gradients of the layer's input and of its parameters
//! ```
//!
//! A layer owns no numbers. It is built once for the shape of its input, says what it needs, and from then on allocates
//! nothing. Write [`Describe`], and [`Layer`] for any `T: Float`, and it can stand wherever those of this crate do: see
//! [`Registry`](crate::Registry).

pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod convolution;
pub(crate) mod dense;
pub(crate) mod dropout;
pub(crate) mod elementwise;
pub(crate) mod embedding;
pub(crate) mod group_norm;
pub(crate) mod layer_norm;
mod parts;
pub(crate) mod pooling;
pub(crate) mod position;
pub(crate) mod prelu;
pub(crate) mod recurrent;
pub(crate) mod reshape;
pub(crate) mod residual;
pub(crate) mod standardise;
mod tasks;
pub(crate) mod transformer;

use alloc::string::String;
use alloc::vec::Vec;

use kernels::activation::Activation;
use kernels::random::Stream;
use kernels::{Cpu, Window};

use crate::compute::Product;
use crate::init::Fans;
use crate::layout::Order;
use crate::spec::Pool;
use crate::{Error, Init, Shape};

/// Whether a network learns or is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Used: nothing is dropped, statistics are those of training.
    Eval,
    /// Looked at as it learns: statistics are those of the batch, but nothing is dropped and nothing changes.
    Probe,
    /// Learning.
    Train {
        /// The run's seed.
        seed: u64,
        /// The step's number: what is drawn is a function of seed, step and layer.
        step: u64,
    },
}

impl Mode {
    /// The random numbers of layer number `layer` in this step, if the network learns. Streams below 2^63 of a seed belong to
    /// initial weights and to the caller.
    pub fn stream(self, layer: u32) -> Option<Stream> {
        match self {
            Self::Eval | Self::Probe => None,
            Self::Train { seed, step } => Some(Stream::new(seed, 1 << 63 | u64::from(layer) << 40 | step)),
        }
    }
}

/// A tensor of a layer, before it has a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// PyTorch's name, within the layer.
    pub name: String,
    /// Its dimensions in memory.
    pub shape: Vec<usize>,
    /// How PyTorch lays it out.
    pub order: Order,
    /// What it holds at first.
    pub start: Start,
}

impl Parameter {
    /// A vector of `len` elements, all of them `start` at first.
    pub fn vector(name: &str, len: usize, start: f64) -> Self {
        let shape = Vec::from([len]);
        Self { name: name.into(), shape, order: Order::Same, start: Start::Constant(start) }
    }
}

/// What a tensor holds at first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// This number throughout.
    Constant(f64),
    /// Random numbers.
    Draw {
        /// How they are drawn.
        init: Init,
        /// The shape of the tensor.
        fans: Fans,
    },
    /// The bias of an LSTM: `value` for the forget gates, the second of four blocks of `units`, 0 elsewhere.
    Forget {
        /// Units of a gate.
        units: usize,
        /// Where the forget gates start.
        value: f64,
    },
}

/// What a layer is, whatever it computes in.
pub trait Describe: core::fmt::Debug + Send + Sync {
    /// The shape of a row of its output.
    fn output(&self) -> Shape;
    /// The tensors that are trained, in order. In the flat buffers they lie one after the other.
    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }
    /// The tensors that are not trained but belong to the layer all the same, such as running statistics.
    fn buffers(&self) -> Vec<Parameter> {
        Vec::new()
    }
    /// Elements that forward leaves for backward, for a batch of `rows`.
    fn kept(&self, rows: usize) -> usize {
        let _ = rows;
        0
    }
    /// Numbers of f64, whatever the layer computes in, that forward leaves for backward.
    fn statistics(&self, rows: usize) -> usize {
        let _ = rows;
        0
    }
    /// Sets its buffers by the rows of a training set, if it has a use for them: `next` fills in one row of the input after the
    /// other, until it returns `false`. Whether it did.
    fn fit(&self, cpu: Cpu<'_>, next: &mut dyn FnMut(&mut [f64]) -> bool, buffers: &mut [f64]) -> bool {
        let _ = (cpu, next, buffers);
        false
    }
    /// Least number of rows of a batch that the layer learns from: more than 1 where it takes
    /// statistics of the batch.
    fn least_rows(&self) -> usize {
        1
    }
    /// Takes the activation that follows into itself, if it can; `false` leaves it to a layer of its own. Asked once, while
    /// the network is built.
    fn fuse(&mut self, activation: Activation) -> bool {
        let _ = activation;
        false
    }
    /// Takes the pooling by `window` that follows, behind what it has [fused](Self::fuse), into itself, if it can: its output is the
    /// pool's from then on. `false` leaves it to a layer of its own. Asked once, while the network is built.
    fn fuse_pooling(&mut self, pool: Pool, window: Window) -> bool {
        let _ = (pool, window);
        false
    }
    /// Whether its output is that of ReLU, so that the layer above may apply ReLU's gradient for it.
    fn rectifies(&self) -> bool {
        false
    }
    /// Whether it can apply ReLU's gradient at its input to `dx`, while that is in registers.
    fn folds(&self) -> bool {
        false
    }
}

/// A layer that computes in `T`.
pub trait Layer<T>: Describe {
    /// Elements of scratch that a pass over `rows` rows on `threads` threads needs.
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let _ = (rows, threads);
        0
    }
    /// `y` of `x`.
    ///
    /// # Errors
    /// What a kernel refuses.
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error>;
    /// `dx` and `grads` of `dy`.
    ///
    /// # Errors
    /// What a kernel refuses.
    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error>;
}

/// A layer in either type: what a network is made of.
pub trait AnyLayer: Layer<f32> + Layer<f64> {}
impl<L: Layer<f32> + Layer<f64>> AnyLayer for L {}

/// A type that networks compute in: f32 or f64.
pub trait Float: Product {
    /// `layer`, in this type.
    fn layer(layer: &dyn AnyLayer) -> &dyn Layer<Self>;
    /// The vector of this type, of one in f32 and one in f64.
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

/// The buffers of a forward pass. Those of a batch are as long as the batch asks for, row after row.
#[derive(Debug)]
pub struct Forward<'a, T> {
    /// What runs it.
    pub cpu: Cpu<'a>,
    /// Whether the network learns.
    pub mode: Mode,
    /// Rows of the batch.
    pub rows: usize,
    /// Whether a backward pass will follow, which finds `kept` as this pass leaves it.
    pub keep: bool,
    /// The layer's tensors, one after the other.
    pub params: &'a [T],
    /// Its other tensors. Only a pass in [`Mode::Train`] changes them.
    pub buffers: &'a mut [T],
    /// The input.
    pub x: &'a [T],
    /// The output.
    pub y: &'a mut [T],
    /// What backward will need besides.
    pub kept: &'a mut [T],
    /// Likewise, in f64.
    pub statistics: &'a mut [f64],
    /// For use within this pass; holds anything.
    pub scratch: &'a mut [T],
}

/// The buffers of a backward pass.
#[derive(Debug)]
pub struct Backward<'a, T> {
    /// What runs it.
    pub cpu: Cpu<'a>,
    /// That of the forward pass.
    pub mode: Mode,
    /// Rows of the batch.
    pub rows: usize,
    /// The layer's tensors, one after the other.
    pub params: &'a [T],
    /// Its other tensors.
    pub buffers: &'a [T],
    /// The input of the forward pass.
    pub x: &'a [T],
    /// Its output.
    pub y: &'a [T],
    /// What it kept.
    pub kept: &'a mut [T],
    /// Likewise, in f64.
    pub statistics: &'a mut [f64],
    /// The gradient by `y`, which may be overwritten.
    pub dy: &'a mut [T],
    /// Whether `dy` has been multiplied by the gradient of this layer's [fused](Describe::fuse) ReLU.
    pub folded: bool,
    /// Gets the gradient by `x`, if anyone wants it.
    pub dx: Option<&'a mut [T]>,
    /// Whether `dx` is to be multiplied by ReLU's gradient at its output `x`. Only if the layer [folds](Describe::folds).
    pub fold: bool,
    /// Gets the gradient by `params`: written, not added to.
    pub grads: &'a mut [T],
    /// For use within this pass; holds anything.
    pub scratch: &'a mut [T],
}
