//! Binary cross-entropy from logits, element by element.

use super::pointwise::{self, Pointwise};
use crate::error::check_parameter;
use crate::math::{exp::exp_of_nonpositive, ln::ln_1p};
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// Cross-entropy of the sigmoid of each logit `x` and a target probability `t` (PyTorch's
/// `BCEWithLogitsLoss`).
///
/// ```text
/// loss = a softplus(-x) + b softplus(x)             a = positive_weight * t;  b = 1 - t
/// dx   = scale * (b sigmoid(x) - a sigmoid(-x))     softplus(x) = max(x, 0) + ln(1 + e^-|x|)
/// ```
///
/// For targets in `[0, 1]` both terms of the loss are at least 0, so that nothing cancels: a loss
/// near 0 is as accurate as a large one, and no finite logit overflows. An infinite logit that
/// agrees with its target has the loss 0, otherwise Inf; its gradient is finite. NaN gives NaN, for
/// both.
///
/// ```
/// use kernels::{Cpu, loss::BinaryCrossEntropy};
/// let (mut losses, mut dlogits) = ([0.0_f64; 2], [0.0; 2]);
/// let (logits, targets) = ([0.0, 1e4], [1.0, 0.0]);
/// let (cpu, loss) = (Cpu::detect(), BinaryCrossEntropy::default());
/// loss.gradient(cpu, &logits, &targets, 1.0, &mut losses, &mut dlogits)?;
/// assert_eq!((losses[1], dlogits), (1e4, [-0.5, 1.0]));
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BinaryCrossEntropy {
    /// Weight of positive targets relative to negative ones: at least 0. PyTorch's `pos_weight`.
    pub positive_weight: f64,
}

impl Default for BinaryCrossEntropy {
    /// Positive and negative targets have equal weight.
    fn default() -> Self {
        Self { positive_weight: 1.0 }
    }
}

impl BinaryCrossEntropy {
    /// The loss of each logit and its target.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `positive_weight` is out of range; [`Error::Length`] if the lengths
    /// differ.
    #[inline(never)]
    pub fn losses<E: Element>(
        &self,
        cpu: Cpu<'_>,
        logits: &[E],
        targets: &[E],
        losses: &mut [E],
    ) -> Result<(), Error> {
        pointwise::losses(cpu, &self.checked()?, ("logits", logits), targets, losses)
    }

    /// The same losses, and in `dlogits` the gradient of their sum times `scale`.
    ///
    /// # Errors
    /// As [`losses`](Self::losses).
    #[inline(never)]
    pub fn gradient<E: Element>(
        &self,
        cpu: Cpu<'_>,
        logits: &[E],
        targets: &[E],
        scale: E::Float,
        losses: &mut [E],
        dlogits: &mut [E],
    ) -> Result<(), Error> {
        let (logits, dlogits) = (("logits", logits), ("dlogits", dlogits));
        pointwise::gradient(cpu, &self.checked()?, logits, targets, scale, losses, dlogits)
    }

    /// Checks that `positive_weight` is finite and at least 0.
    ///
    /// # Errors
    /// [`Error::Parameter`] if it is not.
    pub fn check(&self) -> Result<(), Error> {
        check_parameter("positive_weight", self.positive_weight, "finite and at least 0", |x| {
            x >= 0.0
        })
    }

    fn checked<T: Float>(&self) -> Result<Weighted<T>, Error> {
        self.check()?;
        Ok(Weighted { positive: T::from_f64(self.positive_weight) })
    }
}

/// The loss with its weight in `T`.
struct Weighted<T> {
    positive: T,
}

impl<T: Float> Pointwise<T> for Weighted<T> {
    #[inline(always)]
    fn loss_and_slope<S: Simd>(&self, s: S, x: T::V<S>, target: T::V<S>) -> (T::V<S>, T::V<S>) {
        let (zero, one) = (T::splat(s, T::ZERO), T::splat(s, T::ONE));
        let a = T::mul(s, T::splat(s, self.positive), target);
        let b = T::sub(s, one, target);

        let size = T::abs::<S>(x);
        let power = exp_of_nonpositive::<S, T>(s, T::sub(s, zero, size));
        let log = ln_1p::<S, T>(s, power);
        let negative = T::less(s, x, zero);
        let (above, below) = (T::add(s, size, log), log);
        let softplus = T::select(s, negative, below, above);
        let softplus_of_minus = T::select(s, negative, above, below);
        // A term of weight 0 is 0, even where softplus is Inf; NaN stays NaN.
        let nothing = T::select(s, T::less_or_equal(s, size, T::splat(s, T::INFINITY)), zero, x);
        let is_zero = |weight| T::less_or_equal(s, T::abs::<S>(weight), zero);
        let a_term = T::select(s, is_zero(a), nothing, T::mul(s, a, softplus_of_minus));
        let b_term = T::select(s, is_zero(b), nothing, T::mul(s, b, softplus));

        // The sigmoid of |x| and of -|x|.
        let total = T::add(s, one, power);
        let (large, small) = (T::div(s, one, total), T::div(s, power, total));
        let sigmoid = T::select(s, negative, small, large);
        let sigmoid_of_minus = T::select(s, negative, large, small);
        let slope = T::sub(s, T::mul(s, b, sigmoid), T::mul(s, a, sigmoid_of_minus));
        (T::add(s, a_term, b_term), slope)
    }
}
