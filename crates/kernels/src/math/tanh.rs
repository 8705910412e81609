//! tanh of one register.
//!
//! ```text
//! E = e^(2|x|) - 1
//! tanh x = ±E / (E + 2)
//! ```
//!
//! Called by `math` and `activation`.

use super::exp_m1::exp_m1;
use crate::simd::{Float, Simd};

/// `tanh(x)`, within 2 ULP; ±1 for ±Inf, NaN for NaN. A zero keeps its sign.
#[inline(always)]
pub(crate) fn tanh<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let two = T::splat(s, T::TWO);
    let limit = T::splat(s, T::from_u8(22));
    let a = T::abs::<S>(x);
    let a = T::select(s, T::less(s, limit, a), limit, a);
    let e = exp_m1::<S, T>(s, T::add(s, a, a));
    T::xor_sign::<S>(T::div(s, e, T::add(s, e, two)), x)
}
