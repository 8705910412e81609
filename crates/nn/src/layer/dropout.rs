//! Dropout: in training, each element is 0 with probability `p`, and scaled up otherwise.
//!
//! The mask is a function of seed, step and layer; the backward pass recomputes it.

use alloc::boxed::Box;

use kernels::dropout::Dropout as Kernel;

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer, Mode};
use crate::registry::{Build, BuildContext};
use crate::{Error, Shape};

/// Dropout: in training, each element is 0 with probability `p`, and scaled by `1 / (1 - p)`
/// otherwise (Srivastava et al., JMLR 2014). PyTorch: `Dropout`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Dropout {
    /// Dropout probability, in [0, 1).
    pub p: f64,
}

impl Default for Dropout {
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl Build for Dropout {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        let Self { p } = *self;
        if !(0.0..1.0).contains(&p) {
            return Err(context.unfit("`p` in [0, 1)", p));
        }
        Ok(Box::new(DropoutLayer { shape: input, p, id: context.layer_id() }))
    }
}

/// [`Dropout`] of rows of a known shape.
#[derive(Debug)]
struct DropoutLayer {
    shape: Shape,
    p: f64,
    id: u32,
}

impl DropoutLayer {
    fn kernel(&self, mode: Mode) -> Option<Kernel> {
        mode.stream(self.id).map(|stream| Kernel { p: self.p, stream })
    }
}

impl Describe for DropoutLayer {
    fn output(&self) -> Shape {
        self.shape
    }
}

impl<T: Float> Layer<T> for DropoutLayer {
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
