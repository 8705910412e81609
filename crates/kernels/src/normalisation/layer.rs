//! Layer normalisation: each row over its channels (Ba, Kiros and Hinton 2016; PyTorch's
//! `LayerNorm` over the last dimension).
//!
//! Rows are independent of each other; the order of their sums is that of `rows`.

use super::{Affine, AffineGradient, rows};
use crate::error::check_length;
use crate::{Cpu, Error, Float};

/// `y = (x - mean) / sqrt(var + epsilon) * gamma + beta`, with mean and (biased) variance of each
/// row.
///
/// `x` and `y` are `[rows, channels]`, gamma and beta `[channels]`. `mean` and `rstd`, `[rows]`,
/// are saved for [`layer_norm_backward`]: the mean, and `1 / sqrt(var + epsilon)`.
///
/// A constant row, and so a row of one channel, becomes beta, exactly (NaN if epsilon is 0). A row
/// with a NaN or an infinity becomes NaN. Without channels, nothing is written.
///
/// ```
/// use kernels::normalisation::{Affine, layer::layer_norm};
/// let (mut mean, mut rstd, mut y) = ([0.0; 1], [0.0; 1], [0.0_f32; 2]);
/// let affine = Affine::new(&[2.0, 2.0], &[1.0, 1.0]);
/// let cpu = kernels::Cpu::detect();
/// layer_norm(cpu, &[3.0, 5.0], 2, affine, 1e-12, &mut mean, &mut rstd, &mut y)?;
/// assert_eq!((mean, y), ([4.0], [-1.0, 3.0]));
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if lengths do not match; [`Error::Parameter`] for a negative `epsilon`.
/// Nothing is written then.
#[expect(clippy::too_many_arguments, reason = "inputs, saved statistics, outputs")]
#[inline(never)]
pub fn layer_norm<T: Float>(
    cpu: Cpu<'_>,
    x: &[T],
    channels: usize,
    affine: Affine<'_, T>,
    epsilon: f64,
    mean: &mut [f64],
    rstd: &mut [f64],
    y: &mut [T],
) -> Result<(), Error> {
    check_length("mean", rstd.len(), mean.len())?;
    rows::forward::<T, true>(cpu, x, channels, affine, epsilon, mean, rstd, y)
}

/// Scratch elements of [`layer_norm_backward`]: two per channel for each 128 rows.
pub const fn layer_norm_backward_scratch(rows: usize, channels: usize) -> usize {
    rows::backward_scratch(rows, channels)
}

/// The gradients of [`layer_norm`]: `dy` becomes `dx`.
///
/// ```text
/// xhat = (x - mean) * rstd;  dgamma = sum of dy * xhat and dbeta = sum of dy, over the rows
/// dx = rstd * (g - mean of g - xhat * mean of (g * xhat)),  over the row;  g = dy * gamma
/// ```
///
/// `x`, `gamma` (1 if there is none), `mean` and `rstd` are those of the forward pass. A NaN or an
/// infinity in `x` or `dy` leaves no finite `dx` in its row; in `x` it leaves no finite `dgamma` at
/// all. Where `x` is empty, the gradients of gamma and beta are 0.
///
/// # Errors
/// [`Error::Length`] if lengths do not match; [`Error::Scratch`] if there is less than
/// [`layer_norm_backward_scratch`]. Nothing is written then.
#[expect(clippy::too_many_arguments, reason = "inputs, saved statistics, outputs")]
#[inline(never)]
pub fn layer_norm_backward<T: Float>(
    cpu: Cpu<'_>,
    x: &[T],
    channels: usize,
    gamma: Option<&[T]>,
    mean: &[f64],
    rstd: &[f64],
    dy: &mut [T],
    gradient: AffineGradient<'_, T>,
    scratch: &mut [T],
) -> Result<(), Error> {
    check_length("mean", rstd.len(), mean.len())?;
    rows::backward::<T, true>(cpu, x, channels, gamma, mean, rstd, dy, gradient, scratch)
}
