//! ReLU with a learned negative slope.

use alloc::vec::Vec;

use kernels::activation::{prelu, prelu_backward, prelu_scratch};

use crate::layer::{Backward, Describe, Float, Forward, Layer};
use crate::parameter::Parameter;
use crate::{Error, Shape};

/// `y = x` above 0, `weight x` elsewhere, with one weight per channel (He et al., ICCV 2015).
/// PyTorch: `PReLU`.
#[derive(Debug)]
pub(crate) struct Prelu {
    shape: Shape,
    start: f64,
}

impl Prelu {
    pub(crate) fn new(shape: Shape, start: f64) -> Self {
        Self { shape, start }
    }
}

impl Describe for Prelu {
    fn output(&self) -> Shape {
        self.shape
    }

    fn parameters(&self) -> Vec<Parameter> {
        Vec::from([Parameter::vector("weight", self.shape.features(), self.start)])
    }
}

impl<T: Float> Layer<T> for Prelu {
    fn scratch(&self, rows: usize, _: usize) -> usize {
        prelu_scratch(rows.saturating_mul(self.shape.elements()), self.shape.features())
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        Ok(prelu(pass.cpu, pass.x, pass.params, pass.y)?)
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        prelu_backward(pass.cpu, pass.x, pass.params, pass.dy, pass.grads, pass.scratch)?;
        if let Some(dx) = pass.dx {
            dx.copy_from_slice(pass.dy);
        }
        Ok(())
    }
}
