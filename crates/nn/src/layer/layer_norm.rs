//! Normalisation over the features of each position: layer norm, and RMS norm, which does not
//! subtract the mean.

use alloc::vec::Vec;

use kernels::normalisation::layer::{layer_norm, layer_norm_backward, layer_norm_backward_scratch};
use kernels::normalisation::rms::{rms_norm, rms_norm_backward, rms_norm_backward_scratch};
use kernels::normalisation::{Affine, AffineGradient};

use crate::layer::{Backward, Describe, Float, Forward, Layer};
use crate::parameter::Parameter;
use crate::{Error, Shape};

/// `y = (x - mean) / sqrt(variance + epsilon) * weight + bias` (Ba, Kiros, Hinton, 2016). PyTorch:
/// `LayerNorm`.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    shape: Shape,
    epsilon: f64,
}

impl LayerNorm {
    pub(crate) fn new(shape: Shape, epsilon: f64) -> Self {
        Self { shape, epsilon }
    }
}

impl Describe for LayerNorm {
    fn output(&self) -> Shape {
        self.shape
    }

    fn parameters(&self) -> Vec<Parameter> {
        Parameter::affine(self.shape.features())
    }

    /// Mean and reciprocal standard deviation of each position.
    fn statistics(&self, rows: usize) -> usize {
        rows.saturating_mul(2 * self.shape.positions())
    }
}

impl<T: Float> Layer<T> for LayerNorm {
    fn scratch(&self, rows: usize, _: usize) -> usize {
        layer_norm_backward_scratch(
            rows.saturating_mul(self.shape.positions()),
            self.shape.features(),
        )
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let features = self.shape.features();
        let (gamma, beta) = pass.params.split_at(features);
        let positions = pass.rows * self.shape.positions();
        let (mean, rstd) = pass.statistics[..2 * positions].split_at_mut(positions);
        let affine = Affine::new(gamma, beta);
        Ok(layer_norm(pass.cpu, pass.x, features, affine, self.epsilon, mean, rstd, pass.y)?)
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward { cpu, rows, params, x, dy, dx, grads, statistics, scratch, .. } = pass;
        let features = self.shape.features();
        let positions = rows * self.shape.positions();
        let (mean, rstd) = statistics[..2 * positions].split_at(positions);
        let (dgamma, dbeta) = grads.split_at_mut(features);
        let gradient = AffineGradient::new(dgamma, dbeta);
        layer_norm_backward(
            cpu,
            x,
            features,
            Some(&params[..features]),
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

/// `y = x / sqrt(mean of x^2 + epsilon) * weight` (Zhang, Sennrich, NeurIPS 2019). PyTorch:
/// `RMSNorm`.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    shape: Shape,
    epsilon: f64,
}

impl RmsNorm {
    pub(crate) fn new(shape: Shape, epsilon: f64) -> Self {
        Self { shape, epsilon }
    }
}

impl Describe for RmsNorm {
    fn output(&self) -> Shape {
        self.shape
    }

    fn parameters(&self) -> Vec<Parameter> {
        Vec::from([Parameter::vector("weight", self.shape.features(), 1.0)])
    }

    fn statistics(&self, rows: usize) -> usize {
        rows.saturating_mul(self.shape.positions())
    }
}

impl<T: Float> Layer<T> for RmsNorm {
    fn scratch(&self, rows: usize, _: usize) -> usize {
        rms_norm_backward_scratch(
            rows.saturating_mul(self.shape.positions()),
            self.shape.features(),
        )
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, rows, params, x, y, statistics, .. } = pass;
        let rstd = &mut statistics[..rows * self.shape.positions()];
        Ok(rms_norm(cpu, x, self.shape.features(), Some(params), self.epsilon, rstd, y)?)
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward { cpu, rows, params, x, dy, dx, grads, statistics, scratch, .. } = pass;
        let rstd = &statistics[..rows * self.shape.positions()];
        rms_norm_backward(
            cpu,
            x,
            self.shape.features(),
            Some(params),
            rstd,
            dy,
            Some(grads),
            scratch,
        )?;
        if let Some(dx) = dx {
            dx.copy_from_slice(dy);
        }
        Ok(())
    }
}
