//! An activation that stands on its own, because nothing before it could take it in.

use kernels::activation::{Activation, Saved};

use crate::layer::{Backward, Describe, Float, Forward, Layer};
use crate::{Error, Shape};

/// An element-wise function of its input.
#[derive(Debug)]
pub(crate) struct Elementwise {
    shape: Shape,
    activation: Activation,
}

impl Elementwise {
    pub(crate) fn new(shape: Shape, activation: Activation) -> Self {
        Self { shape, activation }
    }
}

impl Describe for Elementwise {
    fn output(&self) -> Shape {
        self.shape
    }

    fn rectifies(&self) -> bool {
        self.activation == Activation::Relu
    }
}

impl<T: Float> Layer<T> for Elementwise {
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        Ok(self.activation.forward(pass.cpu, pass.x, pass.y)?)
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward { cpu, x, y, dy, folded, dx, .. } = pass;
        // The gradient by the input is all that there is to compute.
        let Some(dx) = dx else { return Ok(()) };
        dx.copy_from_slice(dy);
        if folded {
            return Ok(());
        }
        let saved = match self.activation.saved() {
            Saved::Input => x,
            Saved::Output => y,
        };
        Ok(self.activation.backward(cpu, saved, dx)?)
    }
}
