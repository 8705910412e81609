//! [`Recurrent`] in a configuration file: a kind per cell, with its own keys.

use super::{Cell, Recurrent, RnnActivation};
use crate::Init;
use crate::keys::glorot_uniform;

/// A recurrent layer by kind.
pub(crate) enum Table {
    Rnn(Rnn),
    Lstm(Lstm),
    Gru(Gru),
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rnn {
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
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lstm {
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
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gru {
    units: usize,
    #[serde(default)]
    last: bool,
    truncate: Option<usize>,
    #[serde(default = "glorot_uniform")]
    init: Init,
    #[serde(default = "orthogonal")]
    recurrent_init: Init,
}

const fn orthogonal() -> Init {
    Init::Orthogonal
}

const fn one() -> f64 {
    1.0
}

impl From<Table> for Recurrent {
    fn from(table: Table) -> Self {
        match table {
            Table::Rnn(Rnn { units, activation, last, truncate, init, recurrent_init }) => {
                let plain = Self::new(Cell::Rnn { activation }, units);
                Self { last, truncate, init, recurrent_init, ..plain }
            }
            Table::Lstm(Lstm { units, last, truncate, init, recurrent_init, forget_bias }) => {
                let cell = Cell::Lstm;
                Self { cell, units, last, truncate, init, recurrent_init, forget_bias }
            }
            Table::Gru(Gru { units, last, truncate, init, recurrent_init }) => {
                let plain = Self::new(Cell::Gru, units);
                Self { last, truncate, init, recurrent_init, ..plain }
            }
        }
    }
}

impl From<Recurrent> for Table {
    fn from(spec: Recurrent) -> Self {
        let Recurrent { cell, units, last, truncate, init, recurrent_init, forget_bias } = spec;
        match cell {
            Cell::Rnn { activation } => {
                Self::Rnn(Rnn { units, activation, last, truncate, init, recurrent_init })
            }
            Cell::Lstm => {
                Self::Lstm(Lstm { units, last, truncate, init, recurrent_init, forget_bias })
            }
            Cell::Gru => Self::Gru(Gru { units, last, truncate, init, recurrent_init }),
        }
    }
}
