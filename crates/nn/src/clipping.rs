//! The clipping policy of a training: what is done to gradients that are too large, and to weights.
//!
//! ```text
//! gradient -> look at it: finite? -> clip, clip, ... -> optimizer -> parameters -> bound, bound, ...
//! ```

use alloc::vec::Vec;

use kernels::Cpu;
use kernels::clip::{self, Clipped, clip_chain, clip_chain_scratch};
use kernels::norm::Units;

use crate::layout::Layout;
use crate::workspace::zeros;
use crate::{Error, Float};

/// What is done to a gradient that is too large. Several are done in their order.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Clip {
    /// Each element is brought within ±`limit`. Changes the direction. PyTorch: `clip_grad_value_`.
    Value {
        /// Above 0.
        limit: f64,
    },
    /// Each tensor whose Euclidean norm is above `limit` is scaled down to it.
    Norm {
        /// Above 0.
        limit: f64,
    },
    /// All tensors as one vector, times `limit / norm` where its norm is above `limit`: the
    /// direction stays (Pascanu, Mikolov, Bengio, ICML 2013). PyTorch's `clip_grad_norm_` divides
    /// by `norm + 1e-6`; here the clipped norm is `limit` exactly, but for rounding.
    GlobalNorm {
        /// Above 0.
        limit: f64,
    },
    /// The gradient of each output unit becomes at most `ratio` times as long as its weights (Brock et al., ICML 2021).
    Adaptive {
        /// Above 0.
        ratio: f64,
        /// The least norm of weights that is reckoned with: above 0.
        #[cfg_attr(feature = "serde", serde(default = "epsilon"))]
        epsilon: f64,
    },
}

#[cfg(feature = "serde")]
fn epsilon() -> f64 {
    1e-3
}

impl Clip {
    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        // What they may be, the chain says where there is nothing to clip.
        clip_chain::<f32>(Cpu::detect(), &[(*self).into()], &[], &[], &mut [], &mut [])?;
        Ok(())
    }
}

impl From<Clip> for clip::Clip {
    fn from(clip: Clip) -> Self {
        match clip {
            Clip::Value { limit } => Self::Value(limit),
            Clip::Norm { limit } => Self::Norm(limit),
            Clip::GlobalNorm { limit } => Self::GlobalNorm(limit),
            Clip::Adaptive { ratio, epsilon } => Self::Adaptive { ratio, epsilon },
        }
    }
}

/// What is done to parameters after each step.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Bound {
    /// The weights of each output unit whose Euclidean norm is above `limit` are scaled down to it; biases are left (Srivastava
    /// et al., JMLR 2014, section 5.1).
    MaxNorm {
        /// Above 0.
        limit: f64,
    },
    /// Each parameter is brought within ±`limit`.
    Value {
        /// Above 0.
        limit: f64,
    },
}

impl Bound {
    /// Whether its limit is in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] if it is not.
    pub fn check(&self) -> Result<(), Error> {
        let (Self::MaxNorm { limit } | Self::Value { limit }) = *self;
        Ok(clip::clip_factor(0.0, limit).map(|_| ())?)
    }
}

/// The policy at work on one network: its buffers are made once.
#[derive(Clone, Debug)]
pub struct Clipping {
    clips: Vec<clip::Clip>,
    bounds: Vec<Bound>,
    tensors: Vec<clip::Tensor>,
    scratch: Vec<f64>,
}

impl Clipping {
    /// `clips` for gradients and `bounds` for parameters of this layout. Without either it still looks at gradients.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for a limit out of range; [`Error::Memory`].
    pub fn new(layout: &Layout, clips: &[Clip], bounds: &[Bound]) -> Result<Self, Error> {
        clips.iter().try_for_each(Clip::check)?;
        bounds.iter().try_for_each(Bound::check)?;
        let clips: Vec<clip::Clip> = clips.iter().map(|&clip| clip.into()).collect();
        let tensors: Vec<_> =
            layout.tensors().iter().map(|t| clip::Tensor { len: t.range.len(), units: t.units() }).collect();
        let units = layout.tensors().iter().filter_map(|t| t.units().count(t.range.len()).ok()).max();
        let scratch = clip_chain_scratch(&clips, &tensors).max(units.unwrap_or(0));
        Ok(Self { clips, bounds: bounds.into(), tensors, scratch: zeros(scratch)? })
    }

    /// Clips `grads`. What is left of it is [`Clipped::scale`] times `grads`: hand that to the optimizer's step.
    ///
    /// # Errors
    /// [`kernels::Error::NonFiniteIn`] names the first tensor of the layout that holds NaN or an infinity; [`Error::Length`]. The
    /// gradient has not been changed then.
    pub fn clip<T: Float>(&mut self, cpu: Cpu<'_>, params: &[T], grads: &mut [T]) -> Result<Clipped, Error> {
        Ok(clip_chain(cpu, &self.clips, &self.tensors, params, grads, &mut self.scratch)?)
    }

    /// The norm of each tensor of the last gradient before it was clipped.
    pub fn norms(&self) -> &[f64] {
        &self.scratch[..self.tensors.len()]
    }

    /// Brings `params` within their bounds.
    ///
    /// # Errors
    /// [`kernels::Error::NonFinite`] for parameters that are NaN or infinite; [`Error::Length`].
    pub fn bound<T: Float>(&mut self, cpu: Cpu<'_>, params: &mut [T]) -> Result<(), Error> {
        for bound in &self.bounds {
            match *bound {
                Bound::Value { limit } => {
                    clip::clip_value(cpu, params, limit)?;
                }
                Bound::MaxNorm { limit } => {
                    let mut rest = &mut *params;
                    for &clip::Tensor { len, units } in &self.tensors {
                        let Some(weights) = rest.split_off_mut(..len) else {
                            return Err(Error::Length { operand: "params", expected: len, got: rest.len() });
                        };
                        if units != Units::Whole {
                            let norms = &mut self.scratch[..units.count(len)?];
                            clip::max_norm(cpu, weights, units, limit, norms)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
