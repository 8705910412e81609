//! exp of one register, by Cody and Waite's reduction and a polynomial.
//!
//! ```text
//! n = round(x / ln 2)            by adding 1.5 * 2^MANTISSA, whose last bits then hold n
//! r = x - n ln 2                 |r| <= ln 2 / 2; ln 2 = HIGH + LOW, n * HIGH is exact
//! e^x = (1 + r + r^2 q(r)) * 2^(n/2) * 2^(n - n/2)
//! ```
//!
//! Two powers of two, since 2^n itself can be subnormal or past the largest number. The first product is exact,
//! the second rounds once, which makes the underflow gradual and the overflow right. `q` is the polynomial of least
//! greatest error (Remez), weighted for the relative error of e^x: 2^-34 for f32, 2^-64 for f64.
//! Called by `math`, `row`, `softmax` and `loss`.

use super::polynomial;
use crate::simd::{Float, Lanes, Simd};

/// The constants of exp.
pub trait Exp: Lanes {
    /// Below it, e^x rounds to 0.
    const LEAST: Self;
    /// Above it, e^x rounds to Inf.
    const GREATEST: Self;
    /// 1 / ln 2.
    const LOG2_E: Self;
    /// ln 2, its first bits: times an exponent it is exact.
    const LN_2_HIGH: Self;
    /// ln 2, the rest.
    const LN_2_LOW: Self;
    /// 1.5 * 2^MANTISSA plus the bias of the exponent: adding it rounds to an integer and leaves the biased exponent
    /// of the power of two in the last bits.
    const ROUND: Self;
    /// 1/2.
    const HALF: Self;
    /// `q`.
    const EXP: &'static [Self];
}

impl Exp for f32 {
    const LEAST: f32 = -104.0;
    const GREATEST: f32 = 89.0;
    const LOG2_E: f32 = core::f32::consts::LOG2_E;
    const LN_2_HIGH: f32 = 0.693_145_75;
    const LN_2_LOW: f32 = 1.428_606_8e-6;
    const ROUND: f32 = 12_582_912.0 + 127.0;
    const HALF: f32 = 0.5;
    const EXP: &'static [f32] =
        &[0.5, 0.166_666_66, 0.041_666_295, 0.008_333_497, 0.001_394_466, 0.000_197_903_37];
}

impl Exp for f64 {
    const LEAST: f64 = -746.0;
    const GREATEST: f64 = 710.0;
    const LOG2_E: f64 = core::f64::consts::LOG2_E;
    const LN_2_HIGH: f64 = 0.693_147_180_559_663;
    const LN_2_LOW: f64 = 2.823_529_056_303_157_7e-13;
    const ROUND: f64 = 6_755_399_441_055_744.0 + 1023.0;
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

/// `(n, r)` with `x = n ln 2 + r` and `|r| <= ln 2 / 2`, but for `n` times `LN_2_LOW`, which is left in `r`. `r` is exact.
#[inline(always)]
pub(crate) fn reduce<S: Simd, T: Float>(s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
    let round = T::splat(s, T::ROUND);
    let n = T::sub(s, T::mul_add(s, x, T::splat(s, T::LOG2_E), round), round);
    (n, T::mul_add(s, n, T::splat(s, -T::LN_2_HIGH), x))
}

/// 2^n for an integer `n` in the range of normal exponents.
#[inline(always)]
pub(crate) fn power_of_two<S: Simd, T: Float>(s: S, n: T::V<S>) -> T::V<S> {
    // The biased exponent moves into its place; the bits above it fall off.
    T::map_bits::<S>(T::add(s, n, T::splat(s, T::ROUND)), |bits| bits << T::MANTISSA)
}

/// `e^x`, within 1 ULP; NaN for NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let (least, greatest) = (T::splat(s, T::LEAST), T::splat(s, T::GREATEST));
    let x = T::select(s, T::less(s, x, least), least, x);
    let x = T::select(s, T::less(s, greatest, x), greatest, x);

    let round = T::splat(s, T::ROUND);
    let n = T::sub(s, T::mul_add(s, x, T::splat(s, T::LOG2_E), round), round);
    let r = T::mul_add(s, n, T::splat(s, -T::LN_2_HIGH), x);
    let r = T::mul_add(s, n, T::splat(s, -T::LN_2_LOW), r);
    let q = polynomial::<S, T>(s, r, T::EXP);
    let e = T::add(s, T::splat(s, T::ONE), T::mul_add(s, T::mul(s, r, r), q, r));

    let half = T::mul_add(s, n, T::splat(s, T::HALF), round);
    let rest = T::add(s, T::sub(s, n, T::sub(s, half, round)), round);
    // The biased exponent moves into its place; the bits above it fall off.
    let power = |n| T::map_bits::<S>(n, |bits| bits << T::MANTISSA);
    T::mul(s, T::mul(s, e, power(half)), power(rest))
}

/// [`exp`] of an `x` that is not above 0, the same bits: one power of two, raised by 2^64 into the normal numbers, and
/// 2^-64, by which the product is rounded once, take the place of two powers that have to be made. NaN for NaN.
#[inline(always)]
pub(crate) fn exp_of_nonpositive<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let least = T::splat(s, T::LEAST);
    let x = T::select(s, T::less(s, x, least), least, x);

    // Raised by an even number, ties are rounded as in `exp`.
    let round = T::splat(s, T::from_f64(T::ROUND.to_f64() + 64.0));
    let biased = T::mul_add(s, x, T::splat(s, T::LOG2_E), round);
    let n = T::sub(s, biased, round);
    let r = T::mul_add(s, n, T::splat(s, -T::LN_2_HIGH), x);
    let r = T::mul_add(s, n, T::splat(s, -T::LN_2_LOW), r);
    let q = polynomial::<S, T>(s, r, T::EXP);
    let e = T::add(s, T::splat(s, T::ONE), T::mul_add(s, T::mul(s, r, r), q, r));

    let power = T::map_bits::<S>(biased, |bits| bits << T::MANTISSA);
    T::mul(s, T::mul(s, e, power), T::splat(s, T::from_f64(LOWER)))
}

/// 2^-64.
const LOWER: f64 = f64::from_bits((1023 - 64) << 52);
