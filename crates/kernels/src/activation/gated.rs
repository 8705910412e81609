//! Activations that multiply `x` by a gate between 0 and 1: GELU, SiLU, mish.
//!
//! ```text
//! y = x g(x)        dy/dx = g(x) + x g'(x)
//! ```
//!
//! The gates keep their relative accuracy however small they are, and so do the products. At ±Inf,
//! 0 times Inf would be NaN: beyond [`FAR`], where every gate is 0 or 1 and its derivative 0, a
//! finite number replaces `x`. `y` is not monotonic, so it does not determine `x`: the gradients
//! read `x`. Called by `activation`.

use super::normal::normal;
use super::{Curve, at_least, at_most};
use crate::math::{exp::exp, sigmoid::sigmoid};
use crate::simd::{Float, Simd};

/// Magnitude from which every gate is 0 below and 1 above, and its derivative 0, in f32 and in f64.
const FAR: f64 = 1000.0;

/// `x gate`, where `gate` is 0 below -[`FAR`].
#[inline(always)]
fn through<S: Simd, T: Float>(s: S, x: T::V<S>, gate: T::V<S>) -> T::V<S> {
    T::mul(s, at_least(s, x, T::from_f64(-FAR)), gate)
}

/// `x` clamped to ±[`FAR`].
#[inline(always)]
fn near<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    at_most(s, at_least(s, x, T::from_f64(-FAR)), T::from_f64(FAR))
}

/// `sigmoid(x)` and its derivative, `e / (1 + e)^2` with `e = e^-|x|`: no difference that could
/// cancel.
#[inline(always)]
fn sigmoid_and_slope<S: Simd, T: Float>(s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
    let (zero, one) = (T::splat(s, T::ZERO), T::splat(s, T::ONE));
    let e = exp::<S, T>(s, T::sub(s, zero, T::abs::<S>(x)));
    let above = T::div(s, one, T::add(s, one, e));
    let below = T::mul(s, e, above);
    (T::select(s, T::less(s, x, zero), below, above), T::mul(s, below, above))
}

/// `x Phi(x)`.
pub(super) struct Gelu;

impl<T: Float> Curve<T> for Gelu {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        through::<S, T>(s, x, normal::<S, T>(s, x).0)
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, x: T::V<S>, dy: T::V<S>) -> T::V<S> {
        let (gate, slope) = normal::<S, T>(s, x);
        T::mul(s, T::mul_add(s, near::<S, T>(s, x), slope, gate), dy)
    }
}

/// `x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))`, since `(1 + tanh z) / 2` is `sigmoid(2 z)`.
pub(super) struct GeluTanh;

impl GeluTanh {
    /// 2 sqrt(2 / pi).
    const LINEAR: f64 = 1.595_769_121_605_730_7;
    /// Coefficient of x^3.
    const CUBIC: f64 = 0.044_715 * Self::LINEAR;
}

impl<T: Float> Curve<T> for GeluTanh {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        let (linear, cubic) =
            (T::splat(s, T::from_f64(Self::LINEAR)), T::splat(s, T::from_f64(Self::CUBIC)));
        let inner = T::mul(s, x, T::mul_add(s, cubic, T::mul(s, x, x), linear));
        through::<S, T>(s, x, sigmoid::<S, T>(s, inner))
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, x: T::V<S>, dy: T::V<S>) -> T::V<S> {
        let x = near::<S, T>(s, x);
        let (linear, cubic) =
            (T::splat(s, T::from_f64(Self::LINEAR)), T::splat(s, T::from_f64(Self::CUBIC)));
        let square = T::mul(s, x, x);
        let inner = T::mul(s, x, T::mul_add(s, cubic, square, linear));
        let (gate, slope) = sigmoid_and_slope::<S, T>(s, inner);
        // x times the derivative of the sigmoid's argument.
        let rise = T::mul(
            s,
            x,
            T::mul_add(s, T::splat(s, T::from_f64(3.0 * Self::CUBIC)), square, linear),
        );
        T::mul(s, T::mul_add(s, rise, slope, gate), dy)
    }
}

/// `x sigmoid(x)`.
pub(super) struct Silu;

impl<T: Float> Curve<T> for Silu {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        through::<S, T>(s, x, sigmoid::<S, T>(s, x))
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, x: T::V<S>, dy: T::V<S>) -> T::V<S> {
        let (gate, slope) = sigmoid_and_slope::<S, T>(s, x);
        T::mul(s, T::mul_add(s, near::<S, T>(s, x), slope, gate), dy)
    }
}

/// `x tanh(ln(1 + e^x))`. With `n = e^x`, the gate is `p / (p + 2)`, `p = n (n + 2)`, and its
/// derivative `4 n (n + 1) / (p + 2)^2`.
pub(super) struct Mish;

impl Mish {
    /// From here on, the gate rounds to 1, and `x` times its derivative, at most 40 * 4 e^-80, is
    /// lost in the sum, in f32 and in f64; `p` is in range.
    const SATURATED: f64 = 40.0;
}

impl<T: Float> Curve<T> for Mish {
    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: T::V<S>) -> T::V<S> {
        let two = T::splat(s, T::TWO);
        let n = exp::<S, T>(s, at_most(s, x, T::from_f64(Self::SATURATED)));
        let p = T::mul(s, n, T::add(s, n, two));
        through::<S, T>(s, x, T::div(s, p, T::add(s, p, two)))
    }
    #[inline(always)]
    fn gradient<S: Simd>(&self, s: S, x: T::V<S>, dy: T::V<S>) -> T::V<S> {
        let (one, two, four) =
            (T::splat(s, T::ONE), T::splat(s, T::TWO), T::splat(s, T::from_u8(4)));
        let x = at_most(s, at_least(s, x, T::from_f64(-FAR)), T::from_f64(Self::SATURATED));
        let n = exp::<S, T>(s, x);
        let p = T::mul(s, n, T::add(s, n, two));
        let inverse = T::div(s, one, T::add(s, p, two));
        // Multiplied one by one: the square of p + 2 would overflow f32.
        let slope = T::mul(s, T::mul(s, n, inverse), T::mul(s, T::add(s, n, one), inverse));
        let rise = T::mul(s, T::mul(s, four, x), slope);
        T::mul(s, T::mul_add(s, p, inverse, rise), dy)
    }
}
