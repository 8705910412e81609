//! A dense layer with the activation that follows it: `y = act(x W + b)`.
//!
//! Bias and ReLU are applied while the product is in registers, other activations right behind it. On the way back ReLU's
//! gradient is applied, where the layer above can, while the gradient that reaches it is in registers.

use alloc::vec::Vec;

use kernels::activation::{Activation, Saved};
use kernels::gemm::{Epilogue, gemm, gemm_scratch};
use kernels::{MatMut, MatRef};

use crate::layer::{Backward, Describe, Float, Forward, Layer, Parameter, Start};
use crate::layout::Order;
use crate::{Error, Init, Shape};

/// `y = act(x W + b)` at each place of a row, with W: `inputs` x `outputs` and b: `outputs`.
#[derive(Debug)]
pub(crate) struct Dense {
    input: Shape,
    output: Shape,
    inputs: usize,
    outputs: usize,
    /// Rows of the product for each row of the batch.
    places: usize,
    init: Init,
    bias: bool,
    activation: Option<Activation>,
}

impl Dense {
    /// Over the features of each step; or over all of an image, flattened in PyTorch's order.
    pub(crate) fn new(input: Shape, outputs: usize, init: Init, bias: bool) -> Self {
        let (inputs, places, output) = match input {
            Shape::Steps { steps, features } => (features, steps, Shape::Steps { steps, features: outputs }),
            _ => (input.elements(), 1, Shape::Features(outputs)),
        };
        Self { input, output, inputs, outputs, places, init, bias, activation: None }
    }

    fn weights(&self) -> usize {
        self.inputs * self.outputs
    }

    /// Whether the pre-activations are kept: the activation's gradient cannot be had from its output.
    fn keeps(&self) -> Option<Activation> {
        self.activation.filter(|activation| activation.saved() == Saved::Input)
    }
}

impl Describe for Dense {
    fn output(&self) -> Shape {
        self.output
    }

    fn parameters(&self) -> Vec<Parameter> {
        let order = match self.input {
            Shape::Image { height, width, channels } if channels > 1 => {
                Order::TransposedImage { places: height * width, channels }
            }
            _ => Order::Transposed,
        };
        let start = Start::Draw { init: self.init, fan_in: self.inputs, fan_out: self.outputs };
        let mut tensors = Vec::from([Parameter {
            name: "weight".into(),
            shape: Vec::from([self.inputs, self.outputs]),
            order,
            start,
        }]);
        if self.bias {
            let shape = Vec::from([self.outputs]);
            tensors.push(Parameter {
                name: "bias".into(),
                shape,
                order: Order::Same,
                start: Start::Constant(0.0),
            });
        }
        tensors
    }

    fn kept(&self, rows: usize) -> usize {
        self.keeps().map_or(0, |_| rows.saturating_mul(self.output.elements()))
    }

    fn fuse(&mut self, activation: Activation) -> bool {
        if self.activation.is_some() {
            return false;
        }
        self.activation = Some(activation);
        true
    }

    fn rectifies(&self) -> bool {
        self.activation == Some(Activation::Relu)
    }

    fn folds(&self) -> bool {
        true
    }
}

impl<T: Float> Layer<T> for Dense {
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let (m, k, n) = (rows.saturating_mul(self.places), self.inputs, self.outputs);
        let product = |m, n, k| gemm_scratch::<T>(threads, m, n, k);
        product(m, n, k).max(product(k, n, m)).max(product(m, k, n))
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, rows, params, x, y, kept, scratch, .. } = pass;
        let rows = rows * self.places;
        let (weight, bias) = params.split_at(self.weights());
        let epilogue = if self.bias { Epilogue::bias(bias) } else { Epilogue::NONE };
        let (epilogue, after) = match self.activation {
            Some(Activation::Relu) => (epilogue.relu(), None),
            after => (epilogue, after),
        };
        let x = MatRef::row_major(x, rows, self.inputs)?;
        let weight = MatRef::row_major(weight, self.inputs, self.outputs)?;
        let z = if self.keeps().is_some() { &mut *kept } else { &mut *y };
        let c = MatMut::row_major(z, rows, self.outputs)?;
        gemm(cpu, T::ONE, x, weight, T::ZERO, c, epilogue, scratch)?;
        match after {
            Some(activation) if self.keeps().is_some() => Ok(activation.forward(cpu, &kept[..y.len()], y)?),
            Some(activation) => Ok(activation.forward_in_place(cpu, y)?),
            None => Ok(()),
        }
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward { cpu, rows, params, x, y, kept, dy, folded, dx, fold, grads, scratch, .. } = pass;
        let rows = rows * self.places;
        if let (Some(activation), false) = (self.activation, folded) {
            let saved = if self.keeps().is_some() { &kept[..y.len()] } else { y };
            activation.backward(cpu, saved, dy)?;
        }
        let x_matrix = MatRef::row_major(x, rows, self.inputs)?;
        let dy = MatRef::row_major(dy, rows, self.outputs)?;
        // dW = x^T dy and db, the column sums of dy, in one pass over dy.
        let (dw, db) = grads.split_at_mut(self.weights());
        let dw = MatMut::row_major(dw, self.inputs, self.outputs)?;
        let epilogue = if self.bias { Epilogue::NONE.column_sums(db) } else { Epilogue::NONE };
        gemm(cpu, T::ONE, x_matrix.transpose(), dy, T::ZERO, dw, epilogue, scratch)?;
        // dx = dy W^T.
        let Some(dx) = dx else { return Ok(()) };
        let weight = MatRef::row_major(&params[..self.weights()], self.inputs, self.outputs)?;
        let epilogue = if fold { Epilogue::NONE.relu_gradient(x_matrix) } else { Epilogue::NONE };
        let dx = MatMut::row_major(dx, rows, self.inputs)?;
        Ok(gemm(cpu, T::ONE, dy, weight.transpose(), T::ZERO, dx, epilogue, scratch)?)
    }
}
