//! Piecewise linear activations: ReLU, capped ReLU, leaky ReLU, hard tanh, hard sigmoid.
//!
//! The output tells the piece as well as the input does, since only flat pieces share a value with
//! another. The comparisons are false for NaN, which therefore takes the upper piece. Called by
//! `activation`.

use super::{Curve, at_least, at_most};
use crate::simd::{Float, Simd};

/// `max(x, 0)`.
pub(super) struct Relu;

impl<T: Float> Curve<T> for Relu {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        at_least(s, x, T::ZERO)
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, y: T::V<S>, dy: T::V<S>) -> T::V<S> {
        let zero = T::splat(s, T::ZERO);
        T::select(s, T::less_or_equal(s, y, zero), zero, dy)
    }
}

/// `min(max(x, low), high)`.
pub(super) struct Clamp<T> {
    pub(super) low: T,
    pub(super) high: T,
}

impl<T: Float> Curve<T> for Clamp<T> {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        at_most(s, at_least(s, x, self.low), self.high)
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, y: T::V<S>, dy: T::V<S>) -> T::V<S> {
        let zero = T::splat(s, T::ZERO);
        let dx = T::select(s, T::less_or_equal(s, y, T::splat(s, self.low)), zero, dy);
        T::select(s, T::less_or_equal(s, T::splat(s, self.high), y), zero, dx)
    }
}

/// `x` above 0, `slope x` elsewhere.
pub(super) struct LeakyRelu<T> {
    pub(super) slope: T,
}

impl<T: Float> Curve<T> for LeakyRelu<T> {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        self.gradient(s, x, x)
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, y: T::V<S>, dy: T::V<S>) -> T::V<S> {
        let below = T::less_or_equal(s, y, T::splat(s, T::ZERO));
        T::select(s, below, T::mul(s, T::splat(s, self.slope), dy), dy)
    }
}

/// `min(max(x + 3, 0), 6) / 6`.
pub(super) struct HardSigmoid;

impl HardSigmoid {
    /// 1/6, rounded: six times it is 1 in f32 and in f64.
    const SIXTH: f64 = 1.0 / 6.0;
}

impl<T: Float> Curve<T> for HardSigmoid {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        let six_times = T::add(s, x, T::splat(s, T::from_u8(3)));
        let six_times = at_most(s, at_least(s, six_times, T::ZERO), T::from_u8(6));
        T::mul(s, six_times, T::splat(s, T::from_f64(Self::SIXTH)))
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, y: T::V<S>, dy: T::V<S>) -> T::V<S> {
        let slope = T::splat(s, T::from_f64(Self::SIXTH));
        Clamp { low: T::ZERO, high: T::ONE }.gradient(s, y, T::mul(s, slope, dy))
    }
}
