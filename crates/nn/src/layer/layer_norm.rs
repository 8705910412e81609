//! Normalisation over the features of each position: layer norm, and RMS norm, which does not
//! subtract the mean.

use alloc::boxed::Box;
use alloc::vec::Vec;

use kernels::normalisation::layer::{layer_norm, layer_norm_backward, layer_norm_backward_scratch};
use kernels::normalisation::rms::{rms_norm, rms_norm_backward, rms_norm_backward_scratch};
use kernels::normalisation::{Affine, AffineGradient};

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer};
use crate::parameter::Parameter;
use crate::registry::{Build, BuildContext};
use crate::{Error, Shape};

/// Layer normalisation: the features of each position get mean 0 and variance 1, then a learned
/// scale and shift (Ba, Kiros, Hinton, 2016). PyTorch: `LayerNorm`.
///
/// `y = (x - mean) / sqrt(variance + epsilon) * weight + bias`
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct LayerNorm {
    /// Added to the variance, above 0.
    pub epsilon: f64,
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self { epsilon: 1e-5 }
    }
}

impl Build for LayerNorm {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        context.check_epsilon(self.epsilon)?;
        Ok(Box::new(LayerNormLayer { shape: input, epsilon: self.epsilon }))
    }
}

/// [`LayerNorm`] of rows of a known shape.
#[derive(Debug)]
struct LayerNormLayer {
    shape: Shape,
    epsilon: f64,
}

impl Describe for LayerNormLayer {
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

impl<T: Float> Layer<T> for LayerNormLayer {
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

/// RMS normalisation: the features of each position get mean square 1, then a learned scale
/// (Zhang, Sennrich, NeurIPS 2019). PyTorch: `RMSNorm`.
///
/// `y = x / sqrt(mean of x^2 + epsilon) * weight`
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct RmsNorm {
    /// Added to the mean square, above 0.
    pub epsilon: f64,
}

impl Default for RmsNorm {
    fn default() -> Self {
        Self { epsilon: 1e-5 }
    }
}

impl Build for RmsNorm {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        context.check_epsilon(self.epsilon)?;
        Ok(Box::new(RmsNormLayer { shape: input, epsilon: self.epsilon }))
    }
}

/// [`RmsNorm`] of rows of a known shape.
#[derive(Debug)]
struct RmsNormLayer {
    shape: Shape,
    epsilon: f64,
}

impl Describe for RmsNormLayer {
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

impl<T: Float> Layer<T> for RmsNormLayer {
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
