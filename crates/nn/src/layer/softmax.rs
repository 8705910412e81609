//! Softmax over the features of each position, as a layer of its own: it couples the features, so
//! that no product fuses it.

use alloc::boxed::Box;

use kernels::softmax::{softmax, softmax_backward};

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::registry::{Build, BuildContext};
use crate::{Error, Shape};

/// Softmax: the features of each position become probabilities. PyTorch: `Softmax(dim=-1)`, over
/// the channels of an image `Softmax(dim=1)`.
///
/// ```text
/// y[j]  = e^x[j] / sum over k of e^x[k]
/// dx[j] = y[j] (dy[j] - sum over k of y[k] dy[k])
/// ```
///
/// The losses `cross_entropy`, `kl_divergence` and `brier` include a softmax: after this layer they
/// apply it a second time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Softmax {}

impl Build for Softmax {
    fn build(&self, input: Shape, _: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        Ok(Box::new(SoftmaxLayer { shape: input }))
    }
}

/// [`Softmax`] of rows of a known shape.
#[derive(Debug)]
struct SoftmaxLayer {
    shape: Shape,
}

impl Describe for SoftmaxLayer {
    fn output(&self) -> Shape {
        self.shape
    }
}

impl<T: Float> Layer<T> for SoftmaxLayer {
    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        Ok(softmax(pass.cpu, pass.x, self.shape.features(), pass.y)?)
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward { cpu, y, dy, dx, .. } = pass;
        // dx is the only gradient.
        let Some(dx) = dx else { return Ok(()) };
        dx.copy_from_slice(dy);
        Ok(softmax_backward(cpu, y, self.shape.features(), dx)?)
    }
}
