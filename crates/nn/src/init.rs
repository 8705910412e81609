//! Initialisers: distributions of a layer's weights that preserve the scale of signals and
//! gradients through depth.
//!
//! [`Init`] is an initialiser as data. [`gain`] and [`critical`] give the weight scale for an
//! activation; `orthogonal` draws orthogonal matrices. [`fixup`] and [`Lsuv`] initialise a whole
//! network, by its blocks and by its activations on data.

mod fixup;
mod gain;
mod lsuv;
mod orthogonal;

use alloc::vec;

use kernels::random::{Stream, fill_normal, fill_uniform};
use kernels::{Cpu, Float, math};

use crate::Error;
use crate::error::check_length;
pub use fixup::fixup;
pub use gain::{Critical, Signals, critical, gain};
pub use lsuv::Lsuv;
use orthogonal::orthogonal;

/// Initialiser of a weight tensor. `fan_in` is the number of inputs per output and `fan_out` the
/// number of outputs per input, both times the taps of a filter.
///
/// Initialisers that [suit a bias](Self::suits_bias) initialise biases too, with the fans of the
/// weights next to them. PyTorch's default bias of `Linear` and `Conv2d`, uniform on
/// ±`1 / sqrt(fan_in)`, is [`ScaledUniform`](Self::ScaledUniform) with the gain `1 / sqrt(3)`.
///
/// In a configuration file, `"he_normal"`, or `{ normal = { std = 0.02 } }`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Init {
    /// All zeros.
    Zeros,
    /// Every element is `value`.
    Constant {
        /// The value, finite.
        value: f64,
    },
    /// Uniform on ±`limit`.
    Uniform {
        /// Bound of the absolute value.
        limit: f64,
    },
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Normal with mean 0, redrawn beyond two standard deviations: 0.88 times the standard
    /// deviation remains.
    TruncatedNormal {
        /// Standard deviation before truncation.
        std: f64,
    },
    /// Normal with variance `2 / fan_in`: preserves the second moment through ReLU layers (He,
    /// Zhang, Ren, Sun 2015, "Delving deep into rectifiers", equation 10). PyTorch:
    /// `kaiming_normal_`.
    #[default]
    HeNormal,
    /// Uniform on ±`sqrt(6 / fan_in)`: the same variance.
    HeUniform,
    /// Normal with variance `gain^2 / fan_in`, for any activation: see [`gain`].
    ScaledNormal {
        /// Gain: see [`gain`].
        gain: f64,
    },
    /// Uniform on ±`gain sqrt(3 / fan_in)`: the same variance.
    ScaledUniform {
        /// Gain: see [`gain`].
        gain: f64,
    },
    /// Normal with variance `2 / (fan_in + fan_out)`: a compromise between preserving the variance
    /// of signals forward and of gradients backward through linear layers (Glorot, Bengio 2010,
    /// "Understanding the difficulty of training deep feedforward neural networks", equation 12).
    /// Also called Xavier.
    GlorotNormal,
    /// Uniform on ±`sqrt(6 / (fan_in + fan_out))`: the same variance (equation 16).
    GlorotUniform,
    /// Normal with variance `1 / fan_in` (LeCun, Bottou, Orr, Müller 1998, "Efficient backprop"):
    /// for SELU and linear layers.
    LecunNormal,
    /// Uniform on ±`sqrt(3 / fan_in)`: the same variance.
    LecunUniform,
    /// A uniformly distributed orthogonal matrix (Saxe, McClelland, Ganguli, ICLR 2014): rows or
    /// columns, whichever are fewer, are orthonormal. A filter is a matrix with one row per tap and
    /// input; each gate and group is drawn independently.
    Orthogonal,
    /// [`Orthogonal`](Self::Orthogonal) times `gain`.
    ScaledOrthogonal {
        /// Gain: see [`gain`].
        gain: f64,
    },
    /// Filters that are orthogonal at the centre tap and 0 elsewhere, times `gain`, so that a
    /// convolution preserves norms (Xiao et al., ICML 2018).
    DeltaOrthogonal {
        /// Gain: see [`gain`].
        gain: f64,
    },
    /// The identity times `gain`: for the state of recurrent layers with ReLU (Le, Jaitly, Hinton
    /// 2015).
    Identity {
        /// Value of the diagonal.
        gain: f64,
    },
}

/// Shape of a weight tensor: `[taps, inputs, parts, outputs]` in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fans {
    /// Taps of a filter, `height * width`; 1 for a matrix.
    pub taps: usize,
    /// Inputs per output, at each tap.
    pub inputs: usize,
    /// Independently drawn matrices side by side: the gates of a recurrent layer, the groups of a
    /// convolution.
    pub parts: usize,
    /// Outputs per part.
    pub outputs: usize,
}

impl Fans {
    /// The fans of an `[inputs, outputs]` matrix.
    pub const fn matrix(inputs: usize, outputs: usize) -> Self {
        Self { taps: 1, inputs, parts: 1, outputs }
    }

    /// Inputs per output, over all taps.
    pub const fn fan_in(&self) -> usize {
        self.taps * self.inputs
    }

    /// Outputs per input, over all taps.
    pub const fn fan_out(&self) -> usize {
        self.taps * self.outputs
    }

    /// Elements of the tensor.
    pub const fn elements(&self) -> usize {
        self.taps * self.inputs * self.parts * self.outputs
    }
}

impl Init {
    /// Checks that the initialiser's parameters are in range.
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

    /// `true` if it can initialise a bias: it draws each element independently. The others draw
    /// matrices.
    pub const fn suits_bias(self) -> bool {
        !matches!(
            self,
            Self::Orthogonal
                | Self::ScaledOrthogonal { .. }
                | Self::DeltaOrthogonal { .. }
                | Self::Identity { .. }
        )
    }

    /// Fills `weights` from `stream`. The bits depend on all arguments except `cpu`.
    ///
    /// # Errors
    /// [`Error::Length`] if `weights` does not have [`fans.elements()`](Fans::elements) elements;
    /// any error of [`check`](Self::check).
    pub fn fill<T: Float>(
        self,
        cpu: Cpu<'_>,
        stream: Stream,
        fans: Fans,
        weights: &mut [T],
    ) -> Result<(), Error> {
        self.check()?;
        check_length("weights", fans.elements(), weights.len())?;
        match self {
            Self::Orthogonal => matrices(cpu, stream, fans, 1.0, weights),
            Self::ScaledOrthogonal { gain } => matrices(cpu, stream, fans, gain, weights),
            Self::DeltaOrthogonal { gain } => {
                weights.fill(T::ZERO);
                let tap = Fans { taps: 1, ..fans };
                let middle = fans.taps / 2 * tap.elements();
                matrices(cpu, stream, tap, gain, &mut weights[middle..][..tap.elements()])
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
                Ok(())
            }
            _ => self.fill_elements(cpu, stream, fans, weights),
        }
    }

    /// Fills `bias` from `stream`; `fans` are those of the weights that it belongs to. The bits
    /// depend on all arguments except `cpu`.
    ///
    /// # Errors
    /// [`Error::BiasInit`] unless the initialiser [suits a bias](Self::suits_bias); any error of
    /// [`check`](Self::check).
    pub fn fill_bias<T: Float>(
        self,
        cpu: Cpu<'_>,
        stream: Stream,
        fans: Fans,
        bias: &mut [T],
    ) -> Result<(), Error> {
        self.check()?;
        if !self.suits_bias() {
            return Err(Error::BiasInit);
        }
        self.fill_elements(cpu, stream, fans, bias)
    }

    /// Fills `weights`, of any length, with elements that are independent of each other; `fans`
    /// scale them. Leaves `weights` unchanged for an initialiser of matrices.
    fn fill_elements<T: Float>(
        self,
        cpu: Cpu<'_>,
        stream: Stream,
        fans: Fans,
        weights: &mut [T],
    ) -> Result<(), Error> {
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
            Self::Orthogonal
            | Self::ScaledOrthogonal { .. }
            | Self::DeltaOrthogonal { .. }
            | Self::Identity { .. } => {}
        }
        Ok(())
    }
}

/// An orthogonal matrix per part, times `gain`. Part `p` is drawn from `stream.beyond(p * 2^48)`.
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

/// Normal samples, redrawn from further streams until none is beyond two standard deviations.
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
