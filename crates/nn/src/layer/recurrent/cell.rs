//! One step of a recurrent layer, element by element, and its gradients.
//!
//! ```text
//! RNN          h' = act(u + v)
//! LSTM, GRU    see `kernels::recurrent`
//! ```
//!
//! u is the product with the input and v the product with h, one per gate in PyTorch's order: i f g
//! o, r z n. In the forward pass the gates overwrite u. In the backward pass dv = du, except for
//! the last gate of GRU, whose v is saved.

use kernels::Cpu;
use kernels::activation::Activation;
use kernels::recurrent::{gru, gru_backward, lstm, lstm_backward};
use kernels::vector::accumulate;

use crate::layer::Float;

/// Maximum number of gates of a cell. Arrays of gates have this length; unused entries are empty.
pub(super) const GATES: usize = 4;

/// A forward step of some rows.
pub(super) struct ForwardStep<'a, T> {
    /// u; overwritten with the gates.
    pub(super) u: [&'a mut [T]; GATES],
    pub(super) v: [&'a [T]; GATES],
    /// Output: v of GRU's last gate.
    pub(super) saved: &'a mut [T],
    /// States before the step.
    pub(super) h_before: &'a [T],
    pub(super) cell_before: &'a [T],
    /// Output: states after the step.
    pub(super) h: &'a mut [T],
    pub(super) cell: &'a mut [T],
}

/// A backward step of some rows.
pub(super) struct BackwardStep<'a, T> {
    pub(super) gates: [&'a [T]; GATES],
    /// v of GRU's last gate.
    pub(super) saved: &'a [T],
    pub(super) h_before: &'a [T],
    /// Cell states before and after the step.
    pub(super) cells: [&'a [T]; 2],
    /// Gradients of the states from later steps; overwritten with those of the previous step's
    /// states, without the share that passes through v.
    pub(super) dh: &'a mut [T],
    pub(super) dcell: &'a mut [T],
    pub(super) du: [&'a mut [T]; GATES],
    /// Output: the gradient of `saved`.
    pub(super) dsaved: &'a mut [T],
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

impl Cell {
    pub(crate) fn gates(self) -> usize {
        match self {
            Self::Rnn { .. } => 1,
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }

    /// Number of states besides h.
    pub(super) fn states(self) -> usize {
        usize::from(self == Self::Lstm)
    }

    /// The gate whose v is saved, since its gradient differs from u's.
    pub(super) fn saved_gate(self) -> Option<usize> {
        (self == Self::Gru).then_some(2)
    }

    pub(super) fn forward<T: Float>(
        self,
        cpu: Cpu<'_>,
        step: ForwardStep<'_, T>,
    ) -> Result<(), kernels::Error> {
        let ForwardStep { u, v, saved, h_before, cell_before, h, cell } = step;
        match self {
            Self::Rnn { activation } => {
                let [u, ..] = u;
                accumulate(cpu, v[0], u)?;
                Activation::from(activation).forward_in_place(cpu, u)?;
                h.copy_from_slice(u);
                Ok(())
            }
            Self::Lstm => lstm(cpu, v, cell_before, u, cell, h),
            Self::Gru => {
                let ([r, z, n, _], [vr, vz, vn, _]) = (u, v);
                saved.copy_from_slice(vn);
                gru(cpu, [vr, vz, vn], h_before, [r, z, n], h)
            }
        }
    }

    pub(super) fn backward<T: Float>(
        self,
        cpu: Cpu<'_>,
        step: BackwardStep<'_, T>,
    ) -> Result<(), kernels::Error> {
        let BackwardStep { gates, saved, h_before, cells, dh, dcell, du, dsaved } = step;
        match self {
            Self::Rnn { activation } => {
                let [du, ..] = du;
                du.copy_from_slice(dh);
                Activation::from(activation).backward(cpu, gates[0], du)?;
                dh.fill(T::ZERO);
                Ok(())
            }
            Self::Lstm => {
                lstm_backward(cpu, gates, cells, dh, dcell, du)?;
                dh.fill(T::ZERO);
                Ok(())
            }
            Self::Gru => {
                let ([r, z, n, _], [dr, dz, dn, _]) = (gates, du);
                gru_backward(cpu, [r, z, n], saved, h_before, dh, [dr, dz, dn], dsaved)
            }
        }
    }
}
