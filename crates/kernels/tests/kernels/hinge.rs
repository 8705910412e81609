//! Compares with the definition in f64, PyTorch's values, the documented order in scalars, finite
//! differences, and the limits at extreme logits.

use crate::testing::{bits, centred_difference, same_on_every_cpu, takes};
use kernels::loss::{Hinge, HingeForm};
use kernels::random::Stream;
use kernels::{Cpu, Error, Float};

/// Every form, squared and not.
fn all() -> impl Iterator<Item = Hinge> {
    [HingeForm::All, HingeForm::Max, HingeForm::OneAgainstRest].into_iter().flat_map(|form| {
        [false, true].map(|squared| Hinge { form, margin: 1.5, squared, ignore: None })
    })
}

/// Losses and gradient. Asserts that `losses` alone gives the same losses.
fn run<T: Float>(
    of: Hinge,
    cpu: Cpu<'_>,
    z: &[T],
    classes: usize,
    labels: &[u32],
    scale: T,
) -> (Vec<T>, Vec<T>) {
    let rows = labels.len();
    let (mut losses, mut again, mut dz) =
        (vec![T::NAN; rows], vec![T::NAN; rows], vec![T::NAN; z.len()]);
    of.gradient(cpu, z, classes, labels, scale, &mut losses, &mut dz).unwrap();
    of.losses(cpu, z, classes, labels, &mut again).unwrap();
    assert!(bits(&losses) == bits(&again), "{of:?}");
    (losses, dz)
}

/// One row by the definition, with sums in the documented order.
fn formula(of: Hinge, z: &[f32], label: usize, scale: f32) -> (f32, Vec<f32>) {
    let margin = of.margin as f32;
    let clip = |v: f32| if v <= 0.0 { 0.0 } else { v };
    let violation = |j: usize| match (of.form, j == label) {
        (HingeForm::OneAgainstRest, true) => clip(margin - z[j]),
        (HingeForm::OneAgainstRest, false) => clip(margin + z[j]),
        (_, true) => 0.0,
        (_, false) => clip(margin - z[label] + z[j]),
    };
    let v: Vec<f32> = (0..z.len()).map(violation).collect();
    let powered = |v: f32| if of.squared { v * v } else { v };
    let slope = |v: f32| {
        if of.squared {
            v + v
        } else if v > 0.0 {
            1.0
        } else {
            v
        }
    };
    let sum = |x: &[f32]| {
        let mut lanes = [0.0_f32; 8];
        x.iter().enumerate().for_each(|(j, x)| lanes[j % 8] += x);
        let [a, b, c, d] = [0, 1, 2, 3].map(|l| lanes[l] + lanes[l + 4]);
        (a + c) + (b + d)
    };
    let powers: Vec<f32> = v.iter().map(|&v| powered(v)).collect();
    match of.form {
        HingeForm::Max => {
            let at = (0..v.len()).fold(label, |at, j| if v[at] < v[j] { j } else { at });
            let mut dz = vec![0.0; z.len()];
            dz[label] = -slope(v[at]) * scale;
            dz[at] = slope(v[at]) * scale;
            (powers[at], dz)
        }
        HingeForm::All => {
            let classes = z.len() as f32;
            let mut dz: Vec<f32> = v.iter().map(|&v| slope(v) * (scale / classes)).collect();
            dz[label] = 0.0 - sum(&dz);
            (sum(&powers) / classes, dz)
        }
        HingeForm::OneAgainstRest => {
            let mut dz: Vec<f32> = v.iter().map(|&v| slope(v) * scale).collect();
            dz[label] = 0.0 - dz[label];
            (sum(&powers), dz)
        }
    }
}

#[test]
fn bits_match_the_definition() {
    for classes in [1, 2, 3, 7, 8, 9, 10, 17, 127, 128, 129, 1000, 20_000] {
        for rows in [0, 1, 17, 3000] {
            if rows * classes > 40_000 || !takes(rows * classes) {
                continue;
            }
            let stream = Stream::new(17, classes as u64);
            let z: Vec<f32> =
                (0..rows * classes).map(|i| 4.0 * stream.uniform_f32(i as u64) - 2.0).collect();
            let labels: Vec<u32> =
                (0..rows as u64).map(|i| stream.below(i, classes as u32)).collect();
            for of in all() {
                let mut expected = (vec![], vec![]);
                for (z, &label) in z.chunks(classes).zip(&labels) {
                    let (loss, dz) = formula(of, z, label as usize, 0.3);
                    expected.0.push(loss);
                    expected.1.extend(dz);
                }
                same_on_every_cpu(|cpu| {
                    let (losses, dz) = run(of, cpu, &z, classes, &labels, 0.3);
                    assert!(
                        bits(&losses) == bits(&expected.0),
                        "{of:?}, {rows} x {classes}, {cpu:?}"
                    );
                    assert!(bits(&dz) == bits(&expected.1), "{of:?}, {rows} x {classes}, {cpu:?}");
                });
            }
        }
    }
}

const Z: [f64; 12] = [0.5, -1.25, 2.0, 0.25, 3.0, -2.0, -1.5, 1.0, -0.75, 0.0, 0.5, -4.0];
const LABELS: [u32; 3] = [2, 3, 0];

/// Values of PyTorch 2.15's `multi_margin_loss(z, y, p, margin=1.5, reduction='none')` in f64.
#[test]
fn values_match_pytorch() {
    let of = Hinge { margin: 1.5, ..Hinge::default() };
    let (losses, dz) = run(of, Cpu::detect(), &Z, 4, &LABELS, 1.0);
    assert_eq!(losses, [0.0, 0.875, 1.25]);
    assert_eq!(dz, [0.0, 0.0, 0.0, 0.0, 0.25, 0.0, 0.0, -0.25, -0.5, 0.25, 0.25, 0.0]);
    let (losses, dz) = run(Hinge { squared: true, ..of }, Cpu::detect(), &Z, 4, &LABELS, 1.0);
    assert_eq!(losses, [0.0, 3.0625, 3.15625]);
    assert_eq!(dz, [0.0, 0.0, 0.0, 0.0, 1.75, 0.0, 0.0, -1.75, -2.5, 1.125, 1.375, 0.0]);
}

#[test]
fn gradients_match_finite_differences() {
    // No violation is near 0 and no two are near each other, so that no difference crosses a kink.
    let z: Vec<f64> = Z.iter().enumerate().map(|(i, z)| z + 0.011 * i as f64 + 0.005).collect();
    for of in all() {
        let (_, dz) = run(of, Cpu::detect(), &z, 4, &LABELS, 0.6);
        centred_difference(&z, &dz, |z| {
            let mut losses = [0.0; 3];
            of.losses(Cpu::detect(), z, 4, &LABELS, &mut losses).unwrap();
            losses.iter().sum::<f64>() * 0.6
        });
    }
}

#[test]
fn ignored_rows_give_zeros() {
    for of in all() {
        let of = Hinge { ignore: Some(7), ..of };
        let mut z = Z;
        z[5] = f64::NAN;
        let (losses, dz) = same_on_every_cpu(|cpu| run(of, cpu, &z, 4, &[2, 7, 0], 1.0));
        let without = run(of, Cpu::detect(), &Z, 4, &LABELS, 1.0);
        assert!(losses[1].to_bits() == 0 && dz[4..8].iter().all(|dz| dz.to_bits() == 0));
        assert_eq!((losses[0], losses[2]), (without.0[0], without.0[2]));
        assert_eq!((&dz[..4], &dz[8..]), (&without.1[..4], &without.1[8..]));
    }
}

#[test]
fn non_finite_logits_stay_in_their_row() {
    const INF: f32 = f32::INFINITY;
    for of in all() {
        let finite = run::<f32>(of, Cpu::detect(), &[1.0, 2.0, 3.0], 3, &[1], 1.0);
        for (at, x) in
            [(0, f32::NAN), (1, f32::NAN), (2, f32::NAN), (2, INF), (1, -INF), (1, INF), (0, -INF)]
        {
            let mut z = [0.0, 0.25, 0.5, 1.0, 2.0, 3.0];
            z[at] = x;
            let (losses, dz) = same_on_every_cpu(|cpu| {
                let (losses, dz) = run(of, cpu, &z, 3, &[1, 1], 1.0);
                (bits(&losses), bits(&dz))
            });
            assert_eq!((&losses[1..], &dz[3..]), (&bits(&finite.0)[..], &bits(&finite.1)[..]));
            let loss = if losses[0] == u64::MAX { f64::NAN } else { f64::from_bits(losses[0]) };
            match (at, x) {
                (_, x) if x.is_nan() => {
                    assert!(loss.is_nan() && dz.contains(&u64::MAX), "{of:?} {at}");
                }
                (2, _) | (1, f32::NEG_INFINITY) => assert!(loss == f64::INFINITY, "{of:?} {at}"),
                _ => assert!(loss.is_finite(), "{of:?} {at}"),
            }
        }
        let (losses, _) = run(of, Cpu::detect(), &[1e4, -1e4], 2, &[0], 1.0);
        assert_eq!(losses, [0.0]);
    }
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let cpu = Cpu::detect();
    let (mut losses, mut dz, z) = ([7.0_f32; 2], [7.0_f32; 6], [0.0; 6]);
    let length = |operand, expected, got| Error::Length { operand, expected, got };
    let of = Hinge { ignore: Some(5), ..Hinge::default() };
    for (of, z, classes, labels, error) in [
        (of, &z[..], 3, &[0, 3][..], Error::Label { row: 1, classes: 3, got: 3 }),
        (of, &z[1..], 3, &[0, 5], length("logits", 6, 5)),
        (of, &z, usize::MAX, &[0, 5], length("logits", usize::MAX, 6)),
        (of, &z, 3, &[0], length("losses", 1, 2)),
        (of, &[], 0, &[5, 5], length("classes", 1, 0)),
    ] {
        assert_eq!(of.losses(cpu, z, classes, labels, &mut losses), Err(error));
        let dz = &mut dz[..z.len()];
        assert_eq!(of.gradient(cpu, z, classes, labels, 1.0, &mut losses, dz), Err(error));
    }
    let error = Err(length("dlogits", 6, 5));
    assert_eq!(of.gradient(cpu, &z, 3, &[0, 1], 1.0, &mut losses, &mut dz[1..]), error);
    let of = Hinge { margin: f64::NAN, ..of };
    assert!(matches!(
        of.losses(cpu, &z, 3, &[0, 1], &mut losses),
        Err(Error::Parameter { name: "margin", .. })
    ));
    assert_eq!((losses, dz), ([7.0; 2], [7.0; 6]));
    assert_eq!(Hinge::default().gradient::<f32>(cpu, &[], 0, &[], 1.0, &mut [], &mut []), Ok(()));
}
