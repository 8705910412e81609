//! The normal distribution function Phi and its density, of one register.
//!
//! ```text
//! t = |x|
//! tail = e^(-t^2 / 2) q((t - ORIGIN) / (t + BEYOND)) / (t + BEYOND)        Phi(-t)
//! Phi(x) = tail                                                         x < 0
//!          1 - tail                                                     x >= 0
//! density = e^(-t^2 / 2) / sqrt(2 pi)
//! ```
//!
//! Computed from the tail, Phi keeps its relative accuracy however small it is, where
//! `(1 + erf) / 2` would cancel; and the density shares the exponential. The quotient maps all t to
//! a short interval, on which `q` is smooth (Schonfelder, "Chebyshev expansions for the error and
//! related functions", 1978, does so for erfc). `q` interpolates at the Chebyshev nodes: its
//! relative error is 2^-25.6 for f32, 2^-58.5 for f64. f32 expands it around t = 0, where most
//! inputs are and each step loses least; the higher coefficients of f64 would cancel there, so f64
//! expands around the middle. Called by the GELU.

use super::at_most;
use crate::math::{exp::exp, polynomial};
use crate::simd::{Float, Lanes, Simd};

/// Constants of the normal distribution.
pub trait Normal: Lanes {
    /// From here on, e^(-t^2 / 2) rounds to 0.
    const FURTHEST: Self;
    /// Point around which `q` is expanded.
    const ORIGIN: Self;
    /// Pole offset of the quotient, near the middle of the relevant range.
    const BEYOND: Self;
    /// Coefficients of `q`.
    const TAIL: &'static [Self];
}

impl Normal for f32 {
    const FURTHEST: f32 = 14.5;
    const ORIGIN: f32 = 0.0;
    const BEYOND: f32 = 2.5;
    const TAIL: &'static [f32] = &[
        1.25,
        -1.243_393_3,
        0.169_628_08,
        0.291_673_03,
        0.057_047_67,
        -0.152_917_53,
        0.144_078_52,
        -0.320_328_53,
        0.284_107_42,
        -0.080_956_84,
    ];
}

impl Normal for f64 {
    const FURTHEST: f64 = 39.0;
    const ORIGIN: f64 = 5.75;
    const BEYOND: f64 = 5.75;
    const TAIL: &'static [f64] = &[
        0.775_666_160_541_775,
        -0.693_525_556_722_831_2,
        0.553_056_439_776_390_1,
        -0.391_277_111_830_918_07,
        0.243_346_077_606_969_7,
        -0.131_044_615_939_773_6,
        0.059_544_460_650_738_144,
        -0.021_730_593_872_524_805,
        0.005_651_495_816_798_185,
        -0.000_592_008_884_861_169_5,
        -0.000_280_131_447_001_673_7,
        0.000_152_487_862_449_891_67,
        -1.764_548_010_649_886_3e-5,
        -1.191_976_277_199_637_9e-5,
        4.904_286_455_588_268e-6,
        4.220_532_708_051_970_4e-7,
        -7.010_784_795_930_359e-7,
        4.990_068_984_232_673_4e-8,
        8.960_017_370_643_623e-8,
        -1.419_739_975_727_590_4e-8,
        -1.109_809_996_013_268_5e-8,
        1.593_635_522_542_332_4e-9,
        1.023_352_152_365_623_5e-9,
    ];
}

/// Phi(x) and its derivative; 0 and 0 for -Inf, 1 and 0 for Inf, NaN for NaN.
#[inline(always)]
pub(super) fn normal<S: Simd, T: Float>(s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
    let (zero, one, half) = (T::splat(s, T::ZERO), T::splat(s, T::ONE), T::splat(s, T::HALF));
    let t = at_most(s, T::abs::<S>(x), T::FURTHEST);

    // t^2 is square + rest. The exponential of `square` alone would have its rounding error, times
    // t^2, in the last digits.
    let square = T::mul(s, t, t);
    let minus = T::sub(s, zero, square);
    let rest = T::mul(s, half, T::mul_add(s, t, t, minus));
    let power = exp::<S, T>(s, T::mul(s, half, minus));
    let power = T::mul_add(s, T::sub(s, zero, rest), power, power);

    let inverse = T::div(s, one, T::add(s, t, T::splat(s, T::BEYOND)));
    let u = T::mul(s, T::sub(s, t, T::splat(s, T::ORIGIN)), inverse);
    let q = polynomial::<S, T>(s, u, T::TAIL);
    let tail = T::mul(s, power, T::mul(s, q, inverse));
    let phi = T::select(s, T::less(s, x, zero), tail, T::sub(s, one, tail));
    // 1 / sqrt(2 pi).
    (phi, T::mul(s, T::splat(s, T::from_f64(0.398_942_280_401_432_7)), power))
}
