//! Recurrent layers and back-propagation through time.
//!
//! ```text
//! forward    u_g = x W_ih,g + b_ih,g                      for all steps at once, one product per
//! gate g
//!            for each step t, for each block of rows:
//!                v_g = h W_hh,g + b_hh,g;  h = cell(u[t], v, state)
//! backward   for each step t, the last first, for each block of rows:
//!                du[t], dv[t], dh = cell backward;  dh += dv_g W_hh,g^T
//!            dW_ih,g = x^T du_g;  dW_hh,g = h^T dv_g;  db = column sums
//!            dx = sum over g of du_g W_ih,g^T
//! ```
//!
//! Memory is time-major: a step's rows of the batch are contiguous, per gate. Rows are independent:
//! each step is one parallel region over blocks of rows. W_hh is packed once per pass. Sums over
//! steps and rows are those of one product, in ascending order of time. The cells are in `cell`.

mod cell;
#[cfg(feature = "serde")]
pub(crate) mod table;

use alloc::boxed::Box;
use alloc::vec::Vec;

use cell::{BackwardStep, ForwardStep, GATES};
pub use cell::{Cell, RnnActivation};
use kernels::gemm::Epilogue;
use kernels::{Cpu, MatMut, MatRef};

use crate::init::Fans;
use crate::layer::split::{for_each, split, split_mut, split_mut_rest, split_tasks};
use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::parameter::{Order, Parameter, Start};
use crate::registry::{Build, BuildContext};
use crate::{Compute, Error, Init, Precision, Shape};

/// A recurrent layer over the steps of a sequence. PyTorch: `RNN`, `LSTM`, `GRU`, with one layer
/// and `batch_first`.
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

impl Build for Recurrent {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        if self.units == 0 {
            return Err(context.unfit("at least one unit", 0));
        }
        if self.truncate == Some(0) {
            return Err(context.unfit("at least one step as `truncate`", 0));
        }
        let (steps, inputs) = context.steps(input)?;
        let precision = context.compute.precision;
        Ok(Box::new(RecurrentLayer { steps, inputs, spec: *self, precision }))
    }
}

/// [`Recurrent`] over sequences of a known shape.
#[derive(Debug)]
struct RecurrentLayer {
    steps: usize,
    inputs: usize,
    spec: Recurrent,
    precision: Precision,
}

impl RecurrentLayer {
    fn gates(&self) -> usize {
        self.spec.cell.gates()
    }

    /// Lengths of the four tensors.
    fn lengths(&self) -> [usize; 4] {
        let (width, hidden) = (self.gates() * self.spec.units, self.spec.units);
        [self.inputs * width, hidden * width, width, width]
    }

    /// Elements of the state of one step: `[rows, units]`.
    fn state(&self, rows: usize) -> usize {
        rows.saturating_mul(self.spec.units)
    }

    /// Lengths of what forward saves: x, time-major; u, per gate, time-major; v of the gate that
    /// needs it; the cell states and h, both including the initial state.
    fn saved_lengths(&self, rows: usize) -> [usize; 5] {
        let (state, steps, cell) = (self.state(rows), self.steps, self.spec.cell);
        let x = rows.saturating_mul(steps).saturating_mul(self.inputs);
        let gate = state.saturating_mul(steps);
        let states = gate.saturating_add(state);
        let saved = if cell.saved_gate().is_some() { gate } else { 0 };
        [x, gate.saturating_mul(self.gates()), saved, states.saturating_mul(cell.states()), states]
    }

    /// Elements of the packed W_hh.
    fn panels<T: Float>(&self) -> usize {
        T::packed_len(self.precision, self.spec.units, self.spec.units).saturating_mul(self.gates())
    }

    /// Packs W_hh of each gate, or its transpose.
    fn pack<'a, T: Float>(
        &self,
        cpu: Cpu<'_>,
        w_hh: &'a [T],
        transposed: bool,
        panels: &'a mut [T],
    ) -> Result<[Option<T::Packed<'a>>; GATES], Error> {
        let units = self.spec.units;
        let panels = panels.chunks_exact_mut(T::packed_len(self.precision, units, units));
        let mut packed = [None; GATES];
        for (gate, (packed, panels)) in packed.iter_mut().zip(panels).enumerate() {
            let w = self.gate_matrix(w_hh, units, gate)?;
            let w = if transposed { w.transpose() } else { w };
            *packed = Some(T::pack(self.precision, cpu.isa, w, panels)?);
        }
        Ok(packed)
    }

    /// Rows per block, and elements of scratch of its products. There is a block per thread, as far
    /// as work and `scratch` allow. A single block runs its products on all threads with all of the
    /// scratch: for a large W_hh, threads share each product instead of the rows.
    fn block<T: Float>(&self, cpu: Cpu<'_>, rows: usize, scratch: usize) -> (usize, usize) {
        let units = self.spec.units;
        let slot = T::product_scratch(self.precision, 1, rows, units, units).max(1);
        let work = self.state(rows).saturating_mul(units).saturating_mul(self.gates()) / BLOCK_WORK;
        let most = if units < WIDE {
            work.min(cpu.executor.threads()).min(scratch / slot).max(1)
        } else {
            1
        };
        let block = rows.div_ceil(most).next_multiple_of(STRIP).max(STRIP);
        (block, if block < rows { slot } else { scratch.max(1) })
    }

    /// u or the gates of step `t`.
    fn step<'a, T>(&self, gates: &'a [T], state: usize, t: usize) -> [&'a [T]; GATES] {
        let mut gates = gates.chunks_exact((self.steps * state).max(1));
        core::array::from_fn(|_| gates.next().map_or(&[][..], |gate| &gate[t * state..][..state]))
    }

    fn step_mut<'a, T>(&self, gates: &'a mut [T], state: usize, t: usize) -> [&'a mut [T]; GATES] {
        let mut gates = gates.chunks_exact_mut((self.steps * state).max(1));
        core::array::from_fn(|_| {
            gates.next().map_or(&mut [][..], |gate| &mut gate[t * state..][..state])
        })
    }

    /// Columns `gate * units ..` of a matrix that holds all gates side by side.
    fn gate_matrix<'a, T>(
        &self,
        weight: &'a [T],
        rows: usize,
        gate: usize,
    ) -> Result<MatRef<'a, T>, kernels::Error> {
        let (units, width) = (self.spec.units, self.gates() * self.spec.units);
        MatRef::strided(&weight[gate * units..], rows, units, width, 1)
    }

    fn products<'a, T>(&self, cpu: Cpu<'a>, scratch: &'a mut [T]) -> Products<'a, T> {
        Products {
            compute: Compute { precision: self.precision, sparse_inputs: false },
            cpu,
            scratch,
        }
    }

    /// `true` if truncation cuts the gradient between step `t` and the step before it.
    fn is_cut(&self, t: usize) -> bool {
        self.spec.truncate.is_some_and(|length| t.is_multiple_of(length))
    }
}

/// Minimum multiply-adds of a step per thread.
const BLOCK_WORK: usize = 1 << 17;

/// Block sizes are multiples of this many rows: half a register tile.
const STRIP: usize = 8;

/// Units from which W_hh of a gate, 4 MiB of f32, no longer fits the caches of a core.
const WIDE: usize = 1024;

/// `x[from..from + len]`; empty if `x` is empty.
fn part<T>(x: &[T], from: usize, len: usize) -> &[T] {
    if x.is_empty() { x } else { &x[from..][..len] }
}

/// `to[b][a] = from[a][b]`, where each entry has `len` elements.
fn swap_outer<T: Copy>(from: &[T], (a, b): (usize, usize), len: usize, to: &mut [T]) {
    for i in 0..a {
        for j in 0..b {
            to[(j * a + i) * len..][..len].copy_from_slice(&from[(i * b + j) * len..][..len]);
        }
    }
}

impl Describe for RecurrentLayer {
    fn output(&self) -> Shape {
        match self.spec.last {
            true => Shape::Features(self.spec.units),
            false => Shape::Steps { steps: self.steps, features: self.spec.units },
        }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let Recurrent { units, cell, init, recurrent_init, forget_bias, .. } = self.spec;
        let width = self.gates() * units;
        let matrix = |name: &str, inputs: usize, init| Parameter {
            name: name.into(),
            shape: Vec::from([inputs, width]),
            order: Order::Transposed,
            start: Start::Draw {
                init,
                fans: Fans { taps: 1, inputs, parts: self.gates(), outputs: units },
            },
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

    fn saved(&self, rows: usize) -> usize {
        self.saved_lengths(rows).into_iter().fold(0, usize::saturating_add)
    }
}

/// Products with the same options and scratch.
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

impl<T: Float> Layer<T> for RecurrentLayer {
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let (units, inputs, all) = (self.spec.units, self.inputs, rows.saturating_mul(self.steps));
        let product = |m, n, k| T::product_scratch(self.precision, threads, m, n, k);
        let products = [
            product(all, units, inputs),
            product(rows, units, units),
            T::product_scratch(self.precision, 1, rows, units, units).saturating_mul(threads),
            product(inputs, units, all),
            product(units, units, all),
            product(all, inputs, units),
        ];
        let [x, gates, saved, ..] = self.saved_lengths(rows);
        // Backward: du, dv of the saved gate, dx in time-major order, and the states. Forward: v of
        // a step.
        let states = self.state(rows).saturating_mul(1 + self.spec.cell.states());
        let gradients = [gates, saved, x, states, self.panels::<T>()]
            .into_iter()
            .fold(0, usize::saturating_add);
        products.into_iter().max().unwrap_or(0).saturating_add(gradients)
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, rows, params, x, y, saved, scratch, .. } = pass;
        let Recurrent { units, cell, last, .. } = self.spec;
        let (steps, gates, state) = (self.steps, self.gates(), self.state(rows));
        let [w_ih, w_hh, b_ih, b_hh] = split(params, self.lengths());
        let states = state * cell.states();
        let [x_time, u, saved, cells, h] = split_mut(saved, self.saved_lengths(rows));
        let ([panels, v], scratch) = split_mut_rest(scratch, [self.panels::<T>(), gates * state]);

        swap_outer(x, (rows, steps), self.inputs, x_time);
        let x_all = MatRef::row_major(x_time, rows * steps, self.inputs)?;
        let mut products = self.products(cpu, scratch);
        for (gate, u) in u.chunks_exact_mut((steps * state).max(1)).enumerate() {
            let bias = Epilogue::bias(&b_ih[gate * units..][..units]);
            let u = MatMut::row_major(u, rows * steps, units)?;
            products.add(x_all, self.gate_matrix(w_ih, self.inputs, gate)?, T::ZERO, u, bias)?;
        }
        let w_hh = self.pack(cpu, w_hh, false, panels)?;
        let (block, slot) = self.block::<T>(cpu, rows, scratch.len());
        let (len, count) = (block * units, rows.div_ceil(block));
        h[..state].fill(T::ZERO);
        cells[..states].fill(T::ZERO);
        for t in 0..steps {
            let (h_before, h) = h[t * state..].split_at_mut(state);
            let (cells_before, cells) = cells[t * states..].split_at_mut(states);
            let [u0, u1, u2, u3] = self.step_mut(u, state, t);
            let [saved, ..] = self.step_mut(saved, state, t);
            let cells = &mut cells[..states];
            let (h_before, cells_before) = (&*h_before, &*cells_before);
            let blocks = split_tasks([u0, u1, u2, u3, saved, &mut h[..state], cells], len, count);
            let blocks =
                blocks.zip(v.chunks_mut(gates * len)).zip(scratch.chunks_mut(slot)).enumerate();
            for_each(
                cpu,
                blocks,
                |serial, (number, (([u0, u1, u2, u3, saved, h, cell_now], v), scratch))| {
                    let cpu = if count == 1 { cpu } else { serial };
                    let (from, len) = (number * len, h.len());
                    let h_before = part(h_before, from, len);
                    for (gate, (v, w)) in
                        v.chunks_exact_mut(len).zip(w_hh.into_iter().flatten()).enumerate()
                    {
                        let bias = Epilogue::bias(&b_hh[gate * units..][..units]);
                        let h = MatRef::row_major(h_before, len / units, units)?;
                        let v = MatMut::row_major(v, len / units, units)?;
                        T::packed_product(cpu, h, w, T::ZERO, v, bias, scratch)?;
                    }
                    let mut v = v.chunks_exact(len);
                    let v = core::array::from_fn(|_| v.next().unwrap_or_default());
                    let cell_before = part(cells_before, from, len);
                    let u = [u0, u1, u2, u3];
                    cell.forward(
                        cpu,
                        ForwardStep { u, v, saved, h_before, cell_before, h, cell: cell_now },
                    )
                },
            )?;
        }
        match last {
            true => y.copy_from_slice(&h[steps * state..]),
            false => swap_outer(&h[state..], (steps, rows), units, y),
        }
        Ok(())
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward { cpu, rows, params, saved, dy, dx, grads, scratch, .. } = pass;
        let Recurrent { units, cell, last, .. } = self.spec;
        let (steps, gates, state) = (self.steps, self.gates(), self.state(rows));
        let [w_ih, w_hh, ..] = split(params, self.lengths());
        let lengths @ [x_len, gates_len, saved_len, ..] = self.saved_lengths(rows);
        let [x_time, u, saved, cells, h] = split_mut(saved, lengths);
        let states = state * cell.states();
        let scratch_lengths = [self.panels::<T>(), gates_len, saved_len, x_len, state, states];
        let ([panels, du, dsaved, dx_time, dh, dcell], scratch) =
            split_mut_rest(scratch, scratch_lengths);
        let (u, saved, cells, h) = (&*u, &*saved, &*cells, &*h);

        let w_hh_t = self.pack(cpu, w_hh, true, panels)?;
        let (block, slot) = self.block::<T>(cpu, rows, scratch.len());
        let (len, count) = (block * units, rows.div_ceil(block));
        dh.fill(T::ZERO);
        dcell.fill(T::ZERO);
        for t in (0..steps).rev() {
            if last && t + 1 == steps {
                dh.copy_from_slice(dy);
            }
            let dy = &*dy;
            let (gates, [saved, ..]) = (self.step(u, state, t), self.step(saved, state, t));
            let [du0, du1, du2, du3] = self.step_mut(du, state, t);
            let [dsaved, ..] = self.step_mut(dsaved, state, t);
            let blocks =
                split_tasks([du0, du1, du2, du3, dsaved, &mut *dh, &mut *dcell], len, count);
            let blocks = blocks.zip(scratch.chunks_mut(slot)).enumerate();
            for_each(
                cpu,
                blocks,
                |serial, (number, ([du0, du1, du2, du3, dsaved, dh, dcell], scratch))| {
                    let cpu = if count == 1 { cpu } else { serial };
                    let (from, len) = (number * len, dh.len());
                    if !last {
                        // The output's gradient; `dh` holds that of the later steps.
                        for (row, dh) in dh.chunks_exact_mut(units).enumerate() {
                            let dy = &dy[((number * block + row) * steps + t) * units..][..units];
                            dh.iter_mut().zip(dy).for_each(|(dh, &dy)| *dh += dy);
                        }
                    }
                    let step = BackwardStep {
                        gates: gates.map(|gate| part(gate, from, len)),
                        saved: part(saved, from, len),
                        h_before: part(h, t * state + from, len),
                        cells: [t, t + 1].map(|t| part(cells, t * state + from, len)),
                        dh: &mut *dh,
                        dcell: &mut *dcell,
                        du: [&mut *du0, &mut *du1, &mut *du2, &mut *du3],
                        dsaved: &mut *dsaved,
                    };
                    cell.backward(cpu, step)?;
                    let mut dv = [&*du0, &*du1, &*du2, &*du3];
                    if let Some(gate) = cell.saved_gate() {
                        dv[gate] = dsaved;
                    }
                    for (dv, w) in dv.into_iter().zip(w_hh_t.into_iter().flatten()) {
                        let dv = MatRef::row_major(dv, len / units, units)?;
                        let dh = MatMut::row_major(dh, len / units, units)?;
                        T::packed_product(cpu, dv, w, T::ONE, dh, Epilogue::NONE, scratch)?;
                    }
                    if self.is_cut(t) {
                        dh.fill(T::ZERO);
                        dcell.fill(T::ZERO);
                    }
                    Ok(())
                },
            )?;
        }

        let mut products = self.products(cpu, scratch);
        let [dw_ih, dw_hh, db_ih, db_hh] = split_mut(grads, self.lengths());
        let width = gates * units;
        let x_all = MatRef::row_major(x_time, rows * steps, self.inputs)?;
        let h_all = MatRef::row_major(&h[..steps * state], rows * steps, units)?;
        for gate in 0..gates {
            let here = gate * steps * state..(gate + 1) * steps * state;
            let dv = if cell.saved_gate() == Some(gate) { &*dsaved } else { &du[here.clone()] };
            for (x, d, dw, db, inputs) in [
                (x_all, &du[here.clone()], &mut *dw_ih, &mut *db_ih, self.inputs),
                (h_all, dv, &mut *dw_hh, &mut *db_hh, units),
            ] {
                let d = MatRef::row_major(d, rows * steps, units)?;
                let dw = MatMut::strided(&mut dw[gate * units..], inputs, units, width, 1)?;
                let epilogue = Epilogue::NONE.column_sums(&mut db[gate * units..][..units]);
                products.add(x.transpose(), d, T::ZERO, dw, epilogue)?;
            }
            if dx.is_some() {
                let du = MatRef::row_major(&du[here], rows * steps, units)?;
                let w = self.gate_matrix(w_ih, self.inputs, gate)?.transpose();
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
