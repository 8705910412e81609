//! sin(pi x) and cos(pi x) of one register, together: they share the exact range reduction.
//!
//! ```text
//! a = |x|, 0 where it is so large that it is an even integer
//! z = a - 2 round(a/2)           |z| <= 1
//! r = z - q/2,  q = round(2z)    |r| <= 1/4, q in -2..=2
//! sin(pi r) = r (pi + r^2 p(r^2)),  cos(pi r) = 1 + r^2 c(r^2)
//! ```
//!
//! `q` then determines which of the two is the sine of `a`, and its sign. `p` and `c` are the
//! minimax polynomials for the relative error (Remez): 2^-37 and 2^-33 for f32, 2^-68 and 2^-64 for
//! f64. pi is PI + PI_LOW. Called by `math` and `random`.

use super::ln::Ln;
use super::polynomial;
use crate::simd::{Float, Simd};

/// Constants of sin(pi x) and cos(pi x).
pub trait SinPi: Ln {
    /// pi, rounded.
    const PI: Self;
    /// pi - PI.
    const PI_LOW: Self;
    /// 3/2.
    const THREE_HALVES: Self;
    /// Coefficients of `p`.
    const SIN: &'static [Self];
    /// Coefficients of `c`.
    const COS: &'static [Self];
}

impl SinPi for f32 {
    const PI: f32 = core::f32::consts::PI;
    const PI_LOW: f32 = -8.742_278e-8;
    const THREE_HALVES: f32 = 1.5;
    const SIN: &'static [f32] = &[-5.167_712_7, 2.550_162_8, -0.599_206_1, 0.081_030_31];
    const COS: &'static [f32] = &[-4.934_802, 4.058_707_7, -1.335_058_5, 0.231_429_16];
}

impl SinPi for f64 {
    const PI: f64 = core::f64::consts::PI;
    const PI_LOW: f64 = 1.224_646_799_147_353_2e-16;
    const THREE_HALVES: f64 = 1.5;
    const SIN: &'static [f64] = &[
        -5.167_712_780_049_97,
        2.550_164_039_877_342_4,
        -0.599_264_529_320_347_8,
        0.082_145_886_582_026_79,
        -0.007_370_429_926_255_935,
        0.000_466_283_174_697_423_85,
        -2.171_930_684_042_111_3e-5,
    ];
    const COS: &'static [f64] = &[
        -4.934_802_200_544_679,
        4.058_712_126_416_751,
        -1.335_262_768_852_187_2,
        0.235_330_630_201_547,
        -0.025_806_885_877_707_096,
        0.001_929_468_152_447_507_5,
        -0.000_103_577_781_109_108_9,
    ];
}

/// `(sin(pi x), cos(pi x))`, each within 1.5 ULP; NaN for NaN and ±Inf. Zeros have the signs of
/// IEEE 754-2019.
#[inline(always)]
pub(crate) fn sin_cos_pi<S: Simd, T: Float>(s: S, x: T::V<S>) -> (T::V<S>, T::V<S>) {
    let constant = |c| T::splat(s, c);
    let (zero, one, half) = (constant(T::ZERO), constant(T::ONE), constant(T::HALF));

    let a = T::abs::<S>(x);
    // From LIFT on, all numbers are even integers; a - a is 0, or NaN where a is non-finite.
    let a = T::select(s, T::less(s, a, constant(T::LIFT)), a, T::sub(s, a, a));
    let integer = constant(T::INTEGER);
    let half_turns = T::sub(s, T::mul_add(s, a, half, integer), integer);
    let z = T::mul_add(s, half_turns, constant(-T::TWO), a);
    let round = constant(T::ROUND);
    let q = T::sub(s, T::mul_add(s, z, constant(T::TWO), round), round);
    let r = T::mul_add(s, q, constant(-T::HALF), z);

    let square = T::mul(s, r, r);
    let p = polynomial::<S, T>(s, square, T::SIN);
    let low = T::mul(s, r, T::mul_add(s, square, p, constant(T::PI_LOW)));
    let sin = T::mul_add(s, r, constant(T::PI), low);
    let cos = T::mul_add(s, square, polynomial::<S, T>(s, square, T::COS), one);

    let quarters = T::abs::<S>(q);
    let is_odd = |a, b| T::select(s, T::less(s, quarters, constant(T::THREE_HALVES)), a, b);
    let is_odd = |a, b| T::select(s, T::less(s, half, quarters), is_odd(a, b), b);
    let is_half_turn = |a, b| T::select(s, T::less(s, constant(T::THREE_HALVES), quarters), a, b);
    let negate = |v| T::xor_sign::<S>(v, constant(-T::ONE));
    // Where q is odd, a is r beyond a quarter turn: the sine is ±cos r, the cosine ∓sin r.
    let sine = is_odd(T::xor_sign::<S>(cos, q), is_half_turn(negate(sin), sin));
    let cosine = is_odd(negate(T::xor_sign::<S>(sin, q)), is_half_turn(negate(cos), cos));
    // Adding +0 makes a -0 positive; the sine is then odd in x.
    (T::xor_sign::<S>(T::add(s, sine, zero), x), T::add(s, cosine, zero))
}
