//! exp, ln, sin and cos along slices, and the square root of one number: one polynomial for all instruction sets, so
//! that the bits are the same on every machine, which those of std and of C are not.
//!
//! Each function has a file of its own with the formula for one register; here they are applied to slices. The
//! bounds are in units in the last place (ULP) of the result, against the exact value; the tests sweep them.
//! Called from outside, by `random`, by `softmax` and by `loss`.
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
pub(crate) mod rsqrt;
pub(crate) mod sigmoid;
pub(crate) mod sin_pi;
pub(crate) mod softplus;
pub(crate) mod tanh;

use crate::elementwise::{Elementwise, for_each_element};
use crate::simd::{Float, Lanes, Simd, WithSimd};
use crate::{Cpu, Error};

/// A function of slices from a function of registers.
macro_rules! along_slices {
    ($($(#[$doc:meta])* $name:ident = $op:ident: $lanes:expr;)*) => {$(
        #[doc(hidden)]
        pub(crate) struct $op;
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
        pub fn $name<T: Float>(cpu: Cpu<'_>, x: &[T], y: &mut [T]) -> Result<(), Error> {
            for_each_element(cpu, &$op, [("x", x)], [("y", y)])
        }
    )*};
}

along_slices! {
    /// `y[i] = e^x[i]`, within 1 ULP.
    ///
    /// Subnormal results are rounded once, as all others are. NaN gives NaN, -Inf gives 0, a result past the
    /// largest number is Inf; exp(±0) = 1.
    exp = Exp: |s, x| exp::exp::<S, T>(s, x);

    /// `y[i]` is the natural logarithm of `x[i]`, within 1 ULP, subnormal `x[i]` included.
    ///
    /// NaN and every negative number give NaN, ±0 gives -Inf, Inf gives Inf; ln(1) = +0.
    ln = Ln: |s, x| ln::ln::<S, T>(s, x);

    /// `y[i] = e^x[i] - 1`, without loss near 0.
    ///
    /// NaN gives NaN, -Inf gives -1, a result past the largest number is Inf; a zero keeps its sign.
    exp_m1 = ExpM1: |s, x| exp_m1::exp_m1::<S, T>(s, x);

    /// `y[i]` is the natural logarithm of `1 + x[i]`, without loss near 0.
    ///
    /// NaN and every number below -1 give NaN, -1 gives -Inf, Inf gives Inf; a zero keeps its sign.
    ln_1p = Ln1p: |s, x| ln::ln_1p::<S, T>(s, x);

    /// `y[i]` is the hyperbolic tangent of `x[i]`.
    ///
    /// NaN gives NaN, ±Inf give ±1; a zero keeps its sign.
    tanh = Tanh: |s, x| tanh::tanh::<S, T>(s, x);

    /// `y[i] = 1 / (1 + e^-x[i])`.
    ///
    /// NaN gives NaN, -Inf gives 0, Inf gives 1.
    sigmoid = Sigmoid: |s, x| sigmoid::sigmoid::<S, T>(s, x);

    /// `y[i] = ln(1 + e^x[i])`.
    ///
    /// NaN gives NaN, -Inf gives 0, Inf gives Inf.
    softplus = Softplus: |s, x| softplus::softplus::<S, T>(s, x);

    /// `y[i]` is the error function of `x[i]`, 2 / sqrt(pi) times the integral of e^-t^2 from 0 to `x[i]`.
    ///
    /// NaN gives NaN, ±Inf give ±1; a zero keeps its sign.
    erf = Erf: |s, x| erf::erf::<S, T>(s, x);

    /// `y[i] = 1 / sqrt(x[i])`, within 1 ULP.
    ///
    /// NaN and every number below 0 give NaN, ±0 give ±Inf, Inf gives 0.
    rsqrt = Rsqrt: |s, x| rsqrt::rsqrt::<S, T>(s, x);

    /// `y[i] = sin(pi x[i])`, within 1.5 ULP for every `x[i]`, however large.
    ///
    /// NaN and ±Inf give NaN. An integer gives a zero of its own sign (IEEE 754-2019, 9.2.1).
    sin_pi = SinPi: |s, x| sin_pi::sin_cos_pi::<S, T>(s, x).0;

    /// `y[i] = cos(pi x[i])`, within 1.5 ULP for every `x[i]`, however large.
    ///
    /// NaN and ±Inf give NaN. An integer plus a half gives +0 (IEEE 754-2019, 9.2.1).
    cos_pi = CosPi: |s, x| sin_pi::sin_cos_pi::<S, T>(s, x).1;
}

/// The square root of one number, correctly rounded: core has none. NaN below 0.
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
            <f64 as Lanes>::store(s, &mut root, <f64 as Lanes>::sqrt(s, <f64 as Lanes>::splat(s, self.0)));
            root[0]
        }
    }
    cpu.isa.run(Sqrt(x))
}

/// `c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule, one FMA a coefficient.
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

#[cfg(test)]
mod tests;
