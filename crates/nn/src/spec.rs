//! A network as data: what a configuration file holds, before any shape is known; and what makes layers of it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use kernels::Window;
use kernels::activation::Activation;

use crate::layer::attention::Attention;
use crate::layer::batch_norm::BatchNorm;
use crate::layer::convolution::Convolution as ConvolutionLayer;
use crate::layer::dense::Dense;
use crate::layer::dropout::Dropout;
use crate::layer::elementwise::Elementwise;
use crate::layer::embedding::Embedding;
use crate::layer::group_norm::GroupNorm;
use crate::layer::layer_norm::{LayerNorm, RmsNorm};
use crate::layer::pooling::Pooling;
use crate::layer::position::Position;
use crate::layer::prelu::Prelu;
use crate::layer::recurrent::Recurrent as RecurrentLayer;
use crate::layer::reshape::{Flatten, Steps};
use crate::layer::residual::Residual;
use crate::layer::standardise::{Standardise, Unstandardise};
use crate::layer::transformer::Transformer;
use crate::layer::{AnyLayer, Describe};
use crate::sequence::Sequence;
use crate::{Compute, Error, Init, Options, Registry, Shape};

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
    /// ReLU with one learned slope below 0 for each channel, which starts at `start`. PyTorch: `PReLU`.
    Prelu {
        /// The slope at first.
        start: f64,
    },
    /// Filters over an image. PyTorch: `Conv2d`.
    Convolution(Convolution),
    /// The greatest or the mean of each window of an image. PyTorch: `MaxPool2d`, `AvgPool2d`.
    Pooling {
        /// What is taken of a window.
        pool: Pool,
        /// Height and width of the window.
        kernel: [usize; 2],
        /// How far it moves, down and across.
        stride: [usize; 2],
        /// Pixels around the image, which count as 0 in a mean and not at all in a maximum.
        padding: [usize; 2],
    },
    /// The mean over all places of an image, or over all steps. PyTorch: `AdaptiveAvgPool2d(1)` and `Flatten`.
    GlobalPooling,
    /// An image as a vector, in PyTorch's order. PyTorch: `Flatten`.
    Flatten,
    /// The places of an image as the steps of a sequence, row by row.
    Places,
    /// The rows of an image as the steps of a sequence.
    Rows,
    /// While the network learns, each element is 0 with this chance, and scaled up otherwise. PyTorch: `Dropout`.
    Dropout {
        /// The chance: at least 0, below 1.
        p: f64,
    },
    /// Each channel gets mean 0 and variance 1 over the batch, then a learned scale and shift. PyTorch: `BatchNorm1d`,
    /// `BatchNorm2d`.
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
        /// How much of a batch goes into the running statistics.
        momentum: f64,
    },
    /// The features of each place get mean 0 and variance 1, then a learned scale and shift. PyTorch: `LayerNorm`.
    LayerNorm {
        /// Added to the variance.
        epsilon: f64,
    },
    /// The features of each place get mean square 1, then a learned scale. PyTorch: `RMSNorm`.
    RmsNorm {
        /// Added to the mean square.
        epsilon: f64,
    },
    /// Each group of channels of a row gets mean 0 and variance 1, then a learned scale and shift. PyTorch: `GroupNorm`.
    GroupNorm {
        /// How many groups: a divisor of the channels.
        groups: usize,
        /// Added to the variance.
        epsilon: f64,
    },
    /// `y = shortcut(x) + scale * body(x)`.
    Residual {
        /// The layers of the branch.
        body: Vec<LayerSpec>,
        /// The layers beside it, such as a projection where shapes differ; none: x itself.
        shortcut: Vec<LayerSpec>,
        /// What the branch is multiplied by.
        scale: BranchScale,
    },
    /// A vector for each index of the input. PyTorch: `Embedding`.
    Embedding {
        /// How many indices there are.
        count: usize,
        /// Elements of a vector.
        features: usize,
        /// How the vectors are drawn.
        init: Init,
    },
    /// A learned vector for each step, added to it.
    Position {
        /// How the vectors are drawn.
        init: Init,
    },
    /// Multi-head self-attention. PyTorch: `MultiheadAttention`.
    Attention {
        /// How many heads: a divisor of the features.
        heads: usize,
        /// Whether a step looks at itself and earlier ones alone.
        causal: bool,
        /// How the matrices are drawn.
        init: Init,
    },
    /// A pre-norm transformer block. PyTorch: `TransformerEncoderLayer`.
    Transformer {
        /// How many heads: a divisor of the features.
        heads: usize,
        /// Units between the two dense layers.
        hidden: usize,
        /// Dropout in its three places.
        dropout: f64,
        /// Whether a step looks at itself and earlier ones alone.
        causal: bool,
    },
    /// A recurrent layer over the steps of a sequence. PyTorch: `RNN`, `LSTM`, `GRU`.
    Recurrent(Recurrent),
    /// Standardisation by the training set, which is fitted before training.
    Standardise,
    /// The inverse, for outputs that are values: as the last layer, it is fitted to the targets of the training set, and
    /// regression losses are of what comes before it (see [`Network::standardises_targets`](crate::Network::standardises_targets)).
    Unstandardise,
    /// A layer of your own.
    Custom {
        /// What it was [added](Registry::add) as.
        name: String,
        /// What it is built with.
        options: Options,
    },
}

/// A convolution: filters over an image, each with a bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Convolution {
    /// Channels of the output.
    pub filters: usize,
    /// Height and width of a filter.
    pub kernel: [usize; 2],
    /// How far it moves, down and across.
    pub stride: [usize; 2],
    /// Pixels of 0 around the image.
    pub padding: [usize; 2],
    /// Groups of channels that are apart from each other; as many as channels for a depthwise convolution.
    pub groups: usize,
    /// Whether there are biases.
    pub bias: bool,
    /// How filters are drawn.
    pub init: Init,
}

impl Convolution {
    /// Square filters of this odd size that move by one pixel, padded so that the image keeps its size; with biases.
    pub const fn same(filters: usize, size: usize) -> Self {
        let padding = size / 2;
        Self {
            filters,
            kernel: [size, size],
            stride: [1, 1],
            padding: [padding, padding],
            groups: 1,
            bias: true,
            init: Init::HeNormal,
        }
    }
}

/// What is taken of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Its greatest element.
    Max,
    /// The mean of its elements, padding included.
    Mean,
}

/// What the branch of a residual block is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum BranchScale {
    /// This number.
    Fixed(f64),
    /// A parameter that starts as this number: 0 in SkipInit (De, Smith, NeurIPS 2020) and ReZero (Bachlechner et al., UAI 2021).
    Learned(f64),
}

impl Default for BranchScale {
    fn default() -> Self {
        Self::Fixed(1.0)
    }
}

/// What a recurrent layer does in each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// `h' = act(W x + b + U h + c)` (Elman, 1990), with tanh or ReLU.
    Rnn {
        /// tanh or ReLU.
        activation: Activation,
    },
    /// Long short-term memory (Hochreiter, Schmidhuber, 1997; Gers et al., 2000).
    Lstm,
    /// Gated recurrent unit (Cho et al., EMNLP 2014), in PyTorch's form.
    Gru,
}

/// A recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recurrent {
    /// What it does in each step.
    pub cell: Cell,
    /// Elements of the state.
    pub units: usize,
    /// Whether the output is that of the last step alone.
    pub last: bool,
    /// Gradients go back over the boundaries of chunks of so many steps, never: truncated back-propagation through time (Williams,
    /// Peng, 1990). None: through all steps.
    pub truncate: Option<usize>,
    /// How the weights of the input are drawn, each gate by itself.
    pub init: Init,
    /// How those of the state are drawn.
    pub recurrent_init: Init,
    /// Where the bias of an LSTM's forget gate starts (Jozefowicz et al., ICML 2015, propose 1).
    pub forget_bias: f64,
}

impl Recurrent {
    /// All steps, full gradients; Glorot's weights for the input, orthogonal ones for the state, forget gates open.
    pub const fn new(cell: Cell, units: usize) -> Self {
        Self {
            cell,
            units,
            last: false,
            truncate: None,
            init: Init::GlorotUniform,
            recurrent_init: Init::Orthogonal,
            forget_bias: 1.0,
        }
    }
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
            Self::Prelu { .. } => "prelu",
            Self::Convolution(_) => "convolution",
            Self::Pooling { pool: Pool::Max, .. } => "max_pooling",
            Self::Pooling { pool: Pool::Mean, .. } => "mean_pooling",
            Self::GlobalPooling => "global_pooling",
            Self::Flatten => "flatten",
            Self::Places => "places",
            Self::Rows => "rows",
            Self::Dropout { .. } => "dropout",
            Self::BatchNorm { .. } => "batch_norm",
            Self::LayerNorm { .. } => "layer_norm",
            Self::RmsNorm { .. } => "rms_norm",
            Self::GroupNorm { .. } => "group_norm",
            Self::Residual { .. } => "residual",
            Self::Embedding { .. } => "embedding",
            Self::Position { .. } => "position",
            Self::Attention { .. } => "attention",
            Self::Transformer { .. } => "transformer",
            Self::Recurrent(Recurrent { cell: Cell::Rnn { .. }, .. }) => "rnn",
            Self::Recurrent(Recurrent { cell: Cell::Lstm, .. }) => "lstm",
            Self::Recurrent(Recurrent { cell: Cell::Gru, .. }) => "gru",
            Self::Standardise => "standardise",
            Self::Unstandardise => "unstandardise",
            Self::Custom { .. } => "custom",
        }
    }

    /// The layer, for rows of this shape.
    pub(crate) fn build(&self, input: Shape, building: &Building<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        let misfit =
            |expected: &str, got: &dyn fmt::Display| Err(building.misfit(self.kind(), expected, got));
        let refused = |error: Error| building.misfit(self.kind(), "a window that fits its input", error);
        let positive = |epsilon: f64| epsilon.is_finite() && epsilon > 0.0;
        let image = || match input {
            Shape::Image { height, width, channels } => Ok([height, width, channels]),
            _ => Err(building.misfit(self.kind(), "an image", input)),
        };
        let sequence = || match input {
            Shape::Steps { steps, features } => Ok((steps, features)),
            _ => Err(building.misfit(
                self.kind(),
                "a sequence (`rows` and `places` make one of an image)",
                input,
            )),
        };
        let divides = |parts: usize, whole: usize| parts > 0 && whole.is_multiple_of(parts);
        Ok(match self {
            Self::Dense { units: 0, .. } => return misfit("at least one unit", &0),
            &Self::Dense { units, init, bias } => {
                Box::new(Dense::new(input, units, init, bias, building.compute))
            }
            &Self::Activation(activation) => Box::new(Elementwise::new(input, activation)),
            &Self::Prelu { start } if !start.is_finite() => return misfit("a finite `start`", &start),
            &Self::Prelu { start } => Box::new(Prelu::new(input, start)),
            Self::Convolution(Convolution { filters: 0, .. }) => return misfit("at least one filter", &0),
            &Self::Convolution(spec) => {
                let precision = building.compute.precision;
                Box::new(ConvolutionLayer::new(image()?, spec, precision).map_err(refused)?)
            }
            &Self::Pooling { pool, kernel, stride, padding } => {
                let window = Window::new(kernel).stride(stride).padding(padding);
                Box::new(Pooling::new(image()?, pool, window).map_err(refused)?)
            }
            Self::GlobalPooling => Box::new(Pooling::global(input).map_err(refused)?),
            Self::Flatten => Box::new(Flatten::new(input)),
            Self::Places => {
                image()?;
                Box::new(Steps::places(input))
            }
            Self::Rows => {
                let [height, width, channels] = image()?;
                Box::new(Steps::rows(height, width, channels))
            }
            &Self::Dropout { p } if !(0.0..1.0).contains(&p) => return misfit("`p` in [0, 1)", &p),
            &Self::Dropout { p } => Box::new(Dropout::new(input, p, building.number())),
            &Self::BatchNorm { epsilon, momentum } => {
                if !positive(epsilon) || !(0.0..=1.0).contains(&momentum) {
                    return misfit(
                        "`epsilon` above 0 and `momentum` in [0, 1]",
                        &format!("{epsilon}, {momentum}"),
                    );
                }
                Box::new(BatchNorm::new(input, epsilon, momentum))
            }
            &(Self::LayerNorm { epsilon } | Self::RmsNorm { epsilon } | Self::GroupNorm { epsilon, .. })
                if !positive(epsilon) =>
            {
                return misfit("`epsilon` above 0", &epsilon);
            }
            &Self::LayerNorm { epsilon } => Box::new(LayerNorm::new(input, epsilon)),
            &Self::RmsNorm { epsilon } => Box::new(RmsNorm::new(input, epsilon)),
            &Self::GroupNorm { groups, .. } if !divides(groups, input.features()) => {
                return misfit(
                    &format!("a divisor of its {} channels as `groups`", input.features()),
                    &groups,
                );
            }
            &Self::GroupNorm { groups, epsilon } => Box::new(GroupNorm::new(input, groups, epsilon)),
            Self::Residual { body, shortcut, scale } => {
                let body = Sequence::new(input, body, &building.inside("body"))?;
                let shortcut = match &shortcut[..] {
                    [] => None,
                    shortcut => Some(Sequence::new(input, shortcut, &building.inside("shortcut"))?),
                };
                let beside = shortcut.as_ref().map_or(input, Describe::output);
                if body.output() != beside {
                    let expected = format!("a body whose output is that of its shortcut, {beside}");
                    return misfit(&expected, &body.output());
                }
                Box::new(Residual::new(body, shortcut, *scale))
            }
            Self::Embedding { count: 0, .. } | Self::Embedding { features: 0, .. } => {
                return misfit("at least one vector of at least one element", &0);
            }
            &Self::Embedding { count, features, init } => {
                Box::new(Embedding::new(input.elements(), count, features, init))
            }
            &Self::Position { init } => {
                sequence()?;
                Box::new(Position::new(input, init))
            }
            &(Self::Attention { heads, .. } | Self::Transformer { heads, .. })
                if !divides(heads, input.features()) =>
            {
                return misfit(&format!("a divisor of its {} features as `heads`", input.features()), &heads);
            }
            &Self::Attention { heads, causal, init } => {
                let (steps, features) = sequence()?;
                Box::new(Attention::new(steps, features, heads, causal, init, building.compute.precision))
            }
            &Self::Transformer { heads, hidden, dropout, causal } => {
                sequence()?;
                Box::new(Transformer::new(input, heads, hidden, dropout, causal, building)?)
            }
            Self::Recurrent(Recurrent { units: 0, .. }) => return misfit("at least one unit", &0),
            Self::Recurrent(Recurrent { truncate: Some(0), .. }) => {
                return misfit("at least one step as `truncate`", &0);
            }
            Self::Recurrent(Recurrent { cell: Cell::Rnn { activation }, .. })
                if !matches!(activation, Activation::Tanh | Activation::Relu) =>
            {
                return misfit("`tanh` or `relu` as `activation`", &activation_kind(*activation));
            }
            &Self::Recurrent(spec) => {
                let (steps, features) = sequence()?;
                Box::new(RecurrentLayer::new(steps, features, spec, building.compute.precision))
            }
            Self::Standardise => Box::new(Standardise::new(input)),
            Self::Unstandardise => Box::new(Unstandardise::new(input)),
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
    /// Of the products of layers; sparse inputs are those of the layer that is being built.
    pub(crate) compute: Compute,
    /// How many numbers have been given out.
    numbers: &'a core::cell::Cell<u32>,
}

impl<'a> Building<'a> {
    pub(crate) fn new(registry: &'a Registry, compute: Compute, numbers: &'a core::cell::Cell<u32>) -> Self {
        Self { path: String::new(), registry, compute, numbers }
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
