//! e^x - 1 of one register, without the cancellation of a subtraction near 0.
//!
//! ```text
//! x = n ln 2 + r + low           as in `exp`; r is exact, low is -n LN_2_LOW
//! e^x - 1 = (2^n - 1) + 2^n r + 2^n (low + r^2 q(r + low))
//! ```
//!
//! The last term is small compared with the others, and so is its error. `q` is that of `exp`.
//! Called by `math`, `tanh` and `erf`.

use super::exp::{clamp, exp_bend, power_of_two, reduce};
use crate::simd::{Float, Simd};

/// `e^x - 1`, within 1.5 ULP; NaN for NaN, -1 for -Inf. A zero keeps its sign.
#[inline(always)]
pub(crate) fn exp_m1<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let (n, r) = reduce::<S, T>(s, clamp::<S, T>(s, x));
    let low = T::mul(s, n, T::splat(s, -T::LN_2_LOW));
    // 2^n itself can overflow: 2^(n / 2) multiplies inside, the rest of 2^n at the end.
    let round = T::splat(s, T::ROUND);
    let half = T::sub(s, T::mul_add(s, n, T::splat(s, T::HALF), round), round);
    let power = power_of_two::<S, T>(s, half);
    let one = power_of_two::<S, T>(s, T::sub(s, half, n));
    let y = scaled_exp_m1::<S, T>(s, power, T::sub(s, power, one), r, low);
    let y = T::mul(s, y, power_of_two::<S, T>(s, T::sub(s, n, half)));
    T::xor_sign::<S>(T::abs::<S>(y), x)
}

/// `e^x - 1` for `x = n ln 2 + r + low` with a 2^n that is neither subnormal nor infinite. A zero
/// may lose its sign.
#[inline(always)]
pub(crate) fn exp_m1_reduced<S: Simd, T: Float>(
    s: S,
    (n, r): (T::V<S>, T::V<S>),
    low: T::V<S>,
) -> T::V<S> {
    let power = power_of_two::<S, T>(s, n);
    scaled_exp_m1::<S, T>(s, power, T::sub(s, power, T::splat(s, T::ONE)), r, low)
}

/// `offset + power (e^(r + low) - 1)`.
#[inline(always)]
fn scaled_exp_m1<S: Simd, T: Float>(
    s: S,
    power: T::V<S>,
    offset: T::V<S>,
    r: T::V<S>,
    low: T::V<S>,
) -> T::V<S> {
    T::mul_add(s, power, exp_bend::<S, T>(s, r, low), T::mul_add(s, power, r, offset))
}
