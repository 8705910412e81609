//! Batch normalisation: each channel over all rows of the batch (Ioffe and Szegedy, ICML 2015).
//! PyTorch's `BatchNorm1d` and, for channels-last images, `BatchNorm2d`.
//!
//! Training uses the batch's own mean and variance and updates running estimates. Inference uses
//! these estimates, so that each channel has a scale and a shift that do not depend on the batch.
//! Sums run down the rows as in `columns`.

use super::columns::{
    Backward, Normalise, PerChannel, Shape, WIDTH, for_each_row, gradient_sums, merge, moments,
    totals,
};
use super::{Affine, AffineGradient, InverseRoot, check_epsilon, check_scratch, split_mean};
use crate::elementwise::along;
use crate::error::{check_length, check_parameter};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error};

/// Running mean and variance for inference, `[channels]` each.
#[derive(Debug)]
pub struct Running<'a, T> {
    /// The running mean; initially 0.
    pub mean: &'a mut [T],
    /// The running variance; initially 1.
    pub var: &'a mut [T],
    /// Weight of the batch in the update, in [0, 1]: 0.1 in PyTorch. 1 / t at step t, from 1, gives
    /// the plain average.
    pub momentum: f64,
}

/// Scratch elements of [`batch_norm`] and [`batch_norm_backward`]: four per channel, and three more
/// per channel for each 128 rows.
pub const fn batch_norm_scratch(rows: usize, channels: usize) -> usize {
    Shape { samples: 1, positions: rows, channels }.scratch()
}

/// `y = (x - mean) / sqrt(var + epsilon) * gamma + beta`, with mean and (biased) variance of each
/// channel of the batch.
///
/// `x` and `y` are `[rows, channels]`, where channels is the length of `mean`. `mean` and `rstd`,
/// `[channels]`, are saved for [`batch_norm_backward`]: the mean, and `1 / sqrt(var + epsilon)`. If
/// `running` is given:
///
/// ```text
/// running mean = (1 - momentum) * running mean + momentum * mean
/// running var  = (1 - momentum) * running var  + momentum * var * rows / (rows - 1)
/// ```
///
/// The running variance is unbiased, as in PyTorch. A constant channel becomes beta, exactly (NaN
/// if epsilon is 0). A channel with a NaN or an infinity becomes NaN, and so do its running mean
/// and variance. Without rows, nothing is written.
///
/// ```
/// use kernels::normalisation::{Affine, batch::{batch_norm, batch_norm_scratch}};
/// let (x, mut y) = ([1.0_f32, 5.0, 3.0, 5.0], [0.0; 4]); // two rows, two channels
/// let (mut mean, mut rstd, mut scratch) = ([0.0; 2], [0.0; 2], [0.0; batch_norm_scratch(2, 2)]);
/// let cpu = kernels::Cpu::detect();
/// batch_norm(cpu, &x, Affine::NONE, 1e-12, None, &mut mean, &mut rstd, &mut y, &mut scratch)?;
/// assert_eq!((mean, y), ([2.0, 5.0], [-1.0, 0.0, 1.0, 0.0]));
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if lengths do not match; [`Error::Parameter`] for a negative `epsilon`, for a
/// momentum outside [0, 1], and for a single row, which has no variance (PyTorch refuses it as
/// well); [`Error::Scratch`] if there is less than [`batch_norm_scratch`]. Nothing is written then.
#[expect(clippy::too_many_arguments, reason = "inputs, saved statistics, outputs")]
#[inline(never)]
pub fn batch_norm<T: Float>(
    cpu: Cpu<'_>,
    x: &[T],
    affine: Affine<'_, T>,
    epsilon: f64,
    running: Option<Running<'_, T>>,
    mean: &mut [f64],
    rstd: &mut [f64],
    y: &mut [T],
    scratch: &mut [T],
) -> Result<(), Error> {
    let shape = check(x, affine.gamma, mean, rstd, ("y", y.len()), scratch)?;
    let Shape { positions: rows, channels, .. } = shape;
    check_length("beta", channels, affine.beta.map_or(channels, <[T]>::len))?;
    check_epsilon(epsilon)?;
    if let Some(Running { mean, var, momentum }) = &running {
        check_length("running.mean", channels, mean.len())?;
        check_length("running.var", channels, var.len())?;
        check_parameter("momentum", *momentum, "in [0, 1]", |x| (0.0..=1.0).contains(&x))?;
    }
    if rows == 1 && channels > 0 {
        return Err(Error::Parameter {
            name: "rows",
            expected: "at least 2 in training",
            got: 1.0,
        });
    }
    if x.is_empty() {
        return Ok(());
    }
    let (constants, partials) = scratch.split_at_mut(shape.constants());
    let partials = &mut partials[..shape.partials()];
    moments(cpu, shape, x, partials);
    cpu.isa.run(Statistics { shape, partials, affine, epsilon, running, mean, rstd, constants });
    let constants: &[T] = constants;
    for_each_row(cpu, shape, &Normalise, |_| parts(constants, channels), [x], y);
    Ok(())
}

/// Computes mean, `rstd`, running statistics, and the constants of [`Normalise`].
struct Statistics<'a, T> {
    shape: Shape,
    partials: &'a [T],
    affine: Affine<'a, T>,
    epsilon: f64,
    running: Option<Running<'a, T>>,
    mean: &'a mut [f64],
    rstd: &'a mut [f64],
    constants: &'a mut [T],
}

impl<T: Float> WithSimd for Statistics<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { shape, partials, affine, epsilon, mut running, mean, rstd, constants } = self;
        let Shape { positions, channels, .. } = shape;
        let rows = positions as f64;
        for first in (0..channels).step_by(WIDTH) {
            let merged = merge(shape, partials, first);
            for (i, j) in (first..channels).take(WIDTH).enumerate() {
                mean[j] = merged.base[i] + merged.mean[i];
                rstd[j] = merged.squares[i] / rows;
                if let Some(Running { mean: running_mean, var, momentum }) = &mut running {
                    let mix = |old: T, new: f64| {
                        T::from_f64((1.0 - *momentum) * old.to_f64() + *momentum * new)
                    };
                    running_mean[j] = mix(running_mean[j], mean[j]);
                    var[j] = mix(var[j], merged.squares[i] / (rows - 1.0));
                }
            }
        }
        along(s, &InverseRoot { epsilon }, [], [&mut *rstd]);
        let constants = &mut constants[..3 * channels];
        Normalise::constants(affine, |j| (mean[j], rstd[j]), constants);
    }
}

/// The gradients of [`batch_norm`]: `dy` becomes `dx`.
///
/// ```text
/// xhat = (x - mean) * rstd;  dgamma = sum of dy * xhat;  dbeta = sum of dy
/// dx = gamma * rstd * (dy - dbeta / rows - xhat * dgamma / rows)
/// ```
///
/// `x`, `gamma` (1 if there is none), `mean` and `rstd` are those of the forward pass; `x` and `dy`
/// are `[rows, channels]`. A NaN or an infinity in `x` or `dy` leaves no finite `dx` in its
/// channel. Without rows, `dgamma` and `dbeta` are 0.
///
/// # Errors
/// [`Error::Length`] if lengths do not match; [`Error::Scratch`] if there is less than
/// [`batch_norm_scratch`]. Nothing is written then.
#[expect(clippy::too_many_arguments, reason = "inputs, saved statistics, outputs")]
#[inline(never)]
pub fn batch_norm_backward<T: Float>(
    cpu: Cpu<'_>,
    x: &[T],
    gamma: Option<&[T]>,
    mean: &[f64],
    rstd: &[f64],
    dy: &mut [T],
    gradient: AffineGradient<'_, T>,
    scratch: &mut [T],
) -> Result<(), Error> {
    let shape = check(x, gamma, mean, rstd, ("dy", dy.len()), scratch)?;
    let Shape { positions: rows, channels, .. } = shape;
    gradient.check(channels)?;
    let (constants, partials) = scratch.split_at_mut(shape.constants());
    let partials = &mut partials[..shape.blocks() * 2 * channels];
    for (centre, &mean) in constants.iter_mut().zip(mean) {
        *centre = T::from_f64(mean);
    }
    if !x.is_empty() {
        let centre = &constants[..channels];
        gradient_sums(cpu, shape, dy, x, |_| centre, partials);
    }
    cpu.isa.run(Gradients { rows: rows as f64, partials, gamma, mean, rstd, gradient, constants });
    if !x.is_empty() {
        let constants: &[T] = constants;
        for_each_row(cpu, shape, &Backward, |_| parts(constants, channels), [x], dy);
    }
    Ok(())
}

/// Computes the gradients of gamma and beta, and the constants of [`Backward`].
struct Gradients<'a, T> {
    rows: f64,
    partials: &'a [T],
    gamma: Option<&'a [T]>,
    mean: &'a [f64],
    rstd: &'a [f64],
    gradient: AffineGradient<'a, T>,
    constants: &'a mut [T],
}

impl<T: Float> WithSimd for Gradients<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { rows, partials, gamma, mean, rstd, mut gradient, constants } = self;
        let channels = mean.len();
        for first in (0..channels).step_by(WIDTH) {
            let [sums, products] = totals(channels, partials, first);
            for (i, j) in (first..channels).take(WIDTH).enumerate() {
                let (_, rest) = split_mean::<T>(mean[j]);
                let dbeta = sums[i];
                let dgamma = rstd[j] * (products[i] - rest * dbeta);
                gradient.put(j, dgamma, dbeta);
                let scale = gamma.map_or(1.0, |gamma| gamma[j].to_f64()) * rstd[j];
                let slope = -scale * rstd[j] * (dgamma / rows);
                constants[channels + j] = T::from_f64(scale);
                constants[2 * channels + j] = T::from_f64(slope);
                constants[3 * channels + j] = T::from_f64(-scale * (dbeta / rows) - slope * rest);
            }
        }
    }
}

/// Scratch elements of [`batch_norm_inference`].
pub const fn batch_norm_inference_scratch(channels: usize) -> usize {
    channels.saturating_mul(2)
}

/// `y = (x - mean) / sqrt(var + epsilon) * gamma + beta`, with the running mean and variance of
/// each channel.
///
/// `x` and `y` are `[rows, channels]`, the others `[channels]`. NaN and infinities stay in their
/// element. A variance below `-epsilon` gives NaN.
///
/// # Errors
/// [`Error::Length`] if lengths do not match; [`Error::Parameter`] for a negative `epsilon`;
/// [`Error::Scratch`] if there is less than [`batch_norm_inference_scratch`]. Nothing is written
/// then.
#[expect(clippy::too_many_arguments, reason = "inputs, saved statistics, outputs")]
#[inline(never)]
pub fn batch_norm_inference<T: Float>(
    cpu: Cpu<'_>,
    x: &[T],
    running_mean: &[T],
    running_var: &[T],
    affine: Affine<'_, T>,
    epsilon: f64,
    y: &mut [T],
    scratch: &mut [T],
) -> Result<(), Error> {
    let channels = running_mean.len();
    let shape = check_rows(x.len(), channels, ("y", y.len()))?;
    check_length("running_var", channels, running_var.len())?;
    affine.check(channels)?;
    check_epsilon(epsilon)?;
    check_scratch(batch_norm_inference_scratch(channels), scratch.len())?;
    let (scale, shift) = scratch[..2 * channels].split_at_mut(channels);
    cpu.isa.run(Fold { running_mean: None, running_var, affine, epsilon, scale, shift });
    if !x.is_empty() {
        let constants = [running_mean, &*scale, &*shift];
        for_each_row(cpu, shape, &Normalise, |_| constants, [x], y);
    }
    Ok(())
}

/// Folds batch norm into a scale and a shift: `scale = gamma / sqrt(var + epsilon)`,
/// `shift = beta - mean * scale`, computed in f64 and rounded once. [`scale_shift`] with them
/// replaces [`batch_norm_inference`].
///
/// They can also be folded into the layer before: its weights of output `j` times `scale[j]`, its
/// bias times `scale[j]` plus `shift[j]`. Where the mean is far greater than the deviation, this
/// loses digits that [`batch_norm_inference`] keeps. All operands are `[channels]`.
///
/// # Errors
/// [`Error::Length`] if lengths differ; [`Error::Parameter`] for a negative `epsilon`. Nothing is
/// written then.
#[inline(never)]
pub fn fold_batch_norm<T: Float>(
    cpu: Cpu<'_>,
    running_mean: &[T],
    running_var: &[T],
    affine: Affine<'_, T>,
    epsilon: f64,
    scale: &mut [T],
    shift: &mut [T],
) -> Result<(), Error> {
    let channels = running_mean.len();
    check_length("running_var", channels, running_var.len())?;
    affine.check(channels)?;
    check_length("scale", channels, scale.len())?;
    check_length("shift", channels, shift.len())?;
    check_epsilon(epsilon)?;
    cpu.isa.run(Fold {
        running_mean: Some(running_mean),
        running_var,
        affine,
        epsilon,
        scale,
        shift,
    });
    Ok(())
}

/// Computes scale and shift of each channel. Without a mean, the shift is beta.
struct Fold<'a, T> {
    running_mean: Option<&'a [T]>,
    running_var: &'a [T],
    affine: Affine<'a, T>,
    epsilon: f64,
    scale: &'a mut [T],
    shift: &'a mut [T],
}

impl<T: Float> WithSimd for Fold<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { running_mean, running_var, affine, epsilon, scale, shift } = self;
        let channels = running_var.len();
        for first in (0..channels).step_by(WIDTH) {
            let mut rstd = [1.0; WIDTH];
            for (to, var) in rstd.iter_mut().zip(&running_var[first..]) {
                *to = var.to_f64();
            }
            along(s, &InverseRoot { epsilon }, [], [&mut rstd]);
            for (&rstd, j) in rstd.iter().zip(first..channels) {
                let (gamma, beta) = affine.at(j);
                let gamma_rstd = gamma * rstd;
                scale[j] = T::from_f64(gamma_rstd);
                let mean = running_mean.map_or(0.0, |mean| mean[j].to_f64() * gamma_rstd);
                shift[j] = T::from_f64(beta - mean);
            }
        }
    }
}

/// `x * scale + shift`, in place.
struct ScaleShift;

impl<T: Float> PerChannel<T, 2, 0> for ScaleShift {
    #[inline(always)]
    fn apply<S: Simd>(
        &self,
        s: S,
        [scale, shift]: [T::V<S>; 2],
        []: [T::V<S>; 0],
        x: T::V<S>,
    ) -> T::V<S> {
        T::mul_add(s, x, scale, shift)
    }
}

/// `x[i, j] = x[i, j] * scale[j] + shift[j]`, rounded once: `x` is `[rows, channels]`, `scale` and
/// `shift` are `[channels]`.
///
/// NaN and infinities stay in their element.
///
/// # Errors
/// [`Error::Length`] if lengths do not match.
#[inline(never)]
pub fn scale_shift<T: Float>(
    cpu: Cpu<'_>,
    scale: &[T],
    shift: &[T],
    x: &mut [T],
) -> Result<(), Error> {
    check_length("shift", scale.len(), shift.len())?;
    let shape = check_rows(x.len(), scale.len(), ("x", x.len()))?;
    if !x.is_empty() {
        for_each_row(cpu, shape, &ScaleShift, |_| [scale, shift], [], x);
    }
    Ok(())
}

/// The first `N` rows of `x`, of `channels` elements each.
fn parts<T, const N: usize>(x: &[T], channels: usize) -> [&[T]; N] {
    core::array::from_fn(|i| &x[i * channels..][..channels])
}

/// Checks the operands that both passes of training share.
fn check<T>(
    x: &[T],
    gamma: Option<&[T]>,
    mean: &[f64],
    rstd: &[f64],
    written: (&'static str, usize),
    scratch: &[T],
) -> Result<Shape, Error> {
    let channels = mean.len();
    let shape = check_rows(x.len(), channels, written)?;
    check_length("rstd", channels, rstd.len())?;
    check_length("gamma", channels, gamma.map_or(channels, <[T]>::len))?;
    check_scratch(shape.scratch(), scratch.len())?;
    Ok(shape)
}

/// Checks that `len` is a whole number of rows and equals the length of the written operand.
fn check_rows(
    len: usize,
    channels: usize,
    (operand, written): (&'static str, usize),
) -> Result<Shape, Error> {
    let rows = len / channels.max(1);
    check_length("x", rows * channels, len)?;
    check_length(operand, len, written)?;
    Ok(Shape { samples: 1, positions: rows, channels })
}
