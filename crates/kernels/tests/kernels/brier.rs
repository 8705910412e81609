//! Compares with the formulas, bit for bit, with the definition in f64, PyTorch's values, and
//! finite differences.

#![expect(clippy::disallowed_methods, reason = "std's exp is the reference here")]

use crate::testing::{bits, centred_difference, same_on_every_cpu, takes};
use kernels::loss::Brier;
use kernels::random::Stream;
use kernels::softmax::softmax;
use kernels::{Cpu, Error, Float, math};

const BOTH: [Brier; 2] = [Brier::Softmax, Brier::Sigmoid];

/// Losses and gradient. Asserts that `losses` alone gives the same losses.
fn run<T: Float>(
    of: Brier,
    cpu: Cpu<'_>,
    z: &[T],
    classes: usize,
    t: &[T],
    scale: T,
) -> (Vec<T>, Vec<T>) {
    let nan = || vec![T::NAN; z.len()];
    let (mut losses, mut again, mut dz) = (nan(), nan(), nan());
    of.gradient(cpu, z, classes, t, scale, &mut losses, &mut dz).unwrap();
    of.losses(cpu, z, classes, t, &mut again).unwrap();
    assert!(bits(&losses) == bits(&again), "{of:?}");
    (losses, dz)
}

/// Logits, and targets in [0, 1], every third 0 or 1.
fn draw<T: Float>(n: usize) -> (Vec<T>, Vec<T>) {
    let stream = Stream::new(19, n as u64);
    let uniform = |i: usize| stream.uniform_f64(i as u64);
    let z = (0..n).map(|i| T::from_f64(12.0 * uniform(i) - 6.0)).collect();
    let t = (0..n).map(|i| T::from_f64([0.0, 1.0, uniform(n + i)][i % 3])).collect();
    (z, t)
}

/// Eight lanes, folded in halves.
fn ordered_sum(x: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    x.iter().enumerate().for_each(|(j, x)| lanes[j % 8] += x);
    let [a, b, c, d] = [0, 1, 2, 3].map(|l| lanes[l] + lanes[l + 4]);
    (a + c) + (b + d)
}

/// The scalar formulas, for a scale.
fn formula(of: Brier, z: &[f32], classes: usize, t: &[f32], scale: f32) -> (Vec<f32>, Vec<f32>) {
    let cpu = Cpu::detect();
    if of == Brier::Sigmoid {
        let element = |(&z, &t): (&f32, &f32)| {
            let (p, q) = (math::at(cpu, math::sigmoid, z), math::at(cpu, math::sigmoid, -z));
            let d = (1.0 - t) * p - t * q;
            (d * d, (d + d) * (p * q) * scale)
        };
        return z.iter().zip(t).map(element).unzip();
    }
    let mut p = vec![f32::NAN; z.len()];
    softmax(cpu, z, classes, &mut p).unwrap();
    let (mut losses, mut dz) = (Vec::new(), Vec::new());
    for (p, t) in p.chunks(classes).zip(t.chunks(classes)) {
        let d: Vec<f32> = p.iter().zip(t).map(|(p, t)| p - t).collect();
        let mean = ordered_sum(&p.iter().zip(&d).map(|(p, d)| p * d).collect::<Vec<_>>());
        dz.extend(p.iter().zip(&d).map(|(p, d)| p * (scale + scale) * (d - mean)));
        losses.extend(d.iter().map(|d| d * d));
    }
    (losses, dz)
}

#[test]
fn bits_match_the_formulas() {
    for (rows, classes) in [(0, 3), (1, 1), (5, 2), (17, 8), (16, 33), (9, 129), (300, 70)] {
        if !takes(rows * classes) {
            continue;
        }
        let (mut z, t) = draw::<f32>(rows * classes);
        for (i, special) in [f32::NAN, f32::INFINITY, -f32::INFINITY, 1e30].into_iter().enumerate()
        {
            if rows > 5 {
                z[i * classes + i] = special;
            }
        }
        for of in BOTH {
            let (losses, dz) = formula(of, &z, classes, &t, 0.3);
            same_on_every_cpu(|cpu| {
                let got = run(of, cpu, &z, classes, &t, 0.3);
                let same = (bits(&got.0), bits(&got.1)) == (bits(&losses), bits(&dz));
                assert!(same, "{of:?}, {rows} x {classes}");
            });
        }
    }
}

/// Within the bound of `docs/NUMERICS.md`.
fn agrees_with_the_definition<T: Float>(u: f64) {
    for (rows, classes) in [(5, 1), (5, 2), (16, 33), (9, 129)] {
        let (z, t) = draw::<T>(rows * classes);
        for of in BOTH {
            let (losses, dz) = run(of, Cpu::detect(), &z, classes, &t, T::ONE);
            let bound = 4.0 * (classes.div_ceil(8) as f64 + 8.0) * u;
            for row in (0..z.len()).step_by(classes) {
                let row = row..row + classes;
                let wide = |x: &[T]| x[row.clone()].iter().map(|x| x.to_f64()).collect::<Vec<_>>();
                let (z, t) = (wide(&z), wide(&t));
                let total: f64 = z.iter().map(|z| z.exp()).sum();
                let probability = |z: &f64| match of {
                    Brier::Softmax => z.exp() / total,
                    Brier::Sigmoid => 1.0 / (1.0 + (-z).exp()),
                };
                let p: Vec<f64> = z.iter().map(probability).collect();
                let mean: f64 = p.iter().zip(&t).map(|(p, t)| p * (p - t)).sum();
                for (j, i) in row.clone().enumerate() {
                    let d = p[j] - t[j];
                    let slope = match of {
                        Brier::Softmax => 2.0 * p[j] * (d - mean),
                        Brier::Sigmoid => 2.0 * d * p[j] * (1.0 - p[j]),
                    };
                    let (loss, dz) = (losses[i].to_f64(), dz[i].to_f64());
                    assert!((loss - d * d).abs() <= bound, "{of:?}: {loss}, not {}", d * d);
                    assert!((dz - slope).abs() <= bound, "{of:?}: {dz}, not {slope}");
                }
            }
        }
    }
}

#[test]
fn loss_and_gradient_match_the_definition() {
    agrees_with_the_definition::<f32>(2.0_f64.powi(-24));
    agrees_with_the_definition::<f64>(2.0_f64.powi(-53));
}

/// Values of PyTorch 2.15's `(softmax(z, 1) - t)**2` and `(sigmoid(z) - t)**2` in f64.
#[test]
fn values_match_pytorch() {
    let (z, t) = ([0.5_f64, -1.25, 2.0, 0.25, 3.0, -2.0], [0.1, 0.2, 0.7, 0.0, 1.0, 0.0]);
    for (of, losses, dz) in [
        (
            Brier::Softmax,
            [
                0.0059013403790208994,
                0.028653436440513685,
                0.008547571551446875,
                0.003565106288082113,
                0.0043562299179838405,
                3.960475341277008e-05,
            ],
            [
                -0.0017069112905820597,
                -0.015419915269372591,
                0.01712682655995465,
                0.014061272166819313,
                -0.014871009979891959,
                0.0008097378130726593,
            ],
        ),
        (
            Brier::Sigmoid,
            [
                0.2729637527598892,
                0.0005152963026882933,
                0.032687583405340476,
                0.3160424181481997,
                0.0022492134466546346,
                0.014209336618611037,
            ],
            [
                0.24555976461359633,
                0.007859005392110393,
                0.037965066894750474,
                0.2767415947643171,
                -0.004285085069968629,
                0.02503108434735345,
            ],
        ),
    ] {
        let got = run(of, Cpu::detect(), &z, 3, &t, 1.0);
        for (got, expected) in got.0.iter().chain(&got.1).zip(losses.iter().chain(&dz)) {
            assert!((got - expected).abs() < 1e-15, "{of:?}: {got} not {expected}");
        }
        centred_difference(&z, &got.1, |z| {
            let mut losses = [0.0; 6];
            of.losses(Cpu::detect(), z, 3, &t, &mut losses).unwrap();
            losses.iter().sum()
        });
    }
}

/// A sigmoid near its target of 1 keeps the digits of the loss.
#[test]
fn a_confident_sigmoid_has_a_small_loss() {
    let (losses, dz) = run(Brier::Sigmoid, Cpu::detect(), &[40.0_f64, 1e4], 1, &[1.0; 2], 1.0);
    let p = (-40.0_f64).exp();
    assert!((losses[0] / (p * p) - 1.0).abs() < 1e-14 && losses[1] == 0.0, "{losses:?}");
    assert!((dz[0] / (-2.0 * p * p) - 1.0).abs() < 1e-14 && dz[1] == 0.0, "{dz:?}");
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let cpu = Cpu::detect();
    let (mut losses, mut dz, x) = ([7.0_f32; 6], [7.0_f32; 6], [0.5; 6]);
    let error = |operand, expected, got| Err(Error::Length { operand, expected, got });
    for of in BOTH {
        assert_eq!(of.losses(cpu, &x, 3, &x[1..], &mut losses), error("targets", 6, 5));
        assert!(of.losses(cpu, &x, 3, &x, &mut losses[1..]).is_err());
        assert!(of.gradient(cpu, &x, 3, &x, 1.0, &mut losses, &mut dz[1..]).is_err());
        assert!(of.gradient(cpu, &x, 3, &x, 1.0, &mut losses[1..], &mut dz).is_err());
    }
    assert_eq!(Brier::Softmax.losses(cpu, &x, 4, &x, &mut losses), error("logits", 4, 6));
    assert_eq!((losses, dz), ([7.0; 6], [7.0; 6]));
}
