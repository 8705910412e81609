//! A dense layer with the activation that follows it: `y = act(x W + b)`.
//!
//! Bias and ReLU are applied while the product is in registers, other activations right behind it. On the way back ReLU's
//! gradient is applied, where the layer above can, while the gradient that reaches it is in registers.

use alloc::vec::Vec;

use kernels::activation::{Activation, Saved};
use kernels::gemm::Epilogue;
use kernels::{Cpu, MatMut, MatRef};

use crate::compute::Product;
use crate::init::Fans;
use crate::layer::{Backward, Describe, Float, Forward, Layer, Parameter, Start};
use crate::layout::Order;
use crate::{Compute, Error, Init, Shape};

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
    compute: Compute,
    activation: Option<Activation>,
}

impl Dense {
    /// Over the features of each step; or over all of an image, flattened in PyTorch's order.
    pub(crate) fn new(input: Shape, outputs: usize, init: Init, bias: bool, compute: Compute) -> Self {
        let (inputs, places, output) = match input {
            Shape::Steps { steps, features } => (features, steps, Shape::Steps { steps, features: outputs }),
            _ => (input.elements(), 1, Shape::Features(outputs)),
        };
        Self { input, output, inputs, outputs, places, init, bias, compute, activation: None }
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
        let start = Start::Draw { init: self.init, fans: Fans::matrix(self.inputs, self.outputs) };
        let mut tensors = Vec::from([Parameter {
            name: "weight".into(),
            shape: Vec::from([self.inputs, self.outputs]),
            order,
            start,
        }]);
        if self.bias {
            tensors.push(Parameter::vector("bias", self.outputs, 0.0));
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
        let product = |m, n, k| T::product_scratch(self.compute.precision, threads, m, n, k);
        product(m, n, k).max(product(k, n, m)).max(product(m, k, n))
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, params, x, y, kept, scratch, .. } = pass;
        let (weight, bias) = params.split_at(self.weights());
        let epilogue = if self.bias { Epilogue::bias(bias) } else { Epilogue::NONE };
        let (epilogue, after) = match self.activation {
            Some(Activation::Relu) => (epilogue.relu(), None),
            after => (epilogue, after),
        };
        let z = if self.keeps().is_some() { &mut kept[..y.len()] } else { &mut *y };
        product(cpu, x, Weight::new(weight, self.inputs, self.compute), epilogue, z, scratch)?;
        match after {
            Some(activation) if self.keeps().is_some() => Ok(activation.forward(cpu, &kept[..y.len()], y)?),
            Some(activation) => Ok(activation.forward_in_place(cpu, y)?),
            None => Ok(()),
        }
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward { cpu, params, x, y, kept, dy, folded, dx, fold, grads, scratch, .. } = pass;
        if let (Some(activation), false) = (self.activation, folded) {
            let saved = if self.keeps().is_some() { &kept[..y.len()] } else { y };
            activation.backward(cpu, saved, dy)?;
        }
        let weight = Weight::new(&params[..self.weights()], self.inputs, self.compute);
        let (dw, db) = grads.split_at_mut(self.weights());
        let dx = dx.map(|dx| (dx, fold));
        product_backward(cpu, x, weight, dy, (dw, self.bias.then_some(db)), dx, scratch)
    }
}

/// A matrix of weights, inputs x outputs.
#[derive(Clone, Copy)]
pub(super) struct Weight<'a, T> {
    elements: &'a [T],
    inputs: usize,
    outputs: usize,
    /// Of its products.
    compute: Compute,
}

impl<'a, T> Weight<'a, T> {
    /// All of `elements`, `inputs` of them to an output.
    pub(super) fn new(elements: &'a [T], inputs: usize, compute: Compute) -> Self {
        Self { elements, inputs, outputs: elements.len() / inputs, compute }
    }

    fn matrix(self) -> Result<MatRef<'a, T>, kernels::Error> {
        MatRef::row_major(self.elements, self.inputs, self.outputs)
    }
}

/// y = x W, and what the epilogue says.
pub(super) fn product<T: Product>(
    cpu: Cpu<'_>,
    x: &[T],
    weight: Weight<'_, T>,
    epilogue: Epilogue<'_, T>,
    y: &mut [T],
    scratch: &mut [T],
) -> Result<(), Error> {
    let rows = x.len() / weight.inputs;
    let x = MatRef::row_major(x, rows, weight.inputs)?;
    let y = MatMut::row_major(y, rows, weight.outputs)?;
    Ok(T::product(weight.compute, cpu, [x, weight.matrix()?], T::ZERO, y, epilogue, scratch)?)
}

/// dW = x^T dy and db, the column sums of dy, in one pass over dy; dx = dy W^T, if it is wanted, times ReLU's gradient at its output
/// x if that is asked for.
pub(super) fn product_backward<T: Product>(
    cpu: Cpu<'_>,
    x: &[T],
    weight: Weight<'_, T>,
    dy: &[T],
    (dw, db): (&mut [T], Option<&mut [T]>),
    dx: Option<(&mut [T], bool)>,
    scratch: &mut [T],
) -> Result<(), Error> {
    let Weight { inputs, outputs, compute, .. } = weight;
    let rows = x.len() / inputs;
    let (x, dy) = (MatRef::row_major(x, rows, inputs)?, MatRef::row_major(dy, rows, outputs)?);
    let dw = MatMut::row_major(dw, inputs, outputs)?;
    let epilogue = match db {
        Some(db) => Epilogue::NONE.column_sums(db),
        None => Epilogue::NONE,
    };
    T::product(compute, cpu, [x.transpose(), dy], T::ZERO, dw, epilogue, scratch)?;
    let Some((dx, fold)) = dx else { return Ok(()) };
    let epilogue = if fold { Epilogue::NONE.relu_gradient(x) } else { Epilogue::NONE };
    let dx = MatMut::row_major(dx, rows, inputs)?;
    let compute = Compute { sparse_inputs: false, ..compute };
    Ok(T::product(compute, cpu, [dy, weight.matrix()?.transpose()], T::ZERO, dx, epilogue, scratch)?)
}
