//! Compares with the definitions in f64, the documented orders in scalars, finite differences, and
//! the limits at extreme values.

#![expect(clippy::disallowed_methods, reason = "std's exp and ln are the reference here")]

use crate::testing::{bits, centred_difference, same_on_every_cpu, takes};
use kernels::random::Stream;
use kernels::softmax::*;
use kernels::{Cpu, Error, Float};

fn draw<T: Float>(n: usize, spread: f64) -> Vec<T> {
    let stream = Stream::new(13, n as u64);
    (0..n as u64).map(|i| T::from_f64(spread * (2.0 * stream.uniform_f64(i) - 1.0))).collect()
}

/// Softmax and log-softmax.
fn both<T: Float>(cpu: Cpu<'_>, z: &[T], classes: usize) -> (Vec<T>, Vec<T>) {
    let (mut p, mut y) = (vec![T::NAN; z.len()], vec![T::NAN; z.len()]);
    softmax(cpu, z, classes, &mut p).unwrap();
    log_softmax(cpu, z, classes, &mut y).unwrap();
    (p, y)
}

/// Eight lanes, folded in halves.
fn ordered_sum(x: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    x.iter().enumerate().for_each(|(j, x)| lanes[j % 8] += x);
    let [a, b, c, d] = [0, 1, 2, 3].map(|l| lanes[l] + lanes[l + 4]);
    (a + c) + (b + d)
}

/// Lengths around lanes, tiles, the shortest long row, pieces and chunks.
const CLASSES: [usize; 17] =
    [1, 2, 3, 7, 8, 9, 10, 17, 31, 32, 33, 127, 128, 129, 512, 1000, 20_000];

#[test]
fn every_form_has_the_documented_bits_on_every_cpu() {
    for classes in CLASSES {
        for rows in [0, 1, 15, 16, 17, 50, 4000] {
            if rows * classes > 60_000 || !takes(rows * classes) {
                continue;
            }
            let z = draw::<f32>(rows * classes, 8.0);
            let mut dy = draw::<f32>(rows * classes + 1, 1.0);
            dy.truncate(z.len());
            let (mut p, mut y, mut dp, mut dz) = (z.clone(), z.clone(), dy.clone(), dy.clone());
            for at in (0..z.len()).step_by(classes) {
                let row = at..at + classes;
                let max = z[row.clone()].iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let shifted: Vec<f32> = z[row.clone()].iter().map(|z| z - max).collect();
                let mut powers = vec![0.0; classes];
                kernels::math::exp(Cpu::detect(), &shifted, &mut powers).unwrap();
                let total = ordered_sum(&powers);
                let first = shifted.iter().position(|&z| z == 0.0).unwrap();
                for (p, power) in p[row.clone()].iter_mut().zip(&powers) {
                    *p = power / total;
                }
                powers[first] = 0.0;
                let mut log = [ordered_sum(&powers)];
                let sums = log;
                kernels::math::ln_1p(crate::testing::cpus().next().unwrap(), &sums, &mut log)
                    .unwrap();
                for (y, z) in y[row.clone()].iter_mut().zip(&shifted) {
                    *y = z - log[0];
                }
                let products: Vec<f32> = row.clone().map(|j| p[j] * dy[j]).collect();
                let (mean, sum) = (ordered_sum(&products), ordered_sum(&dy[row.clone()]));
                let mut powers = vec![0.0; classes];
                kernels::math::exp(Cpu::detect(), &y[row.clone()], &mut powers).unwrap();
                for (j, power) in row.zip(powers) {
                    dp[j] = p[j] * (dy[j] - mean);
                    dz[j] = (-sum).mul_add(power, dy[j]);
                }
            }
            same_on_every_cpu(|cpu| {
                let got = both(cpu, &z, classes);
                assert!(
                    (bits(&got.0), bits(&got.1)) == (bits(&p), bits(&y)),
                    "{rows} x {classes}, {cpu:?}"
                );
                let mut in_place = (z.clone(), z.clone());
                softmax_in_place(cpu, &mut in_place.0, classes).unwrap();
                log_softmax_in_place(cpu, &mut in_place.1, classes).unwrap();
                assert!(in_place == got, "{rows} x {classes} in place, {cpu:?}");
                let mut back = (dy.clone(), dy.clone());
                softmax_backward(cpu, &p, classes, &mut back.0).unwrap();
                log_softmax_backward(cpu, &y, classes, &mut back.1).unwrap();
                assert!(
                    (bits(&back.0), bits(&back.1)) == (bits(&dp), bits(&dz)),
                    "{rows} x {classes}, {cpu:?}"
                );
            });
        }
    }
}

fn f64_is_the_same_everywhere_and_exact(classes: usize, spread: f64) {
    let z = draw::<f64>(3 * classes, spread);
    let (p, y) = same_on_every_cpu(|cpu| both(cpu, &z, classes));
    for (row, z) in z.chunks(classes).enumerate() {
        let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let first = z.iter().position(|&z| z == max).unwrap();
        let rest: f64 = (0..classes).filter(|&j| j != first).map(|j| (z[j] - max).exp()).sum();
        for (j, &z) in z.iter().enumerate() {
            let (p, y) = (p[row * classes + j], y[row * classes + j]);
            let expected = (z - max) - rest.ln_1p();
            assert!(
                (y - expected).abs() <= 4e-16 * (4.0 * expected.abs() + 2.0 * spread),
                "{y} not {expected}"
            );
            if j == first {
                // A logarithm near 0 keeps its digits.
                assert!((y - expected).abs() <= 1e-14 * expected.abs(), "{y} not {expected}");
            }
            let expected = (z - max).exp() / (1.0 + rest);
            assert!(
                (p - expected).abs() <= 1e-14 * (1.0 + spread) * expected,
                "{p} not {expected}"
            );
        }
    }
}

#[test]
fn results_match_the_definition() {
    for (classes, spread) in [(1, 1.0), (10, 5.0), (40, 30.0), (1000, 10.0), (17, 1e4)] {
        f64_is_the_same_everywhere_and_exact(classes, spread);
    }
    // ln(1 + e^-20), which 1 + e^-20 in f32 loses.
    let (_, y) = both(Cpu::detect(), &[20.0_f32, 0.0], 2);
    assert!((f64::from(y[0]) + (-20.0_f64).exp().ln_1p()).abs() < 1e-15 && y[1] == -20.0);
}

#[test]
fn probabilities_sum_to_one() {
    let (rows, classes) = (50, 10);
    let z = draw::<f64>(rows * classes, 30.0);
    let (p, _) = both(Cpu::detect(), &z, classes);
    for (z, p) in z.chunks(classes).zip(p.chunks(classes)) {
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        // Ratios of probabilities are exponentials of differences of logits.
        assert!((p[1] / p[0] / (z[1] - z[0]).exp() - 1.0).abs() < 1e-13);
    }
}

#[test]
fn gradients_match_finite_differences() {
    let cpu = Cpu::detect();
    let (rows, classes) = (3, 11);
    let z = draw::<f64>(rows * classes, 2.0);
    let w = draw::<f64>(rows * classes + 2, 1.0);
    let w = &w[2..];
    let (p, y) = both(cpu, &z, classes);
    let (mut dp, mut dy) = (w.to_vec(), w.to_vec());
    softmax_backward(cpu, &p, classes, &mut dp).unwrap();
    log_softmax_backward(cpu, &y, classes, &mut dy).unwrap();
    let weighted = |x: &[f64]| x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
    centred_difference(&z, &dp, |z| weighted(&both(cpu, z, classes).0));
    centred_difference(&z, &dy, |z| weighted(&both(cpu, z, classes).1));
}

#[test]
fn non_finite_logits_stay_in_their_row() {
    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;
    fn case<T: Float>(row: &[f64], p: &[f64], y: &[f64]) {
        // Short rows, and long ones whose other logits do not contribute.
        for classes in [row.len(), 40, 300] {
            let padded = |row: &[f64], pad: f64| -> Vec<T> {
                let pad = if row.iter().any(|x| x.is_nan()) && pad != -INF { NAN } else { pad };
                let padding = vec![pad; classes - row.len()];
                row.iter().chain(&padding).map(|&x| T::from_f64(x)).collect()
            };
            let mut z = padded(row, -INF);
            z.extend(draw::<T>(classes, 1.0));
            same_on_every_cpu(|cpu| {
                let got = both(cpu, &z, classes);
                assert_eq!(bits(&got.0[..classes]), bits(&padded(p, 0.0)), "{row:?}");
                assert_eq!(bits(&got.1[..classes]), bits(&padded(y, -INF)), "{row:?}");
                let alone = both(cpu, &z[classes..], classes);
                assert_eq!((&got.0[classes..], &got.1[classes..]), (&alone.0[..], &alone.1[..]));
            });
        }
    }
    for row in [[1.0, NAN, 2.0], [NAN; 3], [1.0, INF, 2.0], [INF; 3], [-INF; 3]] {
        for classes in [3, 40, 300] {
            let mut z = vec![-INF; classes];
            z[..3].copy_from_slice(&row);
            same_on_every_cpu(|cpu| {
                let (p, y) = both(cpu, &z, classes);
                assert!(p.iter().chain(&y).all(|x| x.is_nan()), "{row:?} of {classes}");
            });
        }
    }
    case::<f32>(&[-INF, 0.0, -INF], &[0.0, 1.0, 0.0], &[-INF, 0.0, -INF]);
    case::<f64>(&[-INF, 0.0, -INF], &[0.0, 1.0, 0.0], &[-INF, 0.0, -INF]);
    case::<f32>(&[-1e38, 3e38, -3e38], &[0.0, 1.0, 0.0], &[f64::from(-1e38_f32 - 3e38), 0.0, -INF]);
    case::<f64>(&[1e4, -1e4], &[1.0, 0.0], &[0.0, -2e4]);
}

#[test]
fn misuse_is_refused_and_memory_around_a_view_is_unchanged() {
    let cpu = Cpu::detect();
    let (z, mut out) = ([0.0_f32; 6], [7.0_f32; 6]);
    let error = |operand, expected, got| Err(Error::Length { operand, expected, got });
    for (classes, expected) in [(4, 4), (0, 0), (usize::MAX, 0)] {
        assert_eq!(softmax(cpu, &z, classes, &mut out), error("logits", expected, 6));
        assert_eq!(softmax_in_place(cpu, &mut out, classes), error("logits", expected, 6));
        assert_eq!(log_softmax(cpu, &z, classes, &mut out), error("logits", expected, 6));
        assert_eq!(log_softmax_in_place(cpu, &mut out, classes), error("logits", expected, 6));
        assert_eq!(softmax_backward(cpu, &z, classes, &mut out), error("y", expected, 6));
        assert_eq!(log_softmax_backward(cpu, &z, classes, &mut out), error("y", expected, 6));
    }
    assert_eq!(softmax(cpu, &z, 3, &mut out[1..]), error("probabilities", 6, 5));
    assert_eq!(log_softmax(cpu, &z, 3, &mut out[1..]), error("log_probabilities", 6, 5));
    assert_eq!(softmax_backward(cpu, &z, 3, &mut out[1..]), error("dy", 6, 5));
    assert_eq!(log_softmax_backward(cpu, &z, 3, &mut out[1..]), error("dy", 6, 5));
    assert_eq!(out, [7.0; 6]);
    assert_eq!(softmax::<f32>(cpu, &[], 0, &mut []), Ok(()));
    assert_eq!(log_softmax_backward::<f32>(cpu, &[], 0, &mut []), Ok(()));

    let z = draw::<f32>(35 * 10, 2.0);
    let (p, y) = both(cpu, &z, 10);
    let (mut p_view, mut y_view) = (vec![7.0; 353], vec![7.0; 353]);
    softmax(cpu, &z, 10, &mut p_view[1..351]).unwrap();
    log_softmax(cpu, &z, 10, &mut y_view[1..351]).unwrap();
    assert_eq!((&p_view[1..351], &y_view[1..351]), (&p[..], &y[..]));
    for view in [p_view, y_view] {
        assert!(view[..1].iter().chain(&view[351..]).all(|&x| x == 7.0));
    }
}
