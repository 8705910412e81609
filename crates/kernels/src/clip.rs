//! Clipping: gradients to a greatest size, their direction kept; weights to a constraint. What is not finite is
//! refused, named and not touched.
//!
//! A gradient is bounded element by element ([`clip_value`]), as one vector ([`clip_norm`]), as one vector that several
//! tensors make up ([`clip_global_norm`]), or output unit by output unit in relation to the weights
//! ([`clip_adaptive`]); several bounds make a chain ([`clip_chain`]). Weights are bounded by [`clip_value`] as well,
//! and by [`max_norm`] unit by unit. Each reads first and writes only if it must, and returns the norm from before.
//!
//! Two ways lead to the same: to rescale the gradient itself, in two passes; or to take a factor ([`clip_factor`], the
//! `scale` of a chain) along in the one pass of an optimizer's step. Called by the clipping policy of a network.

mod chain;

pub use chain::{Clip, Clipped, Tensor, clip_chain, clip_chain_scratch};

use crate::elementwise::{CHUNK, Elementwise, for_each_element};
use crate::error::{check_length, check_parameter};
use crate::norm::{
    COLUMNS, Norm, Scaled, Units, larger, norm_max, scaled_norm2, scaled_tensor_norms, unit_norms,
};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error};

/// What a gradient of norm `norm` is to be multiplied by, so that its norm is at most `limit`:
/// `limit / norm` where `norm > limit`, else 1 (Pascanu, Mikolov, Bengio, ICML 2013). PyTorch
/// divides by `norm + 1e-6`.
///
/// ```
/// use kernels::clip::clip_factor;
/// assert_eq!(clip_factor(10.0, 5.0), Ok(0.5));
/// assert_eq!(clip_factor(1.0, 5.0), Ok(1.0));
/// ```
///
/// # Errors
/// [`Error::Parameter`] if `limit` is not finite and above 0, or `norm` not finite and at least 0.
pub fn clip_factor(norm: f64, limit: f64) -> Result<f64, Error> {
    check_limit(limit)?;
    if !(0.0..f64::INFINITY).contains(&norm) {
        return Err(Error::Parameter {
            name: "norm",
            expected: "finite and at least 0",
            got: norm,
        });
    }
    Ok(if norm > limit { limit / norm } else { 1.0 })
}

/// Multiplies `g` by `limit / |g|` if its Euclidean norm `|g|` is above `limit`; else `g` keeps its bits. Returns
/// the norm from before.
///
/// Each element is scaled in f64 and rounded once. Elements may underflow to subnormals or 0; signs of zeros stay. An
/// f64 gradient whose norm is past `f64::MAX` is clipped all the same, and Inf returned.
///
/// ```
/// use kernels::{Cpu, clip::clip_norm};
/// let mut g = [1e20_f32; 4];
/// clip_norm(Cpu::detect(), &mut g, 5.0)?;
/// assert_eq!(g, [2.5; 4]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] if `limit` is not finite and above 0, [`Error::NonFinite`] with the index of the first NaN or
/// infinity in `g`. Nothing has been changed then.
#[inline(never)]
pub fn clip_norm<T: Float>(cpu: Cpu<'_>, g: &mut [T], limit: f64) -> Result<f64, Error> {
    check_limit(limit)?;
    let Scaled { norm, scale } = scaled_norm2(cpu, g)?;
    let before = norm / scale;
    if before > limit {
        rescale(cpu, g, scale, limit / norm);
    }
    Ok(before)
}

/// [`clip_norm`] of all `tensors` as one vector (PyTorch `clip_grad_norm_`, optax `clip_by_global_norm`); `norms[t]`
/// becomes the norm of tensor `t` from before. Returns the norm of all from before.
///
/// The factor is `limit / norm`, as in optax; PyTorch's is `limit / (norm + 1e-6)`, which leaves a
/// norm just below the limit.
///
/// The sums of squares of the tensors are added in ascending order.
///
/// ```
/// use kernels::{Cpu, clip::clip_global_norm};
/// let (mut weights, mut bias, mut norms) = ([6.0_f32], [8.0], [0.0; 2]);
/// assert_eq!(clip_global_norm(Cpu::detect(), &mut [&mut weights, &mut bias], 5.0, &mut norms), Ok(10.0));
/// assert_eq!((weights, bias, norms), ([3.0], [4.0], [6.0, 8.0]));
/// ```
///
/// # Errors
/// [`Error::Parameter`] if `limit` is not finite and above 0, [`Error::Length`] unless there are as many `norms` as
/// tensors, [`Error::NonFiniteIn`] with the first tensor that holds a NaN or an infinity. No tensor has been changed
/// then.
#[inline(never)]
pub fn clip_global_norm<T: Float>(
    cpu: Cpu<'_>,
    tensors: &mut [&mut [T]],
    limit: f64,
    norms: &mut [f64],
) -> Result<f64, Error> {
    check_limit(limit)?;
    check_length("norms", tensors.len(), norms.len())?;
    let total = scaled_tensor_norms(cpu, tensors.iter().map(|g| &**g), norms)?;
    if total.value() > limit {
        for g in tensors {
            rescale(cpu, g, total.scale, limit / total.norm);
        }
    }
    Ok(total.value())
}

/// Each element of `g` becomes at most `limit` in size: `-limit` or `limit`, rounded to `T`, where it is beyond
/// (PyTorch `clip_grad_value_`, optax `clip`; of weights, Arjovsky, Chintala, Bottou, ICML 2017). Returns the largest
/// size from before.
///
/// Where nothing is beyond, nothing is written; signs of zeros stay.
///
/// ```
/// use kernels::{Cpu, clip::clip_value};
/// let mut g = [0.5_f32, -3.0];
/// assert_eq!(clip_value(Cpu::detect(), &mut g, 1.0), Ok(3.0));
/// assert_eq!(g, [0.5, -1.0]);
/// ```
///
/// # Errors
/// As [`clip_norm`].
#[inline(never)]
pub fn clip_value<T: Float>(cpu: Cpu<'_>, g: &mut [T], limit: f64) -> Result<f64, Error> {
    check_limit(limit)?;
    let before = norm_max(cpu, g)?;
    if before > limit {
        bound(cpu, g, limit);
    }
    Ok(before)
}

/// What [`clip_adaptive`] and [`max_norm`] found, and did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClippedUnits {
    /// The largest norm of a unit from before.
    pub norm: f64,
    /// The largest norm of a unit from before, as a multiple of what that unit is allowed.
    pub excess: f64,
    /// The number of units that were rescaled: those whose excess was above 1.
    pub clipped: usize,
}

/// Adaptive clipping (Brock et al., ICML 2021; optax `adaptive_grad_clip`): the gradient of each output unit becomes at
/// most `ratio` times as long as the weights of that unit, or as `epsilon` where those are shorter.
///
/// ```text
/// for each unit u:  allowed = ratio * max(|w_u|, epsilon)
///                   g_u = g_u * (allowed / |g_u|)     where |g_u| > allowed
/// ```
///
/// The paper takes 0.01 (0.16 at large batches) and 1e-3, and spares the last layer. `norms` is scratch: twice the
/// number of units. Afterwards its first half holds the norms of the gradient from before, the second those of the
/// weights. Units whose weights hold a NaN or an infinity are left alone.
///
/// # Errors
/// [`Error::Parameter`] if `ratio` or `epsilon` is not finite and above 0, [`Error::Length`] if `g`, `w` and `units` do
/// not fit, [`Error::Scratch`] if `norms` is too short, [`Error::NonFinite`] with the index of the first NaN or
/// infinity in `g`. `g` has not been changed then.
#[inline(never)]
pub fn clip_adaptive<T: Float>(
    cpu: Cpu<'_>,
    g: &mut [T],
    w: &[T],
    units: Units,
    ratio: f64,
    epsilon: f64,
    norms: &mut [f64],
) -> Result<ClippedUnits, Error> {
    check_above_zero("ratio", ratio)?;
    check_above_zero("epsilon", epsilon)?;
    check_length("w", g.len(), w.len())?;
    let count = units.count(g.len())?;
    let expected = count.saturating_mul(2);
    let Some(norms) = norms.get_mut(..expected) else {
        return Err(Error::Scratch { expected, got: norms.len() });
    };
    let (of_g, of_w) = norms.split_at_mut(count);
    finite_unit_norms(cpu, units, g, of_g)?;
    unit_norms(cpu, Norm::L2, units, w, of_w)?;
    Ok(clip_units(cpu, g, units, of_g, |unit| ratio * larger(of_w[unit], epsilon)))
}

/// The weights of each output unit become at most `limit` long: `w_u = w_u * (limit / |w_u|)` where `|w_u| > limit`
/// (Srivastava et al., JMLR 2014; Keras `MaxNorm`, without its epsilon). `norms`, as many as there are units, becomes
/// the norms from before.
///
/// ```
/// use kernels::{Cpu, clip::max_norm, norm::Units};
/// let (mut w, mut norms) = ([6.0_f32, 8.0, 1.0, 0.0], [0.0; 2]);
/// let found = max_norm(Cpu::detect(), &mut w, Units::Rows(2), 5.0, &mut norms)?;
/// assert_eq!(w, [3.0, 4.0, 1.0, 0.0]);
/// assert_eq!((norms, found.norm, found.excess, found.clipped), ([10.0, 1.0], 10.0, 2.0, 1));
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] if `limit` is not finite and above 0, [`Error::Length`] if `w`, `units` and `norms` do not fit,
/// [`Error::NonFinite`] with the index of the first NaN or infinity. `w` has not been changed then.
#[inline(never)]
pub fn max_norm<T: Float>(
    cpu: Cpu<'_>,
    w: &mut [T],
    units: Units,
    limit: f64,
    norms: &mut [f64],
) -> Result<ClippedUnits, Error> {
    check_limit(limit)?;
    finite_unit_norms(cpu, units, w, norms)?;
    Ok(clip_units(cpu, w, units, norms, |_| limit))
}

pub(crate) fn check_limit(limit: f64) -> Result<(), Error> {
    check_above_zero("limit", limit)
}

fn check_above_zero(name: &'static str, x: f64) -> Result<(), Error> {
    check_parameter(name, x, "finite and above 0", |x| x > 0.0)
}

/// The Euclidean norms of the units of `x`, or the first element that is not finite.
fn finite_unit_norms<T: Float>(
    cpu: Cpu<'_>,
    units: Units,
    x: &[T],
    norms: &mut [f64],
) -> Result<(), Error> {
    unit_norms(cpu, Norm::L2, units, x, norms)?;
    if norms.iter().any(|norm| !norm.is_finite())
        && let Some(index) = x.iter().position(|x| !x.to_f64().is_finite())
    {
        return Err(Error::NonFinite { index });
    }
    Ok(())
}

/// Rescales the units of `x` whose norm is above what is `allowed`. What is allowed and not finite allows all.
fn clip_units<T: Float>(
    cpu: Cpu<'_>,
    x: &mut [T],
    units: Units,
    norms: &[f64],
    allowed: impl Fn(usize) -> f64 + Sync,
) -> ClippedUnits {
    let mut found = ClippedUnits::default();
    for (unit, &norm) in norms.iter().enumerate() {
        found.norm = larger(found.norm, norm);
        let excess = norm / allowed(unit);
        if excess > found.excess {
            found.excess = excess;
        }
        found.clipped += usize::from(norm > allowed(unit));
    }
    if found.clipped == 0 {
        return found;
    }
    let factor = |unit: usize| {
        let allowed = allowed(unit);
        if norms[unit] > allowed { allowed / norms[unit] } else { 1.0 }
    };
    let cols = match units {
        Units::Whole => {
            rescale(cpu, x, 1.0, factor(0));
            return found;
        }
        Units::Rows(cols) | Units::Columns(cols) => cols.max(1),
    };
    let rows = (CHUNK / cols).max(1);
    cpu.for_each_item(x.chunks_mut(rows * cols).enumerate(), |(task, x)| {
        if matches!(units, Units::Rows(_)) {
            for (row, x) in x.chunks_mut(cols).enumerate() {
                let factor = factor(task * rows + row);
                if factor != 1.0 {
                    cpu.isa.run(Rescale { x, scale: 1.0, factor });
                }
            }
        } else {
            for first in (0..cols).step_by(COLUMNS) {
                let factors =
                    core::array::from_fn(
                        |i| if first + i < cols { factor(first + i) } else { 1.0 },
                    );
                cpu.isa.run(RescaleColumns { x, cols, first, factors });
            }
        }
    });
    found
}

/// `x * scale * factor`, element by element.
pub(crate) fn rescale<T: Float>(cpu: Cpu<'_>, x: &mut [T], scale: f64, factor: f64) {
    cpu.for_each_item(x.chunks_mut(CHUNK), |x| cpu.isa.run(Rescale { x, scale, factor }));
}

/// `x * scale * factor`, in f64: neither the power of two nor the factor need be in the range of `T`.
struct Rescale<'a, T> {
    x: &'a mut [T],
    scale: f64,
    factor: f64,
}

impl<T: Float> WithSimd for Rescale<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for x in self.x {
            *x = T::from_f64(x.to_f64() * self.scale * self.factor);
        }
    }
}

/// Some rows, of which the columns from `first` on have each a factor.
struct RescaleColumns<'a, T> {
    x: &'a mut [T],
    cols: usize,
    first: usize,
    factors: [f64; COLUMNS],
}

impl<T: Float> WithSimd for RescaleColumns<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for row in self.x.chunks_mut(self.cols) {
            for (x, factor) in row[self.first..].iter_mut().zip(&self.factors) {
                *x = T::from_f64(x.to_f64() * factor);
            }
        }
    }
}

/// No element of `x` stays beyond `limit` in size.
fn bound<T: Float>(cpu: Cpu<'_>, x: &mut [T], limit: f64) {
    // The one operand always has its own length.
    _ = for_each_element(cpu, &Bound(T::from_f64(limit)), [], [("x", x)]);
}

struct Bound<T>(T);

impl<T: Float> Elementwise<T, 0, 1> for Bound<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, []: [T::V<S>; 0], [x]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let (least, most) = (T::splat(s, -self.0), T::splat(s, self.0));
        let x = T::select(s, T::less(s, x, least), least, x);
        [T::select(s, T::less(s, most, x), most, x)]
    }
}
