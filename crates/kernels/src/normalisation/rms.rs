//! RMS normalisation: each row divided by its root mean square (Zhang and Sennrich, NeurIPS 2019;
//! PyTorch's `RMSNorm` over the last dimension).
//!
//! Layer normalisation without the mean. Rows are independent of each other; the order of their
//! sums is that of `rows`.

use super::{Affine, AffineGradient, rows};
use crate::{Cpu, Error, Float};

/// `y = x / sqrt(mean of x^2 + epsilon) * gamma`.
///
/// `x` and `y` are `[rows, channels]`, `gamma` (1 if there is none) `[channels]`. `rstd`, `[rows]`,
/// is saved for [`rms_norm_backward`]: `1 / sqrt(mean of x^2 + epsilon)`.
///
/// A row of zeros stays zero (NaN if epsilon is 0). A row with a NaN becomes NaN. In a row with an
/// infinity, infinities become NaN and the other elements 0. Squares must stay in range: a row with
/// elements of at least 2^64 (f32) or 2^512 (f64) becomes 0. Without channels, nothing is written.
///
/// ```
/// use kernels::normalisation::rms::rms_norm;
/// let (mut rstd, mut y) = ([0.0; 1], [0.0_f32; 2]);
/// rms_norm(kernels::Cpu::detect(), &[1.0, 7.0], 2, None, 0.0, &mut rstd, &mut y)?;
/// assert_eq!((rstd, y), ([0.2], [0.2, 1.4]));
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if lengths do not match; [`Error::Parameter`] for a negative `epsilon`.
/// Nothing is written then.
#[inline(never)]
pub fn rms_norm<T: Float>(
    cpu: Cpu<'_>,
    x: &[T],
    channels: usize,
    gamma: Option<&[T]>,
    epsilon: f64,
    rstd: &mut [f64],
    y: &mut [T],
) -> Result<(), Error> {
    rows::forward::<T, false>(
        cpu,
        x,
        channels,
        Affine { gamma, beta: None },
        epsilon,
        &mut [],
        rstd,
        y,
    )
}

/// Scratch elements of [`rms_norm_backward`]: two per channel for each 128 rows.
pub const fn rms_norm_backward_scratch(rows: usize, channels: usize) -> usize {
    rows::backward_scratch(rows, channels)
}

/// The gradients of [`rms_norm`]: `dy` becomes `dx`.
///
/// ```text
/// dgamma = sum of dy * xhat over the rows;  xhat = x * rstd
/// g = dy * gamma;  dx = rstd * (g - xhat * mean of (g * xhat)),  the mean over the row
/// ```
///
/// `x`, `gamma` (1 if there is none) and `rstd` are those of the forward pass. A NaN or an infinity
/// in `x` or `dy` leaves no finite `dx` in its row. Where `x` is empty, `dgamma` is 0.
///
/// # Errors
/// [`Error::Length`] if lengths do not match; [`Error::Scratch`] if there is less than
/// [`rms_norm_backward_scratch`]. Nothing is written then.
#[expect(clippy::too_many_arguments, reason = "inputs, saved statistics, outputs")]
#[inline(never)]
pub fn rms_norm_backward<T: Float>(
    cpu: Cpu<'_>,
    x: &[T],
    channels: usize,
    gamma: Option<&[T]>,
    rstd: &[f64],
    dy: &mut [T],
    dgamma: Option<&mut [T]>,
    scratch: &mut [T],
) -> Result<(), Error> {
    let gradient = AffineGradient { dgamma, dbeta: None };
    rows::backward::<T, false>(cpu, x, channels, gamma, &[], rstd, dy, gradient, scratch)
}
