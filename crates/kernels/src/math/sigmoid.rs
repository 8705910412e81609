//! The logistic function of one register.
//!
//! ```text
//! e = e^-|x|                     never past 1, so that nothing overflows
//! sigmoid x = 1 / (1 + e)        x >= 0
//!             e / (1 + e)        x < 0
//! ```
//!
//! Called by `math` and `activation`.

use super::exp::exp;
use crate::simd::{Float, Simd};

/// `1 / (1 + e^-x)`, within 2 ULP, also where it is subnormal; 0 for -Inf, 1 for Inf, NaN for NaN.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let (zero, one) = (T::splat(s, T::ZERO), T::splat(s, T::ONE));
    let e = exp::<S, T>(s, T::sub(s, zero, T::abs::<S>(x)));
    let numerator = T::select(s, T::less(s, x, zero), e, one);
    T::div(s, numerator, T::add(s, one, e))
}
