//! A network as data: the layers of a configuration file, before any shape is known.
//!
//! `builder` makes layers of them; `table` is their form in a configuration file.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use kernels::activation::Activation;

use crate::Init;

#[cfg(feature = "serde")]
mod table;

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
    /// `y = x W + b` with W `[inputs, units]` and b `[units]`, at each step of a sequence. An image
    /// is flattened, in PyTorch's order. Biases start at 0. PyTorch: `Linear`.
    Dense {
        /// Outputs per row.
        units: usize,
        /// Initialiser of W.
        init: Init,
        /// `true` if there is a bias.
        bias: bool,
    },
    /// An element-wise activation of the input.
    Activation(Activation),
    /// ReLU with one learned negative slope per channel. PyTorch: `PReLU`.
    Prelu {
        /// Initial slope.
        start: f64,
    },
    /// A two-dimensional convolution. PyTorch: `Conv2d`.
    Convolution(Convolution),
    /// Max or mean pooling over windows of an image. PyTorch: `MaxPool2d`, `AvgPool2d`.
    Pooling {
        /// Operation on each window.
        pool: Pool,
        /// Window size: `[height, width]`.
        kernel: [usize; 2],
        /// Stride: `[down, across]`, in pixels.
        stride: [usize; 2],
        /// Padding in pixels: `[above and below, left and right]`. Counts as 0 in a mean, and is
        /// ignored by a max.
        padding: [usize; 2],
    },
    /// Mean over all positions of an image, or over all steps. PyTorch: `AdaptiveAvgPool2d(1)` and
    /// `Flatten`.
    GlobalPooling,
    /// An image as a vector, in PyTorch's order. PyTorch: `Flatten`.
    Flatten,
    /// The pixels of an image as the steps of a sequence, in row-major order.
    Places,
    /// The rows of an image as the steps of a sequence.
    Rows,
    /// Dropout: in training, each element is 0 with probability `p`, and scaled by `1 / (1 - p)`
    /// otherwise. PyTorch: `Dropout`.
    Dropout {
        /// Dropout probability, in [0, 1).
        p: f64,
    },
    /// Batch normalisation: each channel gets mean 0 and variance 1 over the batch, then a learned
    /// scale and shift. PyTorch: `BatchNorm1d`, `BatchNorm2d`.
    BatchNorm {
        /// Added to the variance, above 0.
        epsilon: f64,
        /// Weight of a batch in the running statistics, 0 to 1.
        momentum: f64,
    },
    /// Layer normalisation: the features of each position get mean 0 and variance 1, then a learned
    /// scale and shift. PyTorch: `LayerNorm`.
    LayerNorm {
        /// Added to the variance, above 0.
        epsilon: f64,
    },
    /// RMS normalisation: the features of each position get mean square 1, then a learned scale.
    /// PyTorch: `RMSNorm`.
    RmsNorm {
        /// Added to the mean square, above 0.
        epsilon: f64,
    },
    /// Group normalisation: each group of channels of a row gets mean 0 and variance 1, then a
    /// learned scale and shift. PyTorch: `GroupNorm`.
    GroupNorm {
        /// Number of groups, a divisor of the channels.
        groups: usize,
        /// Added to the variance, above 0.
        epsilon: f64,
    },
    /// A residual block: `y = shortcut(x) + scale * body(x)`.
    Residual {
        /// Layers of the body.
        body: Vec<LayerSpec>,
        /// Layers of the shortcut, such as a projection where shapes differ. Empty: the identity.
        shortcut: Vec<LayerSpec>,
        /// Scale of the body's output.
        scale: BranchScale,
    },
    /// An embedding vector per input index. PyTorch: `Embedding`.
    Embedding {
        /// Number of indices.
        count: usize,
        /// Elements per vector.
        features: usize,
        /// Initialiser of the vectors.
        init: Init,
    },
    /// Learned position embedding: adds a learned vector to each step.
    Position {
        /// Initialiser of the vectors.
        init: Init,
    },
    /// Multi-head self-attention. PyTorch: `MultiheadAttention`.
    Attention {
        /// Number of heads, a divisor of the features.
        heads: usize,
        /// `true` if a step attends only to itself and earlier steps.
        causal: bool,
        /// Initialiser of the projections.
        init: Init,
    },
    /// A pre-norm transformer block. PyTorch: `TransformerEncoderLayer`.
    Transformer {
        /// Number of heads, a divisor of the features.
        heads: usize,
        /// Units between the two dense layers. PyTorch: `dim_feedforward`.
        hidden: usize,
        /// Dropout probability after attention and after each dense layer, in [0, 1).
        dropout: f64,
        /// `true` if a step attends only to itself and earlier steps.
        causal: bool,
    },
    /// A recurrent layer over the steps of a sequence. PyTorch: `RNN`, `LSTM`, `GRU`.
    Recurrent(Recurrent),
    /// Standardisation of the input by the statistics of the training set, set by
    /// [`Network::fit`](crate::Network::fit) before training.
    Standardise,
    /// Inverse of [`Standardise`](Self::Standardise), for outputs that are values. As the last
    /// layer, it is fitted to the targets of the training set by
    /// [`Network::fit_targets`](crate::Network::fit_targets), and regression losses compare its
    /// outputs, standardised again, with standardised targets:
    /// [`Network::standardises_targets`](crate::Network::standardises_targets). The round trip
    /// costs about u |mean| / std of each output.
    Unstandardise,
    /// A custom layer.
    Custom {
        /// Name that it is [registered](crate::Registry::add) under.
        name: String,
        /// Options that it is built with.
        options: Options,
    },
}

/// Parameters of a convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Convolution {
    /// Number of filters: output channels.
    pub filters: usize,
    /// Filter size: `[height, width]`.
    pub kernel: [usize; 2],
    /// Stride: `[down, across]`, in pixels.
    pub stride: [usize; 2],
    /// Zero padding in pixels: `[above and below, left and right]`.
    pub padding: [usize; 2],
    /// Number of channel groups. As many as input channels: a depthwise convolution.
    pub groups: usize,
    /// `true` if each filter has a bias.
    pub bias: bool,
    /// Initialiser of the filters.
    pub init: Init,
}

impl Convolution {
    /// Square filters of odd size `size` with stride 1 and biases, padded so that the image keeps
    /// its size.
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

/// Operation on a pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Max of the window.
    Max,
    /// Mean of the window, padding included.
    Mean,
}

/// Scale of the body's output in a residual block.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum BranchScale {
    /// A constant.
    Fixed(f64),
    /// A learned scale with this initial value: 0 in SkipInit (De, Smith, NeurIPS 2020) and ReZero
    /// (Bachlechner et al., UAI 2021).
    Learned(f64),
}

impl Default for BranchScale {
    fn default() -> Self {
        Self::Fixed(1.0)
    }
}

/// Cell type of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// `h' = act(W x + b + U h + c)` (Elman, 1990), with tanh or ReLU.
    Rnn {
        /// Activation of the state.
        activation: RnnActivation,
    },
    /// Long short-term memory (Hochreiter, Schmidhuber, 1997; Gers et al., 2000).
    Lstm,
    /// Gated recurrent unit (Cho et al., EMNLP 2014), in PyTorch's form.
    Gru,
}

/// Activation of a plain recurrent cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum RnnActivation {
    /// The hyperbolic tangent.
    #[default]
    Tanh,
    /// ReLU.
    Relu,
}

impl From<RnnActivation> for Activation {
    fn from(activation: RnnActivation) -> Self {
        match activation {
            RnnActivation::Tanh => Self::Tanh,
            RnnActivation::Relu => Self::Relu,
        }
    }
}

/// Parameters of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recurrent {
    /// Cell type.
    pub cell: Cell,
    /// Elements of the state h.
    pub units: usize,
    /// `true` if the output is the last step alone.
    pub last: bool,
    /// Length of truncated back-propagation through time (Williams, Peng, 1990): gradients do not
    /// cross the boundaries of chunks of this many steps. `None`: full back-propagation.
    pub truncate: Option<usize>,
    /// Initialiser of the input weights, for each gate on its own.
    pub init: Init,
    /// Initialiser of the state weights, for each gate on its own.
    pub recurrent_init: Init,
    /// Initial bias of an LSTM's forget gate (Jozefowicz et al., ICML 2015, propose 1).
    pub forget_bias: f64,
}

impl Recurrent {
    /// Outputs of all steps, full back-propagation, Glorot uniform input weights, orthogonal state
    /// weights, and a forget bias of 1.
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

/// Options of a custom layer in a configuration, by key.
pub type Options = BTreeMap<String, Value>;

/// Value of one of the [`Options`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(untagged))]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Number(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Value>),
}

impl LayerSpec {
    /// A dense layer of `units` outputs with initialiser `init` and a bias.
    pub const fn dense(units: usize, init: Init) -> Self {
        Self::Dense { units, init, bias: true }
    }

    /// The custom layer that is [registered](crate::Registry::add) as `name`.
    pub fn custom(name: &str, options: Options) -> Self {
        Self::Custom { name: name.to_string(), options }
    }

    /// Kind of the layer, as spelled in configuration files.
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
}

/// Name of an activation in configuration files.
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
    }
}
