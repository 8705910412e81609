//! A layer in a configuration file: a flat table, in which the kind of an activation stands beside those of the layers.

use alloc::string::String;
use alloc::vec::Vec;

use kernels::activation::Activation;

use super::{BranchScale, Cell, Convolution, LayerSpec, Pool, Recurrent};
use crate::{Init, Options};

/// One number for both directions, or `[down, across]`.
#[derive(Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub(super) enum Pair {
    Both(usize),
    Each([usize; 2]),
}

impl From<Pair> for [usize; 2] {
    fn from(pair: Pair) -> Self {
        match pair {
            Pair::Both(both) => [both, both],
            Pair::Each(each) => each,
        }
    }
}

impl From<[usize; 2]> for Pair {
    fn from(each: [usize; 2]) -> Self {
        if each[0] == each[1] { Self::Both(each[0]) } else { Self::Each(each) }
    }
}

/// The functions that serde asks for where a key is left out.
const fn one_step() -> Pair {
    Pair::Both(1)
}

const fn none() -> Pair {
    Pair::Both(0)
}

const fn one_group() -> usize {
    1
}

const fn glorot_uniform() -> Init {
    Init::GlorotUniform
}

const fn orthogonal() -> Init {
    Init::Orthogonal
}

const fn small_normal() -> Init {
    Init::Normal { std: 0.02 }
}

const fn quarter() -> f64 {
    0.25
}

const fn epsilon() -> f64 {
    1e-5
}

const fn tenth() -> f64 {
    0.1
}

const fn half() -> f64 {
    0.5
}

/// tanh or ReLU, the activations of a plain recurrent layer.
#[derive(Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bend {
    #[default]
    Tanh,
    Relu,
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

fn six() -> f64 {
    6.0
}

fn hundredth() -> f64 {
    0.01
}

fn one() -> f64 {
    1.0
}

/// Kinds without a key have braces all the same: a key that means nothing is refused.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Table {
    Dense {
        units: usize,
        #[serde(default)]
        init: Init,
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        bias: bool,
    },
    Prelu {
        #[serde(default = "quarter")]
        start: f64,
    },
    Convolution {
        filters: usize,
        kernel: Pair,
        #[serde(default = "one_step")]
        stride: Pair,
        #[serde(default = "none")]
        padding: Pair,
        #[serde(default = "one_group")]
        groups: usize,
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        bias: bool,
        #[serde(default)]
        init: Init,
    },
    MaxPooling {
        kernel: Pair,
        /// The kernel, unless it is given.
        stride: Option<Pair>,
        #[serde(default = "none")]
        padding: Pair,
    },
    MeanPooling {
        kernel: Pair,
        stride: Option<Pair>,
        #[serde(default = "none")]
        padding: Pair,
    },
    GlobalPooling {},
    Flatten {},
    Places {},
    Rows {},
    Dropout {
        #[serde(default = "half")]
        p: f64,
    },
    BatchNorm {
        #[serde(default = "epsilon")]
        epsilon: f64,
        #[serde(default = "tenth")]
        momentum: f64,
    },
    LayerNorm {
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    RmsNorm {
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    GroupNorm {
        groups: usize,
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    Residual {
        body: Vec<LayerSpec>,
        #[serde(default)]
        shortcut: Vec<LayerSpec>,
        #[serde(default)]
        scale: BranchScale,
    },
    Embedding {
        count: usize,
        features: usize,
        #[serde(default = "small_normal")]
        init: Init,
    },
    Position {
        #[serde(default = "small_normal")]
        init: Init,
    },
    Attention {
        heads: usize,
        #[serde(default)]
        causal: bool,
        #[serde(default = "glorot_uniform")]
        init: Init,
    },
    Transformer {
        heads: usize,
        hidden: usize,
        #[serde(default)]
        dropout: f64,
        #[serde(default)]
        causal: bool,
    },
    Rnn {
        units: usize,
        #[serde(default)]
        activation: Bend,
        #[serde(default)]
        last: bool,
        truncate: Option<usize>,
        #[serde(default = "glorot_uniform")]
        init: Init,
        #[serde(default = "orthogonal")]
        recurrent_init: Init,
    },
    Lstm {
        units: usize,
        #[serde(default)]
        last: bool,
        truncate: Option<usize>,
        #[serde(default = "glorot_uniform")]
        init: Init,
        #[serde(default = "orthogonal")]
        recurrent_init: Init,
        #[serde(default = "one")]
        forget_bias: f64,
    },
    Gru {
        units: usize,
        #[serde(default)]
        last: bool,
        truncate: Option<usize>,
        #[serde(default = "glorot_uniform")]
        init: Init,
        #[serde(default = "orthogonal")]
        recurrent_init: Init,
    },
    Standardise {},
    Unstandardise {},
    Custom {
        name: String,
        #[serde(default, skip_serializing_if = "Options::is_empty")]
        options: Options,
    },
    Relu {},
    CappedRelu {
        #[serde(default = "six")]
        cap: f64,
    },
    LeakyRelu {
        #[serde(default = "hundredth")]
        slope: f64,
    },
    Elu {
        #[serde(default = "one")]
        alpha: f64,
    },
    Selu {},
    Gelu {},
    GeluTanh {},
    Silu {},
    Mish {},
    Sigmoid {},
    HardSigmoid {},
    Tanh {},
    HardTanh {},
    Softplus {},
    Softsign {},
}

impl From<Table> for LayerSpec {
    fn from(table: Table) -> Self {
        let recurrent = |cell, units, last, truncate, init, recurrent_init| {
            let spec = Recurrent { last, truncate, init, recurrent_init, ..Recurrent::new(cell, units) };
            Self::Recurrent(spec)
        };
        let pooling = |pool, kernel: Pair, stride: Option<Pair>, padding: Pair| Self::Pooling {
            pool,
            kernel: kernel.into(),
            stride: stride.unwrap_or(kernel).into(),
            padding: padding.into(),
        };
        Self::Activation(match table {
            Table::Dense { units, init, bias } => return Self::Dense { units, init, bias },
            Table::Prelu { start } => return Self::Prelu { start },
            Table::Convolution { filters, kernel, stride, padding, groups, bias, init } => {
                let (kernel, stride, padding) = (kernel.into(), stride.into(), padding.into());
                return Self::Convolution(Convolution {
                    filters,
                    kernel,
                    stride,
                    padding,
                    groups,
                    bias,
                    init,
                });
            }
            Table::MaxPooling { kernel, stride, padding } => {
                return pooling(Pool::Max, kernel, stride, padding);
            }
            Table::MeanPooling { kernel, stride, padding } => {
                return pooling(Pool::Mean, kernel, stride, padding);
            }
            Table::GlobalPooling {} => return Self::GlobalPooling,
            Table::Flatten {} => return Self::Flatten,
            Table::Places {} => return Self::Places,
            Table::Rows {} => return Self::Rows,
            Table::Dropout { p } => return Self::Dropout { p },
            Table::BatchNorm { epsilon, momentum } => return Self::BatchNorm { epsilon, momentum },
            Table::LayerNorm { epsilon } => return Self::LayerNorm { epsilon },
            Table::RmsNorm { epsilon } => return Self::RmsNorm { epsilon },
            Table::GroupNorm { groups, epsilon } => return Self::GroupNorm { groups, epsilon },
            Table::Residual { body, shortcut, scale } => return Self::Residual { body, shortcut, scale },
            Table::Embedding { count, features, init } => return Self::Embedding { count, features, init },
            Table::Position { init } => return Self::Position { init },
            Table::Attention { heads, causal, init } => return Self::Attention { heads, causal, init },
            Table::Transformer { heads, hidden, dropout, causal } => {
                return Self::Transformer { heads, hidden, dropout, causal };
            }
            Table::Rnn { units, activation, last, truncate, init, recurrent_init } => {
                let activation = match activation {
                    Bend::Tanh => Activation::Tanh,
                    Bend::Relu => Activation::Relu,
                };
                return recurrent(Cell::Rnn { activation }, units, last, truncate, init, recurrent_init);
            }
            Table::Lstm { units, last, truncate, init, recurrent_init, forget_bias } => {
                let spec = Recurrent::new(Cell::Lstm, units);
                return Self::Recurrent(Recurrent {
                    last,
                    truncate,
                    init,
                    recurrent_init,
                    forget_bias,
                    ..spec
                });
            }
            Table::Gru { units, last, truncate, init, recurrent_init } => {
                return recurrent(Cell::Gru, units, last, truncate, init, recurrent_init);
            }
            Table::Standardise {} => return Self::Standardise,
            Table::Unstandardise {} => return Self::Unstandardise,
            Table::Custom { name, options } => return Self::Custom { name, options },
            Table::Relu {} => Activation::Relu,
            Table::CappedRelu { cap } => Activation::CappedRelu { cap },
            Table::LeakyRelu { slope } => Activation::LeakyRelu { slope },
            Table::Elu { alpha } => Activation::Elu { alpha },
            Table::Selu {} => Activation::Selu,
            Table::Gelu {} => Activation::Gelu,
            Table::GeluTanh {} => Activation::GeluTanh,
            Table::Silu {} => Activation::Silu,
            Table::Mish {} => Activation::Mish,
            Table::Sigmoid {} => Activation::Sigmoid,
            Table::HardSigmoid {} => Activation::HardSigmoid,
            Table::Tanh {} => Activation::Tanh,
            Table::HardTanh {} => Activation::HardTanh,
            Table::Softplus {} => Activation::Softplus,
            Table::Softsign {} => Activation::Softsign,
        })
    }
}

impl From<LayerSpec> for Table {
    fn from(layer: LayerSpec) -> Self {
        match layer {
            LayerSpec::Dense { units, init, bias } => Self::Dense { units, init, bias },
            LayerSpec::Prelu { start } => Self::Prelu { start },
            LayerSpec::Convolution(Convolution { filters, kernel, stride, padding, groups, bias, init }) => {
                let (kernel, stride, padding) = (kernel.into(), stride.into(), padding.into());
                Self::Convolution { filters, kernel, stride, padding, groups, bias, init }
            }
            LayerSpec::Pooling { pool, kernel, stride, padding } => {
                let (kernel, stride, padding) = (kernel.into(), Some(stride.into()), padding.into());
                match pool {
                    Pool::Max => Self::MaxPooling { kernel, stride, padding },
                    Pool::Mean => Self::MeanPooling { kernel, stride, padding },
                }
            }
            LayerSpec::GlobalPooling => Self::GlobalPooling {},
            LayerSpec::Flatten => Self::Flatten {},
            LayerSpec::Places => Self::Places {},
            LayerSpec::Rows => Self::Rows {},
            LayerSpec::Dropout { p } => Self::Dropout { p },
            LayerSpec::BatchNorm { epsilon, momentum } => Self::BatchNorm { epsilon, momentum },
            LayerSpec::LayerNorm { epsilon } => Self::LayerNorm { epsilon },
            LayerSpec::RmsNorm { epsilon } => Self::RmsNorm { epsilon },
            LayerSpec::GroupNorm { groups, epsilon } => Self::GroupNorm { groups, epsilon },
            LayerSpec::Residual { body, shortcut, scale } => Self::Residual { body, shortcut, scale },
            LayerSpec::Embedding { count, features, init } => Self::Embedding { count, features, init },
            LayerSpec::Position { init } => Self::Position { init },
            LayerSpec::Attention { heads, causal, init } => Self::Attention { heads, causal, init },
            LayerSpec::Transformer { heads, hidden, dropout, causal } => {
                Self::Transformer { heads, hidden, dropout, causal }
            }
            LayerSpec::Recurrent(Recurrent {
                cell,
                units,
                last,
                truncate,
                init,
                recurrent_init,
                forget_bias,
            }) => match cell {
                Cell::Rnn { activation } => {
                    let activation = if activation == Activation::Relu { Bend::Relu } else { Bend::Tanh };
                    Self::Rnn { units, activation, last, truncate, init, recurrent_init }
                }
                Cell::Lstm => Self::Lstm { units, last, truncate, init, recurrent_init, forget_bias },
                Cell::Gru => Self::Gru { units, last, truncate, init, recurrent_init },
            },
            LayerSpec::Standardise => Self::Standardise {},
            LayerSpec::Unstandardise => Self::Unstandardise {},
            LayerSpec::Custom { name, options } => Self::Custom { name, options },
            LayerSpec::Activation(activation) => match activation {
                Activation::CappedRelu { cap } => Self::CappedRelu { cap },
                Activation::LeakyRelu { slope } => Self::LeakyRelu { slope },
                Activation::Elu { alpha } => Self::Elu { alpha },
                Activation::Selu => Self::Selu {},
                Activation::Gelu => Self::Gelu {},
                Activation::GeluTanh => Self::GeluTanh {},
                Activation::Silu => Self::Silu {},
                Activation::Mish => Self::Mish {},
                Activation::Sigmoid => Self::Sigmoid {},
                Activation::HardSigmoid => Self::HardSigmoid {},
                Activation::Tanh => Self::Tanh {},
                Activation::HardTanh => Self::HardTanh {},
                Activation::Softplus => Self::Softplus {},
                Activation::Softsign => Self::Softsign {},
                _ => Self::Relu {},
            },
        }
    }
}
