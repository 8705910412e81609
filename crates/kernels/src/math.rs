//! Mathematical functions along slices: one polynomial for all instruction sets, so that the bits
//! are the same on every machine. The functions of std and of C differ between machines.
//!
//! Each function has a file with its formula for one register, if that is longer than a line. Here
//! they are applied to slices, including bf16. The bounds are in units in the last place (ULP) of
//! the result, compared with the exact value, for f32 and f64; a bf16 is rounded once more. The
//! tests sweep them; `docs/NUMERICS.md` lists the errors measured over every f32. Called by users,
//! `random`, `softmax`, `loss` and `activation`.
//!
//! ```
//! use kernels::{Cpu, math};
//! let mut y = [0.0_f32; 3];
//! math::exp(Cpu::detect(), &[0.0, f32::NEG_INFINITY, 1000.0], &mut y)?;
//! assert_eq!(y, [1.0, 0.0, f32::INFINITY]);
//! # Ok::<(), kernels::Error>(())
//! ```

pub(crate) mod erf;
pub(crate) mod exp;
pub(crate) mod exp_m1;
pub(crate) mod ln;
pub(crate) mod pow;
pub(crate) mod sigmoid;
pub(crate) mod sin_pi;
pub(crate) mod softplus;
pub(crate) mod tanh;

use crate::elementwise::{Elementwise, for_each_element};
use crate::simd::{Float, Lanes, Simd, WithSimd};
use crate::{Cpu, Element, Error};

/// Exact values of each function of f64, from mpmath 1.4 with 170 bits: for tests.
///
/// ```text
/// tanh                           the function, for the lines that follow
/// 3fb0… 3fb0… -123               bits of x, of the exact value rounded, and its rounding error
///                                in thousandths of its ULP
/// pow
/// 3fe8… 4010… 3fd4… 77           bits of x and y, and as above
/// ```
///
/// Half of each function's points are drawn from all regions; the others are those where its error
/// was largest among 50,000.
#[doc(hidden)]
pub const EXACT_F64: &str = include_str!("math/exact_f64.txt");

/// Defines functions of slices from functions of registers.
macro_rules! along_slices {
    ($($(#[$doc:meta])* $name:ident = $op:ident: $lanes:expr;)*) => {$(
        struct $op;
        impl<T: Float> Elementwise<T, 1, 1> for $op {
            #[inline(always)]
            fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
                [$lanes(s, x)]
            }
        }

        $(#[$doc])*
        ///
        /// # Errors
        /// [`Error::Length`] if `x` and `y` differ in length.
        #[inline(never)]
        pub fn $name<E: Element>(cpu: Cpu<'_>, x: &[E], y: &mut [E]) -> Result<(), Error> {
            for_each_element(cpu, &$op, [("x", x)], [("y", y)])
        }
    )*};
}

along_slices! {
    /// `y[i] = e^x[i]`, within 1 ULP.
    ///
    /// Subnormal results are rounded once, like all others. NaN gives NaN, -Inf gives 0, a result
    /// above the largest finite number is Inf; exp(±0) = 1.
    exp = Exp: |s, x| exp::exp::<S, T>(s, x);

    /// `y[i]` is the natural logarithm of `x[i]`, within 1 ULP, subnormal `x[i]` included.
    ///
    /// NaN and every negative number give NaN, ±0 gives -Inf, Inf gives Inf; ln(1) = +0.
    ln = Ln: |s, x| ln::ln::<S, T>(s, x);

    /// `y[i] = e^x[i] - 1`, within 1.5 ULP however small `x[i]` is (PyTorch's `expm1`).
    ///
    /// NaN gives NaN, -Inf gives -1, a result above the largest finite number is Inf; a zero keeps
    /// its sign.
    exp_m1 = ExpM1: |s, x| exp_m1::exp_m1::<S, T>(s, x);

    /// `y[i]` is the natural logarithm of `1 + x[i]`, within 1 ULP however small `x[i]` is
    /// (PyTorch's `log1p`).
    ///
    /// NaN and every number below -1 give NaN, -1 gives -Inf, Inf gives Inf; a zero keeps its sign.
    ln_1p = Ln1p: |s, x| ln::ln_1p::<S, T>(s, x);

    /// `y[i]` is the hyperbolic tangent of `x[i]`, within 2 ULP.
    ///
    /// NaN gives NaN, ±Inf gives ±1; a zero keeps its sign.
    tanh = Tanh: |s, x| tanh::tanh::<S, T>(s, x);

    /// `y[i] = 1 / (1 + e^-x[i])`, the logistic function, within 2 ULP, subnormal results included.
    ///
    /// NaN gives NaN, -Inf gives 0, Inf gives 1.
    sigmoid = Sigmoid: |s, x| sigmoid::sigmoid::<S, T>(s, x);

    /// `y[i] = ln(1 + e^x[i])`, within 2 ULP, subnormal results included.
    ///
    /// NaN gives NaN, -Inf gives 0, Inf gives Inf. PyTorch's `softplus` returns `x[i]` itself above
    /// 20; this one need not.
    softplus = Softplus: |s, x| softplus::softplus::<S, T>(s, x);

    /// `y[i]` is the error function of `x[i]`, 2 / sqrt(pi) times the integral of e^-t^2 from 0 to
    /// `x[i]`, within 2 ULP.
    ///
    /// NaN gives NaN, ±Inf gives ±1; a zero keeps its sign.
    erf = Erf: |s, x| erf::erf::<S, T>(s, x);

    /// `y[i] = 1 / sqrt(x[i])`, within 1.5 ULP: a square root and a division, both correctly
    /// rounded, since processors' estimates differ.
    ///
    /// NaN and every number below 0 give NaN, ±0 gives ±Inf (IEEE 754-2019, 9.2.1), Inf gives 0.
    rsqrt = Rsqrt: |s, x| T::div(s, T::splat(s, T::ONE), T::sqrt(s, x));

    /// `y[i] = sin(pi x[i])`, within 1.5 ULP for every `x[i]`, however large.
    ///
    /// NaN and ±Inf give NaN. An integer gives a zero of its own sign (IEEE 754-2019, 9.2.1).
    sin_pi = SinPi: |s, x| sin_pi::sin_cos_pi::<S, T>(s, x).0;

    /// `y[i] = cos(pi x[i])`, within 1.5 ULP for every `x[i]`, however large.
    ///
    /// NaN and ±Inf give NaN. An integer plus a half gives +0 (IEEE 754-2019, 9.2.1).
    cos_pi = CosPi: |s, x| sin_pi::sin_cos_pi::<S, T>(s, x).1;
}

struct Pow;

impl<T: Float> Elementwise<T, 2, 1> for Pow {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x, y]: [T::V<S>; 2], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [pow::pow::<S, T>(s, x, y)]
    }
}

struct PowScalar<T>(T);

impl<T: Float> Elementwise<T, 1, 1> for PowScalar<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let Self(y) = *self;
        [pow::pow::<S, T>(s, x, T::splat(s, y))]
    }
}

/// `z[i] = x[i]^y[i]`, within 1 ULP, subnormal results included.
///
/// Special values are those of IEEE 754-2019, 9.2.1. `x^±0` and `1^y` are 1, even if the other is
/// NaN; every other NaN gives NaN. A negative finite `x` has only integer powers, otherwise the
/// result is NaN. The power of a negative `x`, including -0 and -Inf, is negative where `y` is an
/// odd integer. `(±0)^y` is infinite for `y < 0`, `(-1)^±Inf` is 1.
///
/// ```
/// use kernels::{Cpu, math};
/// let mut z = [0.0_f64; 4];
/// math::pow(Cpu::detect(), &[2.0, -2.0, -2.0, f64::NAN], &[10.0, 3.0, 0.5, 0.0], &mut z)?;
/// assert!(z[0] == 1024.0 && z[1] == -8.0 && z[2].is_nan() && z[3] == 1.0);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `x` or `y` differs from `z` in length.
#[inline(never)]
pub fn pow<E: Element>(cpu: Cpu<'_>, x: &[E], y: &[E], z: &mut [E]) -> Result<(), Error> {
    for_each_element(cpu, &Pow, [("x", x), ("y", y)], [("z", z)])
}

/// `z[i] = x[i]^y`: [`pow`] with one exponent for all.
///
/// # Errors
/// [`Error::Length`] if `x` and `z` differ in length.
#[inline(never)]
pub fn pow_scalar<E: Element>(
    cpu: Cpu<'_>,
    x: &[E],
    y: E::Float,
    z: &mut [E],
) -> Result<(), Error> {
    for_each_element(cpu, &PowScalar(y), [("x", x)], [("z", z)])
}

/// Applies `function` to one number, with the bits that it has in a slice: for a rate or a bound,
/// where std's function would depend on the machine.
///
/// ```
/// use kernels::{Cpu, math};
/// let cpu = Cpu::detect();
/// assert_eq!(math::at(cpu, math::exp, 0.0_f64), 1.0);
/// let decay = math::at(cpu, |cpu, x, y| math::pow_scalar(cpu, x, 3.0, y), 0.5_f64);
/// assert_eq!(decay, 0.125);
/// ```
pub fn at<T: Float>(
    cpu: Cpu<'_>,
    function: impl FnOnce(Cpu<'_>, &[T], &mut [T]) -> Result<(), Error>,
    x: T,
) -> T {
    let mut y = [T::NAN];
    // Both slices have one element, so a function of this module returns no error.
    _ = function(cpu, &[x], &mut y);
    let [y] = y;
    y
}

/// Square root of one number, correctly rounded: core has none. NaN below 0.
///
/// ```
/// assert_eq!(kernels::math::sqrt(kernels::Cpu::detect(), 2.0), 2.0_f64.sqrt());
/// ```
pub fn sqrt(cpu: Cpu<'_>, x: f64) -> f64 {
    struct Sqrt(f64);
    impl WithSimd for Sqrt {
        type Output = f64;
        #[inline(always)]
        fn with_simd<S: Simd>(self, s: S) -> f64 {
            let mut root = [0.0];
            <f64 as Lanes>::store(
                s,
                &mut root,
                <f64 as Lanes>::sqrt(s, <f64 as Lanes>::splat(s, self.0)),
            );
            root[0]
        }
    }
    cpu.isa.run(Sqrt(x))
}

/// `c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule, one FMA per coefficient.
#[inline(always)]
pub(crate) fn polynomial<S: Simd, T: Float>(s: S, x: T::V<S>, coefficients: &[T]) -> T::V<S> {
    let mut sum = T::splat(s, T::ZERO);
    let mut first = true;
    for &c in coefficients.iter().rev() {
        let c = T::splat(s, c);
        sum = if first { c } else { T::mul_add(s, sum, x, c) };
        first = false;
    }
    sum
}

/// `n / (c + d)` for `0 <= d` and a constant `c`, as if the sum were exact, within 0.6 ULP.
#[inline(always)]
fn quotient<S: Simd, T: Float>(s: S, n: T::V<S>, c: T::V<S>, d: T::V<S>) -> T::V<S> {
    let sum = T::add(s, c, d);
    let lost = T::sub(s, d, T::sub(s, sum, c));
    let inverse = T::div(s, T::splat(s, T::ONE), sum);
    let q = T::mul(s, n, inverse);
    let minus_q = T::sub(s, T::splat(s, T::ZERO), q);
    let rest = T::mul_add(s, minus_q, lost, T::mul_add(s, minus_q, sum, n));
    T::mul_add(s, rest, inverse, q)
}
