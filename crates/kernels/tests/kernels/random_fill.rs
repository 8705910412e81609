//! Uniform and normal fills: each element a function of its index alone; moments and distribution.

use crate::testing::{bits, same_on_every_cpu, sample, takes};
use kernels::random::*;
use kernels::{Cpu, Error, Float};

/// `n` standard normal numbers.
fn normal<T: Float>(n: usize) -> Vec<T> {
    let mut z = vec![T::NAN; n];
    fill_normal(Cpu::detect(), Stream::new(5, 1), T::ZERO, T::ONE, &mut z).unwrap();
    z
}

fn every_element_depends_on_its_index_alone<T: Float>() {
    // Lengths around registers, tiles and chunks.
    let long = [127, 128, 129, 16_383, 16_384, 16_385, 40_001];
    let stream = Stream::new(8, 3);
    let (mut uniform, mut normal) = (vec![T::NAN; 40_001], vec![T::NAN; 40_001]);
    let cpu = Cpu::detect();
    let (low, high) = (T::from_f64(-0.3), T::from_f64(0.7));
    fill_uniform(cpu, stream, low, high, &mut uniform).unwrap();
    fill_normal(cpu, stream, low, high, &mut normal).unwrap();
    for n in sample((0..=70).chain(long)) {
        same_on_every_cpu(|cpu| {
            let mut x = vec![T::NAN; n + 2];
            fill_uniform(cpu, stream, low, high, &mut x[1..=n]).unwrap();
            assert_eq!(bits(&x[1..=n]), bits(&uniform[..n]));
            assert!(x[0].to_f64().is_nan() && x[n + 1].to_f64().is_nan());
            fill_normal(cpu, stream, low, high, &mut x[1..=n]).unwrap();
            assert_eq!(bits(&x[1..=n]), bits(&normal[..n]));
            assert!(x[0].to_f64().is_nan() && x[n + 1].to_f64().is_nan());
        });
    }
}

#[test]
fn every_element_is_a_function_of_its_index_on_every_cpu() {
    every_element_depends_on_its_index_alone::<f32>();
    every_element_depends_on_its_index_alone::<f64>();
}

#[test]
fn uniform_numbers_match_the_stream() {
    let stream = Stream::new(2, 9);
    let (mut x, mut y) = ([0.0_f32; 99], [0.0_f64; 99]);
    fill_uniform(Cpu::detect(), stream, 0.0, 1.0, &mut x).unwrap();
    fill_uniform(Cpu::detect(), stream, 0.0, 1.0, &mut y).unwrap();
    for (i, (x, y)) in (0..).zip(x.iter().zip(&y)) {
        assert_eq!((*x, *y), (stream.uniform_f32(i), stream.uniform_f64(i)));
    }
}

/// Phi, by Simpson's rule on the density; accurate to 1e-10 within ±8.
fn normal_distribution(z: f64) -> f64 {
    const STEPS: usize = 400;
    let h = z / STEPS as f64;
    let exponents: [f64; STEPS + 1] =
        core::array::from_fn(|i| -(i as f64 * h) * (i as f64 * h) / 2.0);
    let mut density = [0.0; STEPS + 1];
    kernels::math::exp(Cpu::detect(), &exponents, &mut density).unwrap();
    let weight = |i| if i == 0 || i == STEPS { 1.0 } else { (2 + 2 * (i % 2)) as f64 };
    let sum: f64 = density.iter().enumerate().map(|(i, y)| weight(i) * y).sum();
    0.5 + sum * h / 3.0 / (2.0 * core::f64::consts::PI).sqrt()
}

fn normal_numbers_are_normal<T: Float>() {
    let n = if takes(200_000) { 200_000 } else { 50_000 };
    let mut z: Vec<f64> = normal::<T>(n).iter().map(|z| z.to_f64()).collect();
    let root = (n as f64).sqrt();
    let moment = |power: fn(f64) -> f64| z.iter().map(|&z| power(z)).sum::<f64>() / n as f64;
    // Five standard errors: the variances of z, z^2, z^3, z^4 are 1, 2, 15, 96.
    assert!(moment(|z| z).abs() < 5.0 / root);
    assert!((moment(|z| z * z) - 1.0).abs() < 5.0 * 2.0_f64.sqrt() / root);
    assert!(moment(|z| z * z * z).abs() < 5.0 * 15.0_f64.sqrt() / root);
    assert!((moment(|z| z * z * z * z) - 3.0).abs() < 5.0 * 96.0_f64.sqrt() / root);
    // Neighbours, which come from one pair, are uncorrelated.
    for (lag, start) in [(1, 0), (1, 1), (2, 0)] {
        let products: f64 = z[start..].chunks_exact(lag + 1).map(|z| z[0] * z[lag]).sum();
        assert!(products.abs() < 5.0 * ((n / (lag + 1)) as f64).sqrt(), "lag {lag}");
    }
    // Kolmogorov and Smirnov: sqrt(n) D exceeds 2.5 with probability 7e-6.
    z.sort_by(f64::total_cmp);
    let distance =
        |(i, &z): (usize, &f64)| (normal_distribution(z) - (i as f64 + 0.5) / n as f64).abs();
    let worst = z.iter().enumerate().step_by(50).map(distance).fold(0.0, f64::max);
    assert!(worst * root < 2.5, "{}", worst * root);
    // Both tails: 6 in 100 000 exceed 4 in magnitude.
    let beyond = z.iter().filter(|z| z.abs() > 4.0).count();
    assert!((1..40).contains(&beyond), "{beyond}");
}

#[test]
fn normal_numbers_have_the_moments_and_the_distribution_function() {
    normal_numbers_are_normal::<f32>();
    normal_numbers_are_normal::<f64>();
}

#[test]
fn parameters_out_of_range_are_refused() {
    let stream = Stream::new(0, 0);
    let mut x = [7.0_f32; 3];
    let cpu = Cpu::detect();
    for (low, high, name) in [
        (f32::NAN, 1.0, "low"),
        (0.0, f32::INFINITY, "high"),
        (1.0, 0.0, "high"),
        (-3e38, 3e38, "high - low"),
    ] {
        let error = fill_uniform(cpu, stream, low, high, &mut x).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: n, .. } if n == name), "{error}");
    }
    for (mean, std, name) in
        [(f32::INFINITY, 1.0, "mean"), (0.0, -1.0, "std"), (0.0, f32::NAN, "std")]
    {
        let error = fill_normal(cpu, stream, mean, std, &mut x).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: n, .. } if n == name), "{error}");
    }
    assert_eq!(x, [7.0; 3]);
    fill_uniform(cpu, stream, 0.5, 0.5, &mut x).unwrap();
    assert_eq!(x, [0.5; 3]);
    fill_normal(cpu, stream, -2.0, 0.0, &mut x).unwrap();
    assert_eq!(x, [-2.0; 3]);
}
