//! Compares with the scalar formulas, bit for bit, finite differences, and the limits at extreme
//! values.

#![expect(clippy::disallowed_methods, reason = "std's powers and tanh are the reference here")]

use half::bf16;

use crate::testing::{bits, centred_difference, same_on_every_cpu, takes};
use kernels::loss::Regression;
use kernels::random::Stream;
use kernels::{Cpu, Element, Error, Float, math};

const ALL: [Regression; 4] = [
    Regression::Squared,
    Regression::Absolute,
    Regression::Huber { delta: 0.7 },
    Regression::LogCosh,
];

/// Losses and gradient. Asserts that `losses` alone gives the same losses.
fn run<E: Element>(
    of: Regression,
    cpu: Cpu<'_>,
    y: &[E],
    t: &[E],
    scale: E::Float,
) -> (Vec<E>, Vec<E>) {
    let nan = E::from_float(E::Float::NAN);
    let (mut losses, mut again, mut dy) =
        (vec![nan; y.len()], vec![nan; y.len()], vec![nan; y.len()]);
    of.gradient(cpu, y, t, scale, &mut losses, &mut dy).unwrap();
    of.losses(cpu, y, t, &mut again).unwrap();
    let wide = |x: &[E]| bits(&x.iter().map(|x| x.to_float()).collect::<Vec<_>>());
    assert!(wide(&losses) == wide(&again), "{of:?}");
    (losses, dy)
}

/// The scalar formulas.
fn formula(of: Regression, y: f32, t: f32) -> (f32, f32) {
    let d = y - t;
    match of {
        Regression::Squared => (d * d, d + d),
        Regression::Absolute => (d.abs(), if d == 0.0 { d } else { d.signum() }),
        Regression::Huber { delta } => {
            let (delta, half) = (delta as f32, (0.5 * delta) as f32);
            let near = d.abs() <= delta;
            (if near { 0.5 * d * d } else { delta * (d.abs() - half) }, d.clamp(-delta, delta))
        }
        Regression::LogCosh => {
            let cpu = Cpu::detect();
            let q = math::at(cpu, math::exp_m1, -d.abs());
            let power = 1.0 + q;
            let log = |x| math::at(cpu, math::ln_1p, x);
            let loss = if d.abs() < 1.0 {
                log(q * q / (power + power))
            } else {
                d.abs() - core::f32::consts::LN_2 + log(power * power)
            };
            (loss, math::at(cpu, math::tanh, d))
        }
    }
}

fn draw(n: usize, stream: u64) -> Vec<f32> {
    (0..n as u64).map(|i| 4.0 * Stream::new(15, stream).uniform_f32(i) - 2.0).collect()
}

#[test]
fn bits_match_the_formulas() {
    for n in [0, 1, 7, 8, 9, 15, 16, 17, 33, 16_383, 16_385, 40_000] {
        if !takes(n) {
            continue;
        }
        let (mut y, mut t) = (draw(n, 0), draw(n, 1));
        for (i, x) in [f32::NAN, f32::INFINITY, -f32::INFINITY, 0.0, -0.0, 1e-40, 3e38]
            .into_iter()
            .enumerate()
        {
            if 2 * i + 1 < n {
                (y[2 * i], t[2 * i + 1]) = (x, x);
            }
        }
        for of in ALL {
            let expected: Vec<(f32, f32)> =
                y.iter().zip(&t).map(|(&y, &t)| formula(of, y, t)).collect();
            let (losses, slopes): (Vec<f32>, Vec<f32>) = expected.into_iter().unzip();
            let gradient: Vec<f32> = slopes.iter().map(|slope| slope * 0.3).collect();
            same_on_every_cpu(|cpu| {
                let got = run(of, cpu, &y, &t, 0.3);
                assert!(
                    (bits(&got.0), bits(&got.1)) == (bits(&losses), bits(&gradient)),
                    "{of:?} of {n}"
                );
            });
            // bf16 is widened, and rounded at the end.
            let narrow = |x: &[f32]| x.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<_>>();
            let (y16, t16) = (narrow(&y), narrow(&t));
            let got = same_on_every_cpu(|cpu| {
                let (losses, dy) = run(of, cpu, &y16, &t16, 0.3);
                [losses, dy].map(|x| bits(&x.iter().map(|x| x.to_f32()).collect::<Vec<_>>()))
            });
            let exact = y16.iter().zip(&t16).map(|(y, t)| formula(of, y.to_f32(), t.to_f32()));
            let (losses, slopes): (Vec<f32>, Vec<f32>) = exact.unzip();
            let gradient: Vec<f32> = slopes.iter().map(|slope| slope * 0.3).collect();
            let rounded = [losses, gradient]
                .map(|x| bits(&x.iter().map(|&x| bf16::from_f32(x).to_f32()).collect::<Vec<_>>()));
            assert!(got == rounded, "{of:?} of {n} bf16");
        }
    }
}

/// Values of PyTorch 2.15 with `reduction='none'` in f64.
#[test]
fn values_match_pytorch() {
    let (y, t) = ([0.5_f64, -1.25, 2.0, 0.25], [0.1, 0.2, 0.3, 0.4]);
    for (of, losses, dy) in [
        (Regression::Squared, [0.16, 2.1025, 2.89, 0.0225], [0.8, -2.9, 3.4, -0.3]),
        (Regression::Absolute, [0.4, 1.45, 1.7, 0.15], [1.0, -1.0, 1.0, -1.0]),
        (Regression::Huber { delta: 0.7 }, [0.08, 0.77, 0.945, 0.01125], [0.4, -0.7, 0.7, -0.15]),
        // log(cosh(y - t)), which PyTorch has not as a loss.
        (
            Regression::LogCosh,
            [0.07795348538783255, 0.8104155956580177, 1.03968128986492, 0.01120806390858178],
            [0.37994896225522484, -0.8956928738431646, 0.935409070603099, -0.148885033623318],
        ),
    ] {
        let got = run(of, Cpu::detect(), &y, &t, 1.0);
        for (got, expected) in got.0.iter().chain(&got.1).zip(losses.iter().chain(&dy)) {
            assert!((got - expected).abs() < 1e-15, "{of:?}: {got} not {expected}");
        }
    }
}

/// ln(cosh(d)), within a relative error of a few units in the last place of f64.
#[expect(clippy::disallowed_methods, reason = "std's functions are the reference here")]
fn log_cosh(d: f64) -> f64 {
    let d = d.abs();
    if d < 1.0 {
        (2.0 * (0.5 * d).sinh().powi(2)).ln_1p()
    } else {
        d - core::f64::consts::LN_2 + (-2.0 * d).exp().ln_1p()
    }
}

/// The bound of `docs/NUMERICS.md`, also near 0 and where a cosine would overflow.
#[test]
fn log_cosh_is_within_its_bound() {
    fn check<T: Float>(u: f64, least: f64) {
        let at = |i: i32| f64::from(i) * 1e-4 + f64::from(i).powi(3) * 1e-11;
        let near = (1..60).map(|i| 2.0_f64.powi(-i / 2 - 1) * 1.3);
        let d: Vec<T> =
            (-20_000..20_000).map(at).chain(near).chain([1e30, -3e38]).map(T::from_f64).collect();
        let zeros = vec![T::ZERO; d.len()];
        let (losses, slopes) = run(Regression::LogCosh, Cpu::detect(), &d, &zeros, T::ONE);
        let mut worst = 0.0_f64;
        for ((d, loss), slope) in d.iter().zip(&losses).zip(&slopes) {
            let (exact, tanh) = (log_cosh(d.to_f64()), d.to_f64().tanh());
            let error = ((loss.to_f64() - exact).abs() - least).max(0.0) / exact.max(least);
            assert!(error <= 10.0 * u, "{d}: {loss}, not {exact:e}");
            assert!((slope.to_f64() - tanh).abs() <= 5.0 * u * tanh.abs(), "{d}: {slope}");
            worst = worst.max(error / u);
        }
        std::println!("log-cosh: {worst:.2} u");
    }
    check::<f32>(2.0_f64.powi(-24), f64::from(f32::MIN_POSITIVE));
    // The reference has an error of its own.
    check::<f64>(2.0_f64.powi(-52), f64::MIN_POSITIVE);
}

#[test]
fn gradients_match_finite_differences() {
    // No difference is near a kink.
    let (y, t) = ([0.5_f64, -1.25, 2.0, 0.25], [0.1, 0.2, 0.3, 0.4]);
    for of in ALL {
        let (_, dy) = run(of, Cpu::detect(), &y, &t, 0.6);
        centred_difference(&y, &dy, |y| {
            let mut losses = [0.0; 4];
            of.losses(Cpu::detect(), y, &t, &mut losses).unwrap();
            losses.iter().sum::<f64>() * 0.6
        });
    }
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let cpu = Cpu::detect();
    let (mut losses, mut dy, x) = ([7.0_f32; 3], [7.0_f32; 3], [0.0; 3]);
    for of in ALL {
        let error = |operand, got| Err(Error::Length { operand, expected: 3, got });
        assert_eq!(of.losses(cpu, &x[1..], &x, &mut losses), error("predictions", 2));
        assert_eq!(of.losses(cpu, &x, &x[1..], &mut losses), error("targets", 2));
        assert_eq!(
            of.gradient(cpu, &x[1..], &x, 1.0, &mut losses, &mut dy),
            error("predictions", 2)
        );
        assert_eq!(of.gradient(cpu, &x, &x[1..], 1.0, &mut losses, &mut dy), error("targets", 2));
        assert_eq!(
            of.gradient(cpu, &x, &x, 1.0, &mut losses, &mut dy[1..]),
            error("dpredictions", 2)
        );
    }
    for delta in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let of = Regression::Huber { delta };
        let is_delta = |result| matches!(result, Err(Error::Parameter { name: "delta", .. }));
        assert!(is_delta(of.losses(cpu, &x, &x, &mut losses)));
        assert!(is_delta(of.gradient(cpu, &x, &x, 1.0, &mut losses, &mut dy)));
    }
    assert_eq!((losses, dy), ([7.0; 3], [7.0; 3]));
}
