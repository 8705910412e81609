//! The clipping policy of a training: gradient clipping, and constraints on weights.
//!
//! ```text
//! gradient -> finite? -> clip, clip, ... -> optimizer -> parameters -> bound, bound, ...
//! ```

use alloc::vec::Vec;

use kernels::Cpu;
use kernels::clip::{self, Clip, Clipped, clip_chain, clip_chain_scratch};
use kernels::norm::Units;

use crate::error::check_parameter;
use crate::layout::Layout;
use crate::workspace::zeros;
use crate::{Error, Float};

/// A constraint on parameters, enforced after each step. Keras: `constraints`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Bound {
    /// Scales the weights of each output unit whose L2 norm is above `limit` down to it, but no
    /// biases (Srivastava et al., JMLR 2014, section 5.1).
    MaxNorm {
        /// Finite and above 0.
        limit: f64,
    },
    /// Clips each parameter to ±`limit`.
    Value {
        /// Finite and above 0.
        limit: f64,
    },
}

impl Bound {
    /// Checks that the limit is in range.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] if it is not.
    pub fn check(&self) -> Result<(), Error> {
        let (Self::MaxNorm { limit } | Self::Value { limit }) = *self;
        check_parameter("limit", "finite and above 0", limit, limit > 0.0 && limit.is_finite())
    }
}

/// The clipping policy of one network; its buffers are allocated once.
#[derive(Clone, Debug)]
pub struct Clipping {
    clips: Vec<Clip>,
    bounds: Vec<Bound>,
    tensors: Vec<clip::Tensor>,
    scratch: Vec<f64>,
}

impl Clipping {
    /// `clips` for gradients and `bounds` for parameters of this layout. A non-finite gradient is
    /// an error even without either.
    ///
    /// # Errors
    /// [`kernels::Error::Parameter`] for a limit out of range; [`Error::Memory`].
    pub fn new(layout: &Layout, clips: &[Clip], bounds: &[Bound]) -> Result<Self, Error> {
        clips.iter().try_for_each(Clip::check)?;
        bounds.iter().try_for_each(Bound::check)?;
        let tensors: Vec<_> = layout
            .tensors()
            .iter()
            .map(|t| clip::Tensor { len: t.range.len(), units: t.units() })
            .collect();
        let units =
            layout.tensors().iter().filter_map(|t| t.units().count(t.range.len()).ok()).max();
        let scratch = clip_chain_scratch(clips, &tensors).max(units.unwrap_or(0));
        Ok(Self { clips: clips.into(), bounds: bounds.into(), tensors, scratch: zeros(scratch)? })
    }

    /// Clips `grads`. The clipped gradient is [`Clipped::scale`] times `grads`: pass the scale to
    /// the optimizer's step.
    ///
    /// # Errors
    /// [`kernels::Error::NonFiniteIn`] names the first tensor of the layout that holds NaN or an
    /// infinity; [`Error::Length`]. `grads` is unchanged then.
    pub fn clip<T: Float>(
        &mut self,
        cpu: Cpu<'_>,
        params: &[T],
        grads: &mut [T],
    ) -> Result<Clipped, Error> {
        Ok(clip_chain(cpu, &self.clips, &self.tensors, params, grads, &mut self.scratch)?)
    }

    /// L2 norm of each tensor of the last gradient, before clipping.
    pub fn norms(&self) -> &[f64] {
        &self.scratch[..self.tensors.len()]
    }

    /// Enforces the bounds on `params`.
    ///
    /// # Errors
    /// [`kernels::Error::NonFinite`] for a non-finite parameter; [`Error::Length`].
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
                            return Err(Error::Length {
                                operand: "params",
                                expected: len,
                                got: rest.len(),
                            });
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
