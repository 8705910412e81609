//! What happens in one step of a recurrent layer, element by element, and its gradients.
//!
//! ```text
//! RNN    h' = act(u + v)
//! LSTM   i, f, o = sigmoid(u + v);  g = tanh(u + v);  c' = f c + i g;  h' = o tanh(c')
//! GRU    r, z = sigmoid(u + v);  n = tanh(u_n + r v_n);  h' = (1 - z) n + z h
//! ```
//!
//! u comes from the input and v from h, each with a gate's steps together; the order of the gates is PyTorch's: i f g o, r z n.
//! In the forward pass the gates themselves take the place of their u. Each operation is rounded by itself.

use kernels::Cpu;
use kernels::activation::Activation;

use crate::Error;
use crate::layer::Float;
use crate::spec::Cell;

/// Which step it is.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) cpu: Cpu<'a>,
    pub(super) t: usize,
    pub(super) steps: usize,
    /// Elements of a gate in one step.
    pub(super) state: usize,
}

impl Step<'_> {
    /// This step's elements of `gate`.
    fn of<'a, T>(&self, gates: &'a [T], gate: usize) -> &'a [T] {
        &gates[(gate * self.steps + self.t) * self.state..][..self.state]
    }

    fn of_mut<'a, T>(&self, gates: &'a mut [T], gate: usize) -> &'a mut [T] {
        &mut gates[(gate * self.steps + self.t) * self.state..][..self.state]
    }
}

impl Step<'_> {
    /// Makes the gradient by what entered a gate, u + v, of that by the gate, which stands in `du`. By v it is the same.
    fn close<T: Float>(
        &self,
        gate: usize,
        activation: Activation,
        output: &[T],
        du: &mut [T],
        dv: &mut [T],
    ) -> Result<(), Error> {
        let du = self.of_mut(du, gate);
        activation.backward(self.cpu, output, du)?;
        self.of_mut(dv, gate).copy_from_slice(du);
        Ok(())
    }
}

/// What has reached the state from behind, and where it goes on to.
pub(super) struct Reached<'a, T> {
    pub(super) dh: &'a mut [T],
    pub(super) dcell: &'a mut [T],
    /// Gets what does not pass through v.
    pub(super) dh_before: &'a mut [T],
    pub(super) dcell_before: &'a mut [T],
    pub(super) temporary: &'a mut [T],
}

fn sum<T: Float>(a: T, b: T) -> T {
    let mut sum = a;
    sum += b;
    sum
}

fn product<T: Float>(a: T, b: T) -> T {
    let mut product = a;
    product *= b;
    product
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
    pub(crate) fn states(self) -> usize {
        usize::from(self == Self::Lstm)
    }

    /// `now` is h of this step, `before` that of the step before; `cells` has the state of each step, from before the first.
    pub(super) fn forward<T: Float>(
        self,
        step: Step<'_>,
        u: &mut [T],
        v: &[T],
        cells: &mut [T],
        before: &[T],
        now: &mut [T],
    ) -> Result<(), Error> {
        let Step { cpu, t, state, .. } = step;
        let mut gate = |gate: usize, activation: Activation| {
            let u = step.of_mut(u, gate);
            for (u, &v) in u.iter_mut().zip(step.of(v, gate)) {
                *u += v;
            }
            activation.forward_in_place(cpu, u)
        };
        match self {
            Self::Rnn { activation } => {
                gate(0, activation)?;
                now.copy_from_slice(step.of(u, 0));
            }
            Self::Lstm => {
                let (sigmoid, tanh) = (Activation::Sigmoid, Activation::Tanh);
                for (number, activation) in [sigmoid, sigmoid, tanh, sigmoid].into_iter().enumerate() {
                    gate(number, activation)?;
                }
                let (cell_before, cell) = cells[t * state..][..2 * state].split_at_mut(state);
                let [input, forget, value, output] = [0, 1, 2, 3].map(|gate| step.of(u, gate));
                for (j, cell) in cell.iter_mut().enumerate() {
                    *cell = sum(product(forget[j], cell_before[j]), product(input[j], value[j]));
                }
                tanh.forward(cpu, cell, now)?;
                for (h, &output) in now.iter_mut().zip(output) {
                    *h *= output;
                }
            }
            Self::Gru => {
                gate(0, Activation::Sigmoid)?;
                gate(1, Activation::Sigmoid)?;
                let (rest, value) = u.split_at_mut(2 * step.steps * state);
                let (reset, update) = (step.of(rest, 0), step.of(rest, 1));
                let value = &mut value[t * state..][..state];
                for ((value, &reset), &v) in value.iter_mut().zip(reset).zip(step.of(v, 2)) {
                    *value += product(reset, v);
                }
                Activation::Tanh.forward_in_place(cpu, value)?;
                for (j, h) in now.iter_mut().enumerate() {
                    let mut kept = T::ONE;
                    kept -= update[j];
                    *h = sum(product(kept, value[j]), product(update[j], before[j]));
                }
            }
        }
        Ok(())
    }

    /// `u` holds the gates.
    #[expect(clippy::too_many_arguments, reason = "what a step read, and what it gave")]
    pub(super) fn backward<T: Float>(
        self,
        step: Step<'_>,
        u: &[T],
        v: &[T],
        cells: &[T],
        [before, now]: [&[T]; 2],
        reached: Reached<'_, T>,
        du: &mut [T],
        dv: &mut [T],
    ) -> Result<(), Error> {
        let Step { cpu, t, state, .. } = step;
        let Reached { dh, dcell, dh_before, dcell_before, temporary } = reached;
        dh_before.fill(T::ZERO);
        match self {
            Self::Rnn { activation } => {
                step.of_mut(du, 0).copy_from_slice(dh);
                step.close(0, activation, now, du, dv)?;
            }
            Self::Lstm => {
                let (cell_before, cell) = cells[t * state..][..2 * state].split_at(state);
                let [input, forget, value, output] = [0, 1, 2, 3].map(|gate| step.of(u, gate));
                // dcell gets what comes through h = o tanh(c).
                Activation::Tanh.forward(cpu, cell, temporary)?;
                for (j, dh) in dh.iter_mut().enumerate() {
                    let doutput = product(*dh, temporary[j]);
                    *dh *= output[j];
                    step.of_mut(du, 3)[j] = doutput;
                }
                Activation::Tanh.backward(cpu, temporary, dh)?;
                for j in 0..state {
                    let d = sum(dcell[j], dh[j]);
                    step.of_mut(du, 0)[j] = product(d, value[j]);
                    step.of_mut(du, 1)[j] = product(d, cell_before[j]);
                    step.of_mut(du, 2)[j] = product(d, input[j]);
                    dcell_before[j] = product(d, forget[j]);
                }
                for (gate, activation) in
                    [Activation::Sigmoid, Activation::Sigmoid, Activation::Tanh, Activation::Sigmoid]
                        .into_iter()
                        .enumerate()
                {
                    step.close(gate, activation, step.of(u, gate), du, dv)?;
                }
            }
            Self::Gru => {
                let [reset, update, value] = [0, 1, 2].map(|gate| step.of(u, gate));
                for j in 0..state {
                    let mut kept = T::ONE;
                    kept -= update[j];
                    let mut fall = before[j];
                    fall -= value[j];
                    step.of_mut(du, 1)[j] = product(dh[j], fall);
                    step.of_mut(du, 2)[j] = product(dh[j], kept);
                    dh_before[j] = product(dh[j], update[j]);
                }
                Activation::Tanh.backward(cpu, value, step.of_mut(du, 2))?;
                for (j, &v) in step.of(v, 2).iter().enumerate() {
                    let dvalue = step.of(du, 2)[j];
                    step.of_mut(du, 0)[j] = product(dvalue, v);
                    step.of_mut(dv, 2)[j] = product(dvalue, reset[j]);
                }
                for gate in [0, 1] {
                    step.close(gate, Activation::Sigmoid, step.of(u, gate), du, dv)?;
                }
            }
        }
        Ok(())
    }
}
