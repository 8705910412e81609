//! The logistic function of one register.
//!
//! ```text
//! -x = n ln 2 + r                as in `exp`
//! sigmoid x = 1 / (1 + e^-x) = SHIFT / (SHIFT + SHIFT 2^n e^r)
//!           = SHIFT / (SHIFT + power + power (e^r - 1)),  power = SHIFT 2^n
//! ```
//!
//! SHIFT = 2^-64 keeps every power in the range of normal numbers, up to where the quotient itself
//! rounds to 0: one power of two, one polynomial (that of `exp`), one division, and no case for the
//! sign of `x`. The rounding error of the sum of both powers is added last. Called by `math` and
//! `activation`.

use super::exp::power;
use super::polynomial;
use crate::simd::{Float, Simd};

/// `1 / (1 + e^-x)`, within 2 ULP, including subnormal results; 0 for -Inf, 1 for Inf, NaN for NaN.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    // Beyond these, the result rounds to 1 (in either type) and to 0.
    let (min, max) = (T::splat(s, -T::from_u8(40)), T::splat(s, -T::MIN_INPUT));
    let a = T::xor_sign::<S>(x, T::splat(s, -T::ONE));
    let a = T::select(s, T::less(s, a, min), min, a);
    let a = T::select(s, T::less(s, max, a), max, a);

    let round = T::splat(s, T::ROUND_SHIFTED);
    let shifted = T::mul_add(s, a, T::splat(s, T::LOG2_E), round);
    let n = T::sub(s, shifted, round);
    let r = T::mul_add(s, n, T::splat(s, -T::LN_2_HIGH), a);
    let r = T::mul_add(s, n, T::splat(s, -T::LN_2_LOW), r);
    let e = T::mul_add(s, T::mul(s, r, r), polynomial::<S, T>(s, r, T::EXP), r);

    let shift = T::splat(s, T::SHIFT);
    let power = power::<S, T>(shifted);
    let sum = T::add(s, shift, power);
    let lost = T::sub(s, shift, T::sub(s, sum, power));
    T::div(s, shift, T::add(s, sum, T::mul_add(s, power, e, lost)))
}
