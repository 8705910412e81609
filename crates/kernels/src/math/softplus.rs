//! ln(1 + e^x) of one register.
//!
//! ```text
//! e = e^-|x|,  s = e / (2 + e),  z = s^2
//! ln(1 + e) = e - e^2/2 + s (e^2/2 + z p(z))         as in `ln`, for 0 <= e <= 1
//! softplus x = max(x, 0) + ln(1 + e)
//! ```
//!
//! Nothing overflows, and for very negative `x` the result is e^x down to the smallest subnormal
//! number. `p` is the minimax polynomial (Remez) for (2 atanh(s)/s - 2)/z, as in `ln`, but up to s
//! = 1/3, so that no power of two has to be split off: 2^-33 for f32, 2^-59 for f64, relative to
//! ln(1 + e). Called by `math` and `activation`.

use super::exp::{exp_reduced, reduce, scale};
use super::polynomial;
use super::pow::Pow;
use crate::simd::{Float, Simd};

/// Constants of softplus.
pub trait Softplus: Pow {
    /// Coefficients of `p`.
    const SOFTPLUS: &'static [Self];
}

impl Softplus for f32 {
    const SOFTPLUS: &'static [f32] =
        &[0.666_666_75, 0.399_988_9, 0.286_165_95, 0.214_307_5, 0.242_895_23];
}

impl Softplus for f64 {
    const SOFTPLUS: &'static [f64] = &[
        0.666_666_666_666_663_1,
        0.400_000_000_001_550_9,
        0.285_714_285_481_211_25,
        0.222_222_239_534_768_72,
        0.181_817_444_844_276_5,
        0.153_865_482_889_293_86,
        0.133_011_226_289_212_2,
        0.121_049_357_897_906_12,
        0.083_450_083_155_108_92,
        0.170_096_934_286_681_02,
    ];
}

/// `ln(1 + e^x)`, within 2 ULP, including subnormal results; 0 for -Inf, Inf for Inf, NaN for NaN.
#[inline(always)]
pub(crate) fn softplus<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let (zero, min) = (T::splat(s, T::ZERO), T::splat(s, T::MIN_INPUT));
    let a = T::sub(s, zero, T::abs::<S>(x));
    let a = T::select(s, T::less(s, a, min), min, a);
    let (n, r) = reduce::<S, T>(s, a);
    let low = T::mul(s, n, T::splat(s, -T::LN_2_LOW));
    let e = scale::<S, T>(s, exp_reduced::<S, T>(s, r, low), n);

    let ratio = T::div(s, e, T::add(s, T::splat(s, T::TWO), e));
    let z = T::mul(s, ratio, ratio);
    let square = T::mul(s, T::mul(s, T::splat(s, T::HALF), e), e);
    let rest = T::mul_add(s, z, polynomial::<S, T>(s, z, T::SOFTPLUS), square);
    // max(x, 0) is added to the smaller terms, where its rounding costs least.
    let positive = T::select(s, T::less(s, x, zero), zero, x);
    T::add(s, e, T::mul_add(s, ratio, rest, T::sub(s, positive, square)))
}
