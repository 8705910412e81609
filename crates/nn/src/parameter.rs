//! A layer's tensor: name, shape, layout in PyTorch and initial value. Offsets are in `layout`.

use alloc::string::String;
use alloc::vec::Vec;

use crate::init::{Fans, Init};

/// A tensor of a layer, before it has an offset in the flat buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// PyTorch's name within the layer.
    pub name: String,
    /// Dimensions in memory.
    pub shape: Vec<usize>,
    /// Relation to PyTorch's layout.
    pub order: Order,
    /// Initial value.
    pub start: Start,
}

impl Parameter {
    /// A vector of `len` elements with initial value `start`.
    pub fn vector(name: &str, len: usize, start: f64) -> Self {
        let shape = Vec::from([len]);
        Self { name: name.into(), shape, order: Order::Same, start: Start::Constant(start) }
    }

    /// The bias of `len` outputs, next to weights of shape `fans`.
    pub(crate) fn bias(len: usize, init: Init, fans: Fans) -> Self {
        let start = match init {
            Init::Zeros => Start::Constant(0.0),
            Init::Constant { value } => Start::Constant(value),
            init => Start::DrawBias { init, fans },
        };
        Self { start, ..Self::vector("bias", len, 0.0) }
    }

    /// Weight and bias of a normalisation of `channels`, which start at 1 and 0.
    pub(crate) fn affine(channels: usize) -> Vec<Self> {
        Vec::from([Self::vector("weight", channels, 1.0), Self::vector("bias", channels, 0.0)])
    }
}

/// Initial value of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// The same value for all elements.
    Constant(f64),
    /// Random values.
    Draw {
        /// Initialiser.
        init: Init,
        /// Shape of the tensor.
        fans: Fans,
    },
    /// Random values of a bias.
    DrawBias {
        /// Initialiser that [suits a bias](Init::suits_bias).
        init: Init,
        /// Shape of the weights next to the bias.
        fans: Fans,
    },
    /// Bias of an LSTM: `value` for the forget gate, the second of four blocks of `units`, 0
    /// elsewhere.
    Forget {
        /// Units per gate.
        units: usize,
        /// Initial bias of the forget gate.
        value: f64,
    },
}

/// Relation between a tensor's layout in memory and in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The same layout.
    Same,
    /// `[inputs, outputs]` here, `[outputs, inputs]` in PyTorch.
    Transposed,
    /// As `Transposed`, where the inputs are an image: `[height, width, channels]` here,
    /// `[channels, height, width]` in PyTorch.
    TransposedImage {
        /// `height * width` of the image.
        positions: usize,
        /// Channels of the image.
        channels: usize,
    },
    /// An image: `[height, width, channels]` here, `[channels, height, width]` in PyTorch.
    Image {
        /// `height * width` of the image.
        positions: usize,
        /// Channels of the image.
        channels: usize,
    },
    /// Filters of a convolution: `[height, width, in, out]` here, `[out, in, height, width]` in
    /// PyTorch.
    Filter,
    /// A count: a 64-bit integer in PyTorch.
    Count,
}
