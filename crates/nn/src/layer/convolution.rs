//! Two-dimensional convolution with the activation that follows it.

use alloc::vec::Vec;

use kernels::Window;
use kernels::activation::{Activation, Saved};
use kernels::convolution::{Convolution as Kernel, Epilogue};

use crate::init::Fans;
use crate::layer::{Backward, Describe, Float, Forward, Layer, Parameter, Start};
use crate::layout::Order;
use crate::spec::Convolution as Spec;
use crate::{Error, Precision, Shape};

/// `y = act(filters over x + b)`. PyTorch: `Conv2d`.
#[derive(Debug)]
pub(crate) struct Convolution {
    input: [usize; 3],
    spec: Spec,
    precision: Precision,
    output: Shape,
    activation: Option<Activation>,
}

impl Convolution {
    /// # Errors
    /// What the kernel says of a window that does not fit.
    pub(crate) fn new(input: [usize; 3], spec: Spec, precision: Precision) -> Result<Self, Error> {
        let mut layer = Self { input, spec, precision, output: Shape::Features(0), activation: None };
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

impl<T: Float> Layer<T> for Convolution {
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let most = |kernel: Kernel| {
            let (forward, dx) = (kernel.forward_scratch::<T>(threads), kernel.dx_scratch::<T>(threads));
            forward.max(dx).max(kernel.dw_scratch::<T>(threads))
        };
        self.kernel(rows).map_or(usize::MAX, most)
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, rows, params, x, y, kept, scratch, .. } = pass;
        let (w, bias) = params.split_at(self.weights());
        let epilogue = if self.spec.bias { Epilogue::bias(bias) } else { Epilogue::NONE };
        let kernel = self.kernel(rows)?;
        match self.activation {
            None => kernel.forward(cpu, x, w, epilogue, y, scratch)?,
            Some(Activation::Relu) => kernel.forward(cpu, x, w, epilogue.relu(), y, scratch)?,
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
        if let (Some(activation), false) = (self.activation, folded) {
            let saved = if self.keeps().is_some() { &kept[..y.len()] } else { y };
            activation.backward(cpu, saved, dy)?;
        }
        let kernel = self.kernel(rows)?;
        let (dw, db) = grads.split_at_mut(self.weights());
        kernel.dw(cpu, x, dy, dw, self.spec.bias.then_some(db), scratch)?;
        let w = &params[..self.weights()];
        match dx {
            Some(dx) if fold => Ok(kernel.dx_relu(cpu, dy, w, x, dx, scratch)?),
            Some(dx) => Ok(kernel.dx(cpu, dy, w, dx, scratch)?),
            None => Ok(()),
        }
    }
}
