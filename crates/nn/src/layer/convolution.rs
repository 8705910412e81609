//! Two-dimensional convolution with the activation and max pooling that follow it.

use alloc::vec::Vec;

use kernels::Window;
use kernels::activation::{Activation, Saved};
use kernels::convolution::{Convolution as Kernel, Epilogue, Gradients, OutputGradient};

use crate::init::Fans;
use crate::layer::{Backward, Describe, Float, Forward, Layer, Parameter, Start};
use crate::layout::Order;
use crate::spec::{Convolution as Spec, Pool};
use crate::{Error, Precision, Shape};

/// `y = act(x * W + b)`, or its 2 x 2 max pooling. PyTorch: `Conv2d`.
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
    /// [`Error::Kernel`] for a window that does not fit.
    pub(crate) fn new(input: [usize; 3], spec: Spec, precision: Precision) -> Result<Self, Error> {
        let mut layer = Self {
            input,
            spec,
            precision,
            output: Shape::Features(0),
            activation: None,
            pooled: false,
        };
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

    /// The activation, if its gradient needs the pre-activations, which are then saved.
    fn saves_input(&self) -> Option<Activation> {
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

    fn saved(&self, rows: usize) -> usize {
        let saves = self.saves_input().is_some() || self.pooled;
        if saves { rows.saturating_mul(self.output.elements()) } else { 0 }
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
        if self.pooled
            || !halves
            || !pools
            || !matches!(self.activation, None | Some(Activation::Relu))
        {
            return false;
        }
        self.output = Shape::Image { height: height / 2, width: width / 2, channels };
        self.pooled = true;
        true
    }

    /// After pooling, the kernel's argmax already knows which maxima are 0.
    fn is_relu(&self) -> bool {
        self.activation == Some(Activation::Relu) && !self.pooled
    }

    fn fuses_relu_backward(&self) -> bool {
        true
    }
}

impl<T: Float> Layer<T> for Convolution {
    fn scratch(&self, rows: usize, threads: usize) -> usize {
        let most = |kernel: Kernel| {
            kernel.forward_scratch::<T>(threads).max(kernel.backward_scratch::<T>(threads))
        };
        self.kernel(rows).map_or(usize::MAX, most)
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, rows, params, x, y, saved, scratch, .. } = pass;
        let (w, bias) = params.split_at(self.weights());
        let epilogue = if self.spec.bias { Epilogue::bias(bias) } else { Epilogue::NONE };
        let epilogue =
            if self.activation == Some(Activation::Relu) { epilogue.relu() } else { epilogue };
        let kernel = self.kernel(rows)?;
        match self.activation {
            _ if self.pooled => {
                let argmax = &mut saved[..y.len()];
                kernel.forward(cpu, x, w, epilogue.max_pool(argmax), y, scratch)?;
            }
            None | Some(Activation::Relu) => kernel.forward(cpu, x, w, epilogue, y, scratch)?,
            Some(activation) if self.saves_input().is_some() => {
                let z = &mut saved[..y.len()];
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
        let Backward {
            cpu,
            rows,
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
        if let (Some(activation), false) = (self.activation, relu_applied || self.pooled) {
            let saved = if self.saves_input().is_some() { &saved[..y.len()] } else { y };
            activation.backward(cpu, saved, dy)?;
        }
        let (w, argmax) = (&params[..self.weights()], self.pooled.then(|| &saved[..dy.len()]));
        let (dw, db) = grads.split_at_mut(self.weights());
        let to = Gradients { dw, db: self.spec.bias.then_some(db), dx, at_relu: apply_relu };
        Ok(self.kernel(rows)?.backward(cpu, x, w, OutputGradient { dy, argmax }, to, scratch)?)
    }
}
