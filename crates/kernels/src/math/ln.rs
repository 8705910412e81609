//! ln and ln(1 + x) of one register, after fdlibm's `log` and `log1p` (Sun Microsystems, 1993).
//!
//! ```text
//! x = 2^k (1 + f),  sqrt(1/2) < 1 + f <= sqrt(2)
//! s = f / (2 + f),  ln(1 + f) = f - (f^2/2 - s (f^2/2 + z p(z))),  z = s^2
//! ln x = k ln 2 + ln(1 + f)      ln 2 = HIGH + LOW, k * HIGH is exact
//! ```
//!
//! `p` is the minimax polynomial (Remez) for (2 atanh(s)/s - 2)/z: 2^-37 for f32, 2^-59 for f64,
//! relative to ln(1 + f). `ln_1p` is the logarithm of u = 1 + x, rounded, plus the rounding error
//! of u divided by u. Called by `math`, `random`, `softmax` and `loss`; `split` by `pow`.

use pulp::bytemuck;

use super::{exp::Exp, polynomial};
use crate::simd::{Float, Simd};

/// Constants of ln.
pub trait Ln: Exp {
    /// Smallest normal number.
    const NORMAL: Self;
    /// 2^(MANTISSA + 1), which scales every subnormal number to a normal one.
    const LIFT: Self;
    /// 2^MANTISSA: with an integer in its last bits, it is the sum of both.
    const INTEGER: Self;
    /// INTEGER plus the exponent bias.
    const BIASED: Self;
    /// BIASED + MANTISSA + 1, to compensate for LIFT.
    const BIASED_LIFTED: Self;
    /// The square root of 2.
    const SQRT_2: Self;
    /// 2.
    const TWO: Self;
    /// Coefficients of `p`.
    const LN: &'static [Self];
}

impl Ln for f32 {
    const NORMAL: f32 = f32::MIN_POSITIVE;
    const LIFT: f32 = 16_777_216.0;
    const INTEGER: f32 = 8_388_608.0;
    const BIASED: f32 = Self::INTEGER + 127.0;
    const BIASED_LIFTED: f32 = Self::BIASED + 24.0;
    const SQRT_2: f32 = core::f32::consts::SQRT_2;
    const TWO: f32 = 2.0;
    const LN: &'static [f32] = &[0.666_666_6, 0.400_003_34, 0.285_373_03, 0.235_822_86];
}

impl Ln for f64 {
    const NORMAL: f64 = f64::MIN_POSITIVE;
    const LIFT: f64 = 9_007_199_254_740_992.0;
    const INTEGER: f64 = 4_503_599_627_370_496.0;
    const BIASED: f64 = Self::INTEGER + 1023.0;
    const BIASED_LIFTED: f64 = Self::BIASED + 53.0;
    const SQRT_2: f64 = core::f64::consts::SQRT_2;
    const TWO: f64 = 2.0;
    const LN: &'static [f64] = &[
        0.666_666_666_666_673_4,
        0.399_999_999_994_143_26,
        0.285_714_287_424_738_4,
        0.222_221_985_635_705_03,
        0.181_835_648_627_376_78,
        0.153_140_359_262_709_83,
        0.147_961_046_370_820_4,
    ];
}

/// The natural logarithm of `x`, within 1 ULP; NaN for NaN and below 0, -Inf for ±0, Inf for Inf.
#[inline(always)]
pub(crate) fn ln<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let zero = T::splat(s, T::ZERO);
    let y = ln_corrected::<S, T>(s, x, zero);
    // Inf and NaN are their own logarithm.
    let y = T::select(s, T::less(s, x, T::splat(s, T::INFINITY)), y, x);
    let y = T::select(s, T::less_or_equal(s, x, zero), T::splat(s, -T::INFINITY), y);
    T::select(s, T::less(s, x, zero), T::splat(s, T::NAN), y)
}

/// `ln(1 + x)`, within 1 ULP however small `x` is; NaN for NaN and below -1, -Inf for -1, Inf for
/// Inf. A zero keeps its sign.
#[inline(always)]
pub(crate) fn ln_1p<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let (zero, one) = (T::splat(s, T::ZERO), T::splat(s, T::ONE));
    let u = T::add(s, one, x);
    // The rounding error of u, exactly: 1 + x = u + lost.
    let from_larger = |large, small| T::sub(s, small, T::sub(s, u, large));
    let lost = T::select(s, T::less(s, x, one), from_larger(one, x), from_larger(x, one));
    let y = ln_corrected::<S, T>(s, u, T::div(s, lost, u));
    // The sign is that of x; Inf and NaN are their own logarithm.
    let y = T::xor_sign::<S>(T::abs::<S>(y), x);
    let y = T::select(s, T::less(s, u, T::splat(s, T::INFINITY)), y, u);
    let y = T::select(s, T::less_or_equal(s, u, zero), T::splat(s, -T::INFINITY), y);
    T::select(s, T::less(s, u, zero), T::splat(s, T::NAN), y)
}

/// `ln(x) + correction` for a positive finite `x` and a correction that is small compared with the
/// logarithm, or is all of it. The result is unspecified for every other `x`.
#[inline(always)]
fn ln_corrected<S: Simd, T: Float>(s: S, x: T::V<S>, correction: T::V<S>) -> T::V<S> {
    let (k, f) = split::<S, T>(s, x);
    let ratio = T::div(s, f, T::add(s, T::splat(s, T::TWO), f));
    let z = T::mul(s, ratio, ratio);
    let p = polynomial::<S, T>(s, z, T::LN);
    let square = T::mul(s, T::mul(s, T::splat(s, T::HALF), f), f);
    let low = T::mul_add(s, k, T::splat(s, T::LN_2_LOW), correction);
    let low = T::mul_add(s, ratio, T::mul_add(s, z, p, square), low);
    let high = T::sub(s, f, T::sub(s, square, low));
    T::mul_add(s, k, T::splat(s, T::LN_2_HIGH), high)
}

/// `(k, f)` with `x = 2^k (1 + f)` and `sqrt(1/2) < 1 + f <= sqrt(2)`, for a positive finite `x`;
/// unspecified for every other.
#[inline(always)]
pub(crate) fn split<S: Simd, T: Float>(s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
    let subnormal = T::less(s, x, T::splat(s, T::NORMAL));
    let x = T::select(s, subnormal, T::mul(s, x, T::splat(s, T::LIFT)), x);
    let offset = T::select(s, subnormal, T::splat(s, T::BIASED_LIFTED), T::splat(s, T::BIASED));

    let bits = |x: T| bytemuck::cast::<T, T::Bits>(x);
    let (integer, one) = (bits(T::INTEGER), bits(T::ONE));
    let exponent = T::map_bits::<S>(x, |bits| bits >> T::MANTISSA | integer);
    // The bits in which the largest number below 2 differs from 1 are those of the mantissa.
    let mantissa = !(one | bits(-T::INFINITY));
    let m = T::map_bits::<S>(x, |bits| bits & mantissa | one);
    let k = T::sub(s, exponent, offset);

    let large = T::less(s, T::splat(s, T::SQRT_2), m);
    let one = T::splat(s, T::ONE);
    let m = T::select(s, large, T::mul(s, m, T::splat(s, T::HALF)), m);
    let k = T::select(s, large, T::add(s, k, one), k);
    (k, T::sub(s, m, one))
}
