//! Initialisers: how the weights of a layer are drawn, so that signals and gradients keep their size through depth.
//!
//! [`Init`] is one as data. [`gain`] and [`critical`] say how large weights must be for an activation; `orthogonal` draws
//! matrices that keep every length. [`fixup`] and [`Lsuv`] look at the whole network: at its blocks, at what it makes of data.

mod fixup;
mod gain;
mod lsuv;
mod orthogonal;

use alloc::vec;

use kernels::random::{Stream, fill_normal, fill_uniform};
use kernels::{Cpu, math};

use crate::{Error, Float};
pub use fixup::fixup;
pub use gain::{Critical, critical, gain};
pub use lsuv::Lsuv;
use orthogonal::orthogonal;

/// How a tensor of weights is drawn. With `fan_in` inputs to an output and `fan_out` outputs of an input, each of as many
/// elements as a filter has taps.
///
/// In a configuration file, `"he_normal"`, or `{ normal = { std = 0.02 } }`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Init {
    /// All zeros.
    Zeros,
    /// One number throughout.
    Constant {
        /// It.
        value: f64,
    },
    /// Uniform on ±`limit`.
    Uniform {
        /// The largest size.
        limit: f64,
    },
    /// Normal with mean 0.
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// Normal with mean 0, drawn again where it is beyond two deviations. What is left has 0.88 times the deviation.
    TruncatedNormal {
        /// The standard deviation of the normal that is cut.
        std: f64,
    },
    /// Normal with variance `2 / fan_in`: keeps the second moment through layers of ReLU (He, Zhang, Ren, Sun
    /// 2015, "Delving deep into rectifiers", equation 10). PyTorch: `kaiming_normal_`.
    #[default]
    HeNormal,
    /// Uniform on ±`sqrt(6 / fan_in)`: the same variance.
    HeUniform,
    /// Normal with variance `gain^2 / fan_in`, for any activation: see [`gain`].
    ScaledNormal {
        /// The gain.
        gain: f64,
    },
    /// Uniform on ±`gain sqrt(3 / fan_in)`: the same variance.
    ScaledUniform {
        /// The gain.
        gain: f64,
    },
    /// Normal with variance `2 / (fan_in + fan_out)`: a compromise between keeping the size of signals forward and
    /// of gradients backward through linear layers (Glorot, Bengio 2010, "Understanding the difficulty of training
    /// deep feedforward neural networks", equation 12). Also called Xavier.
    GlorotNormal,
    /// Uniform on ±`sqrt(6 / (fan_in + fan_out))`: the same variance (equation 16).
    GlorotUniform,
    /// Normal with variance `1 / fan_in` (LeCun, Bottou, Orr, Müller 1998, "Efficient backprop"): for SELU and linear layers.
    LecunNormal,
    /// Uniform on ±`sqrt(3 / fan_in)`: the same variance.
    LecunUniform,
    /// An orthogonal matrix, drawn uniformly from all (Saxe, McClelland, Ganguli, ICLR 2014): rows or columns, whichever are fewer,
    /// are orthonormal. A filter is seen as one row for each tap and input; gates and groups are drawn apart.
    Orthogonal,
    /// [`Orthogonal`](Self::Orthogonal) times `gain`.
    ScaledOrthogonal {
        /// The gain.
        gain: f64,
    },
    /// Filters that are orthogonal in the middle tap and 0 in the others, so that a convolution keeps lengths (Xiao et al., ICML
    /// 2018), times `gain`.
    DeltaOrthogonal {
        /// The gain.
        gain: f64,
    },
    /// 1 on the diagonal and 0 beside it, times `gain`: for the state of recurrent layers of ReLU (Le, Jaitly, Hinton 2015).
    Identity {
        /// What stands on the diagonal.
        gain: f64,
    },
}

/// The shape of a tensor of weights: in memory (taps, inputs, parts, outputs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fans {
    /// Pixels of a filter; 1 for a matrix.
    pub taps: usize,
    /// Inputs of one output, at each tap.
    pub inputs: usize,
    /// Matrices side by side that are drawn apart: the gates of a recurrent layer, the groups of a convolution.
    pub parts: usize,
    /// Outputs of each.
    pub outputs: usize,
}

impl Fans {
    /// Those of a matrix.
    pub const fn matrix(inputs: usize, outputs: usize) -> Self {
        Self { taps: 1, inputs, parts: 1, outputs }
    }

    /// Inputs of one output, over all taps.
    pub const fn fan_in(&self) -> usize {
        self.taps * self.inputs
    }

    /// Outputs of one input, over all taps.
    pub const fn fan_out(&self) -> usize {
        self.taps * self.outputs
    }

    /// Elements of the tensor.
    pub const fn elements(&self) -> usize {
        self.taps * self.inputs * self.parts * self.outputs
    }
}

impl Init {
    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(self) -> Result<(), Error> {
        let (name, expected, got, allowed) = match self {
            Self::Constant { value } => ("value", "finite", value, value.is_finite()),
            Self::Uniform { limit } => ("limit", "finite and at least 0", limit, limit >= 0.0),
            Self::Normal { std } | Self::TruncatedNormal { std } => {
                ("std", "finite and at least 0", std, std >= 0.0)
            }
            Self::ScaledNormal { gain }
            | Self::ScaledUniform { gain }
            | Self::ScaledOrthogonal { gain }
            | Self::DeltaOrthogonal { gain }
            | Self::Identity { gain } => ("gain", "finite and at least 0", gain, gain >= 0.0),
            _ => return Ok(()),
        };
        if allowed && got.is_finite() {
            Ok(())
        } else {
            Err(kernels::Error::Parameter { name, expected, got }.into())
        }
    }

    /// Fills `weights` from `stream`. The bits are a function of the arguments but `cpu`.
    ///
    /// # Errors
    /// [`Error::Length`] if `weights` is not as long as `fans` says; what [`check`](Self::check) says.
    pub fn fill<T: Float>(
        self,
        cpu: Cpu<'_>,
        stream: Stream,
        fans: Fans,
        weights: &mut [T],
    ) -> Result<(), Error> {
        self.check()?;
        crate::error::check_length("weights", fans.elements(), weights.len())?;
        let (fan_in, fan_out) = (fans.fan_in().max(1) as f64, fans.fan_out().max(1) as f64);
        let normal = |variance: f64, weights: &mut [T]| {
            fill_normal(cpu, stream, T::ZERO, T::from_f64(math::sqrt(cpu, variance)), weights)
        };
        let uniform = |variance: f64, weights: &mut [T]| {
            let limit = math::sqrt(cpu, 3.0 * variance);
            fill_uniform(cpu, stream, T::from_f64(-limit), T::from_f64(limit), weights)
        };
        match self {
            Self::Zeros => weights.fill(T::ZERO),
            Self::Constant { value } => weights.fill(T::from_f64(value)),
            Self::Uniform { limit } => {
                fill_uniform(cpu, stream, T::from_f64(-limit), T::from_f64(limit), weights)?;
            }
            Self::Normal { std } => fill_normal(cpu, stream, T::ZERO, T::from_f64(std), weights)?,
            Self::TruncatedNormal { std } => truncated_normal(cpu, stream, std, weights)?,
            Self::HeNormal => normal(2.0 / fan_in, weights)?,
            Self::HeUniform => uniform(2.0 / fan_in, weights)?,
            Self::ScaledNormal { gain } => normal(gain * gain / fan_in, weights)?,
            Self::ScaledUniform { gain } => uniform(gain * gain / fan_in, weights)?,
            Self::GlorotNormal => normal(2.0 / (fan_in + fan_out), weights)?,
            Self::GlorotUniform => uniform(2.0 / (fan_in + fan_out), weights)?,
            Self::LecunNormal => normal(1.0 / fan_in, weights)?,
            Self::LecunUniform => uniform(1.0 / fan_in, weights)?,
            Self::Orthogonal => matrices(cpu, stream, fans, 1.0, weights)?,
            Self::ScaledOrthogonal { gain } => matrices(cpu, stream, fans, gain, weights)?,
            Self::DeltaOrthogonal { gain } => {
                weights.fill(T::ZERO);
                let tap = Fans { taps: 1, ..fans };
                let middle = fans.taps / 2 * tap.elements();
                matrices(cpu, stream, tap, gain, &mut weights[middle..][..tap.elements()])?;
            }
            Self::Identity { gain } => {
                let width = fans.parts * fans.outputs;
                for (i, row) in weights.chunks_exact_mut(width.max(1)).enumerate() {
                    for (j, weight) in row.iter_mut().enumerate() {
                        let diagonal =
                            i % fans.inputs == j % fans.outputs && i / fans.inputs == fans.taps / 2;
                        *weight = if diagonal { T::from_f64(gain) } else { T::ZERO };
                    }
                }
            }
        }
        Ok(())
    }
}

/// An orthogonal matrix for each part, times `gain`; part `p` from stream `p + 2^48` beyond the given one.
fn matrices<T: Float>(
    cpu: Cpu<'_>,
    stream: Stream,
    fans: Fans,
    gain: f64,
    weights: &mut [T],
) -> Result<(), Error> {
    let (rows, cols) = (fans.fan_in(), fans.outputs);
    for part in 0..fans.parts {
        let matrix = orthogonal(cpu, stream.beyond((part as u64) << 48), rows, cols)?;
        for (i, row) in matrix.chunks_exact(cols.max(1)).enumerate() {
            let start = (i * fans.parts + part) * cols;
            for (weight, &element) in weights[start..][..cols].iter_mut().zip(row) {
                *weight = T::from_f64(gain * element);
            }
        }
    }
    Ok(())
}

/// Normal numbers, drawn again from further streams until none is beyond two deviations.
fn truncated_normal<T: Float>(
    cpu: Cpu<'_>,
    stream: Stream,
    std: f64,
    weights: &mut [T],
) -> Result<(), Error> {
    let limit = 2.0 * std;
    fill_normal(cpu, stream, T::ZERO, T::from_f64(std), weights)?;
    let mut again = vec![T::ZERO; weights.len()];
    let is_beyond = |weight: &T| weight.to_f64().abs() > limit;
    let mut attempt = 0;
    while weights.iter().any(is_beyond) {
        attempt += 1;
        fill_normal(cpu, stream.beyond(attempt << 48), T::ZERO, T::from_f64(std), &mut again)?;
        for (weight, &again) in weights.iter_mut().zip(&again) {
            if is_beyond(weight) {
                *weight = again;
            }
        }
    }
    Ok(())
}
