//! A network as data: what a configuration file holds, before any shape is known.

use crate::Init;

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
    serde(from = "Table", into = "Table")
)]
#[non_exhaustive]
pub enum LayerSpec {
    /// `y = x W + b` with W: inputs x `units`, b: `units`. Biases start at 0.
    Dense {
        /// Outputs per row.
        units: usize,
        /// How W is drawn.
        init: Init,
    },
    /// An element-wise function of the previous layer's output.
    Activation(Activation),
}

/// An element-wise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// `max(x, 0)`; NaN stays NaN.
    Relu,
}

impl LayerSpec {
    /// A dense layer of `units` outputs whose weights are drawn by `init`.
    pub const fn dense(units: usize, init: Init) -> Self {
        Self::Dense { units, init }
    }

    /// The layer's kind, as configuration files spell it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Activation(Activation::Relu) => "relu",
        }
    }
}

/// A layer in a configuration file: flat, with the kind of each activation beside those of the layers.
#[cfg(feature = "serde")]
#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Table {
    Dense {
        units: usize,
        #[serde(default)]
        init: Init,
    },
    Relu {},
}

#[cfg(feature = "serde")]
impl From<Table> for LayerSpec {
    fn from(table: Table) -> Self {
        match table {
            Table::Dense { units, init } => Self::Dense { units, init },
            Table::Relu {} => Self::Activation(Activation::Relu),
        }
    }
}

#[cfg(feature = "serde")]
impl From<LayerSpec> for Table {
    fn from(layer: LayerSpec) -> Self {
        match layer {
            LayerSpec::Dense { units, init } => Self::Dense { units, init },
            LayerSpec::Activation(Activation::Relu) => Self::Relu {},
        }
    }
}
