//! Against the formulas in f64, within the bounds of `docs/NUMERICS.md`; special values; finite differences; bits.

#![expect(clippy::disallowed_methods, reason = "std's functions are the reference here")]

extern crate std;

use std::{vec, vec::Vec};

use half::bf16;

use super::*;
use crate::random::Stream;
use crate::testing::{bits, centred_difference, same_on_every_cpu};

const ALL: [Activation; 16] = [
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
];

fn forward<E: Element>(activation: Activation, cpu: Cpu<'_>, x: &[E]) -> Vec<E> {
    let mut y = vec![E::default(); x.len()];
    activation.forward(cpu, x, &mut y).unwrap();
    y
}

/// The gradient at `x` where that with respect to the output is `dy`.
fn gradient<E: Element>(activation: Activation, cpu: Cpu<'_>, x: &[E], dy: &[E]) -> Vec<E> {
    let saved = match activation.saved() {
        Saved::Input => x.to_vec(),
        Saved::Output => forward(activation, cpu, x),
    };
    let mut dx = dy.to_vec();
    activation.backward(cpu, &saved, &mut dx).unwrap();
    dx
}

/// Phi(x), within 1e-12 of itself: the series of the integral near 0, Laplace's continued fraction for the tails.
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

/// The value and the derivative, by the formulas.
fn exact(activation: Activation, x: f64) -> (f64, f64) {
    let density = (-0.5 * x * x).exp() / (2.0 * core::f64::consts::PI).sqrt();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
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
        Activation::Selu => (SELU_SCALE * SELU_ALPHA * x.exp_m1(), SELU_SCALE * SELU_ALPHA * x.exp()),
        Activation::Gelu => (x * phi(x), phi(x) + x * density),
        Activation::GeluTanh => {
            let (c, cubic) = ((8.0 / core::f64::consts::PI).sqrt(), 0.044_715);
            let gate = sigmoid(c * (x + cubic * x.powi(3)));
            (x * gate, gate + x * gate * (1.0 - gate) * c * (1.0 + 3.0 * cubic * x * x))
        }
        Activation::Silu => (x * sigmoid(x), sigmoid(x) + x * sigmoid(x) * sigmoid(-x)),
        Activation::Mish => {
            let gate = x.exp().ln_1p().tanh();
            (x * gate, gate + x * (1.0 - gate * gate) * sigmoid(x))
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
    }
}

/// A unit in the last place of f32 at `x`.
fn ulp(x: f64) -> f64 {
    let next = f32::from_bits((x.abs() as f32).to_bits() + 1);
    f64::from(next) - f64::from(f32::from_bits(next.to_bits() - 1))
}

#[test]
fn measure() {
    let mut x: Vec<f32> = (0..=u32::MAX / 4099).map(|i| f32::from_bits(i * 4099)).collect();
    x.extend((-400_000..400_000).map(|i| i as f32 * 0.00031));
    x.retain(|x| !x.is_nan() && x.abs() < 1e30);
    let ones = vec![1.0; x.len()];
    for activation in ALL {
        let y = forward(activation, Cpu::detect(), &x);
        let dx = gradient(activation, Cpu::detect(), &x, &ones);
        let mut worst = [(0.0, 0.0_f32); 4];
        for i in 0..x.len() {
            let (v, d) = exact(activation, f64::from(x[i]));
            let tiny = f64::from(x[i].abs()) * 1.4e-45 + 1.4e-45;
            let ev = ((f64::from(y[i]) - v).abs() - tiny).max(0.0);
            let ed = ((f64::from(dx[i]) - d).abs() - tiny).max(0.0);
            for (w, e) in
                worst.iter_mut().zip([ev / ulp(v), ev / v.abs() / 5.96e-8, ed / ulp(d), ed / 5.96e-8])
            {
                if e > w.0 || e.is_nan() {
                    *w = (e, x[i]);
                }
            }
        }
        std::println!("{activation:?}: {worst:?}");
    }
}
