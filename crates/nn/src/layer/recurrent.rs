//! Recurrent layers, through time and back.
//!
//! ```text
//! forward    u_g = x W_ih,g + b_ih,g                      for all steps at once, one product a gate g
//!            for each step t:  v_g = h W_hh,g + b_hh,g;  h = cell(u[t], v, state)
//! backward   for each step t, the last first:  du[t], dv[t], dh = cell backward;  dh += dv_g W_hh,g^T
//!            dW_ih,g = x^T du_g;  dW_hh,g = h^T dv_g;  db = column sums;  dx = sum over g of du_g W_ih,g^T
//! ```
//!
//! Inside, time comes first: a step's rows of the batch lie together, gate by gate. Sums over steps and rows are those of one
//! product, in ascending order of time. The cells stand in `cell`.

mod cell;

use alloc::vec::Vec;

use kernels::gemm::Epilogue;
use kernels::{Cpu, MatMut, MatRef};

use crate::init::Fans;
use crate::layer::parts::{split, split_mut, split_mut_rest};
use crate::layer::{Backward, Describe, Float, Forward, Layer, Parameter, Start};
use crate::layout::Order;
use crate::spec::{Cell, Recurrent as Spec};
use crate::{Compute, Error, Precision, Shape};

/// A recurrent layer over the steps of a sequence. PyTorch: `RNN`, `LSTM`, `GRU`, with one layer and `batch_first`.
#[derive(Debug)]
pub(crate) struct Recurrent {
    steps: usize,
    inputs: usize,
    spec: Spec,
    precision: Precision,
}

impl Recurrent {
    pub(crate) fn new(steps: usize, inputs: usize, spec: Spec, precision: Precision) -> Self {
        Self { steps, inputs, spec, precision }
    }

    fn gates(&self) -> usize {
        self.spec.cell.gates()
    }

    /// The lengths of the four tensors.
    fn lengths(&self) -> [usize; 4] {
        let (width, hidden) = (self.gates() * self.spec.units, self.spec.units);
        [self.inputs * width, hidden * width, width, width]
    }

    /// Elements of a step of the state: rows x units.
    fn state(&self, rows: usize) -> usize {
        rows.saturating_mul(self.spec.units)
    }

    /// What forward keeps: x with time first; u and v, each with a gate's steps together; the states; h from before the first
    /// step on.
    fn rooms(&self, rows: usize) -> [usize; 5] {
        let (state, steps) = (self.state(rows), self.steps);
        let x = rows.saturating_mul(steps).saturating_mul(self.inputs);
        let gate = state.saturating_mul(steps);
        let gates = gate.saturating_mul(self.gates());
        let cells = gate.saturating_mul(self.spec.cell.states());
        [x, gates, gates, cells.saturating_add(state), gate.saturating_add(state)]
    }

    /// Columns `gate * units ..` of a matrix with all gates side by side.
    fn of_gate<'a, T>(
        &self,
        weight: &'a [T],
        rows: usize,
        gate: usize,
    ) -> Result<MatRef<'a, T>, kernels::Error> {
        let (units, width) = (self.spec.units, self.gates() * self.spec.units);
        MatRef::strided(&weight[gate * units..], rows, units, width, 1)
    }

    fn products<'a, T>(&self, cpu: Cpu<'a>, scratch: &'a mut [T]) -> Products<'a, T> {
        Products { compute: Compute { precision: self.precision, sparse_inputs: false }, cpu, scratch }
    }

    /// Whether the gradient is cut off behind step `t`, counted from 0.
    fn is_cut(&self, t: usize) -> bool {
        self.spec.truncate.is_some_and(|length| t.is_multiple_of(length))
    }
}

/// `to[b][a] = from[a][b]`, where an element is `len` numbers.
fn swap_outer<T: Copy>(from: &[T], (a, b): (usize, usize), len: usize, to: &mut [T]) {
    for i in 0..a {
        for j in 0..b {
            to[(j * a + i) * len..][..len].copy_from_slice(&from[(i * b + j) * len..][..len]);
        }
    }
}

impl Describe for Recurrent {
    fn output(&self) -> Shape {
        match self.spec.last {
            true => Shape::Features(self.spec.units),
            false => Shape::Steps { steps: self.steps, features: self.spec.units },
        }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let Spec { units, cell, init, recurrent_init, forget_bias, .. } = self.spec;
        let width = self.gates() * units;
        let matrix = |name: &str, inputs: usize, init| Parameter {
            name: name.into(),
            shape: Vec::from([inputs, width]),
            order: Order::Transposed,
            start: Start::Draw { init, fans: Fans { taps: 1, inputs, parts: self.gates(), outputs: units } },
        };
        let forget = match cell {
            Cell::Lstm => Start::Forget { units, value: forget_bias },
            _ => Start::Constant(0.0),
        };
        Vec::from([
            matrix("weight_ih_l0", self.inputs, init),
            matrix("weight_hh_l0", units, recurrent_init),
            Parameter { start: forget, ..Parameter::vector("bias_ih_l0", width, 0.0) },
            Parameter::vector("bias_hh_l0", width, 0.0),
        ])
    }

    fn kept(&self, rows: usize) -> usize {
        self.rooms(rows).into_iter().fold(0, usize::saturating_add)
    }
}

/// A product, without what is the same for all of them.
struct Products<'a, T> {
    compute: Compute,
    cpu: Cpu<'a>,
    scratch: &'a mut [T],
}

impl<T: Float> Products<'_, T> {
    /// c = a b + beta c + bias
    fn add(
        &mut self,
        a: MatRef<'_, T>,
        b: MatRef<'_, T>,
        beta: T,
        c: MatMut<'_, T>,
        epilogue: Epilogue<'_, T>,
    ) -> Result<(), Error> {
        Ok(T::product(self.compute, self.cpu, [a, b], beta, c, epilogue, self.scratch)?)
    }
}

impl<T: Float> Layer<T> for Recurrent {
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let (units, inputs, all) = (self.spec.units, self.inputs, rows.saturating_mul(self.steps));
        let product = |m, n, k| T::product_scratch(self.precision, threads, m, n, k);
        let products = [
            product(all, units, inputs),
            product(rows, units, units),
            product(inputs, units, all),
            product(units, units, all),
            product(all, inputs, units),
        ];
        let [x, gates, ..] = self.rooms(rows);
        // Backward: du and dv, dx with time first, and five states.
        let gradients = gates.saturating_mul(2).saturating_add(x).saturating_add(5 * self.state(rows));
        products.into_iter().max().unwrap_or(0).saturating_add(gradients)
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, rows, params, x, y, kept, scratch, .. } = pass;
        let Spec { units, cell, last, .. } = self.spec;
        let (steps, gates, state) = (self.steps, self.gates(), self.state(rows));
        let [w_ih, w_hh, b_ih, b_hh] = split(params, self.lengths());
        let [x_time, u, v, cells, h] = split_mut(kept, self.rooms(rows));
        let mut products = self.products(cpu, scratch);

        swap_outer(x, (rows, steps), self.inputs, x_time);
        let x_all = MatRef::row_major(x_time, rows * steps, self.inputs)?;
        for gate in 0..gates {
            let bias = Epilogue::bias(&b_ih[gate * units..][..units]);
            let u = &mut u[gate * steps * state..][..steps * state];
            let u = MatMut::row_major(u, rows * steps, units)?;
            products.add(x_all, self.of_gate(w_ih, self.inputs, gate)?, T::ZERO, u, bias)?;
        }
        h[..state].fill(T::ZERO);
        cells[..state].fill(T::ZERO);
        for t in 0..steps {
            let (before, now) = h[t * state..][..2 * state].split_at_mut(state);
            let before_all = MatRef::row_major(before, rows, units)?;
            for gate in 0..gates {
                let bias = Epilogue::bias(&b_hh[gate * units..][..units]);
                let v = MatMut::row_major(&mut v[(gate * steps + t) * state..][..state], rows, units)?;
                products.add(before_all, self.of_gate(w_hh, units, gate)?, T::ZERO, v, bias)?;
            }
            let step = cell::Step { cpu, t, steps, state };
            cell.forward(step, u, v, cells, before, now)?;
            match last {
                true if t + 1 == steps => y.copy_from_slice(now),
                true => {}
                false => {
                    for (row, h) in now.chunks_exact(units).enumerate() {
                        y[(row * steps + t) * units..][..units].copy_from_slice(h);
                    }
                }
            }
        }
        Ok(())
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward { cpu, rows, params, kept, dy, dx, grads, scratch, .. } = pass;
        let Spec { units, cell, last, .. } = self.spec;
        let (steps, gates, state) = (self.steps, self.gates(), self.state(rows));
        let [w_ih, w_hh, ..] = split(params, self.lengths());
        let [x_time, u, v, cells, h] = split_mut(kept, self.rooms(rows));
        let gates_len = gates * steps * state;
        let lengths = [gates_len, gates_len, x_time.len(), state, state, state, state, state];
        let ([du, dv, dx_time, dh, dcell, dh_step, dcell_step, temporary], scratch) =
            split_mut_rest(scratch, lengths);
        let mut products = self.products(cpu, scratch);

        dh.fill(T::ZERO);
        dcell.fill(T::ZERO);
        for t in (0..steps).rev() {
            // What reaches h[t]: from the steps behind it, and from above.
            if !last {
                for (row, dh) in dh.chunks_exact_mut(units).enumerate() {
                    for (dh, &dy) in dh.iter_mut().zip(&dy[(row * steps + t) * units..][..units]) {
                        *dh += dy;
                    }
                }
            } else if t + 1 == steps {
                dh.copy_from_slice(dy);
            }
            let step = cell::Step { cpu, t, steps, state };
            let (before, now) = h[t * state..][..2 * state].split_at(state);
            let reached =
                cell::Reached { dh, dcell, dh_before: dh_step, dcell_before: dcell_step, temporary };
            cell.backward(step, u, v, cells, [before, now], reached, du, dv)?;
            for gate in 0..gates {
                let dv = MatRef::row_major(&dv[(gate * steps + t) * state..][..state], rows, units)?;
                let w = self.of_gate(w_hh, units, gate)?.transpose();
                let dh = MatMut::row_major(dh_step, rows, units)?;
                products.add(dv, w, T::ONE, dh, Epilogue::NONE)?;
            }
            dh.copy_from_slice(dh_step);
            dcell.copy_from_slice(dcell_step);
            if self.is_cut(t) {
                dh.fill(T::ZERO);
                dcell.fill(T::ZERO);
            }
        }

        let [dw_ih, dw_hh, db_ih, db_hh] = split_mut(grads, self.lengths());
        let width = gates * units;
        let x_all = MatRef::row_major(x_time, rows * steps, self.inputs)?;
        let h_all = MatRef::row_major(&h[..steps * state], rows * steps, units)?;
        for gate in 0..gates {
            let here = gate * steps * state..(gate + 1) * steps * state;
            for (x, d, dw, db, inputs) in [
                (x_all, &du[here.clone()], &mut *dw_ih, &mut *db_ih, self.inputs),
                (h_all, &dv[here.clone()], &mut *dw_hh, &mut *db_hh, units),
            ] {
                let d = MatRef::row_major(d, rows * steps, units)?;
                let dw = MatMut::strided(&mut dw[gate * units..], inputs, units, width, 1)?;
                let epilogue = Epilogue::NONE.column_sums(&mut db[gate * units..][..units]);
                products.add(x.transpose(), d, T::ZERO, dw, epilogue)?;
            }
            if dx.is_some() {
                let du = MatRef::row_major(&du[here], rows * steps, units)?;
                let w = self.of_gate(w_ih, self.inputs, gate)?.transpose();
                let beta = if gate == 0 { T::ZERO } else { T::ONE };
                let dx = MatMut::row_major(dx_time, rows * steps, self.inputs)?;
                products.add(du, w, beta, dx, Epilogue::NONE)?;
            }
        }
        if let Some(dx) = dx {
            swap_outer(dx_time, (steps, rows), self.inputs, dx);
        }
        Ok(())
    }
}
