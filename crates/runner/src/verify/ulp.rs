//! Errors of the functions of `kernels::math`, in units in the last place (ULP) of the exact
//! result.
//!
//! ```text
//! f32:  for blocks of the 2^32 inputs, all or every 4099th, on all threads
//!           error = |ours - libm's f64| / ULP      libm: a translation of musl's functions
//! f64:  for each point of a table of exact values, among them hard cases found by a search
//! ```
//!
//! A wrong special value (NaN, an infinity, a zero with its sign) counts as an infinite error.
//! Called by `verify` and by the example `ulp`.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use kernels::random::Stream;
use kernels::{Cpu, Error, math};
use serde::Serialize;

/// Number of inputs per task: operands and results fit L2.
const BLOCK: usize = 1 << 15;

/// Distance between sampled inputs: a prime, so that all exponents and both signs are sampled.
const STRIDE: u64 = 4099;

/// Number of the 2^32 inputs of f32 that are tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every 4099th input.
    Sampled,
    /// All inputs.
    Exhaustive,
}

/// `z = f(x)`, or `z = f(x, y)`.
type Elementwise<T> = fn(Cpu<'_>, &[T], &[T], &mut [T]) -> Result<(), Error>;

/// A function of `kernels::math`.
pub struct Function {
    name: &'static str,
    /// Documented bound in ULP.
    bound: f64,
    single: Elementwise<f32>,
    double: Elementwise<f64>,
    /// Reference in f64. A function of one argument ignores the second.
    exact: fn(f64, f64) -> f64,
}

macro_rules! unary {
    ($name:ident, $bound:literal, $exact:expr) => {
        Function {
            name: stringify!($name),
            bound: $bound,
            single: |cpu, x, _, z| math::$name(cpu, x, z),
            double: |cpu, x, _, z| math::$name(cpu, x, z),
            exact: |x, _| $exact(x),
        }
    };
}

/// All functions, in the order of the table.
pub const FUNCTIONS: [Function; 12] = [
    unary!(exp, 1.0, libm::exp),
    unary!(exp_m1, 1.5, libm::expm1),
    unary!(ln, 1.0, libm::log),
    unary!(ln_1p, 1.0, libm::log1p),
    unary!(tanh, 2.0, libm::tanh),
    unary!(sigmoid, 2.0, sigmoid),
    unary!(softplus, 2.0, softplus),
    unary!(erf, 2.0, libm::erf),
    unary!(rsqrt, 1.5, |x: f64| 1.0 / x.sqrt()),
    unary!(sin_pi, 1.5, sin_pi),
    unary!(cos_pi, 1.5, cos_pi),
    Function { name: "pow", bound: 1.0, single: math::pow, double: math::pow, exact: libm::pow },
];

fn sigmoid(x: f64) -> f64 {
    let e = libm::exp(-x.abs());
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

fn softplus(x: f64) -> f64 {
    let log = libm::log1p(libm::exp(-x.abs()));
    if x > 0.0 { x + log } else { log }
}

/// `sin(pi x)`. A zero has the sign of `x`.
fn sin_pi(x: f64) -> f64 {
    let z = x - 2.0 * (x / 2.0).round();
    // sin(pi z) = sin(pi (±1 - z)) keeps the argument small near the zeros.
    let z = if z.abs() > 0.5 { 1.0_f64.copysign(z) - z } else { z };
    if z == 0.0 { z.copysign(x) } else { libm::sin(std::f64::consts::PI * z) }
}

fn cos_pi(x: f64) -> f64 {
    let z = (x - 2.0 * (x / 2.0).round()).abs();
    libm::sin(std::f64::consts::PI * (0.5 - z))
}

/// A row of the table. Its `Display` is a row of Markdown, under [`HEADER`].
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the function in `kernels::math`.
    pub function: &'static str,
    /// `f32` or `f64`.
    pub element: &'static str,
    /// Documented bound in ULP.
    pub bound: f64,
    /// Largest error in ULP; infinite for a wrong special value.
    #[serde(serialize_with = "crate::run::json::serialize")]
    pub worst: f64,
    /// Argument `x` of the largest error.
    #[serde(serialize_with = "crate::run::json::serialize")]
    pub x: f64,
    /// Argument `y` of the largest error, or 0 for a function of `x` alone.
    #[serde(serialize_with = "crate::run::json::serialize")]
    pub y: f64,
    /// Number of inputs that were tested.
    pub inputs: u64,
}

impl Row {
    /// `true` if the error is within the bound.
    pub fn holds(&self) -> bool {
        self.worst <= self.bound
    }
}

/// Header of the table.
pub const HEADER: &str =
    "| function | element | bound | worst | at | inputs |\n|---|---|---|---|---|---|";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, element, bound, worst, x, y, inputs } = self;
        // The shortest decimal that identifies the number.
        let number =
            |v: f64| if *element == "f32" { format!("{:e}", v as f32) } else { format!("{v:e}") };
        write!(f, "| {function} | {element} | {bound} | {worst:.3} | {}", number(*x))?;
        if *y != 0.0 {
            write!(f, ", {}", number(*y))?;
        }
        write!(f, " | {inputs} |")
    }
}

/// Largest error so far, and its arguments.
#[derive(Clone, Copy)]
struct Worst {
    error: f64,
    x: f64,
    y: f64,
}

impl Worst {
    const NONE: Self = Self { error: 0.0, x: 0.0, y: 0.0 };

    /// The larger error; among equals the one with smaller bits, so that the order of tasks has no
    /// effect.
    fn max(self, other: Self) -> Self {
        let key = |w: Self| (w.x.to_bits(), w.y.to_bits());
        let is_larger =
            other.error > self.error || other.error == self.error && key(other) < key(self);
        if is_larger { other } else { self }
    }

    fn row(self, function: &Function, element: &'static str, inputs: u64) -> Row {
        let Self { error, x, y } = self;
        Row { function: function.name, element, bound: function.bound, worst: error, x, y, inputs }
    }
}

impl Function {
    /// Name of the function in `kernels::math`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Largest error of f32 over the inputs `x` of `extent`, on the threads of `cpu`. If the
    /// function has two arguments, `y` is drawn for each `x`.
    pub fn single(&self, cpu: Cpu<'_>, extent: Extent) -> Row {
        let stride = if extent == Extent::Exhaustive { 1 } else { STRIDE };
        let inputs = (1_u64 << 32).div_ceil(stride);
        let worst = Mutex::new(Worst::NONE);
        cpu.executor.run(inputs.div_ceil(BLOCK as u64) as usize, &|task| {
            let first = task as u64 * BLOCK as u64;
            let last = (first + BLOCK as u64).min(inputs);
            let x: Vec<f32> = (first..last).map(|i| f32::from_bits((i * stride) as u32)).collect();
            let of_block = self.worst_single(cpu, &x);
            let mut worst = worst.lock().unwrap_or_else(PoisonError::into_inner);
            *worst = worst.max(of_block);
        });
        worst.into_inner().unwrap_or_else(PoisonError::into_inner).row(self, "f32", inputs)
    }

    fn worst_single(&self, cpu: Cpu<'_>, x: &[f32]) -> Worst {
        let y: Vec<f32> = if self.name == "pow" {
            x.iter().map(|&x| exponent(x)).collect()
        } else {
            vec![0.0; x.len()]
        };
        let mut z = vec![0.0; x.len()];
        (self.single)(Cpu::serial(cpu.isa), x, &y, &mut z).expect("slices of equal length");
        let mut worst = Worst::NONE;
        for ((&x, &y), &z) in x.iter().zip(&y).zip(&z) {
            let (x, y) = (f64::from(x), f64::from(y));
            let error = error_single(z, (self.exact)(x, y));
            if error > worst.error {
                worst = Worst { error, x, y };
            }
        }
        worst
    }

    /// Largest error of f64 over the table of exact values.
    pub fn double(&self, cpu: Cpu<'_>) -> Row {
        let (mut worst, mut inputs) = (Worst::NONE, 0);
        let lines = math::EXACT_F64.lines().skip_while(|&line| line != self.name).skip(1);
        for line in lines.take_while(|line| line.contains(' ')) {
            let number =
                |bits: &str| u64::from_str_radix(bits, 16).map_or(f64::NAN, f64::from_bits);
            let fields: Vec<&str> = line.split(' ').collect();
            let (x, y, exact, milli_ulp) = match fields[..] {
                [x, exact, milli_ulp] => (number(x), 0.0, number(exact), milli_ulp),
                [x, y, exact, milli_ulp] => (number(x), number(y), number(exact), milli_ulp),
                _ => (0.0, 0.0, f64::NAN, ""),
            };
            let mut z = [f64::NAN];
            (self.double)(cpu, &[x], &[y], &mut z).expect("slices of equal length");
            let unit = ulp(exact, f64::MANTISSA_DIGITS, f64::from_bits(1));
            let remainder = milli_ulp.parse().map_or(f64::NAN, |milli: f64| milli / 1000.0);
            let error = ((z[0] - exact) / unit - remainder).abs();
            let error = if error.is_nan() { f64::INFINITY } else { error };
            worst = worst.max(Worst { error, x, y });
            inputs += 1;
        }
        worst.row(self, "f64", inputs)
    }
}

/// Draws an exponent `y` for `x`: half of them any f32, half such that `x^y` has any magnitude.
fn exponent(x: f32) -> f32 {
    let [choice, bits, ..] = Stream::new(0, 0).block(u64::from(x.to_bits()));
    if choice & 1 == 0 {
        return f32::from_bits(bits);
    }
    // Logarithms from where f32 rounds to 0 to where it rounds to infinity.
    let log = -104.0 + 193.0 * f64::from(bits) / f64::from(u32::MAX);
    (log / libm::log(f64::from(x.abs()))) as f32
}

/// Unit in the last place of `x`, in a format with `digits` bits and the smallest number
/// `smallest`.
fn ulp(x: f64, digits: u32, smallest: f64) -> f64 {
    let power = f64::from_bits(x.to_bits() & f64::INFINITY.to_bits());
    (power / (1_u64 << (digits - 1)) as f64).max(smallest)
}

/// Error of `got` in ULP of f32.
fn error_single(got: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    let is_rounded = got.to_bits() == rounded.to_bits() || got.is_nan() && rounded.is_nan();
    let has_wrong_sign = got == 0.0 && got.is_sign_negative() != exact.is_sign_negative();
    if is_rounded && (exact == 0.0 || !rounded.is_finite()) {
        0.0
    } else if exact == 0.0 || !rounded.is_finite() || !got.is_finite() || has_wrong_sign {
        f64::INFINITY
    } else {
        (f64::from(got) - exact).abs()
            / ulp(exact, f32::MANTISSA_DIGITS, f64::from(f32::from_bits(1)))
    }
}

#[cfg(test)]
mod tests {
    use kernels::Isa;

    use super::*;
    use crate::machine::thread_pool::ThreadPool;

    #[test]
    fn every_function_is_within_its_bound() {
        let pool = ThreadPool::new(2).expect("two threads");
        let cpu = Cpu::new(Isa::detect(), &pool);
        pool.enter(|| {
            for function in &FUNCTIONS {
                for (row, inputs) in [
                    (function.single(cpu, Extent::Sampled), 1_047_809),
                    (function.double(cpu), 300),
                ] {
                    assert!(row.holds() && row.inputs == inputs, "{row}");
                    // Rounding alone has errors of up to half an ULP: a smaller maximum means that
                    // the inputs miss the hard cases.
                    assert!(row.worst > 0.49, "{row}");
                }
            }
        });
    }

    #[test]
    fn an_error_is_measured_in_ulp_of_the_exact_result() {
        assert_eq!(error_single(1.0, 1.0), 0.0);
        assert_eq!(error_single(1.0 + f32::EPSILON, 1.0), 1.0);
        assert_eq!(error_single(f32::from_bits(3), f64::from(f32::from_bits(1))), 2.0);
        assert_eq!(error_single(f32::INFINITY, 1e39), 0.0);
        assert_eq!(error_single(f32::NAN, f64::NAN), 0.0);
        for (got, exact) in
            [(f32::MAX, 1e39), (0.0, -0.0), (-0.0, 1e-60), (1.0, f64::NAN), (f32::NAN, 1.0)]
        {
            assert_eq!(error_single(got, exact), f64::INFINITY, "{got} {exact}");
        }
    }
}
