//! `x^y` of two registers, by a double-length logarithm.
//!
//! ```text
//! |x| = 2^k (1 + f)                          as in `ln`
//! t = f / (2 + f),  z = t^2
//! L = k ln 2 + 2 t + t z (2/3 + z q(z))      an unevaluated sum of two numbers, like t and z
//! |x^y| = e^(y L)                            as in `exp`
//! ```
//!
//! The product `y L` can be as large as 104 (f32) or 746 (f64), so that an error of one ULP of `L`
//! would be hundreds of ULP in the result: hence the two numbers. `q` is the minimax polynomial
//! (Remez) for the rest of 2 atanh(t): 2^-37 for f32, 2^-66 for f64, relative to `L`. Special
//! values are those of IEEE 754-2019, 9.2.1. Called by `math`.

use super::erf::Erf;
use super::exp::{clamp, exp_reduced, reduce, scale};
use super::ln::split;
use super::polynomial;
use crate::simd::{Float, Simd};

/// Constants of pow.
pub trait Pow: Erf {
    /// 2/3, rounded.
    const TWO_THIRDS: Self;
    /// 2/3 - TWO_THIRDS.
    const TWO_THIRDS_LOW: Self;
    /// Largest finite number.
    const MAX: Self;
    /// Coefficients of `q`.
    const POW: &'static [Self];
}

impl Pow for f32 {
    const TWO_THIRDS: f32 = 2.0 / 3.0;
    const TWO_THIRDS_LOW: f32 = -1.986_821_6e-8;
    const MAX: f32 = f32::MAX;
    const POW: &'static [f32] = &[0.400_001_53, 0.285_471_35, 0.234_185_8];
}

impl Pow for f64 {
    const TWO_THIRDS: f64 = 2.0 / 3.0;
    const TWO_THIRDS_LOW: f64 = 3.700_743_415_417_188e-17;
    const MAX: f64 = f64::MAX;
    const POW: &'static [f64] = &[
        0.400_000_000_000_022_56,
        0.285_714_285_701,
        0.222_222_225_198_345_53,
        0.181_817_843_758_100_34,
        0.153_867_568_920_633_63,
        0.132_568_287_839_065_6,
        0.131_962_194_879_883_2,
    ];
}

/// `x^y`, within 1 ULP, including subnormal results; special values as in IEEE 754-2019.
#[inline(always)]
pub(crate) fn pow<S: Simd, T: Float>(s: S, x: T::V<S>, y: T::V<S>) -> T::V<S> {
    let constant = |c| T::splat(s, c);
    let (zero, one, infinity) = (constant(T::ZERO), constant(T::ONE), constant(T::INFINITY));
    // An infinite exponent acts like the largest finite number, an even integer.
    let max = constant(T::MAX);
    let exponent = T::select(s, T::less(s, max, y), max, y);
    let exponent =
        T::select(s, T::less(s, exponent, constant(-T::MAX)), constant(-T::MAX), exponent);

    // The magnitude: e^(high + low).
    let a = T::abs::<S>(x);
    let (log, log_low) = ln_doubled::<S, T>(s, a);
    let log = T::select(s, T::less(s, a, infinity), log, a);
    let log = T::select(s, T::less_or_equal(s, a, zero), constant(-T::INFINITY), log);
    let product = T::mul(s, exponent, log);
    let minus_product = T::sub(s, zero, product);
    let low = T::mul_add(s, exponent, log_low, T::mul_add(s, exponent, log, minus_product));
    let high = clamp::<S, T>(s, product);
    let is_inside = T::less(s, T::abs::<S>(T::sub(s, product, high)), constant(T::HALF));
    let low = T::select(s, is_inside, low, zero);
    let (n, r) = reduce::<S, T>(s, high);
    let low = T::mul_add(s, n, constant(-T::LN_2_LOW), low);
    let size = scale::<S, T>(s, exp_reduced::<S, T>(s, r, low), n);

    // The sign: `parity` is the distance of |y| from the nearest even integer, 1 where it is odd.
    let b = T::abs::<S>(exponent);
    let b = T::select(s, T::less(s, b, constant(T::LIFT)), b, zero);
    let integer = constant(T::INTEGER);
    let half_turns = T::sub(s, T::mul_add(s, b, constant(T::HALF), integer), integer);
    let parity = T::abs::<S>(T::mul_add(s, half_turns, constant(-T::TWO), b));
    let is_odd = T::less_or_equal(s, one, parity);
    let signed = T::select(s, is_odd, T::xor_sign::<S>(size, x), size);
    // A negative finite number has only integer powers.
    let fraction = T::select(s, T::less(s, zero, parity), constant(T::NAN), signed);
    let fraction = T::select(s, is_odd, signed, fraction);
    let of_negative = T::select(s, T::less(s, constant(-T::INFINITY), x), fraction, signed);
    let power = T::select(s, T::less(s, x, zero), of_negative, signed);

    // x^0 and 1^y are 1, even if the other is NaN.
    let power = T::select(s, T::less_or_equal(s, T::abs::<S>(y), zero), one, power);
    let is_one = T::less_or_equal(s, T::abs::<S>(T::sub(s, x, one)), zero);
    T::select(s, is_one, one, power)
}

/// The natural logarithm of a positive finite `x` as the sum of two numbers, the second at most
/// half an ULP of the first; unspecified for every other `x`.
#[inline(always)]
fn ln_doubled<S: Simd, T: Float>(s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
    let two = T::splat(s, T::TWO);
    let (k, f) = split::<S, T>(s, x);

    let sum = T::add(s, two, f);
    let lost = T::sub(s, f, T::sub(s, sum, two));
    let inverse = T::div(s, T::splat(s, T::ONE), sum);
    let t = T::mul(s, f, inverse);
    let minus_t = T::sub(s, T::splat(s, T::ZERO), t);
    let rest = T::mul_add(s, minus_t, lost, T::mul_add(s, minus_t, sum, f));
    let t_low = T::mul(s, rest, inverse);

    let (z, z_low) = product::<S, T>(s, (t, t_low), (t, t_low));
    let bend = T::mul(s, z, polynomial::<S, T>(s, z, T::POW));
    let (c, c_low) = sum_of_descending::<S, T>(s, T::splat(s, T::TWO_THIRDS), bend);
    let c_low = T::add(s, c_low, T::splat(s, T::TWO_THIRDS_LOW));
    let cube = product::<S, T>(s, (t, t_low), (z, z_low));
    let (rest, rest_low) = product::<S, T>(s, cube, (c, c_low));

    let (m, m_low) = sum_of_descending::<S, T>(s, T::add(s, t, t), rest);
    let m_low = T::add(s, m_low, T::add(s, rest_low, T::add(s, t_low, t_low)));
    let high = T::mul(s, k, T::splat(s, T::LN_2_HIGH));
    let (high, low) = sum_of_descending::<S, T>(s, high, m);
    let low = T::add(s, low, T::mul_add(s, k, T::splat(s, T::LN_2_LOW), m_low));
    sum_of_descending::<S, T>(s, high, low)
}

/// `a + b` and its rounding error, exactly (Dekker 1971), for `|a| >= |b|` or `a = 0`.
#[inline(always)]
fn sum_of_descending<S: Simd, T: Float>(s: S, a: T::V<S>, b: T::V<S>) -> (T::V<S>, T::V<S>) {
    let sum = T::add(s, a, b);
    (sum, T::sub(s, b, T::sub(s, sum, a)))
}

/// `a b` of two unevaluated sums, without the product of their low parts.
#[inline(always)]
fn product<S: Simd, T: Float>(
    s: S,
    (a, a_low): (T::V<S>, T::V<S>),
    (b, b_low): (T::V<S>, T::V<S>),
) -> (T::V<S>, T::V<S>) {
    let high = T::mul(s, a, b);
    let lost = T::mul_add(s, a, b, T::sub(s, T::splat(s, T::ZERO), high));
    (high, T::mul_add(s, a, b_low, T::mul_add(s, a_low, b, lost)))
}
