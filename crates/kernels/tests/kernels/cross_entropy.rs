//! Compares with a plain f64 oracle, PyTorch's values, finite differences, and the limits at
//! extreme logits.

#![expect(clippy::disallowed_methods, reason = "std's exp and ln are the reference here")]

use crate::testing::{bits, centred_difference, same_on_every_cpu, takes};
use kernels::loss::{CrossEntropy, Targets};
use kernels::random::Stream;
use kernels::{Cpu, Error, Float};

fn logits<T: Float>(n: usize, spread: f64) -> Vec<T> {
    let stream = Stream::new(11, n as u64);
    (0..n as u64).map(|i| T::from_f64(spread * (2.0 * stream.uniform_f64(i) - 1.0))).collect()
}

fn labels(rows: usize, classes: usize) -> Vec<u32> {
    (0..rows as u64).map(|i| Stream::new(12, 0).below(i, classes as u32)).collect()
}

/// `(losses, dlogits)`.
fn both<T: Float>(
    cpu: Cpu<'_>,
    z: &[T],
    classes: usize,
    labels: &[u32],
    scale: T,
) -> (Vec<T>, Vec<T>) {
    let mut losses = vec![T::NAN; labels.len()];
    let mut dlogits = vec![T::NAN; z.len()];
    let labels = Targets::Labels(labels);
    CrossEntropy::default()
        .gradient(cpu, z, classes, labels, scale, &mut losses, &mut dlogits)
        .unwrap();
    (losses, dlogits)
}

/// `(losses, dlogits)`. Asserts that all forms agree.
fn all_forms<T: Float>(
    of: CrossEntropy<'_, T>,
    cpu: Cpu<'_>,
    z: &[T],
    classes: usize,
    targets: Targets<'_, T>,
    scale: T,
) -> (Vec<T>, Vec<T>) {
    let (mut losses, mut again) =
        (vec![T::NAN; z.len() / classes], vec![T::NAN; z.len() / classes]);
    let (mut dlogits, mut in_place) = (vec![T::NAN; z.len()], z.to_vec());
    of.gradient(cpu, z, classes, targets, scale, &mut losses, &mut dlogits).unwrap();
    of.gradient_in_place(cpu, &mut in_place, classes, targets, scale, &mut again).unwrap();
    assert!(
        bits(&in_place) == bits(&dlogits) && bits(&again) == bits(&losses),
        "in place, {classes} classes"
    );
    again.fill(T::NAN);
    of.losses(cpu, z, classes, targets, &mut again).unwrap();
    assert!(bits(&again) == bits(&losses), "losses alone, {classes} classes");
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
            let exact: Vec<f64> =
                z[row * classes..][..classes].iter().map(|z| z.to_f64()).collect();
            let (loss, gradient) = oracle(&exact, labels[row] as usize);
            let error = (losses[row].to_f64() - loss).abs();
            assert!(
                error <= tolerance * loss,
                "row {row} of {rows} x {classes}: {} not {loss}",
                losses[row]
            );
            for (dz, expected) in dlogits[row * classes..].iter().zip(gradient) {
                // e^-(logit difference) inherits the rounding of the difference, hence the spread.
                let bound =
                    tolerance * (1.0 + spread) * expected.abs() + f64::from(f32::MIN_POSITIVE);
                assert!((dz.to_f64() - expected).abs() <= bound, "{dz} not {expected}");
            }
        }
    }
}

#[test]
fn loss_and_gradient_match_the_definition() {
    agrees_with_the_oracle::<f32>(2e-6);
    agrees_with_the_oracle::<f64>(4e-15);
}

/// Lengths around lanes, tiles, the shortest long row, pieces and chunks.
const CLASSES: [usize; 16] = [1, 2, 3, 7, 8, 9, 10, 17, 31, 32, 33, 127, 129, 512, 1000, 20_000];

fn all_forms_give_the_same_bits<T: Float>() {
    for classes in CLASSES {
        for rows in [0, 1, 15, 16, 17, 33, 4000] {
            if rows * classes > 60_000 || !takes(rows * classes) {
                continue;
            }
            let z = logits::<T>(rows * classes, 8.0);
            let labels = labels(rows, classes);
            let scale = T::from_f64(1.0 / 3.0);
            same_on_every_cpu(|cpu| {
                let (losses, dlogits) = all_forms(
                    CrossEntropy::default(),
                    cpu,
                    &z,
                    classes,
                    Targets::Labels(&labels),
                    scale,
                );
                (bits(&losses), bits(&dlogits))
            });
        }
    }
}

#[test]
fn all_forms_give_the_same_bits_on_every_cpu() {
    all_forms_give_the_same_bits::<f32>();
    all_forms_give_the_same_bits::<f64>();
}

/// The documented order of the sum, in scalars.
#[test]
fn a_row_is_summed_in_the_documented_order() {
    let (classes, label) = (21, 4);
    let z = logits::<f32>(classes, 3.0);
    let max = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: Vec<f32> = z.iter().map(|z| z - max).collect();
    let mut powers = vec![0.0; classes];
    kernels::math::exp(Cpu::detect(), &shifted, &mut powers).unwrap();
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
fn the_gradient_matches_finite_differences() {
    let (rows, classes) = (4, 10);
    let z = logits::<f64>(rows * classes, 2.0);
    let labels = labels(rows, classes);
    let scale = 1.0 / rows as f64;
    let (_, dlogits) = both(Cpu::detect(), &z, classes, &labels, scale);
    centred_difference(&z, &dlogits, |z| {
        let mut losses = vec![0.0; rows];
        CrossEntropy::default()
            .losses(Cpu::detect(), z, classes, Targets::Labels(&labels), &mut losses)
            .unwrap();
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
    // ln(1 + e^-20) = 2.0611536e-9, which 1 + e^-20 in f32 loses.
    let (tiny, gradient) = loss([20.0, 0.0]);
    assert!((f64::from(tiny) - (-20.0_f64).exp().ln_1p()).abs() < 1e-15);
    assert!((gradient[0] + tiny).abs() < 1e-15 && gradient[1] == -gradient[0]);
}

#[test]
fn non_finite_logits_stay_in_their_row() {
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
fn only_the_rows_of_a_view_are_written() {
    let z = logits::<f32>(35 * 10, 2.0);
    let labels = labels(35, 10);
    let (expected_losses, expected) = both(Cpu::detect(), &z, 10, &labels, 1.0);
    let (mut losses, mut dlogits) = (vec![7.0; 39], vec![7.0; 353]);
    let cpu = Cpu::detect();
    let labels = Targets::Labels(&labels);
    CrossEntropy::default()
        .gradient(cpu, &z, 10, labels, 1.0, &mut losses[1..36], &mut dlogits[1..351])
        .unwrap();
    assert_eq!((&losses[1..36], &dlogits[1..351]), (&expected_losses[..], &expected[..]));
    assert!(losses[..1].iter().chain(&losses[36..]).all(|&x| x == 7.0));
    assert!(dlogits[..1].iter().chain(&dlogits[351..]).all(|&x| x == 7.0));
}

/// Weights, or distributions that sum to 1 in each row.
fn positive<T: Float>(rows: usize, classes: usize, stream: u64) -> Vec<T> {
    let x: Vec<f64> = (0..(rows * classes) as u64)
        .map(|i| Stream::new(14, stream).uniform_f64(i) + 0.01)
        .collect();
    let row = |x: &[f64]| {
        let total: f64 = x.iter().sum();
        x.iter().map(|x| T::from_f64(x / total)).collect::<Vec<T>>()
    };
    x.chunks(classes).flat_map(row).collect()
}

/// Loss and gradient of one row with weighted targets `q`, by the definition, in f64.
fn weighted_oracle(z: &[f64], q: &[f64]) -> (f64, Vec<f64>) {
    let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let first = z.iter().position(|&z| z == max).unwrap();
    let rest: f64 = (0..z.len()).filter(|&j| j != first).map(|j| (z[j] - max).exp()).sum();
    let loss = z.iter().zip(q).map(|(z, q)| q * (max - z + rest.ln_1p())).sum();
    let weight: f64 = q.iter().sum();
    let dz = z.iter().zip(q).map(|(z, q)| weight * (z - max).exp() / (1.0 + rest) - q);
    (loss, dz.collect())
}

/// `u` is half an ULP of 1.
fn weighted_targets_match_the_definition<T: Float>(u: f64) {
    for classes in CLASSES {
        // The longest chain of a sum, plus the other roundings.
        let tolerance = u * (classes.div_ceil(8) + 40) as f64;
        for rows in [1, 15, 40] {
            if rows * classes > 20_000 || !takes(rows * classes) {
                continue;
            }
            let z = logits::<T>(rows * classes, 4.0);
            let (labels, weights) = (labels(rows, classes), positive::<T>(1, classes, 1));
            let distributions = positive::<T>(rows, classes, 2);
            let one_hot: Vec<T> = (0..rows * classes)
                .map(|i| if i % classes == labels[i / classes] as usize { T::ONE } else { T::ZERO })
                .collect();
            for (smoothing, weights) in [
                (0.0, None),
                (0.1, None),
                (0.0, Some(&weights[..])),
                (0.1, Some(&weights)),
                (1.0, None),
            ] {
                let of = CrossEntropy { smoothing, weights, ignore: None };
                let check = |targets: Targets<'_, T>, parts: &[T]| {
                    let (losses, dlogits) = same_on_every_cpu(|cpu| {
                        let (losses, dlogits) = all_forms(of, cpu, &z, classes, targets, T::ONE);
                        (bits(&losses), bits(&dlogits))
                    });
                    for (row, &got) in losses.iter().enumerate() {
                        let at = row * classes..(row + 1) * classes;
                        let exact: Vec<f64> = z[at.clone()].iter().map(|z| z.to_f64()).collect();
                        let q = |j: usize| {
                            let part = parts[at.start + j].to_f64() * (1.0 - smoothing);
                            let part = part + smoothing / classes as f64;
                            weights.map_or(1.0, |weights| weights[j].to_f64()) * part
                        };
                        let q: Vec<f64> = (0..classes).map(q).collect();
                        let (loss, gradient) = weighted_oracle(&exact, &q);
                        let error = (f64::from_bits(got) - loss).abs();
                        assert!(
                            error <= tolerance * loss,
                            "{classes} classes, {of:?}: off by {error:e} of {loss}"
                        );
                        let size = q.iter().fold(0.0, |size, q| size + q);
                        for (dz, expected) in dlogits[at].iter().zip(gradient) {
                            let error = (f64::from_bits(*dz) - expected).abs();
                            assert!(
                                error <= tolerance * size,
                                "{classes} classes, {of:?}: {error:e}"
                            );
                        }
                    }
                    (losses, dlogits)
                };
                check(Targets::Distributions(&distributions), &distributions);
                let of_labels = check(Targets::Labels(&labels), &one_hot);
                let of_one_hot = check(Targets::Distributions(&one_hot), &one_hot);
                // A smoothed label equals the smoothed one-hot distribution.
                assert!(smoothing == 0.0 || of_labels == of_one_hot, "{classes} classes, {of:?}");
            }
        }
    }
}

#[test]
fn smoothing_weights_and_distributions_match_the_definition() {
    weighted_targets_match_the_definition::<f32>(0.5 * f64::from(f32::EPSILON));
    weighted_targets_match_the_definition::<f64>(0.5 * f64::EPSILON);
}

const Z: [f64; 12] = [0.5, -1.25, 2.0, 0.25, 3.0, -2.0, -1.5, 1.0, -0.75, 0.0, 0.5, -4.0];
const LABELS: [u32; 3] = [2, 3, 0];
const WEIGHTS: [f64; 4] = [0.5, 2.0, 1.0, 3.0];
const DISTRIBUTIONS: [f64; 12] = [0.1, 0.2, 0.3, 0.4, 0.0, 1.0, 0.0, 0.0, 0.25, 0.25, 0.5, 0.0];

/// Values of PyTorch 2.15's `cross_entropy(z, target, weight, label_smoothing, reduction='none')`
/// in f64.
#[test]
fn values_match_pytorch() {
    let close = |got: &[f64], expected: &[f64]| {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 4e-15, "{got} not {expected}");
        }
    };
    let weighted = CrossEntropy { weights: Some(&WEIGHTS), ..CrossEntropy::default() };
    let smooth = CrossEntropy { smoothing: 0.1, ..weighted };
    let (labels, distributions) =
        (Targets::Labels(&LABELS), Targets::Distributions(&DISTRIBUTIONS));
    let cpu = Cpu::detect();
    let (losses, dlogits) = all_forms(weighted, cpu, &Z, 4, labels, 1.0);
    close(&losses, &[0.36163742842083957, 6.4275758237099545, 0.9470164008609634]);
    close(
        &dlogits[..4],
        &[0.15541793615736202, 0.027007587648994316, -0.3034651341890514, 0.12103961038269515],
    );
    let (losses, dlogits) = all_forms(smooth, cpu, &Z, 4, labels, 1.0);
    close(&losses, &[0.6967397676971421, 6.320478598456582, 1.3350950910546802]);
    close(
        &dlogits[4..8],
        &[2.469761635273312, -0.03327465266366521, 0.002575435913262899, -2.439062418522909],
    );
    let mean = losses.iter().sum::<f64>() / smooth.total_weight(4, labels).unwrap();
    close(&[mean], &[1.8560696571574231]);
    let (losses, dlogits) = all_forms(smooth, cpu, &Z, 4, distributions, 1.0);
    close(&losses, &[4.13343976899696, 9.792205851343597, 1.5004885420232639]);
    close(
        &dlogits[8..],
        &[0.05179495679054318, -0.125725073537383, 0.142075032348643, -0.06814491560180318],
    );
    let mean = losses.iter().sum::<f64>() / smooth.total_weight(4, distributions).unwrap();
    close(&[mean], &[5.142044720787941]);
}

#[test]
fn ignored_rows_give_zeros_and_do_not_count() {
    let weights = [0.5, 2.0, 1.0, 3.0];
    let mut z = Z.to_vec();
    z[4] = f64::NAN;
    for smoothing in [0.0, 0.25] {
        let of = CrossEntropy { smoothing, weights: Some(&weights), ignore: Some(u32::MAX) };
        let labels = Targets::Labels(&[2, u32::MAX, 0]);
        let (losses, dlogits) = same_on_every_cpu(|cpu| all_forms(of, cpu, &z, 4, labels, 0.5));
        let without = all_forms(of, Cpu::detect(), &Z, 4, Targets::Labels(&LABELS), 0.5);
        assert_eq!(losses[1].to_bits(), 0);
        assert!(dlogits[4..8].iter().all(|dz| dz.to_bits() == 0));
        assert_eq!((losses[0], losses[2]), (without.0[0], without.0[2]));
        assert_eq!((&dlogits[..4], &dlogits[8..]), (&without.1[..4], &without.1[8..]));
        assert_eq!(of.total_weight(4, labels), Ok(1.5));
    }
    // A class can be ignored as well.
    let of = CrossEntropy::<f64> { ignore: Some(3), ..CrossEntropy::default() };
    assert_eq!(of.total_weight(4, Targets::Labels(&LABELS)), Ok(2.0));
    assert_eq!(all_forms(of, Cpu::detect(), &Z, 4, Targets::Labels(&LABELS), 1.0).0[1], 0.0);
    // Whole tiles and blocks of ignored rows.
    let labels = vec![u32::MAX; 5000];
    let of = CrossEntropy { smoothing: 0.0, weights: None, ignore: Some(u32::MAX) };
    let (losses, dlogits) =
        all_forms(of, Cpu::detect(), &vec![f32::NAN; 15_000], 3, Targets::Labels(&labels), 1.0);
    assert!(losses.iter().chain(&dlogits).all(|x| x.to_bits() == 0));
}

#[test]
fn gradients_of_all_options_match_finite_differences() {
    let weights = [0.5, 2.0, 1.0, 3.0];
    for of in [
        CrossEntropy { weights: Some(&weights[..]), ..CrossEntropy::default() },
        CrossEntropy { smoothing: 0.3, weights: Some(&weights), ignore: None },
    ] {
        for targets in [Targets::Labels(&LABELS), Targets::Distributions(&DISTRIBUTIONS)] {
            let (_, dlogits) = all_forms(of, Cpu::detect(), &Z, 4, targets, 0.7);
            centred_difference(&Z, &dlogits, |z| {
                let mut losses = [0.0; 3];
                of.losses(Cpu::detect(), z, 4, targets, &mut losses).unwrap();
                losses.iter().sum::<f64>() * 0.7
            });
        }
    }
}

#[test]
fn extreme_logits_with_distributions() {
    const INF: f32 = f32::INFINITY;
    let run = |z: &[f32], target: &[f32]| {
        same_on_every_cpu(|cpu| {
            all_forms(CrossEntropy::default(), cpu, z, z.len(), Targets::Distributions(target), 1.0)
        })
    };
    assert_eq!(run(&[1e4, -1e4], &[0.5, 0.5]), (vec![1e4], vec![0.5, -0.5]));
    assert_eq!(run(&[1e4, -1e4], &[1.0, 0.0]), (vec![0.0], vec![0.0, 0.0]));
    assert_eq!(run(&[3.0, -INF], &[1.0, 0.0]), (vec![0.0], vec![0.0, 0.0]));
    assert_eq!(run(&[3.0, -INF], &[0.75, 0.25]), (vec![INF], vec![0.25, -0.25]));
    // The remaining loss of a confident network: e^-20 = 2.0611536e-9.
    let (losses, dlogits) = run(&[20.0, 0.0], &[1.0, 0.0]);
    assert!((f64::from(losses[0]) - (-20.0_f64).exp().ln_1p()).abs() < 1e-15);
    assert!((dlogits[0] + losses[0]).abs() < 1e-15 && dlogits[1] == -dlogits[0]);
    for z in [[f32::NAN, 0.0], [0.0, f32::NAN], [INF, 0.0], [-INF, -INF]] {
        for target in [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.0, 0.0]] {
            let mut losses = [0.0; 1];
            let mut dz = z;
            CrossEntropy::default()
                .gradient_in_place(
                    Cpu::detect(),
                    &mut dz,
                    2,
                    Targets::Distributions(&target),
                    1.0,
                    &mut losses,
                )
                .unwrap();
            assert!(losses.iter().chain(&dz).all(|x| x.is_nan()), "{z:?} {target:?}");
        }
    }
    // A weight of 0 excludes a class, even an impossible one.
    let of = CrossEntropy { weights: Some(&[0.0, 1.0]), ..CrossEntropy::default() };
    let (losses, dlogits) =
        all_forms(of, Cpu::detect(), &[-INF, 2.0], 2, Targets::Labels(&[0]), 1.0);
    assert_eq!((losses[0], dlogits[1]), (0.0, 0.0));
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let cpu = Cpu::detect();
    let (mut losses, mut dz) = ([7.0_f32; 2], [7.0_f32; 6]);
    let z = [0.0; 6];
    let plain = CrossEntropy::default();
    let length = |operand, expected, got| Error::Length { operand, expected, got };
    let label = |row, classes, got| Error::Label { row, classes, got };
    let smoothing = Error::Parameter { name: "smoothing", expected: "in [0, 1]", got: 1.5 };
    let labels = Targets::Labels(&[0, 1]);
    for (of, z, classes, targets, error) in [
        (plain, &z[..], 3, Targets::Labels(&[0, 3]), label(1, 3, 3)),
        (plain, &z[..5], 3, labels, length("logits", 6, 5)),
        (plain, &z, 3, Targets::Labels(&[0]), length("losses", 1, 2)),
        (plain, &[], 0, Targets::Labels(&[0, 0]), label(0, 0, 0)),
        (plain, &z, 3, Targets::Labels(&[9, 1]), label(0, 3, 9)),
        (plain, &z, usize::MAX, labels, length("logits", usize::MAX, 6)),
        (plain, &[], 0, Targets::Distributions(&[]), length("classes", 1, 0)),
        (plain, &z, 3, Targets::Distributions(&z[1..]), length("targets", 6, 5)),
        (plain, &z, 4, Targets::Distributions(&z), length("logits", 8, 6)),
        (
            CrossEntropy { ignore: Some(5), ..plain },
            &[],
            0,
            Targets::Labels(&[5, 5]),
            length("classes", 1, 0),
        ),
        (
            CrossEntropy { ignore: Some(5), ..plain },
            &z,
            3,
            Targets::Labels(&[5, 4]),
            label(1, 3, 4),
        ),
        (
            CrossEntropy { weights: Some(&[1.0; 2]), ..plain },
            &z,
            3,
            labels,
            length("weights", 3, 2),
        ),
        (CrossEntropy { smoothing: 1.5, ..plain }, &z, 3, labels, smoothing),
    ] {
        assert_eq!(of.losses(cpu, z, classes, targets, &mut losses), Err(error));
        let dlogits = &mut dz[..z.len()];
        assert_eq!(of.gradient(cpu, z, classes, targets, 1.0, &mut losses, dlogits), Err(error));
        assert_eq!(
            of.gradient_in_place(cpu, dlogits, classes, targets, 1.0, &mut losses),
            Err(error)
        );
    }
    let error = Err(length("dlogits", 6, 5));
    assert_eq!(plain.gradient(cpu, &z, 3, labels, 1.0, &mut losses, &mut dz[1..]), error);
    assert_eq!((losses, dz), ([7.0; 2], [7.0; 6]));
    assert_eq!(plain.total_weight(3, Targets::Labels(&[3])), Err(label(0, 3, 3)));
    assert_eq!(plain.total_weight(4, Targets::Distributions(&z)), Err(length("targets", 4, 6)));
    for targets in [Targets::Labels(&[]), Targets::Distributions(&[])] {
        assert_eq!(plain.gradient(cpu, &[], 0, targets, 1.0, &mut [], &mut []), Ok(()));
        assert_eq!(plain.total_weight(0, targets), Ok(0.0));
    }
}
