//! Inverse square root of one register: a square root and a division, both correctly rounded, since
//! processors' estimates differ. Called by `math`.

use crate::simd::{Float, Simd};

/// `1 / sqrt(x)`, within 1.5 ULP; ±Inf for ±0 (IEEE 754-2019, 9.2.1), 0 for Inf, NaN for NaN and
/// below 0.
#[inline(always)]
pub(crate) fn rsqrt<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    T::div(s, T::splat(s, T::ONE), T::sqrt(s, x))
}
