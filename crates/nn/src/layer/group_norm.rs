//! Group normalisation: over groups of channels of one row, independent of the rest of the batch.

use alloc::vec::Vec;

use kernels::normalisation::group::{Groups, group_norm, group_norm_backward};
use kernels::normalisation::{Affine, AffineGradient};

use crate::layer::{Backward, Describe, Float, Forward, Layer};
use crate::parameter::Parameter;
use crate::{Error, Shape};

/// `y = (x - mean) / sqrt(variance + epsilon) * weight + bias`, with mean and variance over a group
/// of channels of a row (Wu, He, ECCV 2018). PyTorch: `GroupNorm`.
#[derive(Debug)]
pub(crate) struct GroupNorm {
    shape: Shape,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    /// `groups` divides the channels.
    pub(crate) fn new(shape: Shape, groups: usize, epsilon: f64) -> Self {
        Self { shape, groups, epsilon }
    }

    fn groups(&self, rows: usize) -> Groups {
        let (positions, channels) = (self.shape.positions(), self.shape.features());
        Groups { batch: rows, positions, channels, groups: self.groups }
    }
}

impl Describe for GroupNorm {
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

impl<T: Float> Layer<T> for GroupNorm {
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
