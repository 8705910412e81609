//! exp of one register, by Cody and Waite's reduction and a polynomial.
//!
//! ```text
//! n = round(x / ln 2)            by adding 1.5 * 2^MANTISSA, whose last bits then hold n
//! r = x - n ln 2                 |r| <= ln 2 / 2; ln 2 = HIGH + LOW, n * HIGH is exact
//! e^x = (1 + r + r^2 q(r)) * 2^(n/2) * 2^(n - n/2)
//! ```
//!
//! Two powers of two, since 2^n itself can be subnormal or above the largest finite number. The
//! first product is exact, the second rounds once, which gives gradual underflow and correct
//! overflow. `q` is the minimax polynomial (Remez), weighted for the relative error of e^x: 2^-34
//! for f32, 2^-64 for f64. Called by `math`, `row`, `softmax` and `loss`; its parts by `exp_m1`,
//! `tanh`, `sigmoid`, `softplus`, `erf` and `pow`.

use super::polynomial;
use crate::simd::{Float, Lanes, Simd};

/// Constants of exp.
pub trait Exp: Lanes {
    /// Below it, e^x rounds to 0.
    const MIN_INPUT: Self;
    /// Above it, e^x rounds to Inf.
    const MAX_INPUT: Self;
    /// 1 / ln 2.
    const LOG2_E: Self;
    /// High part of ln 2: its product with an exponent is exact.
    const LN_2_HIGH: Self;
    /// ln 2 - LN_2_HIGH.
    const LN_2_LOW: Self;
    /// 1.5 * 2^MANTISSA plus the exponent bias: adding it rounds to an integer and leaves the
    /// biased exponent of the power of two in the last bits.
    const ROUND: Self;
    /// ROUND - 64: leaves the exponent of the power of two times SHIFT.
    const ROUND_SHIFTED: Self;
    /// 2^-64.
    const SHIFT: Self;
    /// 1/2.
    const HALF: Self;
    /// Coefficients of `q`.
    const EXP: &'static [Self];
}

impl Exp for f32 {
    const MIN_INPUT: f32 = -104.0;
    const MAX_INPUT: f32 = 89.0;
    const LOG2_E: f32 = core::f32::consts::LOG2_E;
    const LN_2_HIGH: f32 = 0.693_145_75;
    const LN_2_LOW: f32 = 1.428_606_8e-6;
    const ROUND: f32 = 12_582_912.0 + 127.0;
    const ROUND_SHIFTED: f32 = Self::ROUND - 64.0;
    const SHIFT: f32 = 1.0 / (1_u128 << 64) as f32;
    const HALF: f32 = 0.5;
    const EXP: &'static [f32] =
        &[0.5, 0.166_666_66, 0.041_666_295, 0.008_333_497, 0.001_394_466, 0.000_197_903_37];
}

impl Exp for f64 {
    const MIN_INPUT: f64 = -746.0;
    const MAX_INPUT: f64 = 710.0;
    const LOG2_E: f64 = core::f64::consts::LOG2_E;
    const LN_2_HIGH: f64 = 0.693_147_180_559_663;
    const LN_2_LOW: f64 = 2.823_529_056_303_157_7e-13;
    const ROUND: f64 = 6_755_399_441_055_744.0 + 1023.0;
    const ROUND_SHIFTED: f64 = Self::ROUND - 64.0;
    const SHIFT: f64 = 1.0 / (1_u128 << 64) as f64;
    const HALF: f64 = 0.5;
    const EXP: &'static [f64] = &[
        0.5,
        0.166_666_666_666_666_82,
        0.041_666_666_666_666_095,
        0.008_333_333_333_317_034,
        0.001_388_888_888_911_562_9,
        0.000_198_412_698_963_867_73,
        2.480_158_692_663_994e-5,
        2.755_723_486_177_84e-6,
        2.755_758_183_721_049e-7,
        2.511_203_692_926_997_8e-8,
        2.082_663_155_385_143_6e-9,
    ];
}

/// `e^x`, within 1 ULP; NaN for NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let (n, r) = reduce::<S, T>(s, clamp::<S, T>(s, x));
    scale::<S, T>(s, exp_of_rest::<S, T>(s, n, r), n)
}

/// `e^(r - n LN_2_LOW)`, for `(n, r)` of [`reduce`].
#[inline(always)]
fn exp_of_rest<S: Simd, T: Float>(s: S, n: T::V<S>, r: T::V<S>) -> T::V<S> {
    let r = T::mul_add(s, n, T::splat(s, -T::LN_2_LOW), r);
    let q = polynomial::<S, T>(s, r, T::EXP);
    T::add(s, T::splat(s, T::ONE), T::mul_add(s, T::mul(s, r, r), q, r))
}

/// `e^(r + low)` for an `r` of [`reduce`] and a small `low`, within 0.6 ULP.
#[inline(always)]
pub(crate) fn exp_reduced<S: Simd, T: Float>(s: S, r: T::V<S>, low: T::V<S>) -> T::V<S> {
    let one = T::splat(s, T::ONE);
    let sum = T::add(s, one, r);
    let lost = T::sub(s, r, T::sub(s, sum, one));
    T::add(s, sum, T::add(s, lost, exp_bend::<S, T>(s, r, low)))
}

/// `e^(r + low) - 1 - r`: small compared with `e^r - 1`, and so is its error.
#[inline(always)]
pub(crate) fn exp_bend<S: Simd, T: Float>(s: S, r: T::V<S>, low: T::V<S>) -> T::V<S> {
    let t = T::add(s, r, low);
    T::mul_add(s, T::mul(s, t, t), polynomial::<S, T>(s, t, T::EXP), low)
}

/// Clamps `x` to the range outside of which `e^x` rounds to 0 or to Inf.
#[inline(always)]
pub(crate) fn clamp<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let (min, max) = (T::splat(s, T::MIN_INPUT), T::splat(s, T::MAX_INPUT));
    let x = T::select(s, T::less(s, x, min), min, x);
    T::select(s, T::less(s, max, x), max, x)
}

/// `(n, r)` with `x = n ln 2 + r`, where `r` is exact and still includes `n LN_2_LOW`:
/// `|r| <= ln 2 / 2`, nearly.
#[inline(always)]
pub(crate) fn reduce<S: Simd, T: Float>(s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
    let round = T::splat(s, T::ROUND);
    let n = T::sub(s, T::mul_add(s, x, T::splat(s, T::LOG2_E), round), round);
    (n, T::mul_add(s, n, T::splat(s, -T::LN_2_HIGH), x))
}

/// `e * 2^n`, rounded once, for every `n` of [`reduce`] after [`clamp`].
#[inline(always)]
pub(crate) fn scale<S: Simd, T: Float>(s: S, e: T::V<S>, n: T::V<S>) -> T::V<S> {
    let round = T::splat(s, T::ROUND);
    let half = T::mul_add(s, n, T::splat(s, T::HALF), round);
    let rest = T::add(s, T::sub(s, n, T::sub(s, half, round)), round);
    T::mul(s, T::mul(s, e, power::<S, T>(half)), power::<S, T>(rest))
}

/// 2^n for an integer `n` that is the exponent of a normal number.
#[inline(always)]
pub(crate) fn power_of_two<S: Simd, T: Float>(s: S, n: T::V<S>) -> T::V<S> {
    power::<S, T>(T::add(s, n, T::splat(s, T::ROUND)))
}

/// 2^n from `n + ROUND`.
#[inline(always)]
pub(crate) fn power<S: Simd, T: Float>(n: T::V<S>) -> T::V<S> {
    // Shifts the biased exponent into its field; the higher bits are lost.
    T::map_bits::<S>(n, |bits| bits << T::MANTISSA)
}

/// [`exp`] of an `x` of at most 0, with the same bits. One power of two, scaled by 2^64 into the
/// normal numbers, and 2^-64, by which the product is rounded once, replace the two powers of two.
/// NaN for NaN.
#[inline(always)]
pub(crate) fn exp_of_nonpositive<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let min = T::splat(s, T::MIN_INPUT);
    let x = T::select(s, T::less(s, x, min), min, x);

    // Ties are rounded as in `exp`, since the offset is even.
    let round = T::splat(s, T::from_f64(T::ROUND.to_f64() + 64.0));
    let biased = T::mul_add(s, x, T::splat(s, T::LOG2_E), round);
    let n = T::sub(s, biased, round);
    let r = T::mul_add(s, n, T::splat(s, -T::LN_2_HIGH), x);
    let e = exp_of_rest::<S, T>(s, n, r);
    T::mul(s, T::mul(s, e, power::<S, T>(biased)), T::splat(s, T::SHIFT))
}
