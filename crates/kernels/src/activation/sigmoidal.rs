//! Bounded activations: sigmoid, tanh, softsign.
//!
//! Their derivatives are polynomials of the outputs. A subtraction is rounded once, by a fused
//! multiply-add, so that nothing but the output's own rounding is lost near a bound. Called by
//! `activation` and `recurrent`.

use super::{Curve, at_most};
use crate::math::{sigmoid::sigmoid, tanh::tanh};
use crate::simd::{Float, Simd};

/// `1 / (1 + e^-x)`.
pub(crate) struct Sigmoid;

impl<T: Float> Curve<T> for Sigmoid {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        sigmoid::<S, T>(s, x)
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, y: T::V<S>, dy: T::V<S>) -> T::V<S> {
        T::mul(s, minus_square::<S, T>(s, y, y), dy)
    }
}

/// The hyperbolic tangent.
pub(crate) struct Tanh;

impl<T: Float> Curve<T> for Tanh {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        tanh::<S, T>(s, x)
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, y: T::V<S>, dy: T::V<S>) -> T::V<S> {
        T::mul(s, minus_square::<S, T>(s, T::splat(s, T::ONE), y), dy)
    }
}

/// `a - y y`, rounded once.
#[inline(always)]
fn minus_square<S: Simd, T: Float>(s: S, a: T::V<S>, y: T::V<S>) -> T::V<S> {
    T::mul_add(s, T::sub(s, T::splat(s, T::ZERO), y), y, a)
}

/// `x / (1 + |x|)`.
pub(super) struct Softsign;

impl Softsign {
    /// From here on, `a / (1 + a)` rounds to 1 in f32 and in f64; for Inf it would be NaN.
    const FAR: f64 = (1_u64 << 60) as f64;
}

impl<T: Float> Curve<T> for Softsign {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        let a = at_most(s, T::abs::<S>(x), T::from_f64(Self::FAR));
        T::xor_sign::<S>(T::div(s, a, T::add(s, T::splat(s, T::ONE), a)), x)
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, y: T::V<S>, dy: T::V<S>) -> T::V<S> {
        // 1 - |y| is 1 / (1 + |x|).
        let root = T::sub(s, T::splat(s, T::ONE), T::abs::<S>(y));
        T::mul(s, T::mul(s, root, root), dy)
    }
}
