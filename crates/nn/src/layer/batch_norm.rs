//! Batch normalisation: each channel gets mean 0 and variance 1 over the batch, then a learned
//! scale and shift.
//!
//! Images are channels-last, so that one implementation serves vectors and images.

use alloc::boxed::Box;
use alloc::vec::Vec;

use kernels::math::sqrt;
use kernels::normalisation::batch::{
    Running, batch_norm, batch_norm_backward, batch_norm_inference, batch_norm_inference_scratch,
    batch_norm_scratch, fold_batch_norm, scale_shift,
};
use kernels::normalisation::{Affine, AffineGradient};

use crate::layer::{AnyLayer, Backward, Describe, Float, Forward, Layer, Mode};
use crate::parameter::{Order, Parameter, Start};
use crate::registry::{Build, BuildContext, is_positive};
use crate::{Error, Shape};

/// Batch normalisation: each channel gets mean 0 and variance 1 over the batch, then a learned
/// scale and shift (Ioffe, Szegedy, ICML 2015). PyTorch: `BatchNorm1d`, `BatchNorm2d`.
///
/// `y = (x - mean) / sqrt(variance + epsilon) * weight + bias`
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct BatchNorm {
    /// Added to the variance, above 0.
    pub epsilon: f64,
    /// Weight of a batch in the running statistics, 0 to 1.
    pub momentum: f64,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self { epsilon: 1e-5, momentum: 0.1 }
    }
}

impl Build for BatchNorm {
    fn build(&self, input: Shape, context: &BuildContext<'_>) -> Result<Box<dyn AnyLayer>, Error> {
        let Self { epsilon, momentum } = *self;
        if !is_positive(epsilon) || !(0.0..=1.0).contains(&momentum) {
            return Err(context.unfit(
                "`epsilon` above 0 and `momentum` in [0, 1]",
                format_args!("{epsilon}, {momentum}"),
            ));
        }
        Ok(Box::new(BatchNormLayer { shape: input, epsilon, momentum }))
    }
}

/// [`BatchNorm`] of rows of a known shape.
#[derive(Debug)]
struct BatchNormLayer {
    shape: Shape,
    epsilon: f64,
    momentum: f64,
}

impl BatchNormLayer {
    fn channels(&self) -> usize {
        self.shape.features()
    }

    fn affine<'a, T: Float>(&self, params: &'a [T]) -> Affine<'a, T> {
        let (gamma, beta) = params.split_at(self.channels());
        Affine::new(gamma, beta)
    }
}

impl Describe for BatchNormLayer {
    fn output(&self) -> Shape {
        self.shape
    }

    fn parameters(&self) -> Vec<Parameter> {
        Parameter::affine(self.channels())
    }

    fn buffers(&self) -> Vec<Parameter> {
        let count = Parameter {
            name: "num_batches_tracked".into(),
            shape: Vec::from([1]),
            order: Order::Count,
            start: Start::Constant(0.0),
        };
        Vec::from([
            Parameter::vector("running_mean", self.channels(), 0.0),
            Parameter::vector("running_var", self.channels(), 1.0),
            count,
        ])
    }

    /// Two values per channel, since one has no variance. An image has one value per position.
    fn min_rows(&self) -> usize {
        2_usize.div_ceil(self.shape.positions().max(1))
    }

    /// Mean and reciprocal standard deviation of each channel.
    fn statistics(&self, _: usize) -> usize {
        2 * self.channels()
    }
}

impl<T: Float> Layer<T> for BatchNormLayer {
    fn scratch(&self, rows: usize, _: usize) -> usize {
        let rows = rows.saturating_mul(self.shape.positions());
        batch_norm_scratch(rows, self.channels()).max(batch_norm_inference_scratch(self.channels()))
    }

    fn forward(&self, pass: Forward<'_, T>) -> Result<(), Error> {
        let Forward { cpu, mode, params, buffers, x, y, statistics, scratch, .. } = pass;
        let (affine, epsilon) = (self.affine(params), self.epsilon);
        let (running_mean, rest) = buffers.split_at_mut(self.channels());
        let (running_var, batches) = rest.split_at_mut(self.channels());
        let (mean, rstd) = statistics[..2 * self.channels()].split_at_mut(self.channels());
        if mode == Mode::Eval {
            for (i, (mean, rstd)) in mean.iter_mut().zip(rstd).enumerate() {
                *mean = running_mean[i].to_f64();
                *rstd = 1.0 / sqrt(cpu, running_var[i].to_f64() + epsilon);
            }
            return Ok(batch_norm_inference(
                cpu,
                x,
                running_mean,
                running_var,
                affine,
                epsilon,
                y,
                scratch,
            )?);
        }
        let trains = matches!(mode, Mode::Train { .. });
        let running = trains.then_some(Running {
            mean: running_mean,
            var: running_var,
            momentum: self.momentum,
        });
        batch_norm(cpu, x, affine, epsilon, running, mean, rstd, y, scratch)?;
        if let (true, [count]) = (trains, batches) {
            *count += T::ONE;
        }
        Ok(())
    }

    fn backward(&self, pass: Backward<'_, T>) -> Result<(), Error> {
        let Backward {
            cpu, mode, params, buffers, x, dy, mut dx, grads, statistics, scratch, ..
        } = pass;
        let channels = self.channels();
        let (dgamma, dbeta) = grads.split_at_mut(channels);
        let gradient = AffineGradient::new(dgamma, dbeta);
        let affine = self.affine(params);
        let (mean, rstd) = statistics[..2 * channels].split_at(channels);
        if let (Mode::Eval, Some(dx)) = (mode, &mut dx) {
            // Mean and deviation are constants in evaluation: dx = dy * weight / deviation.
            let (running_mean, running_var) = buffers[..2 * channels].split_at(channels);
            let (scale, shift) = scratch[..2 * channels].split_at_mut(channels);
            fold_batch_norm(cpu, running_mean, running_var, affine, self.epsilon, scale, shift)?;
            shift.fill(T::ZERO);
            dx.copy_from_slice(dy);
            scale_shift(cpu, scale, shift, dx)?;
        }
        batch_norm_backward(cpu, x, affine.gamma, mean, rstd, dy, gradient, scratch)?;
        if let (true, Some(dx)) = (mode != Mode::Eval, dx) {
            dx.copy_from_slice(dy);
        }
        Ok(())
    }
}
