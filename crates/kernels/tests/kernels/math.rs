//! Compares with std's f64 for every function of f32, and with a table of exact values for f64;
//! special values; bits.

#![expect(clippy::disallowed_methods, reason = "std's functions are the reference here")]

use crate::testing::{bits, same_on_every_cpu, sample, share};
use kernels::math::*;
use kernels::{Cpu, Error, Float};
use kernels::{Isa, random::Stream};

type Function<T> = fn(Cpu<'_>, &[T], &mut [T]) -> Result<(), Error>;

fn apply<T: Float>(function: Function<T>, cpu: Cpu<'_>, x: &[T]) -> Vec<T> {
    let mut y = vec![T::NAN; x.len()];
    function(cpu, x, &mut y).unwrap();
    y
}

/// ULP of `x` in a format with `digits` bits and the smallest number `least`.
fn ulp(x: f64, digits: i32, least: f64) -> f64 {
    (f64::from_bits(x.abs().to_bits() & !((1 << 52) - 1)) * 2.0_f64.powi(1 - digits)).max(least)
}

/// ULP of an f32.
fn ulp_f32(x: f64) -> f64 {
    ulp(x, 24, f64::from(f32::from_bits(1)))
}

/// Asserts that `function` is within `bound` ULP of `exact` at every 4099th f32, all exponents and
/// both signs, with the same bits on every CPU.
fn sweep_f32(function: Function<f32>, exact: fn(f64) -> f64, bound: f64) {
    let x: Vec<f32> = sample(0..=u32::MAX / 4099).map(|i| f32::from_bits(i * 4099)).collect();
    let y = apply(function, Cpu::detect(), &x);
    let mut worst = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(&y) {
        let exact = exact(f64::from(x));
        if exact.is_nan() || f64::from(exact as f32).is_infinite() || exact == 0.0 {
            assert!(
                y.is_nan() && exact.is_nan() || y == exact as f32,
                "f({x:e}) = {y:e}, not {exact:e}"
            );
            continue;
        }
        let error = (f64::from(y) - exact).abs() / ulp_f32(exact);
        if error > worst.0 {
            worst = (error, x);
        }
    }
    std::println!("worst: {} ULP at {:e}", worst.0, worst.1);
    assert!(worst.0 <= bound, "{} ULP at {:e}", worst.0, worst.1);

    let some: Vec<f32> = x.into_iter().step_by(37).collect();
    same_on_every_cpu(|cpu| bits(&apply(function, cpu, &some)));
}

/// sin(pi x), accurate for large x too.
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

fn std_sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

fn std_softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[test]
fn f32_is_within_its_bounds() {
    sweep_f32(exp, f64::exp, 1.0);
    sweep_f32(ln, f64::ln, 1.0);
    sweep_f32(exp_m1, f64::exp_m1, 1.5);
    sweep_f32(ln_1p, f64::ln_1p, 1.0);
    sweep_f32(tanh, f64::tanh, 2.0);
    sweep_f32(sigmoid, std_sigmoid, 2.0);
    sweep_f32(softplus, |x| if x.is_nan() { x } else { std_softplus(x) }, 2.0);
    sweep_f32(erf, libm::erf, 2.0);
    sweep_f32(rsqrt, |x| 1.0 / x.sqrt(), 1.5);
    sweep_f32(sin_pi, std_sin_pi, 1.5);
    sweep_f32(cos_pi, std_cos_pi, 1.5);
}

/// Bases from the smallest to the largest, and exponents that give results of all magnitudes.
fn powers() -> (Vec<f32>, Vec<f32>) {
    let stream = Stream::new(10, 0);
    (0..share(200_000) as u64)
        .map(|i| {
            let x = f32::from_bits(stream.block(i)[0]);
            let log = f64::from(x).abs().ln();
            let y = (200.0 * stream.uniform_f64(i) - 108.0) / log;
            // One exponent in four has arbitrary bits; one in four is an integer, for negative x.
            let y = [y as f32, f32::from_bits(stream.block(i)[1]), y as f32, y.round() as f32]
                [i as usize % 4];
            (x, y)
        })
        .unzip()
}

#[test]
fn pow_f32_is_within_its_bound() {
    let (x, y) = powers();
    let z = same_on_every_cpu(|cpu| {
        let mut z = vec![f32::NAN; x.len()];
        pow(cpu, &x, &y, &mut z).unwrap();
        bits(&z)
    });
    let mut finite = 0;
    for ((&x, &y), &z) in x.iter().zip(&y).zip(&z) {
        let (got, exact) = (f64::from_bits(z), f64::from(x).powf(f64::from(y)));
        if !(exact as f32).is_finite() || exact as f32 == 0.0 {
            assert_eq!(bits(&[got as f32]), bits(&[exact as f32]), "{x:e}^{y:e}");
        } else {
            let error = (got - exact).abs() / ulp_f32(exact);
            assert!(error <= 1.0, "{x:e}^{y:e} = {got:e}: {error} ULP");
            finite += 1;
        }
    }
    assert!(finite > x.len() / 4, "{finite}");
}

#[test]
fn f64_is_within_the_same_bounds() {
    let functions: [(&str, Function<f64>, f64); 11] = [
        ("exp", exp, 1.0),
        ("ln", ln, 1.0),
        ("exp_m1", exp_m1, 1.5),
        ("ln_1p", ln_1p, 1.0),
        ("tanh", tanh, 2.0),
        ("sigmoid", sigmoid, 2.0),
        ("softplus", softplus, 2.0),
        ("erf", erf, 2.0),
        ("rsqrt", rsqrt, 1.5),
        ("sin_pi", sin_pi, 1.5),
        ("cos_pi", cos_pi, 1.5),
    ];
    let number = |bits: &str| f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
    let (mut name, mut points) = ("", [0; 12]);
    for line in EXACT_F64.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (got, exact, lacks, bound, function) = match fields[..] {
            [function] => {
                name = function;
                continue;
            }
            [x, exact, lacks] => {
                let i = functions.iter().position(|f| f.0 == name).unwrap();
                (at(Cpu::detect(), functions[i].1, number(x)), exact, lacks, functions[i].2, i)
            }
            [x, y, exact, lacks] => {
                let power =
                    |cpu: Cpu<'_>, x: &[f64], z: &mut [f64]| pow_scalar(cpu, x, number(y), z);
                (at(Cpu::detect(), power, number(x)), exact, lacks, 1.0, 11)
            }
            _ => panic!("{line}"),
        };
        let exact = number(exact);
        let unit = ulp(exact, 53, f64::from_bits(1));
        let error = ((got - exact) / unit - lacks.parse::<f64>().unwrap() / 1000.0).abs();
        assert!(error <= bound, "{name}, {line}: {got:e}, {error} ULP");
        points[function] += 1;
    }
    assert_eq!(points, [300; 12]);
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

const INF: f64 = f64::INFINITY;

/// 2^-140, subnormal as an f32: many functions return it unchanged.
const TINY: f64 = f64::from_bits((1023 - 140) << 52);

fn special_values<T: Float>() {
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
        (exp_m1, "exp_m1", 0.0, 0.0),
        (exp_m1, "exp_m1", -0.0, -0.0),
        (exp_m1, "exp_m1", TINY, TINY),
        (exp_m1, "exp_m1", -TINY, -TINY),
        (exp_m1, "exp_m1", 1e30, INF),
        (exp_m1, "exp_m1", INF, INF),
        (exp_m1, "exp_m1", -1e30, -1.0),
        (exp_m1, "exp_m1", -INF, -1.0),
        (exp_m1, "exp_m1", f64::NAN, f64::NAN),
        (ln_1p, "ln_1p", 0.0, 0.0),
        (ln_1p, "ln_1p", -0.0, -0.0),
        (ln_1p, "ln_1p", TINY, TINY),
        (ln_1p, "ln_1p", -TINY, -TINY),
        (ln_1p, "ln_1p", -1.0, -INF),
        (ln_1p, "ln_1p", -1.5, f64::NAN),
        (ln_1p, "ln_1p", -INF, f64::NAN),
        (ln_1p, "ln_1p", INF, INF),
        (ln_1p, "ln_1p", f64::NAN, f64::NAN),
        (tanh, "tanh", 0.0, 0.0),
        (tanh, "tanh", -0.0, -0.0),
        (tanh, "tanh", TINY, TINY),
        (tanh, "tanh", -TINY, -TINY),
        (tanh, "tanh", 1e30, 1.0),
        (tanh, "tanh", -1e30, -1.0),
        (tanh, "tanh", INF, 1.0),
        (tanh, "tanh", -INF, -1.0),
        (tanh, "tanh", f64::NAN, f64::NAN),
        (sigmoid, "sigmoid", 0.0, 0.5),
        (sigmoid, "sigmoid", -0.0, 0.5),
        (sigmoid, "sigmoid", TINY, 0.5),
        (sigmoid, "sigmoid", 1e30, 1.0),
        (sigmoid, "sigmoid", -1e30, 0.0),
        (sigmoid, "sigmoid", INF, 1.0),
        (sigmoid, "sigmoid", -INF, 0.0),
        (sigmoid, "sigmoid", f64::NAN, f64::NAN),
        (softplus, "softplus", 1024.0, 1024.0),
        (softplus, "softplus", -1024.0, 0.0),
        (softplus, "softplus", INF, INF),
        (softplus, "softplus", -INF, 0.0),
        (softplus, "softplus", f64::NAN, f64::NAN),
        (erf, "erf", 0.0, 0.0),
        (erf, "erf", -0.0, -0.0),
        (erf, "erf", 6.0, 1.0),
        (erf, "erf", -1e30, -1.0),
        (erf, "erf", INF, 1.0),
        (erf, "erf", -INF, -1.0),
        (erf, "erf", f64::NAN, f64::NAN),
        (rsqrt, "rsqrt", 0.0, INF),
        (rsqrt, "rsqrt", -0.0, -INF),
        (rsqrt, "rsqrt", TINY, f64::from_bits((1023 + 70) << 52)),
        (rsqrt, "rsqrt", 4.0, 0.5),
        (rsqrt, "rsqrt", INF, 0.0),
        (rsqrt, "rsqrt", -1.0, f64::NAN),
        (rsqrt, "rsqrt", -INF, f64::NAN),
        (rsqrt, "rsqrt", f64::NAN, f64::NAN),
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
    // The edges of overflow and underflow: the last finite, the first infinite; the last nonzero,
    // the first zero.
    special::<f32>(&[
        (exp, "exp", f64::from(88.722_84_f32), f64::INFINITY),
        (exp, "exp", f64::from(-103.972_08_f32), f64::from(f32::from_bits(1))),
        (exp, "exp", f64::from(-103.972_09_f32), 0.0),
        (exp_m1, "exp_m1", f64::from(88.722_84_f32), INF),
        (sigmoid, "sigmoid", f64::from(-103.972_08_f32), f64::from(f32::from_bits(1))),
        (sigmoid, "sigmoid", f64::from(-103.972_09_f32), 0.0),
        (softplus, "softplus", f64::from(-103.972_08_f32), f64::from(f32::from_bits(1))),
        (softplus, "softplus", f64::from(-103.972_09_f32), 0.0),
    ]);
    special::<f64>(&[
        (exp, "exp", 709.782_712_893_384_1, f64::INFINITY),
        (exp, "exp", -745.133_219_101_941_1, f64::from_bits(1)),
        (exp, "exp", -745.133_219_101_941_2, 0.0),
        (exp_m1, "exp_m1", 709.782_712_893_384_1, INF),
        (sigmoid, "sigmoid", -745.133_219_101_941_1, f64::from_bits(1)),
        (sigmoid, "sigmoid", -745.133_219_101_941_2, 0.0),
        (softplus, "softplus", -745.133_219_101_941_1, f64::from_bits(1)),
        (softplus, "softplus", -745.133_219_101_941_2, 0.0),
    ]);
    assert!(apply(exp, Cpu::detect(), &[88.722_83_f32])[0].is_finite());
    assert!(apply(exp, Cpu::detect(), &[709.782_712_893_384_f64])[0].is_finite());
    assert!(apply(exp_m1, Cpu::detect(), &[88.722_83_f32])[0].is_finite());
    assert!(apply(exp_m1, Cpu::detect(), &[709.782_712_893_384_f64])[0].is_finite());
}

fn special_powers<T: Float>() {
    const NAN: f64 = f64::NAN;
    let epsilon = T::INTEGER.to_f64().recip();
    let odd = (2.0 * T::INTEGER.to_f64()) - 1.0;
    let cases = [
        // x^±0 and 1^y, for every other operand.
        (NAN, 0.0, 1.0),
        (NAN, -0.0, 1.0),
        (-INF, 0.0, 1.0),
        (0.0, 0.0, 1.0),
        (1.0, NAN, 1.0),
        (1.0, -INF, 1.0),
        // Every other NaN.
        (NAN, 1.0, NAN),
        (NAN, INF, NAN),
        (2.0, NAN, NAN),
        (-1.0, NAN, NAN),
        (0.0, NAN, NAN),
        // Zeros.
        (0.0, 3.0, 0.0),
        (-0.0, 3.0, -0.0),
        (-0.0, 2.0, 0.0),
        (-0.0, 0.5, 0.0),
        (0.0, -3.0, INF),
        (-0.0, -3.0, -INF),
        (-0.0, -2.0, INF),
        (-0.0, -0.5, INF),
        (-0.0, -INF, INF),
        (-0.0, INF, 0.0),
        // Infinities.
        (INF, 0.5, INF),
        (INF, -0.5, 0.0),
        (-INF, 3.0, -INF),
        (-INF, 2.0, INF),
        (-INF, 0.5, INF),
        (-INF, -3.0, -0.0),
        (-INF, -2.0, 0.0),
        (-INF, -0.5, 0.0),
        (-INF, INF, INF),
        (-INF, -INF, 0.0),
        // Infinite exponents.
        (-1.0, INF, 1.0),
        (-1.0, -INF, 1.0),
        (0.5, INF, 0.0),
        (0.5, -INF, INF),
        (-1.5, INF, INF),
        (-1.5, -INF, 0.0),
        (1.0 + epsilon, INF, INF),
        (1.0 - epsilon, INF, 0.0),
        // Numbers below 0.
        (-2.0, 3.0, -8.0),
        (-2.0, 2.0, 4.0),
        (-2.0, -1.0, -0.5),
        (-8.0, 1.0 / 3.0, NAN),
        (-2.0, TINY, NAN),
        (-1.0, odd, -1.0),
        (-1.0, -odd, -1.0),
        (-1.0, odd - 1.0, 1.0),
        (-1.0, odd + 1.0, 1.0),
        (-1.0, odd / 2.0, NAN),
        (-1.0, 1e30, 1.0),
        // Too large, too small.
        (2.0, 1e30, INF),
        (2.0, -1e30, 0.0),
        (-2.0, -odd, -0.0),
        (-2.0, odd, -INF),
        (2.0, -140.0, TINY),
        (TINY, -0.5, f64::from_bits((1023 + 70) << 52)),
    ];
    let column = |f: fn(&(f64, f64, f64)) -> f64| -> Vec<T> {
        cases.iter().map(|c| T::from_f64(f(c))).collect()
    };
    let (x, y) = (column(|c| c.0), column(|c| c.1));
    let z = same_on_every_cpu(|cpu| {
        let mut z = vec![T::ONE; x.len()];
        pow(cpu, &x, &y, &mut z).unwrap();
        bits(&z)
    });
    for (i, (x, y, expected)) in cases.into_iter().enumerate() {
        assert_eq!(z[i], bits(&[expected])[0], "{x:?}^{y:?}: {:?}", f64::from_bits(z[i]));
        let scalar = |cpu: Cpu<'_>, x: &[T], z: &mut [T]| pow_scalar(cpu, x, T::from_f64(y), z);
        assert_eq!(bits(&[at(Cpu::detect(), scalar, T::from_f64(x))])[0], z[i], "{x:?}^{y:?}");
    }
}

#[test]
fn pow_has_the_special_values_of_ieee_754() {
    special_powers::<f32>();
    special_powers::<f64>();
}

#[test]
fn bf16_is_the_function_of_f32_rounded_once() {
    use half::bf16;
    let x: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
    let mut y = vec![bf16::ZERO; x.len()];
    tanh(Cpu::detect(), &x, &mut y).unwrap();
    for (x, y) in x.into_iter().zip(y) {
        let expected = bf16::from_f32(at(Cpu::detect(), tanh, x.to_f32()));
        assert!(
            y.to_bits() == expected.to_bits() || y.is_nan() && expected.is_nan(),
            "{x}: {y}, not {expected}"
        );
    }
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
                    assert_eq!(
                        y,
                        if range.contains(&i) { all[i] } else { -1.0 },
                        "{isa}, {len} at {offset}"
                    );
                }
            }
        }
    }
    assert_eq!(
        exp(Cpu::detect(), &[0.0_f32; 3], &mut [0.0; 4]),
        Err(Error::Length { operand: "x", expected: 4, got: 3 })
    );
}
