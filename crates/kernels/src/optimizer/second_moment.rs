//! Second moments before a step: a gradient whose square overflows them is found before any write.
//!
//! ```text
//! g = |scale * grads| + l2 * |p| + l1          upper bound of the regularised gradient
//! v = beta * v + new * g * g                   must stay finite
//! ```
//!
//! An infinite second moment stays infinite, and each later step of its element is 0: the training
//! would continue without a word of it. Called by the optimizer of a network.

use super::Decay;
use crate::math::sqrt;
use crate::norm::norm_max;
use crate::simd::Float;
use crate::{Cpu, Element, Error};

/// Second moments from here on count as infinite, in units of 1/4 of what overflows: 1 - 2^-20 of
/// it. The difference is more than the rounding errors of a step.
const LIMIT: f64 = 4.0 - 4.0 / (1 << 20) as f64;

/// Squares below this, in the same units, are less than half the last digit of the largest number:
/// added to any finite moment they leave it finite.
const HARMLESS: f64 = 1.0 / (1_u64 << 60) as f64;

/// The moment of an optimizer that is a mean or a sum of squares of the gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SecondMoment {
    /// Index among the optimizer's moments.
    pub index: usize,
    /// `[beta, new]` of the recurrence `v = beta * v + new * g^2`.
    pub coefficients: [f64; 2],
    /// Regularisation, which adds to the gradient.
    pub decay: Decay,
}

/// Upper bound of a gradient: no element of `scale * grads` is above `scale * largest` in
/// magnitude.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientBound {
    /// Multiplier of the gradient, as in [`Step`](super::Step).
    pub scale: f64,
    /// At least each `|grads[i]|`, such as their norm.
    pub largest: f64,
}

impl SecondMoment {
    /// A running mean of squares: `v = beta * v + (1 - beta) * g^2`.
    pub(super) const fn mean(index: usize, beta: f64, decay: Decay) -> Self {
        Self { index, coefficients: [beta, 1.0 - beta], decay }
    }

    /// Checks that a step along `scale * grads`, which `bound` bounds, leaves the moment `v`
    /// finite.
    ///
    /// Gradients and moments are read only if `scale * largest + l2 max|params| + l1` is above 2^33
    /// (f32) or 2^481 (f64): smaller squares leave any finite moment finite. `params` are read only
    /// with an L2 decay.
    ///
    /// Moments stored as bf16 overflow earlier and are not covered.
    ///
    /// The slices have one length; elements past the shortest are not read.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the index of the first element whose moment would be above 1 -
    /// 2^-20 of the largest number, NaN included.
    ///
    /// ```
    /// use kernels::Cpu;
    /// use kernels::optimizer::{Adam, GradientBound, Optimizer};
    /// let moment = Adam::default().second_moment().ok_or("Adam has one")?;
    /// let check = |g: f32| {
    ///     let bound = GradientBound { scale: 1.0, largest: g.into() };
    ///     moment.check(Cpu::detect(), bound, &[0.0], &[g], &[0.0_f32])
    /// };
    /// assert!(check(5e20).is_ok() && check(6e20).is_err());
    /// # Ok::<(), &str>(())
    /// ```
    #[inline(never)]
    pub fn check<T: Float, G: Element<Float = T>>(
        &self,
        cpu: Cpu<'_>,
        bound: GradientBound,
        params: &[T],
        grads: &[G],
        v: &[T],
    ) -> Result<(), Error> {
        let Self { coefficients: [beta, new], decay: Decay { l1, l2, .. }, .. } = *self;
        let GradientBound { scale, largest } = bound;
        // Powers of two: products with them are exact.
        let unit = T::MIN_POSITIVE.to_f64();
        let root = sqrt(cpu, unit);
        let bound = |g: f64, p: f64| (scale * g).abs() * root + (l2 * p).abs() * root + l1 * root;
        let params_max =
            if l2 > 0.0 { norm_max(cpu, params).unwrap_or(f64::INFINITY) } else { 0.0 };
        let most = bound(largest, params_max);
        if most * most < HARMLESS {
            return Ok(());
        }
        for (index, ((p, g), v)) in params.iter().zip(grads).zip(v).enumerate() {
            let g = bound(g.to_float().to_f64(), p.to_f64());
            let next = beta * (v.to_f64() * unit) + new * g * g;
            if next.is_nan() || next >= LIMIT {
                return Err(Error::NonFinite { index });
            }
        }
        Ok(())
    }
}
