//! Dropout: in training, each element is 0 with probability `p`, and scaled up otherwise.
//!
//! The mask is a function of seed, step and layer; the backward pass recomputes it.

use kernels::dropout::Dropout as Kernel;

use crate::layer::{Backward, Describe, Float, Forward, Layer, Mode};
use crate::{Error, Shape};

/// `y = x / (1 - p)` or 0 in training, `y = x` otherwise (Srivastava et al., JMLR 2014). PyTorch:
/// `Dropout`.
#[derive(Debug)]
pub(crate) struct Dropout {
    shape: Shape,
    p: f64,
    id: u32,
}

impl Dropout {
    pub(crate) fn new(shape: Shape, p: f64, id: u32) -> Self {
        Self { shape, p, id }
    }

    fn kernel(&self, mode: Mode) -> Option<Kernel> {
        mode.stream(self.id).map(|stream| Kernel { p: self.p, stream })
    }
}

impl Describe for Dropout {
    fn output(&self) -> Shape {
        self.shape
    }
}

impl<T: Float> Layer<T> for Dropout {
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        match self.kernel(pass.mode) {
            Some(dropout) => Ok(dropout.forward(pass.cpu, 0, pass.x, pass.y)?),
            None => {
                pass.y.copy_from_slice(pass.x);
                Ok(())
            }
        }
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Some(dx) = pass.dx else { return Ok(()) };
        dx.copy_from_slice(pass.dy);
        match self.kernel(pass.mode) {
            Some(dropout) => Ok(dropout.backward(pass.cpu, 0, dx)?),
            None => Ok(()),
        }
    }
}
