//! exp(x) - 1 of one register, without the loss that the subtraction would bring near 0.
//!
//! ```text
//! x = n ln 2 + r + low           as in `exp`; r is exact, low is what LOW takes away
//! e^x - 1 = 2^n r + (2^n - 1) + 2^n (low + r^2 q(r + low))
//! ```
//!
//! The polynomial is that of `exp`. Called by `math`, `tanh` and `erf`.

use super::exp::{power_of_two, reduce};
use super::polynomial;
use crate::simd::{Float, Simd};

/// `e^x - 1`, within 1.5 ULP; NaN for NaN, -1 for -Inf. A zero keeps its sign.
#[inline(always)]
pub(crate) fn exp_m1<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let (least, greatest) = (T::splat(s, T::LEAST), T::splat(s, T::GREATEST));
    let clamped = T::select(s, T::less(s, x, least), least, x);
    let clamped = T::select(s, T::less(s, greatest, clamped), greatest, clamped);
    let zero = T::splat(s, T::ZERO);
    let (n, r) = reduce::<S, T>(s, clamped);
    let low = T::mul(s, n, T::splat(s, -T::LN_2_LOW));
    // 2^n = up / down, since 2^n itself can be past the largest number.
    let round = T::splat(s, T::ROUND);
    let half = T::sub(s, T::mul_add(s, n, T::splat(s, T::HALF), round), round);
    let rest = T::sub(s, n, half);
    let up = power_of_two::<S, T>(s, half);
    let down = power_of_two::<S, T>(s, T::sub(s, zero, rest));
    let y = around_one::<S, T>(s, up, T::sub(s, up, down), r, low);
    let y = T::mul(s, y, power_of_two::<S, T>(s, rest));
    T::xor_sign::<S>(T::abs::<S>(y), x)
}

/// `power e^(r + low) - power + offset`.
#[inline(always)]
pub(crate) fn around_one<S: Simd, T: Float>(
    s: S,
    power: T::V<S>,
    offset: T::V<S>,
    r: T::V<S>,
    low: T::V<S>,
) -> T::V<S> {
    let t = T::add(s, r, low);
    let q = polynomial::<S, T>(s, t, T::EXP);
    let rest = T::mul_add(s, T::mul(s, t, t), q, low);
    T::mul_add(s, power, rest, T::mul_add(s, power, r, offset))
}
