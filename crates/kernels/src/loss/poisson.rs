//! Poisson negative log-likelihood, element by element.

use super::pointwise::{self, Pointwise};
use crate::math::{exp::exp, ln::ln};
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// Negative log-likelihood of a count `t` under a Poisson distribution, without the term `ln(t!)`,
/// which does not depend on the prediction (PyTorch's `PoissonNLLLoss` with `full=False`).
///
/// | `log_input` | loss | derivative |
/// |---|---|---|
/// | `true`: `x` is the logarithm of the rate | e^x - t x | e^x - t |
/// | `false`: `x` is the rate | x - t ln(x + 1e-8) | 1 - t / (x + 1e-8) |
///
/// Losses may be negative. Each operation is rounded once, but for the functions. NaN gives NaN,
/// and so does a rate below -1e-8; e^x above the largest finite number is Inf, for both.
///
/// ```
/// use kernels::{Cpu, loss::Poisson};
/// let (mut losses, mut dx) = ([0.0_f64; 2], [0.0; 2]);
/// let (cpu, loss) = (Cpu::detect(), Poisson::default());
/// loss.gradient(cpu, &[0.0, 0.0], &[1.0, 3.0], 1.0, &mut losses, &mut dx)?;
/// assert_eq!((losses, dx), ([1.0, 1.0], [0.0, -2.0]));
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poisson {
    /// `true` if predictions are logarithms of rates, `false` if they are rates.
    pub log_input: bool,
}

impl Default for Poisson {
    /// Predictions are logarithms.
    fn default() -> Self {
        Self { log_input: true }
    }
}

impl Poisson {
    /// Added to a rate before its logarithm. PyTorch: `eps`.
    pub const EPSILON: f64 = 1e-8;

    /// The loss of each prediction and its target.
    ///
    /// # Errors
    /// [`Error::Length`] if the lengths differ.
    #[inline(never)]
    pub fn losses<E: Element>(
        &self,
        cpu: Cpu<'_>,
        predictions: &[E],
        targets: &[E],
        losses: &mut [E],
    ) -> Result<(), Error> {
        let x = ("predictions", predictions);
        if self.log_input {
            pointwise::losses(cpu, &OfLogarithm, x, targets, losses)
        } else {
            pointwise::losses(cpu, &OfRate, x, targets, losses)
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
        if self.log_input {
            pointwise::gradient(cpu, &OfLogarithm, x, targets, scale, losses, dx)
        } else {
            pointwise::gradient(cpu, &OfRate, x, targets, scale, losses, dx)
        }
    }
}

/// The loss of the logarithm of a rate.
struct OfLogarithm;

impl<T: Float> Pointwise<T> for OfLogarithm {
    #[inline(always)]
    fn loss_and_slope<S: Simd>(&self, s: S, x: T::V<S>, target: T::V<S>) -> (T::V<S>, T::V<S>) {
        let rate = exp::<S, T>(s, x);
        (T::sub(s, rate, T::mul(s, target, x)), T::sub(s, rate, target))
    }
}

/// The loss of a rate.
struct OfRate;

impl<T: Float> Pointwise<T> for OfRate {
    #[inline(always)]
    fn loss_and_slope<S: Simd>(&self, s: S, x: T::V<S>, target: T::V<S>) -> (T::V<S>, T::V<S>) {
        let one = T::splat(s, T::ONE);
        let rate = T::add(s, x, T::splat(s, T::from_f64(Poisson::EPSILON)));
        let log = T::mul(s, target, ln::<S, T>(s, rate));
        (T::sub(s, x, log), T::sub(s, one, T::div(s, target, rate)))
    }
}
