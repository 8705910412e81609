//! A chain of clips over the tensors of one flat buffer, as optax chains its transformations.
//!
//! ```text
//! norm of each tensor, and of all                 one read, which finds non-finite elements
//! scale = 1                                       the gradient is scale * g
//! for each clip, in order:
//!     GlobalNorm:  scale = limit / |g|            where |scale * g| is above the limit
//!     others:      rewrite g, so that scale * g is within their bound
//! ```
//!
//! The optimizer's step applies the scale: a chain of one global norm costs a single read of the
//! gradient. Called by the clipping policy of a network.

use super::{bound, check_above_zero, check_limit, clip_units, rescale};
use crate::error::check_length;
use crate::norm::{
    Norm, Scaled, Units, larger, norm_max, scaled_norm2, scaled_tensor_norms, unit_norms,
};
use crate::simd::Float;
use crate::{Cpu, Error};

/// A clipping rule. In a chain each clips the result of those before it.
///
/// In a configuration file (feature `serde`) a table such as
/// `{ kind = "global_norm", limit = 1.0 }`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Clip {
    /// Clips each element to ±`limit`, which changes the direction: [`super::clip_value`].
    /// PyTorch: `clip_grad_value_`.
    Value {
        /// Finite and above 0.
        limit: f64,
    },
    /// Scales each tensor whose L2 norm is above `limit` down to it: [`super::clip_norm`].
    Norm {
        /// Finite and above 0.
        limit: f64,
    },
    /// Scales all tensors, as one vector, by `limit / norm` if their L2 norm is above `limit`,
    /// which preserves the direction (Pascanu, Mikolov, Bengio, ICML 2013):
    /// [`super::clip_global_norm`]. PyTorch's `clip_grad_norm_` divides by `norm + 1e-6`; here the
    /// clipped norm is `limit`, up to rounding.
    GlobalNorm {
        /// Finite and above 0.
        limit: f64,
    },
    /// Scales the gradient of each output unit down to `ratio` times the norm of its weights (Brock
    /// et al., ICML 2021): [`super::clip_adaptive`].
    Adaptive {
        /// Maximum norm, as a multiple of the norm of the weights: finite and above 0.
        ratio: f64,
        /// Lower bound of the norm of the weights: finite and above 0.
        #[cfg_attr(feature = "serde", serde(default = "epsilon"))]
        epsilon: f64,
    },
}

#[cfg(feature = "serde")]
fn epsilon() -> f64 {
    1e-3
}

impl Clip {
    /// Checks that the limit, or ratio and epsilon, are in range.
    ///
    /// # Errors
    /// [`Error::Parameter`] for the first that is not finite and above 0.
    pub fn check(&self) -> Result<(), Error> {
        match *self {
            Self::Value { limit } | Self::Norm { limit } | Self::GlobalNorm { limit } => {
                check_limit(limit)
            }
            Self::Adaptive { ratio, epsilon } => {
                check_above_zero("ratio", ratio)?;
                check_above_zero("epsilon", epsilon)
            }
        }
    }
}

/// A tensor of a flat buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Number of elements.
    pub len: usize,
    /// Output units, which [`Clip::Adaptive`] alone uses.
    pub units: Units,
}

/// Result of [`clip_chain`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clipped {
    /// Norm of all tensors from before.
    pub norm: f64,
    /// Multiplier still to be applied to the gradient: the `scale` of an optimizer's step. At most
    /// 1.
    pub scale: f64,
    /// `true` if elements of the gradient were rewritten.
    pub rewritten: bool,
}

/// Elements of scratch that [`clip_chain`] needs: one for each tensor and, if the chain has an
/// adaptive clip, two for each unit of the tensor with the most units.
pub fn clip_chain_scratch(chain: &[Clip], tensors: &[Tensor]) -> usize {
    let units = |tensor: &Tensor| tensor.units.count(tensor.len).unwrap_or(0);
    let most = if is_adaptive(chain) { tensors.iter().map(units).max().unwrap_or(0) } else { 0 };
    most.saturating_mul(2).saturating_add(tensors.len())
}

fn is_adaptive(chain: &[Clip]) -> bool {
    chain.iter().any(|clip| matches!(clip, Clip::Adaptive { .. }))
}

/// Clips the gradient `g`, whose tensors are contiguous, by each of `chain` in order. The clipped
/// gradient is `scale * g`.
///
/// `w`, the parameters in the layout of `g`, is read by [`Clip::Adaptive`] alone, and may be empty
/// without it. `scratch` has at least [`clip_chain_scratch`] elements; the first become the norms
/// of the tensors from before. A bound holds up to the rounding of `scale * g`. An empty chain
/// checks that the gradient is finite and returns its norm.
///
/// ```
/// use kernels::{Cpu, clip::{Clip, Tensor, clip_chain}, norm::Units};
/// let tensors = [Tensor { len: 1, units: Units::Whole }; 2];
/// let (mut g, mut norms) = ([6.0_f32, 8.0], [0.0; 2]);
/// let chain = [Clip::GlobalNorm { limit: 5.0 }];
/// let clipped = clip_chain(Cpu::detect(), &chain, &tensors, &[], &mut g, &mut norms)?;
/// assert_eq!((clipped.norm, clipped.scale, clipped.rewritten), (10.0, 0.5, false));
/// assert_eq!((g, norms), ([6.0, 8.0], [6.0, 8.0]));
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] unless limit, ratio and epsilon are finite and above 0, [`Error::Length`]
/// if the lengths do not fit, [`Error::Scratch`] if `scratch` is too short, [`Error::NonFiniteIn`]
/// with the first tensor that has a NaN or an infinity. `g` is not written then.
#[inline(never)]
pub fn clip_chain<T: Float>(
    cpu: Cpu<'_>,
    chain: &[Clip],
    tensors: &[Tensor],
    w: &[T],
    g: &mut [T],
    scratch: &mut [f64],
) -> Result<Clipped, Error> {
    chain.iter().try_for_each(Clip::check)?;
    tensors.iter().try_for_each(|tensor| tensor.units.count(tensor.len).map(|_| ()))?;
    let len = tensors.iter().fold(0, |sum: usize, tensor| sum.saturating_add(tensor.len));
    check_length("g", len, g.len())?;
    if is_adaptive(chain) {
        check_length("w", len, w.len())?;
    }
    let expected = clip_chain_scratch(chain, tensors);
    if scratch.len() < expected {
        return Err(Error::Scratch { expected, got: scratch.len() });
    }
    let (norms, scratch) = scratch.split_at_mut(tensors.len());

    let mut total = scaled_tensor_norms(cpu, Parts { tensors, rest: &*g }, norms)?;
    let mut clipped = Clipped { norm: total.value(), scale: 1.0, rewritten: false };
    // `true` once `g` has changed since `total` was taken.
    let mut stale = false;
    for clip in chain {
        let scale = clipped.scale;
        let rewritten = match *clip {
            Clip::GlobalNorm { limit } => {
                if stale {
                    (total, stale) = (scaled_norm2(cpu, g)?, false);
                }
                if total.value() * scale > limit {
                    clipped.scale = limit / total.norm * total.scale;
                }
                false
            }
            Clip::Value { limit } => {
                let above = norm_max(cpu, g)? * scale > limit;
                if above {
                    bound(cpu, g, limit / scale);
                }
                above
            }
            Clip::Norm { limit } => {
                let mut rewritten = false;
                for (g, &before) in (PartsMut { tensors, rest: &mut *g }).zip(&*norms) {
                    let is_known = !clipped.rewritten && before < f64::INFINITY;
                    let Scaled { norm, scale: of_norm } = if is_known {
                        Scaled { norm: before, scale: 1.0 }
                    } else {
                        scaled_norm2(cpu, g)?
                    };
                    if norm / of_norm * scale > limit {
                        rescale(cpu, g, of_norm, limit / (norm * scale));
                        rewritten = true;
                    }
                }
                rewritten
            }
            Clip::Adaptive { ratio, epsilon } => {
                let mut rewritten = false;
                let parts = PartsMut { tensors, rest: &mut *g }.zip(Parts { tensors, rest: w });
                for ((g, w), tensor) in parts.zip(tensors) {
                    let (of_g, of_w) = scratch.split_at_mut(tensor.units.count(tensor.len)?);
                    let of_w = &mut of_w[..of_g.len()];
                    unit_norms(cpu, Norm::L2, tensor.units, g, of_g)?;
                    unit_norms(cpu, Norm::L2, tensor.units, w, of_w)?;
                    let limit = |unit: usize| ratio * larger(of_w[unit], epsilon) / scale;
                    rewritten |= clip_units(cpu, g, tensor.units, of_g, limit).clipped > 0;
                }
                rewritten
            }
        };
        stale |= rewritten;
        clipped.rewritten |= rewritten;
    }
    Ok(clipped)
}

/// The tensors of a flat buffer.
#[derive(Clone)]
struct Parts<'a, T> {
    tensors: &'a [Tensor],
    rest: &'a [T],
}

impl<'a, T> Iterator for Parts<'a, T> {
    type Item = &'a [T];
    fn next(&mut self) -> Option<&'a [T]> {
        self.rest.split_off(..self.tensors.split_off_first()?.len)
    }
}

/// The tensors of a mutable flat buffer.
struct PartsMut<'a, T> {
    tensors: &'a [Tensor],
    rest: &'a mut [T],
}

impl<'a, T> Iterator for PartsMut<'a, T> {
    type Item = &'a mut [T];
    fn next(&mut self) -> Option<&'a mut [T]> {
        self.rest.split_off_mut(..self.tensors.split_off_first()?.len)
    }
}
