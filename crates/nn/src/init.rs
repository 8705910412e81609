//! Initialisers: how the weights of a layer are drawn, so that signals and gradients keep their size through depth.

use kernels::random::{self, Stream};
use kernels::{Cpu, Float, math};

use crate::Error;

/// How a weight matrix is drawn. `fan_in` is its number of inputs, `fan_out` of outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Init {
    /// All zeros.
    Zeros,
    /// Normal with variance `2 / fan_in`: keeps the second moment through layers of ReLU (He, Zhang, Ren, Sun
    /// 2015, "Delving deep into rectifiers", equation 10).
    #[default]
    HeNormal,
    /// Uniform on ±`sqrt(6 / fan_in)`: the same variance.
    HeUniform,
    /// Normal with variance `2 / (fan_in + fan_out)`: a compromise between keeping the size of signals forward and
    /// of gradients backward through linear layers (Glorot, Bengio 2010, "Understanding the difficulty of training
    /// deep feedforward neural networks", equation 12). Also called Xavier.
    GlorotNormal,
    /// Uniform on ±`sqrt(6 / (fan_in + fan_out))`: the same variance (equation 16).
    GlorotUniform,
}

impl Init {
    /// Fills `weights` (fan_in x fan_out) from `stream`. The bits are a function of the arguments but `cpu`.
    ///
    /// # Errors
    /// None for a `weights` of any length.
    pub fn fill<T: Float>(
        self,
        cpu: Cpu<'_>,
        stream: Stream,
        fan_in: usize,
        fan_out: usize,
        weights: &mut [T],
    ) -> Result<(), Error> {
        let (fan_in, fan_out) = (fan_in.max(1) as f64, fan_out.max(1) as f64);
        let variance = match self {
            Self::Zeros => {
                weights.fill(T::ZERO);
                return Ok(());
            }
            Self::HeNormal | Self::HeUniform => 2.0 / fan_in,
            Self::GlorotNormal | Self::GlorotUniform => 2.0 / (fan_in + fan_out),
        };
        match self {
            Self::HeUniform | Self::GlorotUniform => {
                let limit = math::sqrt(cpu, 3.0 * variance);
                random::fill_uniform(cpu, stream, T::from_f64(-limit), T::from_f64(limit), weights)?;
            }
            _ => {
                let deviation = math::sqrt(cpu, variance);
                random::fill_normal(cpu, stream, T::ZERO, T::from_f64(deviation), weights)?;
            }
        }
        Ok(())
    }
}
