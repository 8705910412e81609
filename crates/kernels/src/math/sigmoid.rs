//! The logistic function of one register.
//!
//! ```text
//! e = e^-|x|                     never past 1, so that nothing overflows
//! sigmoid x = 1 / (1 + e)        x >= 0
//!             e / (1 + e)        x < 0
//! ```
//!
//! `e` is that of `exp`, with a better last sum: one polynomial, one division. The quotient is corrected for what it and its denominator lost by rounding, so that
//! the error of `e` is nearly all of the result's. Called by `math` and `activation`.

use super::exp::{exp_reduced, reduce, scale};
use super::quotient;
use crate::simd::{Float, Simd};

/// `1 / (1 + e^-x)`, within 2 ULP, also where it is subnormal; 0 for -Inf, 1 for Inf, NaN for NaN.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let (zero, one) = (T::splat(s, T::ZERO), T::splat(s, T::ONE));
    let least = T::splat(s, T::LEAST);
    let a = T::sub(s, zero, T::abs::<S>(x));
    let a = T::select(s, T::less(s, a, least), least, a);
    let (n, r) = reduce::<S, T>(s, a);
    let low = T::mul(s, n, T::splat(s, -T::LN_2_LOW));
    let e = scale::<S, T>(s, exp_reduced::<S, T>(s, r, low), n);
    let numerator = T::select(s, T::less(s, x, zero), e, one);
    quotient::<S, T>(s, numerator, one, e)
}
