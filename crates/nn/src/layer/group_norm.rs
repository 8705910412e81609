//! Group normalisation: over groups of channels of one row, independent of the rest of the batch.

use alloc::boxed::Box;
use alloc::vec::Vec;

use kernels::normalisation::group::{Groups, group_norm, group_norm_backward};
use kernels::normalisation::{Affine, AffineGradient};

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::parameter::Parameter;
use crate::registry::{Build, BuildContext};
use crate::{Error, Shape};

/// Group normalisation: each group of channels of a row gets mean 0 and variance 1, then a learned
/// scale and shift (Wu, He, ECCV 2018). PyTorch: `GroupNorm`.
///
/// `y = (x - mean) / sqrt(variance + epsilon) * weight + bias`
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct GroupNorm {
    /// Number of groups, a divisor of the channels.
    pub groups: usize,
    /// Added to the variance, above 0.
    #[cfg_attr(feature = "serde", serde(default = "epsilon"))]
    pub epsilon: f64,
}

#[cfg(feature = "serde")]
const fn epsilon() -> f64 {
    1e-5
}

impl Build for GroupNorm {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        let Self { groups, epsilon } = *self;
        context.check_epsilon(epsilon)?;
        context.check_divisor(("groups", groups), ("channels", input.features()))?;
        Ok(Box::new(GroupNormLayer { shape: input, groups, epsilon }))
    }
}

/// [`GroupNorm`] of rows of a known shape.
#[derive(Debug)]
struct GroupNormLayer {
    shape: Shape,
    groups: usize,
    epsilon: f64,
}

impl GroupNormLayer {
    fn groups(&self, rows: usize) -> Groups {
        let (positions, channels) = (self.shape.positions(), self.shape.features());
        Groups { batch: rows, positions, channels, groups: self.groups }
    }
}

impl Describe for GroupNormLayer {
    fn output(&self) -> Shape {
        self.shape
    }

    fn parameters(&self) -> Vec<Parameter> {
        Parameter::affine(self.shape.features())
    }

    /// Mean and reciprocal standard deviation of each group.
    fn statistics(&self, rows: usize) -> usize {
        rows.saturating_mul(2 * self.groups)
    }
}

impl<T: Float> Layer<T> for GroupNormLayer {
    fn scratch(&self, rows: usize, _: usize) -> usize {
        self.groups(rows).scratch()
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, rows, params, x, y, statistics, scratch, .. } = pass;
        let (gamma, beta) = params.split_at(self.shape.features());
        let (mean, rstd) = statistics[..2 * rows * self.groups].split_at_mut(rows * self.groups);
        let (groups, affine) = (self.groups(rows), Affine::new(gamma, beta));
        Ok(group_norm(cpu, groups, x, affine, self.epsilon, mean, rstd, y, scratch)?)
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward { cpu, rows, params, x, dy, dx, grads, statistics, scratch, .. } = pass;
        let channels = self.shape.features();
        let (mean, rstd) = statistics[..2 * rows * self.groups].split_at(rows * self.groups);
        let (dgamma, dbeta) = grads.split_at_mut(channels);
        let (groups, gradient) = (self.groups(rows), AffineGradient::new(dgamma, dbeta));
        group_norm_backward(
            cpu,
            groups,
            x,
            Some(&params[..channels]),
            mean,
            rstd,
            dy,
            gradient,
            scratch,
        )?;
        if let Some(dx) = dx {
            dx.copy_from_slice(dy);
        }
        Ok(())
    }
}
