//! A dense layer with the activation that follows it: `y = act(x W + b)`.
//!
//! Bias and ReLU are in the epilogue of the product; other activations run right after it. In the
//! backward pass, the next layer applies ReLU's gradient in the epilogue of its own product, if it
//! can.

use alloc::boxed::Box;
use alloc::vec::Vec;

use kernels::activation::Activation;
use kernels::gemm::Epilogue;
use kernels::{Cpu, MatMut, MatRef};

use crate::compute::Product;
use crate::init::Fans;
use crate::layer::fused::Fused;
use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::parameter::{Order, Parameter, Start};
use crate::registry::{Build, BuildContext};
use crate::{Compute, Error, Init, Shape};

/// A dense layer: `y = x W + b` with W `[inputs, units]` and b `[units]`, at each step of a
/// sequence. An image is flattened, in PyTorch's order. PyTorch: `Linear`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Dense {
    /// Outputs per row.
    pub units: usize,
    /// Initialiser of W.
    #[cfg_attr(feature = "serde", serde(default))]
    pub init: Init,
    /// `true` if there is a bias.
    #[cfg_attr(
        feature = "serde",
        serde(default = "crate::keys::yes", skip_serializing_if = "crate::keys::is_true")
    )]
    pub bias: bool,
    /// Initialiser of the bias: [one that suits it](Init::suits_bias). 0 by default.
    #[cfg_attr(
        feature = "serde",
        serde(default = "crate::keys::zeros", skip_serializing_if = "crate::keys::is_zeros")
    )]
    pub bias_init: Init,
}

impl Build for Dense {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        if self.units == 0 {
            return Err(context.unfit("at least one unit", 0));
        }
        context.check_bias_init(self.bias, self.bias_init)?;
        Ok(Box::new(DenseLayer::new(input, *self, context.compute)))
    }
}

/// `y = act(x W + b)` at each position of a row, with W `[inputs, outputs]` and b `[outputs]`.
#[derive(Debug)]
struct DenseLayer {
    input: Shape,
    output: Shape,
    inputs: usize,
    outputs: usize,
    /// Rows of the product per row of the batch.
    positions: usize,
    init: Init,
    bias: bool,
    bias_init: Init,
    compute: Compute,
    activation: Fused,
}

impl DenseLayer {
    /// Over the features of each step, or over all elements of an image, flattened in PyTorch's
    /// order.
    fn new(input: Shape, spec: Dense, compute: Compute) -> Self {
        let Dense { units: outputs, init, bias, bias_init } = spec;
        let (inputs, positions, output) = match input {
            Shape::Steps { steps, features } => {
                (features, steps, Shape::Steps { steps, features: outputs })
            }
            _ => (input.elements(), 1, Shape::Features(outputs)),
        };
        Self {
            input,
            output,
            inputs,
            outputs,
            positions,
            init,
            bias,
            bias_init,
            compute,
            activation: Fused::default(),
        }
    }

    fn weights(&self) -> usize {
        self.inputs * self.outputs
    }
}

impl Describe for DenseLayer {
    fn output(&self) -> Shape {
        self.output
    }

    fn parameters(&self) -> Vec<Parameter> {
        let order = match self.input {
            Shape::Image { height, width, channels } if channels > 1 => {
                Order::TransposedImage { positions: height * width, channels }
            }
            _ => Order::Transposed,
        };
        let fans = Fans::matrix(self.inputs, self.outputs);
        let start = Start::Draw { init: self.init, fans };
        let mut tensors = Vec::from([Parameter {
            name: "weight".into(),
            shape: Vec::from([self.inputs, self.outputs]),
            order,
            start,
        }]);
        if self.bias {
            tensors.push(Parameter::bias(self.outputs, self.bias_init, fans));
        }
        tensors
    }

    fn saved(&self, rows: usize) -> usize {
        let saves = self.activation.saves_input();
        if saves { rows.saturating_mul(self.output.elements()) } else { 0 }
    }

    fn fuse(&mut self, activation: Activation) -> bool {
        self.activation.fuse(activation)
    }

    fn is_relu(&self) -> bool {
        self.activation.is_relu()
    }

    fn fuses_relu_backward(&self) -> bool {
        true
    }
}

impl<T: Float> Layer<T> for DenseLayer {
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let (m, k, n) = (rows.saturating_mul(self.positions), self.inputs, self.outputs);
        let product = |m, n, k| T::product_scratch(self.compute.precision, threads, m, n, k);
        product(m, n, k).max(product(k, n, m)).max(product(m, k, n))
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, params, x, y, saved, scratch, .. } = pass;
        let (weight, bias) = params.split_at(self.weights());
        let epilogue = if self.bias { Epilogue::bias(bias) } else { Epilogue::NONE };
        let epilogue = if self.activation.is_relu() { epilogue.relu() } else { epilogue };
        let weight = Weight::new(weight, self.inputs, self.compute);
        self.activation.forward(cpu, saved, y, |z| product(cpu, x, weight, epilogue, z, scratch))
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward {
            cpu,
            params,
            x,
            y,
            saved,
            dy,
            relu_applied,
            dx,
            apply_relu,
            grads,
            scratch,
            ..
        } = pass;
        if !relu_applied {
            self.activation.backward(cpu, saved, y, dy)?;
        }
        let weight = Weight::new(&params[..self.weights()], self.inputs, self.compute);
        let (dw, db) = grads.split_at_mut(self.weights());
        let dx = dx.map(|dx| (dx, apply_relu));
        product_backward(cpu, x, weight, dy, (dw, self.bias.then_some(db)), dx, scratch)
    }
}

/// A weight matrix, `[inputs, outputs]`.
#[derive(Clone, Copy)]
pub(super) struct Weight<'a, T> {
    elements: &'a [T],
    inputs: usize,
    outputs: usize,
    /// Precision and sparsity of its products.
    compute: Compute,
}

impl<'a, T> Weight<'a, T> {
    /// `elements` as `[inputs, outputs]`.
    pub(super) fn new(elements: &'a [T], inputs: usize, compute: Compute) -> Self {
        Self { elements, inputs, outputs: elements.len() / inputs, compute }
    }

    fn matrix(self) -> Result<MatRef<'a, T>, kernels::Error> {
        MatRef::row_major(self.elements, self.inputs, self.outputs)
    }
}

/// y = x W, then the epilogue.
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

/// dW = x^T dy and db, the column sums of dy, in one pass over dy. If requested, dx = dy W^T,
/// optionally times ReLU's gradient at its output x.
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
    let Some((dx, apply_relu)) = dx else { return Ok(()) };
    let epilogue = if apply_relu { Epilogue::NONE.relu_gradient(x) } else { Epilogue::NONE };
    let dx = MatMut::row_major(dx, rows, inputs)?;
    let compute = Compute { sparse_inputs: false, ..compute };
    Ok(T::product(
        compute,
        cpu,
        [dy, weight.matrix()?.transpose()],
        T::ZERO,
        dx,
        epilogue,
        scratch,
    )?)
}
