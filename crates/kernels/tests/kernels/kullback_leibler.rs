//! Compares with the cross-entropy and the scalar sum, bit for bit, with the definition in f64,
//! PyTorch's values, and finite differences.

#![expect(clippy::disallowed_methods, reason = "std's exp and ln are the reference here")]

use crate::testing::{bits, centred_difference, same_on_every_cpu, takes};
use kernels::loss::{CrossEntropy, KullbackLeibler, Targets};
use kernels::random::Stream;
use kernels::{Cpu, Error, Float, math};

/// Losses and gradient. Asserts that `losses` alone gives the same losses.
fn run<T: Float>(cpu: Cpu<'_>, z: &[T], classes: usize, t: &[T], scale: T) -> (Vec<T>, Vec<T>) {
    let rows = z.len() / classes;
    let (mut losses, mut again, mut dz) =
        (vec![T::NAN; rows], vec![T::NAN; rows], vec![T::NAN; z.len()]);
    KullbackLeibler.gradient(cpu, z, classes, t, scale, &mut losses, &mut dz).unwrap();
    KullbackLeibler.losses(cpu, z, classes, t, &mut again).unwrap();
    assert!(bits(&losses) == bits(&again));
    (losses, dz)
}

/// Logits, and distributions some of whose elements are 0.
fn draw<T: Float>(rows: usize, classes: usize) -> (Vec<T>, Vec<T>) {
    let stream = Stream::new(18, (rows * classes) as u64);
    let n = (rows * classes) as u64;
    let z = (0..n).map(|i| T::from_f64(12.0 * stream.uniform_f64(i) - 6.0)).collect();
    let mut t: Vec<f64> =
        (n..2 * n).map(|i| (stream.uniform_f64(i) - 0.2).max(0.0) + 1e-9).collect();
    for row in t.chunks_mut(classes) {
        row[0] = 0.0;
        let total = row.iter().sum::<f64>().max(1e-9);
        row.iter_mut().for_each(|t| *t /= total);
    }
    (z, t.into_iter().map(T::from_f64).collect())
}

/// Eight lanes, folded in halves.
fn ordered_sum(x: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    x.iter().enumerate().for_each(|(j, x)| lanes[j % 8] += x);
    let [a, b, c, d] = [0, 1, 2, 3].map(|l| lanes[l] + lanes[l + 4]);
    (a + c) + (b + d)
}

#[test]
fn bits_are_those_of_the_cross_entropy_and_the_documented_sum() {
    for (rows, classes) in [(0, 3), (1, 1), (5, 2), (17, 8), (16, 33), (9, 129), (300, 70)] {
        if !takes(rows * classes) {
            continue;
        }
        let (z, t) = draw::<f32>(rows, classes);
        let (mut expected, mut gradient) = (vec![f32::NAN; rows], vec![f32::NAN; z.len()]);
        let targets = Targets::Distributions(&t);
        let of = CrossEntropy::default();
        of.gradient(Cpu::detect(), &z, classes, targets, 0.3, &mut expected, &mut gradient)
            .unwrap();
        for (loss, row) in expected.iter_mut().zip(t.chunks(classes)) {
            let term = |&t: &f32| {
                if t == 0.0 { 0.0 } else { t * math::at(Cpu::detect(), math::ln, t) }
            };
            *loss += ordered_sum(&row.iter().map(term).collect::<Vec<_>>());
        }
        same_on_every_cpu(|cpu| {
            let got = run(cpu, &z, classes, &t, 0.3);
            let same = (bits(&got.0), bits(&got.1)) == (bits(&expected), bits(&gradient));
            assert!(same, "{rows} x {classes}");
        });
    }
}

/// Within the bound of `docs/NUMERICS.md`, relative to the cross-entropy and the entropy.
fn agrees_with_the_definition<T: Float>(u: f64) {
    for (rows, classes) in [(5, 2), (16, 33), (9, 129)] {
        let (z, t) = draw::<T>(rows, classes);
        let (losses, _) = run(Cpu::detect(), &z, classes, &t, T::ONE);
        for ((z, t), loss) in z.chunks(classes).zip(t.chunks(classes)).zip(losses) {
            let z: Vec<f64> = z.iter().map(|z| z.to_f64()).collect();
            let t: Vec<f64> = t.iter().map(|t| t.to_f64()).collect();
            let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_total = z.iter().map(|z| (z - max).exp()).sum::<f64>().ln() + max;
            let cross: f64 = z.iter().zip(&t).map(|(z, t)| t * (log_total - z)).sum();
            let entropy: f64 = t.iter().filter(|t| **t > 0.0).map(|t| -t * t.ln()).sum();
            let bound = (classes.div_ceil(8) as f64 + 40.0) * u * (cross + entropy);
            let error = (loss.to_f64() - (cross - entropy)).abs();
            assert!(error <= bound, "{loss}, not {}", cross - entropy);
        }
    }
}

#[test]
fn losses_match_the_definition() {
    agrees_with_the_definition::<f32>(2.0_f64.powi(-24));
    agrees_with_the_definition::<f64>(2.0_f64.powi(-53));
}

/// Values of PyTorch 2.15's `kl_div(log_softmax(z, 1), t, reduction='none').sum(1)` in f64.
#[test]
fn values_match_pytorch() {
    let (z, t) = ([0.5_f64, -1.25, 2.0, 0.25, 3.0, -2.0], [0.1, 0.2, 0.7, 0.0, 1.0, 0.0]);
    let (losses, dz) = run(Cpu::detect(), &z, 3, &t, 1.0);
    let expected_losses = [0.23080343055869534, 0.06828070561576617];
    let expected = [
        0.07682018210744429,
        -0.16927325967356358,
        0.09245307756611931,
        0.05970851101879959,
        -0.06600174177992457,
        0.00629323076112501,
    ];
    for (got, expected) in losses.iter().chain(&dz).zip(expected_losses.iter().chain(&expected)) {
        assert!((got - expected).abs() < 1e-15, "{got} not {expected}");
    }
    centred_difference(&z, &dz, |z| {
        let mut losses = [0.0; 2];
        KullbackLeibler.losses(Cpu::detect(), z, 3, &t, &mut losses).unwrap();
        losses.iter().sum()
    });
}

#[test]
fn a_distribution_of_its_own_logits_has_no_divergence_and_a_negative_target_none_at_all() {
    let (losses, dz) = run(Cpu::detect(), &[2.0_f64, 2.0, 2.0, 2.0], 2, &[0.5; 4], 1.0);
    assert!(losses.iter().all(|loss| loss.abs() < 1e-15), "{losses:?}");
    assert_eq!(dz, [0.0; 4]);
    // -0 is 0; NaN affects its own row.
    let targets = [-0.0, 1.0, -0.1, 1.1, f64::NAN, 1.0];
    let (losses, _) = run(Cpu::detect(), &[0.0_f64; 6], 2, &targets, 1.0);
    assert!((losses[0] - 2.0_f64.ln()).abs() < 1e-15, "{losses:?}");
    assert!(losses[1].is_nan() && losses[2].is_nan(), "{losses:?}");
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let cpu = Cpu::detect();
    let (mut losses, mut dz, x) = ([7.0_f32; 2], [7.0_f32; 6], [0.5; 6]);
    let error = |operand, expected, got| Err(Error::Length { operand, expected, got });
    let of = KullbackLeibler;
    assert_eq!(of.losses(cpu, &x[1..], 3, &x, &mut losses), error("logits", 6, 5));
    assert_eq!(of.losses(cpu, &x, 3, &x[1..], &mut losses), error("targets", 6, 5));
    assert_eq!(of.losses(cpu, &[], 0, &[], &mut losses), error("classes", 1, 0));
    let short = of.gradient(cpu, &x, 3, &x, 1.0, &mut losses, &mut dz[1..]);
    assert_eq!(short, error("dlogits", 6, 5));
    assert_eq!((losses, dz), ([7.0; 2], [7.0; 6]));
}
