//! A network as data: the layers of a configuration file, before any shape is known.
//!
//! The specification of a layer is in the file of the layer, and its line in `layers!` below.

use alloc::boxed::Box;
use alloc::string::ToString;

use kernels::activation::Activation;

#[cfg(feature = "serde")]
use crate::layer;
use crate::layer::recurrent::Cell;
use crate::layer::{AnyLayer, Pool};
use crate::registry::{Build, BuildContext, Options};
use crate::{Error, Init, Shape};

/// [`LayerSpec`] and its form in a configuration file, from one list of all layers. A layer or an
/// activation that is in no section fails to compile, since no match has an arm for the rest.
///
/// - `layers`: `file::Specification = "kind"`. The keys are the fields of the specification.
/// - `families`: a specification of several kinds, `Kind(Keys) = "kind" if pattern`. The layer's
///   file has `table::Table`, an enum of the keys of each kind, which converts to and from it.
/// - `activations`: the keys of a kind are the fields of the variant of [`Activation`]. Variants
///   without a key have braces too, so that serde refuses unknown keys.
macro_rules! layers {
    (
        layers { $($file:ident::$layer:ident = $kind:literal,)* }
        families {
            $($family_file:ident::$family:ident {
                $($member:ident($keys:ident) = $member_kind:literal if $pattern:pat,)*
            })*
        }
        activations {
            $($activation:ident {
                $($(#[$attribute:meta])* $key:ident: $type:ty)?
            } = $activation_kind:literal,)*
        }
    ) => {
        $(pub use crate::layer::$file::$layer;)*
        $(pub use crate::layer::$family_file::$family;)*

        /// One layer of a sequential network.
        ///
        /// In a configuration file (feature `serde`) a layer is a table with a `kind`. The other
        /// keys are the fields of the layer's specification:
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
            serde(from = "Table", into = "Table")
        )]
        #[non_exhaustive]
        pub enum LayerSpec {
            $(
                #[doc = concat!("[`", stringify!($layer), "`], kind `", $kind, "`.")]
                $layer($layer),
            )*
            $(
                #[doc = concat!(
                    "[`", stringify!($family), "`], kinds" $(, " `", $member_kind, "`")*, ".",
                )]
                $family($family),
            )*
            #[doc = concat!(
                "An element-wise activation of the input, kinds"
                $(, " `", $activation_kind, "`")*, ".",
            )]
            Activation(Activation),
        }

        impl LayerSpec {
            /// Kind of the layer, as spelled in configuration files.
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$layer(_) => $kind,)*
                    $($(Self::$family($pattern) => $member_kind,)*)*
                    Self::Activation(activation) => match activation {
                        $(Activation::$activation { .. } => $activation_kind,)*
                    },
                }
            }
        }

        impl Build for LayerSpec {
            fn build(
                &self,
                input: Shape,
                context: &BuildContext<'_>,
            ) -> Result<Box<dyn AnyLayer>, Error> {
                match self {
                    $(Self::$layer(spec) => spec.build(input, context),)*
                    $(Self::$family(spec) => spec.build(input, context),)*
                    Self::Activation(activation) => activation.build(input, context),
                }
            }
        }

        $(
            impl From<$layer> for LayerSpec {
                fn from(spec: $layer) -> Self {
                    Self::$layer(spec)
                }
            }
        )*

        $(
            impl From<$family> for LayerSpec {
                fn from(spec: $family) -> Self {
                    Self::$family(spec)
                }
            }
        )*

        impl From<Activation> for LayerSpec {
            fn from(activation: Activation) -> Self {
                Self::Activation(activation)
            }
        }

        /// A layer in a configuration file: a flat table, where each activation and each member of
        /// a family is a kind of its own.
        #[cfg(feature = "serde")]
        #[derive(Clone, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "kind", deny_unknown_fields)]
        enum Table {
            $(#[serde(rename = $kind)] $layer($layer),)*
            $($(#[serde(rename = $member_kind)] $member(layer::$family_file::table::$keys),)*)*
            $(
                #[serde(rename = $activation_kind)]
                $activation { $($(#[$attribute])* $key: $type,)? },
            )*
        }

        #[cfg(feature = "serde")]
        impl From<Table> for LayerSpec {
            fn from(table: Table) -> Self {
                match table {
                    $(Table::$layer(spec) => Self::$layer(spec),)*
                    $($(Table::$member(keys) => {
                        Self::$family(layer::$family_file::table::Table::$member(keys).into())
                    })*)*
                    $(Table::$activation { $($key)? } => {
                        Self::Activation(Activation::$activation { $($key)? })
                    })*
                }
            }
        }

        #[cfg(feature = "serde")]
        impl From<LayerSpec> for Table {
            fn from(spec: LayerSpec) -> Self {
                match spec {
                    $(LayerSpec::$layer(spec) => Self::$layer(spec),)*
                    $(LayerSpec::$family(spec) => match spec.into() {
                        $(layer::$family_file::table::Table::$member(keys) => {
                            Self::$member(keys)
                        })*
                    },)*
                    LayerSpec::Activation(activation) => match activation {
                        $(Activation::$activation { $($key)? } => {
                            Self::$activation { $($key)? }
                        })*
                    },
                }
            }
        }
    };
}

layers! {
    layers {
        dense::Dense = "dense",
        prelu::Prelu = "prelu",
        convolution::Convolution = "convolution",
        pooling::GlobalPooling = "global_pooling",
        reshape::Flatten = "flatten",
        reshape::Places = "places",
        reshape::Rows = "rows",
        dropout::Dropout = "dropout",
        batch_norm::BatchNorm = "batch_norm",
        layer_norm::LayerNorm = "layer_norm",
        layer_norm::RmsNorm = "rms_norm",
        group_norm::GroupNorm = "group_norm",
        residual::Residual = "residual",
        embedding::Embedding = "embedding",
        position::Position = "position",
        softmax::Softmax = "softmax",
        attention::Attention = "attention",
        transformer::Transformer = "transformer",
        standardise::Standardise = "standardise",
        standardise::Unstandardise = "unstandardise",
        custom::Custom = "custom",
    }
    families {
        pooling::Pooling {
            MaxPooling(Windows) = "max_pooling" if Pooling { pool: Pool::Max, .. },
            MeanPooling(Windows) = "mean_pooling" if Pooling { pool: Pool::Mean, .. },
        }
        recurrent::Recurrent {
            Rnn(Rnn) = "rnn" if Recurrent { cell: Cell::Rnn { .. }, .. },
            Lstm(Lstm) = "lstm" if Recurrent { cell: Cell::Lstm, .. },
            Gru(Gru) = "gru" if Recurrent { cell: Cell::Gru, .. },
        }
    }
    activations {
        Relu {} = "relu",
        CappedRelu { #[serde(default = "six")] cap: f64 } = "capped_relu",
        LeakyRelu { #[serde(default = "hundredth")] slope: f64 } = "leaky_relu",
        Elu { #[serde(default = "one")] alpha: f64 } = "elu",
        Selu {} = "selu",
        Gelu {} = "gelu",
        GeluTanh {} = "gelu_tanh",
        Silu {} = "silu",
        Mish {} = "mish",
        Sigmoid {} = "sigmoid",
        HardSigmoid {} = "hard_sigmoid",
        Tanh {} = "tanh",
        HardTanh {} = "hard_tanh",
        Softplus {} = "softplus",
        Softsign {} = "softsign",
        Exponential {} = "exponential",
    }
}

#[cfg(feature = "serde")]
const fn six() -> f64 {
    6.0
}

#[cfg(feature = "serde")]
const fn hundredth() -> f64 {
    0.01
}

#[cfg(feature = "serde")]
const fn one() -> f64 {
    1.0
}

impl LayerSpec {
    /// A dense layer of `units` outputs with initialiser `init` and a bias.
    pub const fn dense(units: usize, init: Init) -> Self {
        Self::Dense(Dense { units, init, bias: true, bias_init: Init::Zeros })
    }

    /// The custom layer that is [registered](crate::Registry::add) as `name`.
    pub fn custom(name: &str, options: Options) -> Self {
        Custom { name: name.to_string(), options }.into()
    }
}
