//! A layer in a configuration file: a flat table, where each activation is a kind of its own.

use alloc::string::String;
use alloc::vec::Vec;

use kernels::activation::Activation;

use super::{BranchScale, Cell, Convolution, LayerSpec, Options, Pool, Recurrent, RnnActivation};
use crate::Init;

/// One number for both dimensions, or `[down, across]`.
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

/// Default values of keys, as functions for serde.
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

/// [`Table`] and its conversions, from one list. A layer or an activation that is in no section
/// fails to compile, since the matches have no other arm.
///
/// - `layers` and `activations` have the same fields as their variants of [`LayerSpec`] and
///   [`Activation`].
/// - `tables` have keys of their own, which the last two sections convert.
///
/// Variants without a key have braces too, so that serde refuses unknown keys.
macro_rules! tables {
    (
        layers {
            $($layer:ident {
                $($(#[$layer_attribute:meta])* $layer_key:ident: $layer_type:ty,)*
            },)*
        }
        activations {
            $($activation:ident {
                $($(#[$attribute:meta])* $key:ident: $type:ty,)*
            },)*
        }
        tables {
            $($table:ident {
                $($(#[$table_attribute:meta])* $table_key:ident: $table_type:ty,)*
            },)*
        }
        from_table { $($from_table:pat => $to_spec:expr,)* }
        from_spec { $($from_spec:pat => $to_table:expr,)* }
    ) => {
        #[derive(Clone, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
        pub(super) enum Table {
            $($layer { $($(#[$layer_attribute])* $layer_key: $layer_type,)* },)*
            $($table { $($(#[$table_attribute])* $table_key: $table_type,)* },)*
            $($activation { $($(#[$attribute])* $key: $type,)* },)*
        }

        impl From<Table> for LayerSpec {
            fn from(table: Table) -> Self {
                match table {
                    $(Table::$layer { $($layer_key,)* } => Self::$layer { $($layer_key,)* },)*
                    $(Table::$activation { $($key,)* } => {
                        Self::Activation(Activation::$activation { $($key,)* })
                    })*
                    $($from_table => $to_spec,)*
                }
            }
        }

        impl From<LayerSpec> for Table {
            fn from(layer: LayerSpec) -> Self {
                match layer {
                    $(LayerSpec::$layer { $($layer_key,)* } => Self::$layer { $($layer_key,)* },)*
                    LayerSpec::Activation(activation) => match activation {
                        $(Activation::$activation { $($key,)* } => {
                            Self::$activation { $($key,)* }
                        })*
                    },
                    $($from_spec => $to_table,)*
                }
            }
        }
    };
}

tables! {
    layers {
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
        Standardise {},
        Unstandardise {},
        Custom {
            name: String,
            #[serde(default, skip_serializing_if = "Options::is_empty")]
            options: Options,
        },
    }
    activations {
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
    tables {
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
            /// The kernel size by default.
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
        Rnn {
            units: usize,
            #[serde(default)]
            activation: RnnActivation,
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
    }
    from_table {
        Table::Convolution { filters, kernel, stride, padding, groups, bias, init } => {
            let (kernel, stride, padding) = (kernel.into(), stride.into(), padding.into());
            LayerSpec::Convolution(Convolution {
                filters,
                kernel,
                stride,
                padding,
                groups,
                bias,
                init,
            })
        },
        Table::MaxPooling { kernel, stride, padding } => {
            pooling(Pool::Max, kernel, stride, padding)
        },
        Table::MeanPooling { kernel, stride, padding } => {
            pooling(Pool::Mean, kernel, stride, padding)
        },
        Table::Rnn { units, activation, last, truncate, init, recurrent_init } => {
            let cell = Recurrent::new(Cell::Rnn { activation }, units);
            LayerSpec::Recurrent(Recurrent { last, truncate, init, recurrent_init, ..cell })
        },
        Table::Lstm { units, last, truncate, init, recurrent_init, forget_bias } => {
            let cell = Cell::Lstm;
            LayerSpec::Recurrent(Recurrent {
                cell,
                units,
                last,
                truncate,
                init,
                recurrent_init,
                forget_bias,
            })
        },
        Table::Gru { units, last, truncate, init, recurrent_init } => {
            let cell = Recurrent::new(Cell::Gru, units);
            LayerSpec::Recurrent(Recurrent { last, truncate, init, recurrent_init, ..cell })
        },
    }
    from_spec {
        LayerSpec::Convolution(Convolution {
            filters,
            kernel,
            stride,
            padding,
            groups,
            bias,
            init,
        }) => {
            let (kernel, stride, padding) = (kernel.into(), stride.into(), padding.into());
            Table::Convolution { filters, kernel, stride, padding, groups, bias, init }
        },
        LayerSpec::Pooling { pool, kernel, stride, padding } => {
            let (kernel, stride, padding) = (kernel.into(), Some(stride.into()), padding.into());
            match pool {
                Pool::Max => Table::MaxPooling { kernel, stride, padding },
                Pool::Mean => Table::MeanPooling { kernel, stride, padding },
            }
        },
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
                Table::Rnn { units, activation, last, truncate, init, recurrent_init }
            }
            Cell::Lstm => Table::Lstm { units, last, truncate, init, recurrent_init, forget_bias },
            Cell::Gru => Table::Gru { units, last, truncate, init, recurrent_init },
        },
    }
}

fn pooling(pool: Pool, kernel: Pair, stride: Option<Pair>, padding: Pair) -> LayerSpec {
    LayerSpec::Pooling {
        pool,
        kernel: kernel.into(),
        stride: stride.unwrap_or(kernel).into(),
        padding: padding.into(),
    }
}
