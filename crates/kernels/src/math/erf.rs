//! The error function of one register, as the complement of an exponential.
//!
//! ```text
//! a = |x|
//! g = -ln(erfc a) = a (2/sqrt(pi) + a p(a - CENTRE))     as high + low
//! erf x = ±(1 - e^-g)                                    as in `exp_m1`, accurate near 0
//! ```
//!
//! One smooth `g` covers 0 to where erf rounds to 1, so that no interval has to be selected. `p` is
//! the minimax polynomial (Remez), weighted by a^2 erfc(a) / erf(a) for the relative error of erf:
//! 2^-31 for f32, 2^-55 for f64. It is expanded around a centre, since a polynomial of this degree
//! in `a` itself would cancel. Called by `math` and `activation`.

use super::exp::reduce;
use super::exp_m1::exp_m1_reduced;
use super::polynomial;
use super::sin_pi::SinPi;
use crate::simd::{Float, Simd};

/// Constants of erf.
pub trait Erf: SinPi {
    /// From here on, erf rounds to 1.
    const ERF_LIMIT: Self;
    /// 2 / sqrt(pi), rounded.
    const SLOPE: Self;
    /// 2 / sqrt(pi) - SLOPE.
    const SLOPE_LOW: Self;
    /// Centre of the expansion, about the middle of the range of `p`.
    const CENTRE: Self;
    /// Coefficients of `p`.
    const ERF: &'static [Self];
}

impl Erf for f32 {
    const ERF_LIMIT: f32 = 3.92;
    const SLOPE: f32 = core::f32::consts::FRAC_2_SQRT_PI;
    const SLOPE_LOW: f32 = -5.863_538_3e-8;
    const CENTRE: f32 = 2.0;
    const ERF: &'static [f32] = &[
        0.777_045_7,
        0.045_399_63,
        -0.008_722_872_5,
        0.001_491_252_7,
        -0.000_201_323_27,
        9.790_897e-6,
        1.958_872_2e-6,
        -2.371_451_5e-6,
        1.173_620_6e-6,
    ];
}

impl Erf for f64 {
    const ERF_LIMIT: f64 = 5.93;
    const SLOPE: f64 = core::f64::consts::FRAC_2_SQRT_PI;
    const SLOPE_LOW: f64 = 1.533_545_961_316_588e-17;
    const CENTRE: f64 = 3.0;
    const ERF: &'static [f64] = &[
        0.815_025_060_077_070_5,
        0.031_691_573_492_837_1,
        -0.005_308_920_246_637_546,
        0.000_841_537_786_945_973_4,
        -0.000_121_512_906_888_524_57,
        1.480_349_881_786_967_3e-5,
        -1.154_870_048_277_703e-6,
        -8.494_520_942_961_583e-8,
        6.617_636_569_491_962e-8,
        -1.846_311_418_286_369_4e-8,
        4.841_895_415_081_845e-9,
        -1.109_551_502_026_889_7e-9,
        -4.665_869_034_114_202e-10,
        -2.746_188_868_628_141e-10,
        6.594_331_945_822_463e-11,
        1.229_438_002_257_165e-10,
        5.039_760_030_016_327_4e-11,
        1.832_196_711_114_098_4e-12,
        -6.684_001_443_511_234_4e-12,
        -3.054_398_938_051_76e-12,
        -6.698_798_014_356_27e-13,
        -7.672_976_828_779_583e-14,
        -3.641_982_959_502_056e-15,
    ];
}

/// `2 / sqrt(pi)` times the integral of `e^-t^2` from 0 to `x`, within 2 ULP; ±1 for ±Inf, NaN
/// for NaN. A zero keeps its sign.
#[inline(always)]
pub(crate) fn erf<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let limit = T::splat(s, T::ERF_LIMIT);
    let a = T::abs::<S>(x);
    let a = T::select(s, T::less(s, limit, a), limit, a);

    // -g, as high + low.
    let slope = T::splat(s, -T::SLOPE);
    let straight = T::mul(s, a, slope);
    let lost = T::sub(s, T::splat(s, T::ZERO), T::mul_add(s, a, T::splat(s, T::SLOPE), straight));
    let p = polynomial::<S, T>(s, T::sub(s, a, T::splat(s, T::CENTRE)), T::ERF);
    let bend = T::mul(s, a, T::mul_add(s, a, p, T::splat(s, T::SLOPE_LOW)));
    let high = T::sub(s, straight, bend);
    let low = T::sub(s, lost, T::add(s, T::sub(s, high, straight), bend));

    let (n, r) = reduce::<S, T>(s, high);
    let low = T::mul_add(s, n, T::splat(s, -T::LN_2_LOW), low);
    let y = exp_m1_reduced::<S, T>(s, (n, r), low);
    T::xor_sign::<S>(T::abs::<S>(y), x)
}
