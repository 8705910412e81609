//! Compares with the definition in f64, PyTorch's values, finite differences, and the limits at
//! extreme logits.

#![expect(clippy::disallowed_methods, reason = "std's exp and ln are the reference here")]

use half::bf16;

use crate::testing::{bits, centred_difference, same_on_every_cpu, takes};
use kernels::loss::BinaryCrossEntropy;
use kernels::random::Stream;
use kernels::{Cpu, Element, Error, Float};

/// Losses and gradient. Asserts that `losses` alone gives the same losses.
fn run<E: Element>(of: BinaryCrossEntropy, cpu: Cpu<'_>, z: &[E], t: &[E]) -> (Vec<E>, Vec<E>) {
    let nan = E::from_float(E::Float::NAN);
    let (mut losses, mut again, mut dz) =
        (vec![nan; z.len()], vec![nan; z.len()], vec![nan; z.len()]);
    of.gradient(cpu, z, t, E::Float::ONE, &mut losses, &mut dz).unwrap();
    of.losses(cpu, z, t, &mut again).unwrap();
    let wide = |x: &[E]| bits(&x.iter().map(|x| x.to_float()).collect::<Vec<_>>());
    assert!(wide(&losses) == wide(&again));
    (losses, dz)
}

fn oracle(z: f64, t: f64, positive: f64) -> (f64, f64) {
    let softplus = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
    let sigmoid =
        |z: f64| if z < 0.0 { z.exp() / (1.0 + z.exp()) } else { 1.0 / (1.0 + (-z).exp()) };
    let (a, b) = (positive * t, 1.0 - t);
    (a * softplus(-z) + b * softplus(z), b * sigmoid(z) - a * sigmoid(-z))
}

fn agrees_with_the_definition<T: Float>(tolerance: f64) {
    for (n, spread) in [(0, 1.0), (1, 1.0), (7, 3.0), (17, 10.0), (16_385, 20.0), (40_000, 300.0)] {
        if !takes(n as usize) {
            continue;
        }
        let stream = Stream::new(16, n);
        let z: Vec<T> =
            (0..n).map(|i| T::from_f64(spread * (2.0 * stream.uniform_f64(i) - 1.0))).collect();
        // Every third target is 0, every third is 1.
        let t: Vec<T> = (0..n)
            .map(|i| T::from_f64([0.0, 1.0, stream.uniform_f64(n + i)][i as usize % 3]))
            .collect();
        for positive_weight in [1.0, 2.5, 0.0] {
            let of = BinaryCrossEntropy { positive_weight };
            let (losses, dz) = same_on_every_cpu(|cpu| {
                let (losses, dz) = run(of, cpu, &z, &t);
                (bits(&losses), bits(&dz))
            });
            for (i, (z, t)) in z.iter().zip(&t).enumerate() {
                let (z, t) = (z.to_f64(), t.to_f64());
                let (loss, gradient) = oracle(z, t, positive_weight);
                let got = (f64::from_bits(losses[i]), f64::from_bits(dz[i]));
                // A subnormal exponential has fewer digits.
                let least = f64::from(f32::MIN_POSITIVE) * tolerance;
                assert!(
                    (got.0 - loss).abs() <= tolerance * loss + least,
                    "{z}, {t}: {} not {loss}",
                    got.0
                );
                // The two terms of the gradient do not cancel where the target is 0 or 1.
                let size =
                    if t == 0.0 || t == 1.0 { gradient.abs() } else { 1.0 + positive_weight };
                assert!(
                    (got.1 - gradient).abs() <= tolerance * size + least,
                    "{z}, {t}: {} not {gradient}",
                    got.1
                );
            }
        }
    }
}

#[test]
fn loss_and_gradient_match_the_definition() {
    agrees_with_the_definition::<f32>(5.0 * f64::from(f32::EPSILON));
    agrees_with_the_definition::<f64>(5.0 * f64::EPSILON);
}

/// Values of PyTorch 2.15's
/// `binary_cross_entropy_with_logits(z, t, pos_weight=2.5, reduction='none')` in f64.
#[test]
fn values_match_pytorch() {
    let (z, t) = ([0.5_f64, -1.25, 2.0, 0.25, 3.0, -2.0], [0.1, 0.2, 0.3, 0.4, 0.0, 1.0]);
    let (losses, dz) = run(BinaryCrossEntropy { positive_weight: 2.5 }, Cpu::detect(), &z, &t);
    let expected_losses = [
        0.9951885318071227,
        0.9525078057489849,
        1.58404561601231,
        1.0715030718061498,
        3.048587351573742,
        5.3173200276074315,
    ];
    let expected = [
        0.46582823088213277,
        -0.2104898195270985,
        0.5271557630679293,
        -0.10051759858272302,
        0.9525741268224334,
        -2.201992694944706,
    ];
    for (got, expected) in losses.iter().chain(&dz).zip(expected_losses.iter().chain(&expected)) {
        assert!((got - expected).abs() < 2e-15, "{got} not {expected}");
    }
}

#[test]
fn the_gradient_matches_finite_differences() {
    let (z, t) = ([0.5_f64, -1.25, 2.0, 0.25, 3.0, -2.0], [0.1, 0.2, 0.3, 0.4, 0.0, 1.0]);
    let of = BinaryCrossEntropy { positive_weight: 2.5 };
    let (_, dz) = run(of, Cpu::detect(), &z, &t);
    centred_difference(&z, &dz, |z| {
        let mut losses = [0.0; 6];
        of.losses(Cpu::detect(), z, &t, &mut losses).unwrap();
        losses.iter().sum()
    });
}

#[test]
fn extreme_logits() {
    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;
    fn case<E: Element>(z: f64, t: f64, positive_weight: f64, loss: f64, dz: f64) {
        let narrow = |x| [E::from_float(E::Float::from_f64(x))];
        let of = BinaryCrossEntropy { positive_weight };
        same_on_every_cpu(|cpu| {
            let got = run(of, cpu, &narrow(z), &narrow(t));
            let got = [got.0[0], got.1[0]].map(|x| x.to_float());
            let expected = [narrow(loss)[0], narrow(dz)[0]].map(|x| x.to_float());
            let same =
                |a: E::Float, b: E::Float| a == b || (a.to_f64().is_nan() && b.to_f64().is_nan());
            assert!(same(got[0], expected[0]) && same(got[1], expected[1]), "{z}, {t}: {got:?}");
        });
    }
    for (z, t, weight, loss, dz) in [
        (1e4, 0.0, 1.0, 1e4, 1.0),
        (1e4, 1.0, 1.0, 0.0, 0.0),
        (-1e4, 1.0, 2.0, 2e4, -2.0),
        (-1e4, 0.0, 1.0, 0.0, 0.0),
        (1e4, 0.5, 1.0, 5e3, 0.5),
        (INF, 1.0, 1.0, 0.0, 0.0),
        (INF, 0.0, 1.0, INF, 1.0),
        (INF, 0.5, 1.0, INF, 0.5),
        (-INF, 0.0, 1.0, 0.0, 0.0),
        (-INF, 1.0, 1.0, INF, -1.0),
        (-INF, 1.0, 0.0, 0.0, 0.0),
        (NAN, 0.0, 1.0, NAN, NAN),
        (NAN, 1.0, 1.0, NAN, NAN),
        (NAN, 1.0, 0.0, NAN, NAN),
        (0.0, NAN, 1.0, NAN, NAN),
        (INF, NAN, 1.0, NAN, NAN),
    ] {
        case::<f32>(z, t, weight, loss, dz);
        case::<f64>(z, t, weight, loss, dz);
        case::<bf16>(z, t, weight, loss, dz);
    }
    // The gradient of -0 is that of 0.
    case::<f32>(-0.0, 1.0, 1.0, core::f64::consts::LN_2, -0.5);
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let cpu = Cpu::detect();
    let (mut losses, mut dz, x) = ([7.0_f32; 3], [7.0_f32; 3], [0.0; 3]);
    let of = BinaryCrossEntropy::default();
    let error = |operand| Err(Error::Length { operand, expected: 3, got: 2 });
    assert_eq!(of.losses(cpu, &x[1..], &x, &mut losses), error("logits"));
    assert_eq!(of.losses(cpu, &x, &x[1..], &mut losses), error("targets"));
    assert_eq!(of.gradient(cpu, &x[1..], &x, 1.0, &mut losses, &mut dz), error("logits"));
    assert_eq!(of.gradient(cpu, &x, &x, 1.0, &mut losses, &mut dz[1..]), error("dlogits"));
    for positive_weight in [-1.0, f64::NAN, f64::INFINITY] {
        let of = BinaryCrossEntropy { positive_weight };
        let is_weight =
            |result| matches!(result, Err(Error::Parameter { name: "positive_weight", .. }));
        assert!(is_weight(of.losses(cpu, &x, &x, &mut losses)));
        assert!(is_weight(of.gradient(cpu, &x, &x, 1.0, &mut losses, &mut dz)));
    }
    assert_eq!((losses, dz), ([7.0; 3], [7.0; 3]));
}
