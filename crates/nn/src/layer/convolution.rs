//! Two-dimensional convolution with the activation and the maxima that follow it.

use alloc::vec::Vec;

use kernels::Window;
use kernels::activation::{Activation, Saved};
use kernels::convolution::{Convolution as Kernel, Epilogue, Gradients, OutputGradient};

use crate::init::Fans;
use crate::layer::{Backward, Describe, Float, Forward, Layer, Parameter, Start};
use crate::layout::Order;
use crate::spec::{Convolution as Spec, Pool};
use crate::{Error, Precision, Shape};

/// `y = act(filters over x + b)`, or the greatest of each 2 x 2 of them. PyTorch: `Conv2d`.
#[derive(Debug)]
pub(crate) struct Convolution {
    input: [usize; 3],
    spec: Spec,
    precision: Precision,
    output: Shape,
    activation: Option<Activation>,
    pooled: bool,
}

impl Convolution {
    /// # Errors
    /// What the kernel says of a window that does not fit.
    pub(crate) fn new(input: [usize; 3], spec: Spec, precision: Precision) -> Result<Self, Error> {
        let mut layer =
            Self { input, spec, precision, output: Shape::Features(0), activation: None, pooled: false };
        let [_, height, width, channels] = layer.kernel(1)?.output();
        layer.output = Shape::Image { height, width, channels };
        Ok(layer)
    }

    fn kernel(&self, rows: usize) -> Result<Kernel, kernels::Error> {
        let Spec { filters, kernel, stride, padding, groups, .. } = self.spec;
        let [height, width, channels] = self.input;
        let window = Window::new(kernel).stride(stride).padding(padding);
        let kernel = Kernel::new([rows, height, width, channels], window, filters, groups)?;
        Ok(match self.precision {
            Precision::Full => kernel,
            Precision::Bf16 => kernel.rounded(),
        })
    }

    fn weights(&self) -> usize {
        let [height, width] = self.spec.kernel;
        height * width * (self.input[2] / self.spec.groups) * self.spec.filters
    }

    /// Whether the pre-activations are kept: the activation's gradient cannot be had from its output.
    fn keeps(&self) -> Option<Activation> {
        self.activation.filter(|activation| activation.saved() == Saved::Input)
    }
}

impl Describe for Convolution {
    fn output(&self) -> Shape {
        self.output
    }

    fn parameters(&self) -> Vec<Parameter> {
        let Spec { filters, kernel: [height, width], groups, init, bias, .. } = self.spec;
        let inputs = self.input[2] / groups;
        let fans = Fans { taps: height * width, inputs, parts: groups, outputs: filters / groups };
        let mut tensors = Vec::from([Parameter {
            name: "weight".into(),
            shape: Vec::from([height, width, inputs, filters]),
            order: Order::Filter,
            start: Start::Draw { init, fans },
        }]);
        if bias {
            tensors.push(Parameter::vector("bias", filters, 0.0));
        }
        tensors
    }

    fn kept(&self, rows: usize) -> usize {
        let keeps = self.keeps().is_some() || self.pooled;
        if keeps { rows.saturating_mul(self.output.elements()) } else { 0 }
    }

    fn fuse(&mut self, activation: Activation) -> bool {
        if self.activation.is_some() || self.pooled {
            return false;
        }
        self.activation = Some(activation);
        true
    }

    fn fuse_pooling(&mut self, pool: Pool, window: Window) -> bool {
        let halves = pool == Pool::Max && window == Window::new([2, 2]).stride([2, 2]);
        let pools = self.kernel(1).is_ok_and(|kernel| kernel.fuses_max_pool());
        let Shape::Image { height, width, channels } = self.output else { return false };
        if self.pooled || !halves || !pools || !matches!(self.activation, None | Some(Activation::Relu)) {
            return false;
        }
        self.output = Shape::Image { height: height / 2, width: width / 2, channels };
        self.pooled = true;
        true
    }

    /// Of maxima, it knows which are 0 itself.
    fn rectifies(&self) -> bool {
        self.activation == Some(Activation::Relu) && !self.pooled
    }

    fn folds(&self) -> bool {
        true
    }
}

impl<T: Float> Layer<T> for Convolution {
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let most =
            |kernel: Kernel| kernel.forward_scratch::<T>(threads).max(kernel.backward_scratch::<T>(threads));
        self.kernel(rows).map_or(usize::MAX, most)
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, rows, params, x, y, kept, scratch, .. } = pass;
        let (w, bias) = params.split_at(self.weights());
        let epilogue = if self.spec.bias { Epilogue::bias(bias) } else { Epilogue::NONE };
        let epilogue = if self.activation == Some(Activation::Relu) { epilogue.relu() } else { epilogue };
        let kernel = self.kernel(rows)?;
        match self.activation {
            _ if self.pooled => {
                let argmax = &mut kept[..y.len()];
                kernel.forward(cpu, x, w, epilogue.max_pool(argmax), y, scratch)?;
            }
            None | Some(Activation::Relu) => kernel.forward(cpu, x, w, epilogue, y, scratch)?,
            Some(activation) if self.keeps().is_some() => {
                let z = &mut kept[..y.len()];
                kernel.forward(cpu, x, w, epilogue, z, scratch)?;
                activation.forward(cpu, z, y)?;
            }
            Some(activation) => {
                kernel.forward(cpu, x, w, epilogue, y, scratch)?;
                activation.forward_in_place(cpu, y)?;
            }
        }
        Ok(())
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward { cpu, rows, params, x, y, kept, dy, folded, dx, fold, grads, scratch, .. } = pass;
        if let (Some(activation), false) = (self.activation, folded || self.pooled) {
            let saved = if self.keeps().is_some() { &kept[..y.len()] } else { y };
            activation.backward(cpu, saved, dy)?;
        }
        let (w, argmax) = (&params[..self.weights()], self.pooled.then(|| &kept[..dy.len()]));
        let (dw, db) = grads.split_at_mut(self.weights());
        let to = Gradients { dw, db: self.spec.bias.then_some(db), dx, at_relu: fold };
        Ok(self.kernel(rows)?.backward(cpu, x, w, OutputGradient { dy, argmax }, to, scratch)?)
    }
}
