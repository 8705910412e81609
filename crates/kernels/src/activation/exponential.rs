//! Activations with an exponential piece: the exponential itself, ELU, SELU, softplus.
//!
//! The output determines the derivative. That of `y = e^x` is `y`. With `y = alpha (e^x - 1)`, the
//! derivative `alpha e^x` is `y + alpha`; with `y = ln(1 + e^x)`, the derivative `sigmoid(x)` is
//! `1 - e^-y`. Called by `activation`.

use super::Curve;
use crate::math::{exp::exp, exp_m1::exp_m1, softplus::softplus};
use crate::simd::{Float, Simd};

/// `above x` above 0, `below (e^x - 1)` elsewhere: ELU, and SELU.
pub(super) struct Elu<T> {
    pub(super) above: T,
    pub(super) below: T,
}

impl<T: Float> Curve<T> for Elu<T> {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        let above = T::mul(s, T::splat(s, self.above), x);
        let below = T::mul(s, T::splat(s, self.below), exp_m1::<S, T>(s, x));
        T::select(s, T::less_or_equal(s, x, T::splat(s, T::ZERO)), below, above)
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, y: T::V<S>, dy: T::V<S>) -> T::V<S> {
        let slope = T::add(s, y, T::splat(s, self.below));
        let below = T::less_or_equal(s, y, T::splat(s, T::ZERO));
        T::mul(s, T::select(s, below, slope, T::splat(s, self.above)), dy)
    }
}

/// `e^x`.
pub(super) struct Exponential;

impl<T: Float> Curve<T> for Exponential {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        exp::<S, T>(s, x)
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, y: T::V<S>, dy: T::V<S>) -> T::V<S> {
        T::mul(s, y, dy)
    }
}

/// `ln(1 + e^x)`.
pub(super) struct Softplus;

impl<T: Float> Curve<T> for Softplus {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        softplus::<S, T>(s, x)
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, y: T::V<S>, dy: T::V<S>) -> T::V<S> {
        let zero = T::splat(s, T::ZERO);
        let slope = T::sub(s, zero, exp_m1::<S, T>(s, T::sub(s, zero, y)));
        T::mul(s, slope, dy)
    }
}
