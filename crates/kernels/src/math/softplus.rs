//! ln(1 + e^x) of one register.
//!
//! ```text
//! softplus x = max(x, 0) + ln(1 + e^-|x|)
//! ```
//!
//! Called by `math` and `activation`.

use super::{exp::exp, ln::ln_1p};
use crate::simd::{Float, Simd};

/// `ln(1 + e^x)`, within 2 ULP, also where it is subnormal; 0 for -Inf, Inf for Inf, NaN for NaN.
#[inline(always)]
pub(crate) fn softplus<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let zero = T::splat(s, T::ZERO);
    let log = ln_1p::<S, T>(s, exp::<S, T>(s, T::sub(s, zero, T::abs::<S>(x))));
    T::add(s, T::select(s, T::less(s, x, zero), zero, x), log)
}
