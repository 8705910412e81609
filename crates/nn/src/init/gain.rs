//! Gains: weight scales per activation at which neither signals nor gradients vanish or explode.

use kernels::{Cpu, math};

use crate::{Activation, Error};

/// Gain of [`Init::ScaledNormal`](crate::Init::ScaledNormal) and the other scaled initialisers, by
/// PyTorch's table (`calculate_gain`): sqrt(2) for ReLU and similar activations, 5/3 for tanh, 3/4
/// for SELU, `sqrt(2 / (1 + slope^2))` for leaky ReLU, and 1 for all others.
pub fn gain(cpu: Cpu<'_>, activation: Activation) -> f64 {
    match activation {
        Activation::Relu
        | Activation::CappedRelu { .. }
        | Activation::Gelu
        | Activation::GeluTanh
        | Activation::Silu
        | Activation::Mish
        | Activation::Elu { .. } => math::sqrt(cpu, 2.0),
        Activation::LeakyRelu { slope } => math::sqrt(cpu, 2.0 / (1.0 + slope * slope)),
        Activation::Tanh => 5.0 / 3.0,
        Activation::Selu => 0.75,
        _ => 1.0,
    }
}

/// Initialisation of a deep network at the edge of chaos.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Critical {
    /// Gain of the weights: their variance is `gain^2 / fan_in`.
    pub gain: f64,
    /// Variance of the biases.
    pub bias_variance: f64,
}

/// Signals of a network that [`critical`] preserves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signals {
    /// Variance of the pre-activations, finite and above 0.
    pub variance: f64,
    /// Probability of dropout after each activation, in [0, 1).
    pub dropout: f64,
}

/// Gain and bias variance at which the gradients of a wide network neither vanish nor explode,
/// whatever its depth.
///
/// With m = 1 / (1 - dropout), the second moment of inverted dropout, and z standard normal, the
/// second moments of gradients and of signals are preserved:
///
/// ```text
/// gradients   gain^2        = 1 / (m E[act'(sqrt(variance) z)^2])
/// signals     bias_variance = variance - gain^2 m E[act(sqrt(variance) z)^2]
/// ```
///
/// (Schoenholz et al., ICLR 2017; for dropout, where plain He initialisation explodes, Pretorius et
/// al., NeurIPS 2018.) ReLU has gain `sqrt(2 (1 - dropout))` and bias variance 0, at any variance.
///
/// # Errors
/// [`kernels::Error::Parameter`] unless dropout and variance are in range, or if no such point
/// exists: the bias variance would be negative.
pub fn critical(cpu: Cpu<'_>, activation: Activation, signals: Signals) -> Result<Critical, Error> {
    let Signals { variance, dropout } = signals;
    let refuse =
        |name, expected, got| Err(kernels::Error::Parameter { name, expected, got }.into());
    if !(0.0..1.0).contains(&dropout) {
        return refuse("dropout", "in [0, 1)", dropout);
    }
    if !(variance > 0.0 && variance.is_finite()) {
        return refuse("variance", "finite and above 0", variance);
    }
    let noise = 1.0 / (1.0 - dropout);
    let (squares, slopes) = moments(cpu, activation, variance)?;
    let weights = 1.0 / (noise * slopes);
    let bias = variance - weights * noise * squares;
    if !(slopes > 0.0 && bias > -1e-9 * variance) {
        return refuse(
            "variance",
            "one at which neither signals nor gradients vanish or explode",
            variance,
        );
    }
    // A bias variance below the rounding error of some thousand terms is 0, as for ReLU.
    let bias_variance = if bias > 1e-12 * variance { bias } else { 0.0 };
    Ok(Critical { gain: math::sqrt(cpu, weights), bias_variance })
}

/// Cells of the integration over ±[`REACH`] standard deviations.
const CELLS: usize = 4096;
const REACH: f64 = 12.0;

/// `E[act(s z)^2]` and `E[act'(s z)^2]` with `s^2` = `variance`, by the midpoint rule: kinks at 0
/// lie between the cells' midpoints, and smooth functions are integrated to rounding.
fn moments(cpu: Cpu<'_>, activation: Activation, variance: f64) -> Result<(f64, f64), Error> {
    let deviation = math::sqrt(cpu, variance);
    let width = 2.0 * REACH / CELLS as f64;
    let (mut squares, mut slopes, mut total) = (0.0, 0.0, 0.0);
    for block in (0..CELLS).step_by(64) {
        let z: [f64; 64] = core::array::from_fn(|i| -REACH + ((block + i) as f64 + 0.5) * width);
        let (mut density, mut y, mut slope) = ([0.0; 64], [0.0; 64], [1.0; 64]);
        math::exp(cpu, &z.map(|z| -0.5 * z * z), &mut density)?;
        let x = z.map(|z| deviation * z);
        activation.forward(cpu, &x, &mut y)?;
        let saved = match activation.saved() {
            kernels::activation::Saved::Input => &x,
            kernels::activation::Saved::Output => &y,
        };
        activation.backward(cpu, saved, &mut slope)?;
        for i in 0..64 {
            squares += density[i] * y[i] * y[i];
            slopes += density[i] * slope[i] * slope[i];
            total += density[i];
        }
    }
    Ok((squares / total, slopes / total))
}
