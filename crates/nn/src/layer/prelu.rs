//! ReLU with a learned negative slope.

use alloc::boxed::Box;
use alloc::vec::Vec;

use kernels::activation::{prelu, prelu_backward, prelu_scratch};

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::parameter::Parameter;
use crate::registry::{Build, BuildContext};
use crate::{Error, Shape};

/// ReLU with one learned negative slope per channel: `y = x` above 0, `weight x` elsewhere (He et
/// al., ICCV 2015). PyTorch: `PReLU`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Prelu {
    /// Initial slope.
    pub start: f64,
}

impl Default for Prelu {
    fn default() -> Self {
        Self { start: 0.25 }
    }
}

impl Build for Prelu {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        let Self { start } = *self;
        if !start.is_finite() {
            return Err(context.unfit("a finite `start`", start));
        }
        Ok(Box::new(PreluLayer { shape: input, start }))
    }
}

/// [`Prelu`] of rows of a known shape.
#[derive(Debug)]
struct PreluLayer {
    shape: Shape,
    start: f64,
}

impl Describe for PreluLayer {
    fn output(&self) -> Shape {
        self.shape
    }

    fn parameters(&self) -> Vec<Parameter> {
        Vec::from([Parameter::vector("weight", self.shape.features(), self.start)])
    }
}

impl<T: Float> Layer<T> for PreluLayer {
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
