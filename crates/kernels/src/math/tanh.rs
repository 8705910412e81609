//! tanh of one register.
//!
//! ```text
//! E = e^(2|x|) - 1
//! tanh x = ±E / (E + 2)
//! ```
//!
//! `E` is that of `exp_m1`: one polynomial, one division. The quotient is corrected for its own
//! rounding error and that of its denominator, so that the error of `E` is nearly all of the
//! result's. Called by `math` and `activation`.

use super::exp::reduce;
use super::exp_m1::exp_m1_reduced;
use super::quotient;
use crate::simd::{Float, Simd};

/// `tanh(x)`, within 2 ULP; ±1 for ±Inf, NaN for NaN. A zero keeps its sign.
#[inline(always)]
pub(crate) fn tanh<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    // From here on, tanh rounds to 1 in either type.
    let limit = T::splat(s, T::from_u8(20));
    let a = T::abs::<S>(x);
    let a = T::select(s, T::less(s, limit, a), limit, a);
    let (n, r) = reduce::<S, T>(s, T::add(s, a, a));
    let e = exp_m1_reduced::<S, T>(s, (n, r), T::mul(s, n, T::splat(s, -T::LN_2_LOW)));
    T::xor_sign::<S>(quotient::<S, T>(s, e, T::splat(s, T::TWO), e), x)
}
