use crate::testing::{bits, same_on_every_cpu};
use kernels::norm::norm2;
use kernels::random::Stream;
use kernels::spectral::*;
use kernels::{Cpu, Error, Float};

fn draw<T: Float>(stream: u64, n: usize) -> Vec<T> {
    (0..n as u64).map(|i| T::from_f64(Stream::new(19, stream).uniform_f64(i) - 0.5)).collect()
}

/// An orthogonal matrix: a Householder reflection by a random vector.
fn reflection(stream: u64, n: usize) -> Vec<f64> {
    let x = draw::<f64>(stream, n);
    let square: f64 = x.iter().map(|x| x * x).sum();
    (0..n * n)
        .map(|i| f64::from(u8::from(i / n == i % n)) - 2.0 * x[i / n] * x[i % n] / square)
        .collect()
}

/// A matrix of known singular values: `left * diagonal * right`.
fn with_singular_values(rows: usize, cols: usize, values: &[f64]) -> Vec<f64> {
    let (left, right) = (reflection(1, rows), reflection(2, cols));
    let element = |i: usize, j: usize| -> f64 {
        values
            .iter()
            .enumerate()
            .map(|(k, value)| left[i * rows + k] * value * right[k * cols + j])
            .sum()
    };
    (0..rows * cols).map(|i| element(i / cols, i % cols)).collect()
}

#[test]
fn the_largest_singular_value_is_approached_from_below() {
    for (rows, cols) in [(3, 3), (40, 7), (7, 40), (30, 300)] {
        let w = with_singular_values(rows, cols, &[1.5, 3.0, 0.5]);
        let sigma = same_on_every_cpu(|cpu| {
            let (mut u, mut v) = (draw(3, rows), vec![0.0; cols]);
            let mut before = 0.0;
            // Each call continues from the last one.
            for _ in 0..30 {
                let sigma = spectral_norm(cpu, &w, cols, 1, &mut u, &mut v).unwrap();
                assert!(sigma >= before * (1.0 - 1e-14) && sigma <= 3.0 * (1.0 + 1e-14));
                before = sigma;
            }
            assert!(
                (norm2(cpu, &u).unwrap() - 1.0).abs() < 1e-14
                    && (norm2(cpu, &v).unwrap() - 1.0).abs() < 1e-14
            );
            (before, bits(&u), bits(&v))
        })
        .0;
        assert!((sigma - 3.0).abs() < 1e-13, "{sigma}");
    }
}

#[test]
fn the_steps_have_the_documented_order() {
    // More columns than a task and a chunk take, and more rows than a task takes.
    for (rows, cols) in [(1, 1), (5, 70), (3, 16_500), (700, 33)] {
        let w = draw::<f32>(4, rows * cols);
        let start = draw::<f64>(5, rows);
        let cpu = Cpu::detect();
        let norm = norm2(cpu, &start).unwrap();
        let mut v = vec![0.0; cols];
        for (w, u) in w.chunks(cols).zip(&start) {
            v.iter_mut().zip(w).for_each(|(v, w)| *v += f64::from(*w) * (u / norm));
        }
        let norm = norm2(cpu, &v).unwrap();
        v.iter_mut().for_each(|v| *v /= norm);
        let wide: Vec<f64> = w.iter().map(|w| f64::from(*w)).collect();
        let mut u: Vec<f64> =
            wide.chunks(cols).map(|w| kernels::vector::dot(cpu, w, &v).unwrap()).collect();
        let sigma = norm2(cpu, &u).unwrap();
        u.iter_mut().for_each(|u| *u /= sigma);
        same_on_every_cpu(|cpu| {
            let (mut got_u, mut got_v) = (start.clone(), vec![0.0; cols]);
            assert_eq!(spectral_norm(cpu, &w, cols, 1, &mut got_u, &mut got_v), Ok(sigma));
            assert!(bits(&got_u) == bits(&u) && bits(&got_v) == bits(&v));
        });
    }
}

#[test]
fn weights_are_clipped_to_the_limit_or_unchanged() {
    let w = with_singular_values(20, 30, &[4.0, 1.0]);
    for (limit, expected) in [(2.0, 2.0), (8.0, 4.0)] {
        let mut clipped = w.clone();
        let (mut u, mut v) = (draw(3, 20), vec![0.0; 30]);
        let before =
            clip_spectral_norm(Cpu::detect(), &mut clipped, 30, limit, 50, &mut u, &mut v).unwrap();
        assert!((before - 4.0).abs() < 1e-13);
        let after = spectral_norm(Cpu::detect(), &clipped, 30, 1, &mut u, &mut v).unwrap();
        assert!((after - expected).abs() < 1e-13);
        assert_eq!(bits(&clipped) == bits(&w), limit == 8.0);
    }
}

#[test]
fn extreme_magnitudes_are_handled() {
    for size in [f32::MAX, 1e20, 1e-20, f32::from_bits(4)] {
        let w = [size, 0.0, 0.0, size / 4.0];
        let (mut u, mut v) = ([1e200, 1e200], [0.0; 2]);
        let sigma = spectral_norm(Cpu::detect(), &w, 2, 30, &mut u, &mut v).unwrap();
        assert!((sigma / f64::from(size) - 1.0).abs() < 1e-14, "{size:e}: {sigma:e}");
    }
    let (mut u, mut v) = ([3.0, 4.0], [0.0; 3]);
    assert_eq!(spectral_norm(Cpu::detect(), &[0.0_f32; 6], 3, 5, &mut u, &mut v), Ok(0.0));
    assert_eq!(u, [0.6, 0.8]);
    assert_eq!(spectral_norm::<f32>(Cpu::detect(), &[], 3, 5, &mut [], &mut v), Ok(0.0));
    assert_eq!(spectral_norm::<f32>(Cpu::detect(), &[], 0, 5, &mut [], &mut []), Ok(0.0));
    let (mut w, mut u) = ([f64::MAX; 6], [1.0; 2]);
    assert_eq!(
        clip_spectral_norm(Cpu::detect(), &mut w, 3, 1.0, 5, &mut u, &mut v),
        Ok(f64::INFINITY)
    );
    assert_eq!(w, [f64::MAX; 6]);
}

#[test]
fn misuse_and_non_finite_weights_are_refused() {
    let cpu = Cpu::detect();
    for bad in [f32::NAN, f32::INFINITY] {
        for at in 0..6 {
            let mut w = [0.0_f32; 6];
            w[at] = bad;
            let (before, mut u, mut v) = (bits(&w), [1.0, 0.0], [0.0; 3]);
            let result = clip_spectral_norm(cpu, &mut w, 3, 1.0, 1, &mut u, &mut v);
            assert_eq!(result, Err(Error::NonFinite { index: at }));
            assert_eq!((bits(&w), u), (before, [1.0, 0.0]));
        }
    }
    let w = [1.0_f32; 6];
    let run =
        |u: &mut [f64], cols, v: usize, n| spectral_norm(cpu, &w, cols, n, u, &mut vec![0.0; v]);
    let length = |operand, expected, got| Err(Error::Length { operand, expected, got });
    assert_eq!(run(&mut [1.0; 3], 3, 3, 1), length("u", 2, 3));
    assert_eq!(run(&mut [1.0; 2], 3, 2, 1), length("v", 3, 2));
    assert_eq!(run(&mut [1.0; 2], 4, 4, 1), length("w", 4, 6));
    assert_eq!(run(&mut [1.0; 2], 0, 0, 1), length("w", 0, 6));
    let refused = |result, parameter| {
        assert!(matches!(result, Err(Error::Parameter { name, .. }) if name == parameter));
    };
    refused(run(&mut [1.0; 2], 3, 3, 0), "iterations");
    refused(run(&mut [0.0; 2], 3, 3, 1), "u");
    refused(run(&mut [1.0, f64::NAN], 3, 3, 1), "u");
    for limit in [0.0, -1.0, f64::NAN] {
        refused(
            clip_spectral_norm(cpu, &mut w.clone(), 3, limit, 1, &mut [1.0; 2], &mut [0.0; 3]),
            "limit",
        );
    }
}
