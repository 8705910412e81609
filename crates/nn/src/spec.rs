//! A network as data: what a configuration file holds, before any shape is known; and what makes layers of it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::cell::Cell;
use core::fmt;

use kernels::activation::Activation;

use crate::layer::AnyLayer;
use crate::layer::dense::Dense;
use crate::layer::elementwise::Elementwise;
use crate::{Error, Init, Options, Registry, Shape};

/// One layer of a sequential network.
///
/// In a configuration file (feature `serde`) a layer is a table with a `kind`:
///
/// ```toml
/// layers = [
///     { kind = "dense", units = 512, init = "he_normal" },
///     { kind = "relu" },
///     { kind = "dense", units = 10, init = "glorot_uniform" },
/// ]
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "table::Table", into = "table::Table")
)]
#[non_exhaustive]
pub enum LayerSpec {
    /// `y = x W + b` with W: inputs x `units`, b: `units`, at each step of a sequence; an image is flattened, in PyTorch's
    /// order. Biases start at 0. PyTorch: `Linear`.
    Dense {
        /// Outputs per row.
        units: usize,
        /// How W is drawn.
        init: Init,
        /// Whether there is a bias.
        bias: bool,
    },
    /// An element-wise function of the previous layer's output.
    Activation(Activation),
    /// A layer of your own.
    Custom {
        /// What it was [added](Registry::add) as.
        name: String,
        /// What it is built with.
        options: Options,
    },
}

impl LayerSpec {
    /// A dense layer of `units` outputs whose weights are drawn by `init`, with a bias.
    pub const fn dense(units: usize, init: Init) -> Self {
        Self::Dense { units, init, bias: true }
    }

    /// The layer that was [added](Registry::add) as `name`.
    pub fn custom(name: &str, options: Options) -> Self {
        Self::Custom { name: name.to_string(), options }
    }

    /// The layer's kind, as configuration files spell it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Activation(activation) => activation_kind(*activation),
            Self::Custom { .. } => "custom",
        }
    }

    /// The layer, for rows of this shape.
    pub(crate) fn build(&self, input: Shape, building: &Building<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        let misfit =
            |expected: &str, got: &dyn fmt::Display| Err(building.misfit(self.kind(), expected, got));
        Ok(match self {
            Self::Dense { units: 0, .. } => return misfit("at least one unit", &0),
            &Self::Dense { units, init, bias } => Box::new(Dense::new(input, units, init, bias)),
            &Self::Activation(activation) => Box::new(Elementwise::new(input, activation)),
            Self::Custom { name, options } => return building.registry.build(name, input, options, building),
        })
    }
}

/// The name of an activation in configuration files.
const fn activation_kind(activation: Activation) -> &'static str {
    match activation {
        Activation::Relu => "relu",
        Activation::CappedRelu { .. } => "capped_relu",
        Activation::LeakyRelu { .. } => "leaky_relu",
        Activation::Elu { .. } => "elu",
        Activation::Selu => "selu",
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_tanh",
        Activation::Silu => "silu",
        Activation::Mish => "mish",
        Activation::Sigmoid => "sigmoid",
        Activation::HardSigmoid => "hard_sigmoid",
        Activation::Tanh => "tanh",
        Activation::HardTanh => "hard_tanh",
        Activation::Softplus => "softplus",
        Activation::Softsign => "softsign",
        _ => "activation",
    }
}

/// The place in a network at which a layer is being built.
#[derive(Debug)]
pub struct Building<'a> {
    /// As in the names of tensors: `3`, or `3.body.0` in a block.
    path: String,
    registry: &'a Registry,
    /// How many numbers have been given out.
    numbers: &'a Cell<u32>,
}

impl<'a> Building<'a> {
    pub(crate) fn new(registry: &'a Registry, numbers: &'a Cell<u32>) -> Self {
        Self { path: String::new(), registry, numbers }
    }

    /// The place called `name` inside of this one.
    pub fn inside(&self, name: impl fmt::Display) -> Self {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Self { path, ..*self }
    }

    /// A number that no other layer of the network has, for [`Mode::stream`](crate::Mode::stream).
    pub fn number(&self) -> u32 {
        self.numbers.replace(self.numbers.get() + 1)
    }

    /// The error that a layer of this kind, here, needs something else than it got.
    pub fn misfit(&self, kind: &'static str, expected: &str, got: impl fmt::Display) -> Error {
        Error::Layer { path: self.path.clone(), kind, expected: expected.to_string(), got: got.to_string() }
    }

    pub(crate) fn too_large(&self) -> Error {
        Error::TooLarge { path: self.path.clone() }
    }
}

/// Layers as they stand in a configuration file: flat, with the kind of each activation beside those of the layers.
#[cfg(feature = "serde")]
mod table;
