//! Compares with the formulas, bit for bit, PyTorch's values, and finite differences.

use half::bf16;

use crate::testing::{bits, centred_difference, same_on_every_cpu, takes};
use kernels::loss::Poisson;
use kernels::random::Stream;
use kernels::{Cpu, Element, Error, Float, math};

const BOTH: [Poisson; 2] = [Poisson { log_input: true }, Poisson { log_input: false }];

/// Losses and gradient. Asserts that `losses` alone gives the same losses.
fn run<E: Element>(
    of: Poisson,
    cpu: Cpu<'_>,
    x: &[E],
    t: &[E],
    scale: E::Float,
) -> (Vec<E>, Vec<E>) {
    let nan = E::from_float(E::Float::NAN);
    let (mut losses, mut again, mut dx) =
        (vec![nan; x.len()], vec![nan; x.len()], vec![nan; x.len()]);
    of.gradient(cpu, x, t, scale, &mut losses, &mut dx).unwrap();
    of.losses(cpu, x, t, &mut again).unwrap();
    let wide = |x: &[E]| bits(&x.iter().map(|x| x.to_float()).collect::<Vec<_>>());
    assert!(wide(&losses) == wide(&again), "{of:?}");
    (losses, dx)
}

/// The scalar formulas.
fn formula(of: Poisson, x: f32, t: f32) -> (f32, f32) {
    let cpu = Cpu::detect();
    if of.log_input {
        let rate = math::at(cpu, math::exp, x);
        (rate - t * x, rate - t)
    } else {
        let rate = x + 1e-8;
        (x - t * math::at(cpu, math::ln, rate), 1.0 - t / rate)
    }
}

#[test]
fn bits_match_the_formulas() {
    for n in [0, 1, 7, 8, 9, 15, 16, 17, 33, 16_385] {
        if !takes(n) {
            continue;
        }
        let draw = |stream, low: f32, high: f32| -> Vec<f32> {
            let stream = Stream::new(17, stream);
            (0..n as u64).map(|i| low + (high - low) * stream.uniform_f32(i)).collect()
        };
        let (mut x, mut t) = (draw(0, -3.0, 5.0), draw(1, 0.0, 6.0));
        for (i, special) in [f32::NAN, f32::INFINITY, -f32::INFINITY, 0.0, -0.0, 1e-40, 3e38]
            .into_iter()
            .enumerate()
        {
            if 2 * i + 1 < n {
                (x[2 * i], t[2 * i + 1]) = (special, special);
            }
        }
        for of in BOTH {
            let (losses, slopes): (Vec<f32>, Vec<f32>) =
                x.iter().zip(&t).map(|(&x, &t)| formula(of, x, t)).unzip();
            let gradient: Vec<f32> = slopes.iter().map(|slope| slope * 0.3).collect();
            same_on_every_cpu(|cpu| {
                let got = run(of, cpu, &x, &t, 0.3);
                assert!(
                    (bits(&got.0), bits(&got.1)) == (bits(&losses), bits(&gradient)),
                    "{of:?} of {n}"
                );
            });
            // bf16 is widened, and rounded at the end.
            let narrow = |x: &[f32]| x.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<_>>();
            let (x16, t16) = (narrow(&x), narrow(&t));
            let (losses, slopes): (Vec<f32>, Vec<f32>) =
                x16.iter().zip(&t16).map(|(x, t)| formula(of, x.to_f32(), t.to_f32())).unzip();
            let gradient: Vec<f32> = slopes.iter().map(|slope| slope * 0.3).collect();
            let wide = |x: &[bf16]| bits(&x.iter().map(|x| x.to_f32()).collect::<Vec<_>>());
            same_on_every_cpu(|cpu| {
                let got = run(of, cpu, &x16, &t16, 0.3);
                let expected = (wide(&narrow(&losses)), wide(&narrow(&gradient)));
                assert!((wide(&got.0), wide(&got.1)) == expected, "{of:?} of {n} bf16");
            });
        }
    }
}

/// Values of PyTorch 2.15's `poisson_nll_loss(x, t, log_input, reduction='none')` in f64.
#[test]
fn values_match_pytorch() {
    let t = [0.0, 1.0, 3.0, 0.4];
    for (of, x, losses, dx) in [
        (
            BOTH[0],
            [0.5_f64, -1.25, 2.0, 0.25],
            [1.6487212707001282, 1.5365047968601901, 1.3890560989306504, 1.1840254166877413],
            [1.6487212707001282, -0.7134952031398099, 4.38905609893065, 0.8840254166877414],
        ),
        (
            BOTH[1],
            [0.5, 1.25, 2.0, 0.25],
            [0.5, 1.0268564406857903, -0.07944155667983566, 0.8045177284479567],
            [1.0, 0.20000000639999993, -0.49999999250000005, -0.5999999360000028],
        ),
    ] {
        let got = run(of, Cpu::detect(), &x, &t, 1.0);
        for (got, expected) in got.0.iter().chain(&got.1).zip(losses.iter().chain(&dx)) {
            assert!((got - expected).abs() < 2e-15, "{of:?}: {got} not {expected}");
        }
        centred_difference(&x, &got.1, |x| {
            let mut losses = [0.0; 4];
            of.losses(Cpu::detect(), x, &t, &mut losses).unwrap();
            losses.iter().sum()
        });
    }
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let cpu = Cpu::detect();
    let (mut losses, mut dx, x) = ([7.0_f32; 3], [7.0_f32; 3], [0.0; 3]);
    for of in BOTH {
        let error = |operand, got| Err(Error::Length { operand, expected: 3, got });
        assert_eq!(of.losses(cpu, &x[1..], &x, &mut losses), error("predictions", 2));
        assert_eq!(of.losses(cpu, &x, &x[1..], &mut losses), error("targets", 2));
        let short = of.gradient(cpu, &x, &x, 1.0, &mut losses, &mut dx[1..]);
        assert_eq!(short, error("dpredictions", 2));
    }
    assert_eq!((losses, dx), ([7.0; 3], [7.0; 3]));
}
