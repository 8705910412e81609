//! What happens in one step of a recurrent layer, element by element, and its gradients.
//!
//! ```text
//! RNN          h' = act(u + v)
//! LSTM, GRU    as `kernels::recurrent` has them
//! ```
//!
//! u comes from the input and v from h, gate by gate; the order of the gates is PyTorch's: i f g o, r z n. In the forward pass the
//! gates themselves take the place of their u. Backward, v's gradients are u's but for the last gate of GRU, whose v is kept.

use kernels::Cpu;
use kernels::recurrent::{gru, gru_backward, lstm, lstm_backward};
use kernels::vector::accumulate;

use crate::layer::Float;
use crate::spec::Cell;

/// The most gates that a cell has. What is said of each has this many places, the last ones empty where there are fewer.
pub(super) const GATES: usize = 4;

/// Some rows of a step, forward.
pub(super) struct Ahead<'a, T> {
    /// Gets the gates.
    pub(super) u: [&'a mut [T]; GATES],
    pub(super) v: [&'a [T]; GATES],
    /// Gets v of GRU's last gate.
    pub(super) kept: &'a mut [T],
    /// The states before the step.
    pub(super) h_before: &'a [T],
    pub(super) cell_before: &'a [T],
    /// Get those after it.
    pub(super) h: &'a mut [T],
    pub(super) cell: &'a mut [T],
}

/// Some rows of a step, backward.
pub(super) struct Back<'a, T> {
    pub(super) gates: [&'a [T]; GATES],
    /// v of GRU's last gate.
    pub(super) kept: &'a [T],
    pub(super) h_before: &'a [T],
    /// The cell's states before the step and after it.
    pub(super) cells: [&'a [T]; 2],
    /// What has reached the states from later steps; gets what goes on to the step before, but for what passes through v.
    pub(super) dh: &'a mut [T],
    pub(super) dcell: &'a mut [T],
    pub(super) du: [&'a mut [T]; GATES],
    /// Gets the gradient by `kept`.
    pub(super) dkept: &'a mut [T],
}

impl Cell {
    pub(crate) fn gates(self) -> usize {
        match self {
            Self::Rnn { .. } => 1,
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }

    /// States of each step besides h.
    pub(super) fn states(self) -> usize {
        usize::from(self == Self::Lstm)
    }

    /// The gate whose v is kept, since its gradient is another than u's.
    pub(super) fn keeps(self) -> Option<usize> {
        (self == Self::Gru).then_some(2)
    }

    pub(super) fn forward<T: Float>(self, cpu: Cpu<'_>, step: Ahead<'_, T>) -> Result<(), kernels::Error> {
        let Ahead { u, v, kept, h_before, cell_before, h, cell } = step;
        match self {
            Self::Rnn { activation } => {
                let [u, ..] = u;
                accumulate(cpu, v[0], u)?;
                activation.forward_in_place(cpu, u)?;
                h.copy_from_slice(u);
                Ok(())
            }
            Self::Lstm => lstm(cpu, v, cell_before, u, cell, h),
            Self::Gru => {
                let ([r, z, n, _], [vr, vz, vn, _]) = (u, v);
                kept.copy_from_slice(vn);
                gru(cpu, [vr, vz, vn], h_before, [r, z, n], h)
            }
        }
    }

    pub(super) fn backward<T: Float>(self, cpu: Cpu<'_>, step: Back<'_, T>) -> Result<(), kernels::Error> {
        let Back { gates, kept, h_before, cells, dh, dcell, du, dkept } = step;
        match self {
            Self::Rnn { activation } => {
                let [du, ..] = du;
                du.copy_from_slice(dh);
                activation.backward(cpu, gates[0], du)?;
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
                gru_backward(cpu, [r, z, n], kept, h_before, dh, [dr, dz, dn], dkept)
            }
        }
    }
}
