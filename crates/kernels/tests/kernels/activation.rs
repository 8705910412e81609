//! Compares with the formulas in f64, within the bounds of `docs/NUMERICS.md`; special values;
//! finite differences; bits.

#![expect(clippy::disallowed_methods, reason = "std's functions are the reference here")]

use half::bf16;

use crate::testing::{bits, centred_difference, same_on_every_cpu, sample};
use kernels::activation::*;
use kernels::random::Stream;
use kernels::{Cpu, Element, Error, Float};

// The constants of Klambauer et al., 2017.
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_3;

const ALL: [Activation; 17] = [
    Activation::Relu,
    Activation::CappedRelu { cap: 6.0 },
    Activation::LeakyRelu { slope: 0.01 },
    Activation::Elu { alpha: 1.0 },
    Activation::Elu { alpha: 0.3 },
    Activation::Selu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
    Activation::Mish,
    Activation::Sigmoid,
    Activation::HardSigmoid,
    Activation::Tanh,
    Activation::HardTanh,
    Activation::Softplus,
    Activation::Softsign,
    Activation::Exponential,
];

fn forward<E: Element>(activation: Activation, cpu: Cpu<'_>, x: &[E]) -> Vec<E> {
    let mut y = vec![E::default(); x.len()];
    activation.forward(cpu, x, &mut y).unwrap();
    y
}

/// The gradient at `x`, given the gradient `dy` with respect to the output.
fn gradient<E: Element>(activation: Activation, cpu: Cpu<'_>, x: &[E], dy: &[E]) -> Vec<E> {
    let saved = match activation.saved() {
        Saved::Input => x.to_vec(),
        Saved::Output => forward(activation, cpu, x),
    };
    let mut dx = dy.to_vec();
    activation.backward(cpu, &saved, &mut dx).unwrap();
    dx
}

/// Phi(x), within a relative error of 1e-12: the series of the integral near 0, Laplace's continued
/// fraction for the tails.
fn phi(x: f64) -> f64 {
    let t = x.abs();
    let density = (-0.5 * t * t).exp() / (2.0 * core::f64::consts::PI).sqrt();
    let tail = if t < 3.0 {
        let (mut term, mut sum) = (t, 0.0);
        for k in 1..100 {
            sum += term;
            term *= t * t / f64::from(2 * k + 1);
        }
        0.5 - density * sum
    } else {
        density / (1..100).rev().fold(t, |rest, k| t + f64::from(k) / rest)
    };
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// The value and the derivative by the formulas.
fn exact(activation: Activation, x: f64) -> (f64, f64) {
    let density = (-0.5 * x * x).exp() / (2.0 * core::f64::consts::PI).sqrt();
    let sigmoid =
        |x: f64| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) };
    match activation {
        Activation::Relu if x > 0.0 => (x, 1.0),
        Activation::Relu => (0.0, 0.0),
        Activation::CappedRelu { cap } if x >= cap => (cap, 0.0),
        Activation::CappedRelu { .. } if x > 0.0 => (x, 1.0),
        Activation::CappedRelu { .. } => (0.0, 0.0),
        Activation::LeakyRelu { .. } | Activation::Elu { .. } if x > 0.0 => (x, 1.0),
        Activation::LeakyRelu { slope } => (slope * x, slope),
        Activation::Elu { alpha } => (alpha * x.exp_m1(), alpha * x.exp()),
        Activation::Selu if x > 0.0 => (SELU_SCALE * x, SELU_SCALE),
        Activation::Selu => {
            (SELU_SCALE * SELU_ALPHA * x.exp_m1(), SELU_SCALE * SELU_ALPHA * x.exp())
        }
        Activation::Gelu => (x * phi(x), phi(x) + x * density),
        Activation::GeluTanh => {
            let (c, cubic) = ((8.0 / core::f64::consts::PI).sqrt(), 0.044_715);
            let inner = c * (x + cubic * x.powi(3));
            let gate = sigmoid(inner);
            (x * gate, gate + x * gate * sigmoid(-inner) * c * (1.0 + 3.0 * cubic * x * x))
        }
        Activation::Silu => (x * sigmoid(x), sigmoid(x) + x * sigmoid(x) * sigmoid(-x)),
        Activation::Mish => {
            let softplus = x.exp().ln_1p();
            let gate = softplus.tanh();
            (x * gate, gate + x * softplus.cosh().powi(-2) * sigmoid(x))
        }
        Activation::Sigmoid => (sigmoid(x), sigmoid(x) * sigmoid(-x)),
        Activation::HardSigmoid if x <= -3.0 => (0.0, 0.0),
        Activation::HardSigmoid if x >= 3.0 => (1.0, 0.0),
        Activation::HardSigmoid => ((x + 3.0) / 6.0, 1.0 / 6.0),
        Activation::Tanh => (x.tanh(), 1.0 / x.cosh().powi(2)),
        Activation::HardTanh if x.abs() >= 1.0 => (x.signum(), 0.0),
        Activation::HardTanh => (x, 1.0),
        Activation::Softplus => (x.max(0.0) + (-x.abs()).exp().ln_1p(), sigmoid(x)),
        Activation::Softsign => (x / (1.0 + x.abs()), (1.0 + x.abs()).powi(-2)),
        Activation::Exponential => (x.exp(), x.exp()),
    }
}

/// Error bounds of the value `y` and of the derivative `d` at `x`, in a format with `digits` bits
/// and the smallest number `least`: the table of `docs/NUMERICS.md`.
fn bounds(
    activation: Activation,
    x: f64,
    (y, d): (f64, f64),
    digits: i32,
    least: f64,
) -> (f64, f64) {
    let ulp = |x: f64| {
        let power = f64::from_bits(x.abs().to_bits() & !((1 << 52) - 1));
        (power * 2.0_f64.powi(1 - digits)).max(least)
    };
    let u = 2.0_f64.powi(-digits);
    let gated = |ulps: f64| ulps * ulp(y) + x.abs() * least;
    match activation {
        Activation::Relu | Activation::CappedRelu { .. } | Activation::HardTanh => (0.0, 0.0),
        Activation::LeakyRelu { .. } => (1.5 * ulp(y), ulp(d)),
        Activation::Elu { alpha } => (3.0 * ulp(y), 2.0 * alpha * u),
        Activation::Selu => (3.0 * ulp(y), 2.0 * SELU_SCALE * SELU_ALPHA * u),
        Activation::Gelu => (gated(6.0), 4.0 * u),
        Activation::GeluTanh => {
            let inner = (8.0 / core::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            (gated(4.0 + 3.0 * (-inner).max(0.0)), 4.0 * u)
        }
        Activation::Silu => (gated(4.0), 4.0 * u),
        Activation::Mish => (gated(5.0), 4.0 * u),
        Activation::Sigmoid => (2.0 * ulp(y), 2.0 * u),
        Activation::HardSigmoid => (1.5 * ulp(y), ulp(d)),
        Activation::Tanh => (2.0 * ulp(y), 4.0 * u),
        Activation::Softplus => (2.0 * ulp(y), 3.0 * ulp(d)),
        Activation::Softsign => (2.0 * ulp(y), 2.0 * u),
        Activation::Exponential => (ulp(y), ulp(d)),
    }
}

/// Asserts that values and gradients at `x` are within `slack` times the bounds.
fn within_the_bounds<T: Float>(
    activation: Activation,
    x: &[T],
    digits: i32,
    least: f64,
    slack: f64,
) {
    let cpu = Cpu::detect();
    let y = forward(activation, cpu, x);
    let dx = gradient(activation, cpu, x, &vec![T::ONE; x.len()]);
    let mut worst = (0.0_f64, 0.0_f64);
    for ((&x, &y), &dx) in x.iter().zip(&y).zip(&dx) {
        let (value, derivative) = exact(activation, x.to_f64());
        let (most, most_of_d) = bounds(activation, x.to_f64(), (value, derivative), digits, least);
        let (error, error_of_d) = ((y.to_f64() - value).abs(), (dx.to_f64() - derivative).abs());
        let past_the_largest = |value: f64| value.abs() > f64::from(f32::MAX) && digits == 24;
        assert!(
            error <= slack * most || past_the_largest(value),
            "{activation:?} at {x}: {y}, not {value:e}"
        );
        assert!(
            error_of_d <= slack * most_of_d || past_the_largest(derivative),
            "{activation:?}' at {x}: {dx}, not {derivative:e}"
        );
        worst = (worst.0.max(error / most), worst.1.max(error_of_d / most_of_d));
    }
    std::println!("{activation:?}: {:.2} and {:.2} of the bounds", worst.0, worst.1);
}

#[test]
fn f32_is_within_the_documented_bounds() {
    // All exponents and both signs, and more points where the curves bend.
    let everywhere = (0..=u32::MAX / 4099).map(|i| f32::from_bits(i * 4099));
    let near = (-400_000..400_000).map(|i| i as f32 * 0.000_31);
    let x: Vec<f32> = sample(everywhere.chain(near)).filter(|x| x.is_finite()).collect();
    for activation in ALL {
        within_the_bounds(activation, &x, 24, f64::from(f32::from_bits(1)), 1.0);
    }
}

/// The reference has an error too: no larger than ours, except for its Phi.
#[test]
fn f64_is_within_the_documented_bounds() {
    let x: Vec<f64> = sample(-200_000..200_000).map(|i| f64::from(i) * 0.000_31).collect();
    for activation in ALL {
        if activation != Activation::Gelu {
            within_the_bounds(activation, &x, 53, f64::from_bits(1), 2.0);
        }
    }
}

/// `x Phi(x)` and its derivative to 50 digits.
const GELU: [(f64, f64, f64); 16] = [
    (0.000_1, 5.000_398_942_279_737e-05, 0.500_079_788_455_814_4),
    (-0.001, -0.000_499_601_057_786_089, 0.499_202_115_705_158_6),
    (0.3, 0.185_373_426_656_685_8, 0.732_327_766_827_109_9),
    (-0.751, -0.169_971_072_247_782_27, 0.000_341_781_405_916_518_5),
    (1.25, 1.117_937_782_916_431, 1.122_661_583_069_422_2),
    (-1.7, -0.075_761_286_689_523_17, -0.115_317_968_782_164_73),
    (2.5, 2.484_475_836_685_559_7, 1.037_611_085_908_145),
    (-3.1, -0.002_999_569_960_976_905_4, -0.009_159_535_861_001_395),
    (4.0, 3.999_873_315_032_667_5, 1.000_503_649_661_226_5),
    (-5.75, -2.565_749_160_993_426_8e-08, -1.472_943_117_514_063_5e-07),
    (6.9, 6.899_999_999_982_059, 1.000_000_000_123_692_8),
    (-9.3, -6.530_724_343_610_712e-20, -6.072_036_428_083_129e-19),
    (-14.6, -2.050_171_225_765_472e-47, -2.993_121_224_047_422_8e-46),
    (-22.0, -3.167_763_357_319_173_7e-106, -6.969_020_491_864_126e-105),
    (-30.5, -3.973_960_635_193_133e-203, -1.212_055_207_407_868_6e-201),
    (8.5, 8.5, 1.000_000_000_000_000_7),
];

#[test]
fn gelu_of_f64_is_within_the_documented_bounds() {
    for (x, value, derivative) in GELU {
        let (y, d) = (value, derivative);
        let (most, most_of_d) = bounds(Activation::Gelu, x, (y, d), 53, f64::from_bits(1));
        let y = forward(Activation::Gelu, Cpu::detect(), &[x])[0];
        let dx = gradient(Activation::Gelu, Cpu::detect(), &[x], &[1.0])[0];
        assert!((y - value).abs() <= most, "{x}: {y}, not {value:e}");
        assert!((dx - derivative).abs() <= most_of_d, "{x}: {dx:e}, not {derivative:e}");
    }
}

/// The values at ±Inf, the derivatives there, and the derivative at 0, as in PyTorch.
fn limits(activation: Activation) -> ([f64; 2], [f64; 2], f64) {
    const INF: f64 = f64::INFINITY;
    match activation {
        Activation::Relu => ([0.0, INF], [0.0, 1.0], 0.0),
        Activation::CappedRelu { cap } => ([0.0, cap], [0.0, 0.0], 0.0),
        Activation::LeakyRelu { slope } => ([-INF, INF], [slope, 1.0], slope),
        Activation::Elu { alpha } => ([-alpha, INF], [0.0, 1.0], alpha),
        Activation::Selu => {
            ([-SELU_SCALE * SELU_ALPHA, INF], [0.0, SELU_SCALE], SELU_SCALE * SELU_ALPHA)
        }
        Activation::Gelu | Activation::GeluTanh | Activation::Silu => {
            ([-0.0, INF], [0.0, 1.0], 0.5)
        }
        Activation::Mish => ([-0.0, INF], [0.0, 1.0], 0.6),
        Activation::Sigmoid => ([0.0, 1.0], [0.0, 0.0], 0.25),
        Activation::HardSigmoid => ([0.0, 1.0], [0.0, 0.0], 1.0 / 6.0),
        Activation::Tanh | Activation::HardTanh | Activation::Softsign => {
            ([-1.0, 1.0], [0.0, 0.0], 1.0)
        }
        Activation::Softplus => ([0.0, INF], [0.0, 1.0], 0.5),
        Activation::Exponential => ([0.0, INF], [0.0, INF], 1.0),
    }
}

fn special_values_are_right<T: Float>() {
    let as_t = |x: [f64; 2]| bits(&x.map(T::from_f64));
    for activation in ALL {
        let ([low, high], slopes, middle) = limits(activation);
        same_on_every_cpu(|cpu| {
            let at = |x: &[f64]| -> Vec<T> { x.iter().map(|&x| T::from_f64(x)).collect() };
            let infinities = at(&[-f64::INFINITY, f64::INFINITY]);
            assert_eq!(
                bits(&forward(activation, cpu, &infinities)),
                as_t([low, high]),
                "{activation:?}"
            );
            let got = gradient(activation, cpu, &infinities, &[T::ONE; 2]);
            assert_eq!(bits(&got), as_t(slopes), "{activation:?}' at infinity");

            // NaN gives NaN, and nothing else does.
            let y =
                forward(activation, cpu, &at(&[f64::NAN, 1e4, -1e4, 1e300, -1e300, 1e-40, -1e-40]));
            let expected = [true, false, false, false, false, false, false];
            assert_eq!(
                y.iter().map(|y| y.to_f64().is_nan()).collect::<Vec<_>>(),
                expected,
                "{activation:?}"
            );
            let largest = at(&[f64::from(f32::MAX), -f64::from(f32::MAX), 1e4, -1e4, 1e15, -1e15]);
            for (i, d) in gradient(activation, cpu, &largest, &[T::ONE; 6]).into_iter().enumerate()
            {
                let limit = T::from_f64(slopes[1 - i % 2]).to_f64();
                assert!(
                    d.to_f64() == limit || (d.to_f64() - limit).abs() < 2e-8,
                    "{activation:?}' at {}: {d}",
                    largest[i]
                );
            }

            let zeros = at(&[-0.0, 0.0]);
            let y = forward(activation, cpu, &zeros);
            if y[1] == T::ZERO {
                let keeps = !matches!(activation, Activation::Relu | Activation::CappedRelu { .. });
                assert_eq!(bits(&y), as_t([if keeps { -0.0 } else { 0.0 }, 0.0]), "{activation:?}");
            }
            for d in gradient(activation, cpu, &zeros, &[T::ONE; 2]) {
                assert!((d.to_f64() - middle).abs() < 1e-6, "{activation:?}' at 0: {d}");
            }
        });
    }
}

#[test]
fn special_values_are_right_in_each_type() {
    special_values_are_right::<f32>();
    special_values_are_right::<f64>();
}

#[test]
fn derivatives_at_the_kinks_match_pytorch() {
    for (activation, x, expected) in [
        (Activation::Relu, [-1.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
        (Activation::CappedRelu { cap: 6.0 }, [0.0, 5.9, 6.0], [0.0, 1.0, 0.0]),
        (Activation::HardTanh, [-1.0, -0.9, 1.0], [0.0, 1.0, 0.0]),
        (Activation::HardSigmoid, [-3.0, 2.9, 3.0], [0.0, 1.0 / 6.0, 0.0]),
        (Activation::LeakyRelu { slope: 0.25 }, [-1.0, 0.0, 1.0], [0.25, 0.25, 1.0]),
        (Activation::Elu { alpha: 0.5 }, [-1e9, 0.0, 1.0], [0.0, 0.5, 1.0]),
    ] {
        assert_eq!(gradient(activation, Cpu::detect(), &x, &[1.0; 3]), expected, "{activation:?}");
    }
}

#[test]
fn flat_pieces_drop_non_finite_gradients_and_others_do_not() {
    let cpu = Cpu::detect();
    for activation in [Activation::Relu, Activation::CappedRelu { cap: 1.0 }, Activation::HardTanh]
    {
        // Flat below, flat above, steep; NaN counts as above the kink.
        let mut dx = [f32::NAN, f32::INFINITY, f32::NAN, 2.0];
        activation
            .backward(
                cpu,
                &[-1.0, if activation == Activation::Relu { 0.0 } else { 1.0 }, 0.5, f32::NAN],
                &mut dx,
            )
            .unwrap();
        assert_eq!(bits(&dx), bits(&[0.0, 0.0, f32::NAN, 2.0]), "{activation:?}");
    }
    // 0 times infinity is NaN.
    let mut dx = [f32::INFINITY, 1.0];
    Activation::Tanh.backward(cpu, &[1.0, f32::NAN], &mut dx).unwrap();
    assert!(dx[0].is_nan() && dx[1].is_nan());
}

#[test]
fn gradients_match_finite_differences() {
    let stream = Stream::new(2, 0);
    let w: Vec<f64> = (100..200).map(|i| stream.uniform_f64(i) - 0.5).collect();
    // No x is within a difference of a kink.
    let away = |x: f64| {
        [-3.0, -1.0, 0.0, 1.0, 3.0]
            .iter()
            .fold(x, |x, k| if (x - k).abs() < 0.01 { x + 0.05 } else { x })
    };
    let x: Vec<f64> = (0..100).map(|i| away(8.0 * stream.uniform_f64(i) - 4.0)).collect();
    for activation in ALL {
        let dx = gradient(activation, Cpu::detect(), &x, &w);
        centred_difference(&x, &dx, |x| {
            forward(activation, Cpu::detect(), x).iter().zip(&w).map(|(y, w)| y * w).sum()
        });
    }
}

/// Inputs of every kind, by index.
fn element<E: Element>(i: u64) -> E {
    let special =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e-40, -1e-40, 1e-310, 3.0, -1e30];
    let uniform = 20.0 * Stream::new(7, 7).uniform_f64(i) - 10.0;
    E::from_float(E::Float::from_f64(*special.get(i as usize % 40).unwrap_or(&uniform)))
}

fn wide<E: Element>(x: &[E]) -> Vec<u64> {
    bits(&x.iter().map(|x| x.to_float().to_f64()).collect::<Vec<_>>())
}

/// Each element alone has the bits that it has in any slice, in place or not, on every CPU.
fn elements_are_independent<E: Element>() {
    let canary = E::from_float(E::Float::from_f64(7.0));
    const PERIOD: u64 = 240;
    let longest = 16_384 + 37;
    let x: Vec<E> = (0..PERIOD).map(element).cycle().take(longest).collect();
    let dy: Vec<E> = (31..31 + PERIOD).map(element).cycle().take(longest).collect();
    for activation in sample(ALL) {
        let alone = |i: usize| {
            let (x, dy) = (&x[i..=i], &dy[i..=i]);
            (
                forward(activation, Cpu::detect(), x)[0],
                gradient(activation, Cpu::detect(), x, dy)[0],
            )
        };
        let each: Vec<(E, E)> = (0..PERIOD as usize).map(alone).collect();
        let (y, dx): (Vec<E>, Vec<E>) = each.into_iter().cycle().take(longest).unzip();
        let (y_bits, dx_bits) = (wide(&y), wide(&dx));
        for n in sample((0..36).chain([63, 64, 65, longest])) {
            same_on_every_cpu(|cpu| {
                // Unaligned, with a canary on either side.
                let mut out = vec![canary; n + 2];
                let mut check = |expected: &[u64], run: &dyn Fn(&mut [E])| {
                    run(&mut out[1..=n]);
                    assert!(wide(&out[1..=n]) == expected[..n], "{activation:?}, {n} on {cpu:?}");
                    assert_eq!((out[0], out[n + 1]), (canary, canary));
                };
                check(&y_bits, &|out| activation.forward(cpu, &x[..n], out).unwrap());
                check(&y_bits, &|out| {
                    out.copy_from_slice(&x[..n]);
                    activation.forward_in_place(cpu, out).unwrap();
                });
                check(&dx_bits, &|out| {
                    out.copy_from_slice(&dy[..n]);
                    let saved = if activation.saved() == Saved::Input { &x } else { &y };
                    activation.backward(cpu, &saved[..n], out).unwrap();
                });
            });
        }
    }
}

#[test]
fn elements_are_independent_on_every_cpu() {
    elements_are_independent::<f32>();
    elements_are_independent::<f64>();
    elements_are_independent::<bf16>();
}

/// bf16 is f32 except for the last rounding; the gradient recognises outputs at a limit.
#[test]
fn bf16_rounds_once_and_reaches_its_limits() {
    let x: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
    let wide_x: Vec<f32> = x.iter().map(|x| x.to_float()).collect();
    for activation in sample(ALL) {
        // Their limits are rounded to bf16.
        if matches!(activation, Activation::Selu | Activation::Elu { alpha: 0.3 }) {
            continue;
        }
        let expected: Vec<bf16> =
            forward(activation, Cpu::detect(), &wide_x).into_iter().map(bf16::from_float).collect();
        assert!(wide(&forward(activation, Cpu::detect(), &x)) == wide(&expected), "{activation:?}");
    }
    for (activation, far) in [
        (Activation::Selu, -1e4),
        (Activation::Elu { alpha: 0.3 }, -1e4),
        (Activation::CappedRelu { cap: 1.001 }, 1e4),
        (Activation::CappedRelu { cap: 0.999 }, 1e4),
    ] {
        let dx = gradient(activation, Cpu::detect(), &[bf16::from_float(far)], &[bf16::ONE]);
        assert_eq!(dx, [bf16::ZERO], "{activation:?}");
    }
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let (cpu, x, mut y) = (Cpu::detect(), [1.0_f32; 2], [7.0_f32; 3]);
    let length = |operand| Err(Error::Length { operand, expected: 3, got: 2 });
    for activation in ALL {
        activation.check().unwrap();
        assert_eq!(activation.forward(cpu, &x, &mut y), length("x"));
        assert_eq!(activation.backward(cpu, &x, &mut y), length("saved"));
    }
    for (activation, name) in [
        (Activation::CappedRelu { cap: 0.0 }, "cap"),
        (Activation::CappedRelu { cap: f64::NAN }, "cap"),
        (Activation::LeakyRelu { slope: -0.1 }, "slope"),
        (Activation::LeakyRelu { slope: f64::INFINITY }, "slope"),
        (Activation::Elu { alpha: -1.0 }, "alpha"),
    ] {
        for result in [
            activation.check(),
            activation.forward(cpu, &[1.0; 3], &mut y),
            activation.forward_in_place(cpu, &mut y),
            activation.backward(cpu, &[1.0; 3], &mut y),
        ] {
            assert!(
                matches!(result, Err(Error::Parameter { name: n, .. }) if n == name),
                "{activation:?}"
            );
        }
    }
    assert_eq!(y, [7.0; 3]);
}
