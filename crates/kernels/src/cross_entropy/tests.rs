//! Against a plain f64 oracle, finite differences, and the values that the extremes must give.

#![expect(clippy::disallowed_methods, reason = "std's exp and ln are the reference here")]

extern crate std;

use std::{vec, vec::Vec};

use super::*;
use crate::random::Stream;
use crate::testing::{bits, centred_difference, same_on_every_cpu};

fn logits<T: Float>(n: usize, spread: f64) -> Vec<T> {
    let stream = Stream::new(11, n as u64);
    (0..n as u64).map(|i| T::from_f64(spread * (2.0 * stream.uniform_f64(i) - 1.0))).collect()
}

fn labels(rows: usize, classes: usize) -> Vec<u32> {
    (0..rows as u64).map(|i| Stream::new(12, 0).below(i, classes as u32)).collect()
}

/// `(losses, dlogits)`.
fn both<T: Float>(cpu: Cpu<'_>, z: &[T], classes: usize, labels: &[u32], scale: T) -> (Vec<T>, Vec<T>) {
    let mut losses = vec![T::NAN; labels.len()];
    let mut dlogits = vec![T::NAN; z.len()];
    softmax_cross_entropy(cpu, z, classes, labels, scale, &mut losses, &mut dlogits).unwrap();
    (losses, dlogits)
}

/// Loss and gradient of one row by the definition, stable, in f64.
fn oracle(z: &[f64], label: usize) -> (f64, Vec<f64>) {
    let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let rest: f64 = (0..z.len()).filter(|&j| j != label).map(|j| (z[j] - max).exp()).sum();
    let total = rest + (z[label] - max).exp();
    let loss = if z[label] == max { rest.ln_1p() } else { max - z[label] + total.ln() };
    let gradient = |j: usize| if j == label { -rest / total } else { (z[j] - max).exp() / total };
    (loss, (0..z.len()).map(gradient).collect())
}

fn agrees_with_the_oracle<T: Float>(tolerance: f64) {
    for (rows, classes, spread) in
        [(1, 1, 1.0), (37, 10, 5.0), (16, 10, 200.0), (3, 1000, 10.0), (5, 17, 1e4)]
    {
        let z = logits::<T>(rows * classes, spread);
        let labels = labels(rows, classes);
        let (losses, dlogits) = both(Cpu::detect(), &z, classes, &labels, T::ONE);
        for row in 0..rows {
            let exact: Vec<f64> = z[row * classes..][..classes].iter().map(|z| z.to_f64()).collect();
            let (loss, gradient) = oracle(&exact, labels[row] as usize);
            let error = (losses[row].to_f64() - loss).abs();
            assert!(error <= tolerance * loss, "row {row} of {rows} x {classes}: {} not {loss}", losses[row]);
            for (dz, expected) in dlogits[row * classes..].iter().zip(gradient) {
                // e^-(logit difference) inherits the rounding of the difference, hence the spread.
                let bound = tolerance * (1.0 + spread) * expected.abs() + f64::from(f32::MIN_POSITIVE);
                assert!((dz.to_f64() - expected).abs() <= bound, "{dz} not {expected}");
            }
        }
    }
}

#[test]
fn loss_and_gradient_are_those_of_the_definition() {
    agrees_with_the_oracle::<f32>(2e-6);
    agrees_with_the_oracle::<f64>(4e-15);
}

fn all_forms_give_the_same_bits<T: Float>() {
    for classes in [1, 2, 3, 7, 8, 9, 10, 16, 17, 255, 256, 257, 1000, 20_000] {
        for rows in [0, 1, 15, 16, 17, 33, 4000] {
            if rows * classes > 60_000 {
                continue;
            }
            let z = logits::<T>(rows * classes, 8.0);
            let labels = labels(rows, classes);
            let scale = T::from_f64(1.0 / 3.0);
            same_on_every_cpu(|cpu| {
                let (losses, dlogits) = both(cpu, &z, classes, &labels, scale);
                let mut in_place = z.clone();
                let mut again = vec![T::NAN; rows];
                softmax_cross_entropy_in_place(cpu, &mut in_place, classes, &labels, scale, &mut again)
                    .unwrap();
                assert_eq!((bits(&in_place), bits(&again)), (bits(&dlogits), bits(&losses)));
                softmax_cross_entropy_loss(cpu, &z, classes, &labels, &mut again).unwrap();
                assert_eq!(bits(&again), bits(&losses), "{rows} x {classes}");
                let mut p = vec![T::NAN; z.len()];
                softmax(cpu, &z, classes, &mut p).unwrap();
                (bits(&losses), bits(&dlogits), bits(&p))
            });
        }
    }
}

#[test]
fn all_forms_give_the_same_bits_on_every_cpu() {
    all_forms_give_the_same_bits::<f32>();
    all_forms_give_the_same_bits::<f64>();
}

/// The order of the sum is a promise: this loop says it in scalars.
#[test]
fn a_row_is_summed_in_the_promised_order() {
    let (classes, label) = (21, 4);
    let z = logits::<f32>(classes, 3.0);
    let max = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: Vec<f32> = z.iter().map(|z| z - max).collect();
    let mut powers = vec![0.0; classes];
    crate::math::exp(Cpu::detect(), &shifted, &mut powers).unwrap();
    let at_label = core::mem::take(&mut powers[label]);
    let mut lanes = [0.0_f32; 8];
    for (j, power) in powers.iter().enumerate() {
        lanes[j % 8] += power;
    }
    let [a, b, c, d] = [0, 1, 2, 3].map(|l| lanes[l] + lanes[l + 4]);
    let rest = (a + c) + (b + d);
    let share = 0.25 / (rest + at_label);
    let (_, dlogits) = both(Cpu::detect(), &z, classes, &[label as u32], 0.25);
    for j in 0..classes {
        let expected = if j == label { -rest * share } else { powers[j] * share };
        assert_eq!(dlogits[j].to_bits(), expected.to_bits(), "class {j}");
    }
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let (rows, classes) = (4, 10);
    let z = logits::<f64>(rows * classes, 2.0);
    let labels = labels(rows, classes);
    let scale = 1.0 / rows as f64;
    let (_, dlogits) = both(Cpu::detect(), &z, classes, &labels, scale);
    centred_difference(&z, &dlogits, |z| {
        let mut losses = vec![0.0; rows];
        softmax_cross_entropy_loss(Cpu::detect(), z, classes, &labels, &mut losses).unwrap();
        losses.iter().sum::<f64>() * scale
    });
}

#[test]
fn extreme_logits_give_exact_losses_and_tiny_losses_keep_their_digits() {
    let loss = |z: [f32; 2]| {
        let (losses, dlogits) = both(Cpu::detect(), &z, 2, &[0], 1.0);
        (losses[0], dlogits)
    };
    assert_eq!(loss([-1e4, 1e4]), (2e4, vec![-1.0, 1.0]));
    assert_eq!(loss([1e4, -1e4]), (0.0, vec![-0.0, 0.0]));
    assert_eq!(loss([-1e38, 1e38]), (2e38, vec![-1.0, 1.0]));
    // ln(1 + e^-20) = 2.0611536e-9, which 1 + e^-20 in f32 has lost.
    let (tiny, gradient) = loss([20.0, 0.0]);
    assert!((f64::from(tiny) - (-20.0_f64).exp().ln_1p()).abs() < 1e-15);
    assert!((gradient[0] + tiny).abs() < 1e-15 && gradient[1] == -gradient[0]);
}

#[test]
fn what_is_not_finite_stays_in_its_row() {
    const INF: f64 = f64::INFINITY;
    fn case<T: Float>(row: [f64; 3], loss: f64, dlogits: [f64; 3]) {
        let z: Vec<T> = [row, [1.0, 2.0, 3.0]].iter().flatten().map(|&z| T::from_f64(z)).collect();
        same_on_every_cpu(|cpu| {
            let (losses, dz) = both(cpu, &z, 3, &[1, 1], T::ONE);
            assert_eq!(bits(&losses[..1]), bits(&[T::from_f64(loss)]), "{row:?}");
            assert_eq!(bits(&dz[..3]), bits(&dlogits.map(T::from_f64)), "{row:?}");
            let (alone, dz_alone) = both(cpu, &z[3..], 3, &[1], T::ONE);
            assert_eq!((&losses[1..], &dz[3..]), (&alone[..], &dz_alone[..]));
        });
    }
    let nan = (f64::NAN, [f64::NAN; 3]);
    for (row, (loss, dlogits)) in [
        ([1.0, f64::NAN, 2.0], nan),
        ([f64::NAN, 1.0, 2.0], nan),
        ([1.0, INF, 2.0], nan),
        ([INF, 1.0, 2.0], nan),
        ([INF, INF, INF], nan),
        ([-INF, -INF, -INF], nan),
        ([0.0, -INF, -INF], (INF, [1.0, -1.0, 0.0])),
        ([-INF, 0.0, -INF], (0.0, [0.0, -0.0, 0.0])),
    ] {
        case::<f32>(row, loss, dlogits);
        case::<f64>(row, loss, dlogits);
    }
}

#[test]
fn probabilities_sum_to_one() {
    let (rows, classes) = (50, 10);
    let z = logits::<f64>(rows * classes, 30.0);
    let mut p = vec![0.0; z.len()];
    softmax(Cpu::detect(), &z, classes, &mut p).unwrap();
    for (z, p) in z.chunks(classes).zip(p.chunks(classes)) {
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        // Ratios of probabilities are powers of differences of logits.
        assert!((p[1] / p[0] / (z[1] - z[0]).exp() - 1.0).abs() < 1e-13);
    }
    let mut p = [0.0_f32; 2];
    softmax(Cpu::detect(), &[f32::MAX, -f32::MAX], 2, &mut p).unwrap();
    assert_eq!(p, [1.0, 0.0]);
}

#[test]
fn argmax_takes_the_first_of_equals_and_the_first_nan() {
    let answer = |row: &[f32]| {
        let mut answers = [u32::MAX];
        argmax(Cpu::detect(), row, row.len(), &mut answers).unwrap();
        answers[0]
    };
    assert_eq!(answer(&[1.0, 3.0, 3.0, 2.0]), 1);
    assert_eq!(answer(&[-0.0, 0.0]), 0);
    assert_eq!(answer(&[f32::NEG_INFINITY; 3]), 0);
    assert_eq!(answer(&[1.0, f32::NAN, f32::INFINITY, f32::NAN]), 1);
    let z = logits::<f32>(30_000, 1.0);
    same_on_every_cpu(|cpu| {
        let mut answers = [u32::MAX; 3000];
        argmax(cpu, &z, 10, &mut answers).unwrap();
        for (row, &answer) in z.chunks(10).zip(&answers) {
            assert!(row.iter().all(|&x| x <= row[answer as usize]));
        }
    });
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let cpu = Cpu::detect();
    let mut losses = [7.0_f32; 2];
    let mut dlogits = [7.0_f32; 6];
    let z = [0.0; 6];
    for (result, error) in [
        (
            softmax_cross_entropy(cpu, &z, 3, &[0, 3], 1.0, &mut losses, &mut dlogits),
            Error::Label { row: 1, classes: 3, got: 3 },
        ),
        (
            softmax_cross_entropy(cpu, &z[..5], 3, &[0, 1], 1.0, &mut losses, &mut dlogits),
            Error::Length { operand: "logits", expected: 6, got: 5 },
        ),
        (
            softmax_cross_entropy(cpu, &z, 3, &[0, 1], 1.0, &mut losses[..1], &mut dlogits),
            Error::Length { operand: "losses", expected: 2, got: 1 },
        ),
        (
            softmax_cross_entropy(cpu, &z, 3, &[0, 1], 1.0, &mut losses, &mut dlogits[1..]),
            Error::Length { operand: "dlogits", expected: 6, got: 5 },
        ),
        (
            softmax_cross_entropy(cpu, &[], 0, &[0, 0], 1.0, &mut losses, &mut []),
            Error::Label { row: 0, classes: 0, got: 0 },
        ),
        (
            softmax_cross_entropy_in_place(cpu, &mut dlogits, 3, &[9, 1], 1.0, &mut losses),
            Error::Label { row: 0, classes: 3, got: 9 },
        ),
        (
            softmax_cross_entropy_loss(cpu, &z, usize::MAX, &[0, 1], &mut losses),
            Error::Length { operand: "logits", expected: usize::MAX, got: 6 },
        ),
        (softmax(cpu, &z, 4, &mut dlogits), Error::Length { operand: "logits", expected: 4, got: 6 }),
        (softmax(cpu, &z, 0, &mut dlogits), Error::Length { operand: "logits", expected: 0, got: 6 }),
        (argmax(cpu, &z, 4, &mut [0; 2]), Error::Length { operand: "logits", expected: 8, got: 6 }),
        (argmax::<f32>(cpu, &[], 0, &mut [0; 2]), Error::Length { operand: "classes", expected: 1, got: 0 }),
    ] {
        assert_eq!(result, Err(error));
    }
    assert_eq!((losses, dlogits), ([7.0; 2], [7.0; 6]));
    assert_eq!(softmax_cross_entropy::<f32>(cpu, &[], 0, &[], 1.0, &mut [], &mut []), Ok(()));
    assert_eq!(argmax::<f32>(cpu, &[], 0, &mut []), Ok(()));
    assert_eq!(softmax::<f32>(cpu, &[], 0, &mut []), Ok(()));
}

#[test]
fn rows_of_a_view_are_all_that_is_written() {
    let z = logits::<f32>(35 * 10, 2.0);
    let labels = labels(35, 10);
    let (expected_losses, expected) = both(Cpu::detect(), &z, 10, &labels, 1.0);
    let (mut losses, mut dlogits) = (vec![7.0; 39], vec![7.0; 353]);
    let cpu = Cpu::detect();
    softmax_cross_entropy(cpu, &z, 10, &labels, 1.0, &mut losses[1..36], &mut dlogits[1..351]).unwrap();
    assert_eq!((&losses[1..36], &dlogits[1..351]), (&expected_losses[..], &expected[..]));
    assert!(losses[..1].iter().chain(&losses[36..]).all(|&x| x == 7.0));
    assert!(dlogits[..1].iter().chain(&dlogits[351..]).all(|&x| x == 7.0));
}
