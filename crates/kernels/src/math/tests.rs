//! Against std in f64 for f32, against double-double arithmetic for f64; special values; bits.

#![expect(clippy::disallowed_methods, reason = "std's functions are the reference here")]

extern crate std;

use std::{vec, vec::Vec};

use super::*;
use crate::testing::{bits, same_on_every_cpu};
use crate::{Isa, random::Stream};

type Function<T> = fn(Cpu<'_>, &[T], &mut [T]) -> Result<(), Error>;

fn apply<T: Float>(function: Function<T>, cpu: Cpu<'_>, x: &[T]) -> Vec<T> {
    let mut y = vec![T::NAN; x.len()];
    function(cpu, x, &mut y).unwrap();
    y
}

/// The distance of `got` from `exact` (`exact.0 + exact.1`) in units in the last place of a format with
/// `digits` bits and the smallest number `least`.
fn ulps(got: f64, exact: (f64, f64), digits: i32, least: f64) -> f64 {
    let size = exact.0.abs();
    let unit = (f64::from_bits(size.to_bits() & !((1 << 52) - 1)) * 2.0_f64.powi(1 - digits)).max(least);
    ((got - exact.0) - exact.1).abs() / unit
}

/// Asserts that `function` is within `bound` ULP of `exact` at every 4099th f32, all exponents and both signs, and
/// gives the same bits everywhere.
fn sweep_f32(function: Function<f32>, exact: fn(f64) -> f64, bound: f64) {
    let x: Vec<f32> = (0..=u32::MAX / 4099).map(|i| f32::from_bits(i * 4099)).collect();
    let y = apply(function, Cpu::detect(), &x);
    let mut worst = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(&y) {
        let exact = exact(f64::from(x));
        if exact.is_nan() || f64::from(exact as f32).is_infinite() || exact == 0.0 {
            assert!(y.is_nan() && exact.is_nan() || y == exact as f32, "f({x:e}) = {y:e}, not {exact:e}");
            continue;
        }
        let error = ulps(f64::from(y), (exact, 0.0), 24, f64::from(f32::from_bits(1)));
        if error > worst.0 {
            worst = (error, x);
        }
    }
    std::println!("worst: {} ULP at {:e}", worst.0, worst.1);
    assert!(worst.0 <= bound, "{} ULP at {:e}", worst.0, worst.1);

    let some: Vec<f32> = x.into_iter().step_by(37).collect();
    same_on_every_cpu(|cpu| bits(&apply(function, cpu, &some)));
}

/// sin(pi x) without error from the size of x.
fn std_sin_pi(x: f64) -> f64 {
    let z = x - 2.0 * (x / 2.0).round();
    // sin(pi z) = sin(pi (±1 - z)) keeps the argument small near the zeros.
    let z = if z.abs() > 0.5 { 1.0_f64.copysign(z) - z } else { z };
    (core::f64::consts::PI * z).sin()
}

fn std_cos_pi(x: f64) -> f64 {
    let z = (x - 2.0 * (x / 2.0).round()).abs();
    (core::f64::consts::PI * (0.5 - z)).sin()
}

#[test]
fn exp_f32_is_within_its_bound() {
    sweep_f32(exp, f64::exp, 1.0);
}

#[test]
fn ln_f32_is_within_its_bound() {
    sweep_f32(ln, f64::ln, 1.0);
}

#[test]
fn sin_pi_f32_is_within_its_bound() {
    sweep_f32(sin_pi, std_sin_pi, 1.5);
}

#[test]
fn cos_pi_f32_is_within_its_bound() {
    sweep_f32(cos_pi, std_cos_pi, 1.5);
}

/// The unevaluated sum of two f64: about 106 bits (Dekker 1971).
#[derive(Clone, Copy)]
struct Double(f64, f64);

impl Double {
    const LN_2: Self = Self(core::f64::consts::LN_2, 2.319_046_813_846_299_6e-17);
    const PI: Self = Self(core::f64::consts::PI, 1.224_646_799_147_353_2e-16);

    fn sum(a: f64, b: f64) -> Self {
        let s = a + b;
        let t = s - a;
        Self(s, (a - (s - t)) + (b - t))
    }
    fn add(self, b: Self) -> Self {
        let Self(high, low) = Self::sum(self.0, b.0);
        Self::sum(high, low + (self.1 + b.1))
    }
    fn mul(self, b: Self) -> Self {
        let p = self.0 * b.0;
        let low = self.0.mul_add(b.0, -p);
        Self::sum(p, low + (self.0 * b.1 + self.1 * b.0))
    }
    fn div(self, b: f64) -> Self {
        let q = self.0 / b;
        let rest = (-q).mul_add(b, self.0) + self.1;
        Self::sum(q, rest / b)
    }
    /// The sum of `self^k / k!` over `k = first, first + step, ...`, times `sign` to the count.
    fn series(self, first: u32, step: usize, sign: f64) -> Self {
        let mut term = Self(1.0, 0.0);
        let mut total = Self(0.0, 0.0);
        let mut factor = 1.0;
        for k in 0..=40 {
            if k > 0 {
                term = term.mul(self).div(f64::from(k));
            }
            if k >= first && ((k - first) as usize).is_multiple_of(step) {
                total = total.add(Self(factor * term.0, factor * term.1));
                factor *= sign;
            }
        }
        total
    }
    /// e^x and the exponent of the power of two that is still to be multiplied.
    fn exp(x: f64) -> (Self, i32) {
        let n = (x / core::f64::consts::LN_2).round();
        let r = Self(x, 0.0).add(Self::LN_2.mul(Self(-n, 0.0)));
        (r.series(0, 1, 1.0), n as i32)
    }
    /// One step of Newton from std's logarithm.
    fn ln(x: f64) -> Self {
        let guess = x.ln();
        let (power, n) = Self::exp(-guess);
        // x e^-guess - 1, the powers of two multiplied first where that is exact.
        let scaled = x * 2.0_f64.powi(n / 2) * 2.0_f64.powi(n - n / 2);
        let rest = power.mul(Self(scaled, 0.0)).add(Self(-1.0, 0.0));
        Self(guess, 0.0).add(rest).add(rest.mul(rest).div(-2.0))
    }
    fn sin_pi(z: f64) -> Self {
        Self::PI.mul(Self(z, 0.0)).series(1, 2, -1.0)
    }
    fn cos_pi(z: f64) -> Self {
        Self::PI.mul(Self(z, 0.0)).series(0, 2, -1.0)
    }
}

/// 4000 numbers, uniform on `[low, high)`.
fn between(low: f64, high: f64) -> Vec<f64> {
    (0..4000).map(|i| low + (high - low) * Stream::new(9, 0).uniform_f64(i)).collect()
}

fn assert_within(function: Function<f64>, x: &[f64], bound: f64, exact: impl Fn(f64) -> Double) {
    let y = same_on_every_cpu(|cpu| bits(&apply(function, cpu, x)));
    let mut worst = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(&y) {
        let Double(high, low) = exact(x);
        let error = ulps(f64::from_bits(y), (high, low), 53, f64::from_bits(1));
        if error > worst.0 {
            worst = (error, x);
        }
    }
    std::println!("worst: {} ULP at {:e}", worst.0, worst.1);
    assert!(worst.0 <= bound, "{} ULP at {:e}", worst.0, worst.1);
}

#[test]
fn f64_is_within_the_same_bounds() {
    // Down to where the lower half of the exact value is still normal; what is below has a test of its own.
    for x in [between(-670.0, 709.7), between(-1.0, 1.0)] {
        assert_within(exp, &x, 1.0, |x| {
            let (Double(high, low), n) = Double::exp(x);
            let power = |v: f64| v * 2.0_f64.powi(n / 2) * 2.0_f64.powi(n - n / 2);
            Double(power(high), power(low))
        });
    }
    let powers: Vec<f64> =
        between(-1074.0, 1024.0).into_iter().map(f64::exp2).filter(|x| x.is_finite() && *x > 0.0).collect();
    for x in [between(0.5, 2.0), between(1e-3, 1e3), powers] {
        assert_within(ln, &x, 1.0, Double::ln);
    }
    for x in [between(-0.5, 0.5), between(-1e-6, 1e-6)] {
        assert_within(sin_pi, &x, 1.5, Double::sin_pi);
    }
    assert_within(cos_pi, &between(-0.25, 0.25), 1.5, Double::cos_pi);
    assert_within(cos_pi, &between(0.25, 0.75), 1.5, |x| Double::sin_pi(0.5 - x));
}

#[test]
fn subnormal_results_of_exp_are_gradual() {
    let x = between(-745.2, -708.5);
    let y = apply(exp, Cpu::detect(), &x);
    for (&x, &y) in x.iter().zip(&y) {
        // In units of the smallest number, the exact value is an ordinary one, and so is every result.
        let (Double(high, _), n) = Double::exp(x);
        let exact = high * 2.0_f64.powi(n + 1074);
        let got = y.to_bits() as f64;
        assert!((got - exact).abs() <= 1.0, "exp({x}) = {got}, not {exact} units");
    }
}

fn special<T: Float>(cases: &[(Function<T>, &str, f64, f64)]) {
    for &(function, name, x, y) in cases {
        for isa in Isa::available() {
            let got = apply(function, Cpu::serial(isa), &[T::from_f64(x)])[0].to_f64();
            let same = got.to_bits() == y.to_bits() || got.is_nan() && y.is_nan();
            assert!(same, "{name}({x:?}) = {got:?}, not {y:?}, on {isa}");
        }
    }
}

fn special_values<T: Float>() {
    const INF: f64 = f64::INFINITY;
    special::<T>(&[
        (exp, "exp", 0.0, 1.0),
        (exp, "exp", -0.0, 1.0),
        (exp, "exp", INF, INF),
        (exp, "exp", -INF, 0.0),
        (exp, "exp", f64::NAN, f64::NAN),
        (exp, "exp", 1e30, INF),
        (exp, "exp", -1e30, 0.0),
        (exp, "exp", 1e-40, 1.0),
        (ln, "ln", 1.0, 0.0),
        (ln, "ln", 0.0, -INF),
        (ln, "ln", -0.0, -INF),
        (ln, "ln", -1.0, f64::NAN),
        (ln, "ln", -1e-40, f64::NAN),
        (ln, "ln", -INF, f64::NAN),
        (ln, "ln", INF, INF),
        (ln, "ln", f64::NAN, f64::NAN),
        (sin_pi, "sin_pi", 0.0, 0.0),
        (sin_pi, "sin_pi", -0.0, -0.0),
        (sin_pi, "sin_pi", 0.5, 1.0),
        (sin_pi, "sin_pi", -0.5, -1.0),
        (sin_pi, "sin_pi", 1.0, 0.0),
        (sin_pi, "sin_pi", -1.0, -0.0),
        (sin_pi, "sin_pi", 2.0, 0.0),
        (sin_pi, "sin_pi", 1.5, -1.0),
        (sin_pi, "sin_pi", 8_388_607.0, 0.0),
        (sin_pi, "sin_pi", -1e30, -0.0),
        (sin_pi, "sin_pi", INF, f64::NAN),
        (sin_pi, "sin_pi", -INF, f64::NAN),
        (sin_pi, "sin_pi", f64::NAN, f64::NAN),
        (cos_pi, "cos_pi", 0.0, 1.0),
        (cos_pi, "cos_pi", -0.0, 1.0),
        (cos_pi, "cos_pi", 0.5, 0.0),
        (cos_pi, "cos_pi", -0.5, 0.0),
        (cos_pi, "cos_pi", 1.0, -1.0),
        (cos_pi, "cos_pi", 1.5, 0.0),
        (cos_pi, "cos_pi", 3.0, -1.0),
        (cos_pi, "cos_pi", 8_388_607.0, -1.0),
        (cos_pi, "cos_pi", 4_194_303.5, 0.0),
        (cos_pi, "cos_pi", 1e30, 1.0),
        (cos_pi, "cos_pi", INF, f64::NAN),
        (cos_pi, "cos_pi", f64::NAN, f64::NAN),
    ]);
}

#[test]
fn special_values_are_right() {
    special_values::<f32>();
    special_values::<f64>();
    // The edges of overflow and underflow: the last finite, the first infinite; the last nonzero, the first zero.
    special::<f32>(&[
        (exp, "exp", f64::from(88.722_84_f32), f64::INFINITY),
        (exp, "exp", f64::from(-103.972_08_f32), f64::from(f32::from_bits(1))),
        (exp, "exp", f64::from(-103.972_09_f32), 0.0),
    ]);
    special::<f64>(&[
        (exp, "exp", 709.782_712_893_384_1, f64::INFINITY),
        (exp, "exp", -745.133_219_101_941_1, f64::from_bits(1)),
        (exp, "exp", -745.133_219_101_941_2, 0.0),
    ]);
    assert!(apply(exp, Cpu::detect(), &[88.722_83_f32])[0].is_finite());
    assert!(apply(exp, Cpu::detect(), &[709.782_712_893_384_f64])[0].is_finite());
}

#[test]
fn ln_1p_keeps_what_ln_would_lose() {
    struct Ln1p;
    impl<T: Float> Elementwise<T, 1, 1> for Ln1p {
        #[inline(always)]
        fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
            [ln::ln_1p::<S, T>(s, x)]
        }
    }
    fn ln_1p<T: Float>(cpu: Cpu<'_>, x: &[T], y: &mut [T]) -> Result<(), Error> {
        for_each_element(cpu, &Ln1p, [("x", x)], [("y", y)])
    }
    let x: Vec<f32> = (0..0x7F80_0000_u32 / 1009).map(|i| f32::from_bits(i * 1009)).collect();
    let y = same_on_every_cpu(|cpu| bits(&apply(ln_1p, cpu, &x)));
    for (&x, &y) in x.iter().zip(&y) {
        let exact = f64::from(x).ln_1p();
        let error = ulps(f64::from_bits(y), (exact, 0.0), 24, f64::from(f32::from_bits(1)));
        assert!(error <= 1.5, "{error} ULP at {x:e}");
    }
    let x = between(0.0, 3.0);
    assert_within(ln_1p, &x, 1.5, |x| {
        let Double(u, lost) = Double::sum(1.0, x);
        Double::ln(u).add(Double(lost / u, 0.0))
    });
    let tiny = [0.0, f64::from_bits(1), 1e-300, 1e-20];
    assert_eq!(apply(ln_1p, Cpu::detect(), &tiny), tiny);
    assert!(apply(ln_1p, Cpu::detect(), &[f64::NAN])[0].is_nan());
}

#[test]
fn every_length_and_offset_is_covered_and_nothing_else_is_written() {
    let x: Vec<f32> = (0..80).map(|i| i as f32 / 8.0).collect();
    let all = apply(exp, Cpu::detect(), &x);
    for isa in Isa::available() {
        for len in 0..=70 {
            for offset in 0..4 {
                let mut y = [-1.0; 80];
                let range = offset..offset + len;
                exp(Cpu::serial(isa), &x[range.clone()], &mut y[range.clone()]).unwrap();
                for (i, &y) in y.iter().enumerate() {
                    assert_eq!(y, if range.contains(&i) { all[i] } else { -1.0 }, "{isa}, {len} at {offset}");
                }
            }
        }
    }
    assert_eq!(
        exp(Cpu::detect(), &[0.0_f32; 3], &mut [0.0; 4]),
        Err(Error::Length { operand: "x", expected: 4, got: 3 })
    );
}
