//! Squared, absolute, Huber and log-cosh loss, element by element.

use super::pointwise::{self, Pointwise};
use crate::error::check_parameter;
use crate::math::{exp_m1::exp_m1, ln::ln_1p, tanh::tanh};
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// A loss of the difference `d` of a prediction and its target.
///
/// | | loss | derivative | PyTorch |
/// |---|---|---|---|
/// | `Squared` | d² | 2 d | `MSELoss` |
/// | `Absolute` | abs(d) | the sign of d, 0 at 0 | `L1Loss` |
/// | `Huber` | d²/2 up to delta, then delta (abs(d) - delta/2) | d, clamped | `HuberLoss` |
/// | `LogCosh` | ln(cosh(d)) | tanh(d) | none; Keras: `LogCosh` |
///
/// Huber's derivative is clamped to ±delta. PyTorch's `SmoothL1Loss` with `beta` is Huber with
/// `delta = beta`, divided by `beta`: pass `scale / beta`, and divide the losses. Each operation is
/// rounded once, but for the functions of log-cosh. NaN gives NaN, for loss and gradient; an
/// infinite difference has the loss Inf, and the derivative of the table.
///
/// ```
/// use kernels::{Cpu, loss::Regression};
/// let (mut losses, mut dy) = ([0.0_f32; 2], [0.0; 2]);
/// let huber = Regression::Huber { delta: 1.0 };
/// huber.gradient(Cpu::detect(), &[0.5, 3.0], &[0.0, 0.0], 1.0, &mut losses, &mut dy)?;
/// assert_eq!((losses, dy), ([0.125, 2.5], [0.5, 1.0]));
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Regression {
    /// Least squares, minimised by the mean.
    Squared,
    /// Least absolute deviations, minimised by the median.
    Absolute,
    /// Squared up to `delta`, absolute beyond (Huber, 1964).
    Huber {
        /// Threshold between the two: above 0.
        delta: f64,
    },
    /// d²/2 near 0, abs(d) - ln 2 far from it: smooth everywhere. Its relative error is small near
    /// 0 too, and no finite difference overflows.
    LogCosh,
}

impl Regression {
    /// Checks that the delta of [`Huber`](Self::Huber) is finite and above 0.
    ///
    /// # Errors
    /// [`Error::Parameter`] if it is not.
    pub fn check(&self) -> Result<(), Error> {
        match *self {
            Self::Squared | Self::Absolute | Self::LogCosh => Ok(()),
            Self::Huber { delta } => {
                check_parameter("delta", delta, "finite and above 0", |delta| delta > 0.0)
            }
        }
    }

    /// The loss of each prediction and its target.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `delta` is out of range; [`Error::Length`] if the lengths differ.
    #[inline(never)]
    pub fn losses<E: Element>(
        &self,
        cpu: Cpu<'_>,
        predictions: &[E],
        targets: &[E],
        losses: &mut [E],
    ) -> Result<(), Error> {
        let predictions = ("predictions", predictions);
        match *self {
            Self::Squared => pointwise::losses(cpu, &Squared, predictions, targets, losses),
            Self::Absolute => pointwise::losses(cpu, &Absolute, predictions, targets, losses),
            Self::Huber { delta } => {
                pointwise::losses(cpu, &Huber::checked(delta)?, predictions, targets, losses)
            }
            Self::LogCosh => pointwise::losses(cpu, &LogCosh, predictions, targets, losses),
        }
    }

    /// The same losses; `dpredictions` becomes the gradient of their sum times `scale`.
    ///
    /// # Errors
    /// As [`losses`](Self::losses).
    #[inline(never)]
    pub fn gradient<E: Element>(
        &self,
        cpu: Cpu<'_>,
        predictions: &[E],
        targets: &[E],
        scale: E::Float,
        losses: &mut [E],
        dpredictions: &mut [E],
    ) -> Result<(), Error> {
        let (x, dx) = (("predictions", predictions), ("dpredictions", dpredictions));
        match *self {
            Self::Squared => pointwise::gradient(cpu, &Squared, x, targets, scale, losses, dx),
            Self::Absolute => pointwise::gradient(cpu, &Absolute, x, targets, scale, losses, dx),
            Self::Huber { delta } => {
                pointwise::gradient(cpu, &Huber::checked(delta)?, x, targets, scale, losses, dx)
            }
            Self::LogCosh => pointwise::gradient(cpu, &LogCosh, x, targets, scale, losses, dx),
        }
    }
}

/// [`Regression::Squared`].
struct Squared;

impl<T: Float> Pointwise<T> for Squared {
    #[inline(always)]
    fn loss_and_slope<S: Simd>(&self, s: S, x: T::V<S>, target: T::V<S>) -> (T::V<S>, T::V<S>) {
        let d = T::sub(s, x, target);
        (T::mul(s, d, d), T::add(s, d, d))
    }
}

/// [`Regression::Absolute`].
struct Absolute;

impl<T: Float> Pointwise<T> for Absolute {
    #[inline(always)]
    fn loss_and_slope<S: Simd>(&self, s: S, x: T::V<S>, target: T::V<S>) -> (T::V<S>, T::V<S>) {
        let (zero, one) = (T::splat(s, T::ZERO), T::splat(s, T::ONE));
        let d = T::sub(s, x, target);
        let sign = T::select(s, T::less(s, zero, d), one, d);
        let sign = T::select(s, T::less(s, d, zero), T::splat(s, -T::ONE), sign);
        (T::abs::<S>(d), sign)
    }
}

/// [`Regression::Huber`].
struct Huber<T> {
    delta: T,
    half_delta: T,
}

impl<T: Float> Huber<T> {
    fn checked(delta: f64) -> Result<Self, Error> {
        Regression::Huber { delta }.check()?;
        Ok(Self { delta: T::from_f64(delta), half_delta: T::from_f64(0.5 * delta) })
    }
}

impl<T: Float> Pointwise<T> for Huber<T> {
    #[inline(always)]
    fn loss_and_slope<S: Simd>(&self, s: S, x: T::V<S>, target: T::V<S>) -> (T::V<S>, T::V<S>) {
        let (delta, least) = (T::splat(s, self.delta), T::splat(s, -self.delta));
        let d = T::sub(s, x, target);
        let size = T::abs::<S>(d);
        let near = T::mul(s, T::mul(s, T::splat(s, T::HALF), d), d);
        let far = T::mul(s, delta, T::sub(s, size, T::splat(s, self.half_delta)));
        let slope = T::select(s, T::less(s, delta, d), delta, d);
        let slope = T::select(s, T::less(s, d, least), least, slope);
        (T::select(s, T::less_or_equal(s, size, delta), near, far), slope)
    }
}

/// [`Regression::LogCosh`]. With `q = e^-|d| - 1`:
///
/// ```text
/// ln cosh d = ln(1 + q^2 / (2 (1 + q)))            |d| < 1: the relative error stays small
///             |d| - ln 2 + ln(1 + (1 + q)^2)       elsewhere: nothing overflows
/// ```
struct LogCosh;

impl<T: Float> Pointwise<T> for LogCosh {
    #[inline(always)]
    fn loss_and_slope<S: Simd>(&self, s: S, x: T::V<S>, target: T::V<S>) -> (T::V<S>, T::V<S>) {
        let (zero, one) = (T::splat(s, T::ZERO), T::splat(s, T::ONE));
        let d = T::sub(s, x, target);
        let size = T::abs::<S>(d);
        let q = exp_m1::<S, T>(s, T::sub(s, zero, size));
        let power = T::add(s, one, q);
        let is_near = T::less(s, size, one);
        let near = T::div(s, T::mul(s, q, q), T::add(s, power, power));
        let log = ln_1p::<S, T>(s, T::select(s, is_near, near, T::mul(s, power, power)));
        let far = T::sub(s, size, T::splat(s, T::from_f64(core::f64::consts::LN_2)));
        (T::select(s, is_near, log, T::add(s, far, log)), tanh::<S, T>(s, d))
    }
}
