//! An activation as a layer of its own, which no previous layer could fuse.

use alloc::boxed::Box;

use kernels::activation::{Activation, Saved};

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::registry::{Build, BuildContext};
use crate::{Error, Shape};

impl Build for Activation {
    fn build(&self, input: Shape, _: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        Ok(Box::new(Elementwise { shape: input, activation: *self }))
    }
}

/// An element-wise activation of rows of a known shape.
#[derive(Debug)]
struct Elementwise {
    shape: Shape,
    activation: Activation,
}

impl Describe for Elementwise {
    fn output(&self) -> Shape {
        self.shape
    }

    fn is_relu(&self) -> bool {
        self.activation == Activation::Relu
    }
}

impl<T: Float> Layer<T> for Elementwise {
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        Ok(self.activation.forward(pass.cpu, pass.x, pass.y)?)
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward { cpu, x, y, dy, relu_applied, dx, .. } = pass;
        // dx is the only gradient.
        let Some(dx) = dx else { return Ok(()) };
        dx.copy_from_slice(dy);
        if relu_applied {
            return Ok(());
        }
        let saved = match self.activation.saved() {
            Saved::Input => x,
            Saved::Output => y,
        };
        Ok(self.activation.backward(cpu, saved, dx)?)
    }
}
