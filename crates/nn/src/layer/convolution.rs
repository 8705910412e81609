//! Two-dimensional convolution with the activation and max pooling that follow it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use kernels::Window;
use kernels::activation::Activation;
use kernels::convolution::{Convolution as Kernel, Epilogue, Filters, Gradients, OutputGradient};

use crate::init::Fans;
#[cfg(feature = "serde")]
use crate::keys::Pair;
use crate::layer::fused::Fused;
use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer, Pool};
use crate::parameter::{Order, Parameter, Start};
use crate::registry::{Build, BuildContext};
use crate::{Error, Init, Precision, Shape};

/// A two-dimensional convolution: `y = x * W + b`. PyTorch: `Conv2d`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Convolution {
    /// Number of filters: output channels.
    pub filters: usize,
    /// Filter size: `[height, width]`.
    #[cfg_attr(feature = "serde", serde(with = "Pair"))]
    pub kernel: [usize; 2],
    /// Stride: `[down, across]`, in pixels.
    #[cfg_attr(feature = "serde", serde(default = "one_step", with = "Pair"))]
    pub stride: [usize; 2],
    /// Zero padding in pixels: `[above and below, left and right]`.
    #[cfg_attr(feature = "serde", serde(default, with = "Pair"))]
    pub padding: [usize; 2],
    /// Number of channel groups. As many as input channels: a depthwise convolution.
    #[cfg_attr(feature = "serde", serde(default = "one_group"))]
    pub groups: usize,
    /// `true` if each filter has a bias.
    #[cfg_attr(
        feature = "serde",
        serde(default = "crate::keys::yes", skip_serializing_if = "crate::keys::is_true")
    )]
    pub bias: bool,
    /// Initialiser of the filters.
    #[cfg_attr(feature = "serde", serde(default))]
    pub init: Init,
    /// Initialiser of the biases: [one that suits them](Init::suits_bias). 0 by default.
    #[cfg_attr(
        feature = "serde",
        serde(default = "crate::keys::zeros", skip_serializing_if = "crate::keys::is_zeros")
    )]
    pub bias_init: Init,
}

#[cfg(feature = "serde")]
const fn one_step() -> [usize; 2] {
    [1, 1]
}

#[cfg(feature = "serde")]
const fn one_group() -> usize {
    1
}

impl Convolution {
    /// Square filters of odd size `size` with stride 1 and biases, padded so that the image keeps
    /// its size.
    pub const fn same(filters: usize, size: usize) -> Self {
        let padding = size / 2;
        Self {
            filters,
            kernel: [size, size],
            stride: [1, 1],
            padding: [padding, padding],
            groups: 1,
            bias: true,
            init: Init::HeNormal,
            bias_init: Init::Zeros,
        }
    }
}

impl Build for Convolution {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        if self.filters == 0 {
            return Err(context.unfit("at least one filter", 0));
        }
        context.check_bias_init(self.bias, self.bias_init)?;
        let input = context.image(input)?;
        let layer = ConvolutionLayer::new(input, *self, context.compute.precision)
            .map_err(|error| context.unfit_window(error))?;
        Ok(Box::new(layer))
    }
}

/// `y = act(x * W + b)`, or its 2 x 2 max pooling. PyTorch: `Conv2d`.
#[derive(Debug)]
struct ConvolutionLayer {
    input: [usize; 3],
    spec: Convolution,
    precision: Precision,
    output: Shape,
    activation: Fused,
    pooled: bool,
}

impl ConvolutionLayer {
    /// # Errors
    /// [`Error::Kernel`] for a window that does not fit.
    fn new(input: [usize; 3], spec: Convolution, precision: Precision) -> Result<Self, Error> {
        let mut layer = Self {
            input,
            spec,
            precision,
            output: Shape::Features(0),
            activation: Fused::default(),
            pooled: false,
        };
        let [_, height, width, channels] = layer.kernel(1)?.output();
        layer.output = Shape::Image { height, width, channels };
        Ok(layer)
    }

    fn kernel(&self, rows: usize) -> Result<Kernel, kernels::Error> {
        let Convolution { filters, kernel, stride, padding, groups, .. } = self.spec;
        let [height, width, channels] = self.input;
        let window = Window::new(kernel).stride(stride).padding(padding);
        let filters = Filters::new(filters).groups(groups);
        let kernel = Kernel::new([rows, height, width, channels], window, filters)?;
        Ok(match self.precision {
            Precision::Full => kernel,
            Precision::Bf16 => kernel.rounded(),
        })
    }

    fn weights(&self) -> usize {
        let [height, width] = self.spec.kernel;
        height * width * (self.input[2] / self.spec.groups) * self.spec.filters
    }
}

impl Describe for ConvolutionLayer {
    fn output(&self) -> Shape {
        self.output
    }

    fn parameters(&self) -> Vec<Parameter> {
        let Convolution { filters, kernel: [height, width], groups, init, bias, bias_init, .. } =
            self.spec;
        let inputs = self.input[2] / groups;
        let fans = Fans { taps: height * width, inputs, parts: groups, outputs: filters / groups };
        let mut tensors = Vec::from([Parameter {
            name: "weight".into(),
            shape: Vec::from([height, width, inputs, filters]),
            order: Order::Filter,
            start: Start::Draw { init, fans },
        }]);
        if bias {
            tensors.push(Parameter::bias(filters, bias_init, fans));
        }
        tensors
    }

    fn saved(&self, rows: usize) -> usize {
        let saves = self.activation.saves_input() || self.pooled;
        if saves { rows.saturating_mul(self.output.elements()) } else { 0 }
    }

    fn fuse(&mut self, activation: Activation) -> bool {
        !self.pooled && self.activation.fuse(activation)
    }

    fn fuse_pooling(&mut self, pool: Pool, window: Window) -> bool {
        let halves = pool == Pool::Max && window == Window::new([2, 2]).stride([2, 2]);
        let pools = self.kernel(1).is_ok_and(|kernel| kernel.fuses_max_pool());
        let Shape::Image { height, width, channels } = self.output else { return false };
        let relu_at_most = self.activation.is_none() || self.activation.is_relu();
        if self.pooled || !halves || !pools || !relu_at_most {
            return false;
        }
        self.output = Shape::Image { height: height / 2, width: width / 2, channels };
        self.pooled = true;
        true
    }

    /// After pooling, the kernel's argmax already knows which maxima are 0.
    fn is_relu(&self) -> bool {
        self.activation.is_relu() && !self.pooled
    }

    fn fuses_relu_backward(&self) -> bool {
        true
    }
}

impl<T: Float> Layer<T> for ConvolutionLayer {
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
        let epilogue = if self.activation.is_relu() { epilogue.relu() } else { epilogue };
        let kernel = self.kernel(rows)?;
        if self.pooled {
            let argmax = &mut saved[..y.len()];
            return Ok(kernel.forward(cpu, x, w, epilogue.max_pool(argmax), y, scratch)?);
        }
        self.activation
            .forward(cpu, saved, y, |z| Ok(kernel.forward(cpu, x, w, epilogue, z, scratch)?))
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
        if !relu_applied && !self.pooled {
            self.activation.backward(cpu, saved, y, dy)?;
        }
        let (w, argmax) = (&params[..self.weights()], self.pooled.then(|| &saved[..dy.len()]));
        let (dw, db) = grads.split_at_mut(self.weights());
        let to = Gradients { dw, db: self.spec.bias.then_some(db), dx, at_relu: apply_relu };
        Ok(self.kernel(rows)?.backward(cpu, x, w, OutputGradient { dy, argmax }, to, scratch)?)
    }
}
