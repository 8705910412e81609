//! A layer in a configuration file: a flat table, in which the kind of an activation stands beside those of the layers.

use alloc::string::String;

use kernels::activation::Activation;

use super::LayerSpec;
use crate::{Init, Options};

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
        Self::Activation(match table {
            Table::Dense { units, init, bias } => return Self::Dense { units, init, bias },
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
