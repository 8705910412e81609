//! Clipping of gradients to a maximum norm, and of weights to a constraint.
//!
//! | function | bounds |
//! |---|---|
//! | [`clip_value`] | each element of a gradient or of weights |
//! | [`clip_norm`] | the norm of one tensor |
//! | [`clip_global_norm`] | the norm of several tensors as one vector |
//! | [`clip_adaptive`] | the gradient of each output unit, relative to its weights |
//! | [`max_norm`] | the weights of each output unit |
//! | [`clip_chain`] | several of these bounds, in order |
//!
//! Each reads first, writes only where a bound is exceeded, and returns the norm from before. A NaN
//! or an infinity is an error, and the operand stays unchanged.
//!
//! A gradient is either rescaled in memory, in two passes, or multiplied by a factor
//! ([`clip_factor`], the `scale` of a chain) in the pass of an optimizer's step. Called by the
//! clipping policy of a network.

mod chain;

pub use chain::{Clip, Clipped, Tensor, clip_chain, clip_chain_scratch};

use crate::elementwise::{CHUNK, Elementwise, for_each_element};
use crate::error::{check_length, check_parameter};
use crate::norm::{
    COLUMNS, Norm, Scaled, Units, larger, norm_max, scaled_norm2, scaled_tensor_norms, unit_norms,
};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error};

/// Factor that scales a gradient of norm `norm` to at most `limit`: `limit / norm` where `norm >
/// limit`, else 1 (Pascanu, Mikolov, Bengio, ICML 2013). PyTorch divides by `norm + 1e-6`.
///
/// ```
/// use kernels::clip::clip_factor;
/// assert_eq!(clip_factor(10.0, 5.0), Ok(0.5));
/// assert_eq!(clip_factor(1.0, 5.0), Ok(1.0));
/// ```
///
/// # Errors
/// [`Error::Parameter`] unless `limit` is finite and above 0, and `norm` finite and at least 0.
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

/// Multiplies `g` by `limit / |g|` if its Euclidean norm `|g|` is above `limit`; else `g` keeps its
/// bits. Returns the norm from before.
///
/// Each element is scaled in f64 and rounded once. Elements may underflow to subnormals or 0; signs
/// of zeros stay. An f64 gradient whose norm is above `f64::MAX` is clipped as well; the returned
/// norm is Inf.
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
/// [`Error::Parameter`] unless `limit` is finite and above 0, [`Error::NonFinite`] with the index
/// of the first NaN or infinity in `g`. Nothing is written then.
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

/// [`clip_norm`] of all `tensors` as one vector (PyTorch `clip_grad_norm_`, optax
/// `clip_by_global_norm`). Returns the norm of all from before; `norms[t]` becomes the norm of
/// tensor `t` from before.
///
/// The factor is `limit / norm`, as in optax; PyTorch's is `limit / (norm + 1e-6)`, which leaves a
/// norm just below the limit.
///
/// The sums of squares of the tensors are added in ascending order.
///
/// ```
/// use kernels::{Cpu, clip::clip_global_norm};
/// let (mut weights, mut bias, mut norms) = ([6.0_f32], [8.0], [0.0; 2]);
/// let tensors: &mut [&mut [f32]] = &mut [&mut weights, &mut bias];
/// assert_eq!(clip_global_norm(Cpu::detect(), tensors, 5.0, &mut norms), Ok(10.0));
/// assert_eq!((weights, bias, norms), ([3.0], [4.0], [6.0, 8.0]));
/// ```
///
/// # Errors
/// [`Error::Parameter`] unless `limit` is finite and above 0, [`Error::Length`] unless there are as
/// many `norms` as tensors, [`Error::NonFiniteIn`] with the first tensor that has a NaN or an
/// infinity. No tensor is written then.
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

/// Clamps each element of `g` to `[-limit, limit]`, rounded to `T` (PyTorch `clip_grad_value_`,
/// optax `clip`; for weights, Arjovsky, Chintala, Bottou, ICML 2017). Returns the largest magnitude
/// from before.
///
/// If no element exceeds the limit, nothing is written. Signs of zeros stay.
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

/// Result of [`clip_adaptive`] and [`max_norm`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClippedUnits {
    /// Largest norm of a unit from before.
    pub norm: f64,
    /// Largest norm of a unit from before, as a multiple of its limit.
    pub excess: f64,
    /// Number of rescaled units: those whose excess was above 1.
    pub clipped: usize,
}

/// Limit of [`clip_adaptive`], relative to the norm of a unit's weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveLimit {
    /// Maximum norm, as a multiple of the norm of the weights: finite and above 0.
    pub ratio: f64,
    /// Lower bound of the norm of the weights: finite and above 0.
    pub epsilon: f64,
}

/// Adaptive clipping (Brock et al., ICML 2021; optax `adaptive_grad_clip`): bounds the gradient of
/// each output unit by the norm of that unit's weights.
///
/// ```text
/// for each unit u:  limit = ratio * max(|w_u|, epsilon)
///                   g_u = g_u * (limit / |g_u|)     where |g_u| > limit
/// ```
///
/// The paper uses a ratio of 0.01 (0.16 at large batches) and an epsilon of 1e-3, and does not clip
/// the last layer. `norms` is scratch: twice the number of units. Afterwards its first half holds
/// the norms of the gradient from before, the second those of the weights. Units whose weights have
/// a NaN or an infinity are not clipped.
///
/// # Errors
/// [`Error::Parameter`] unless ratio and epsilon are finite and above 0, [`Error::Length`] if `g`,
/// `w` and `units` do not fit, [`Error::Scratch`] if `norms` is too short, [`Error::NonFinite`]
/// with the index of the first NaN or infinity in `g`. `g` is not written then.
#[inline(never)]
pub fn clip_adaptive<T: Float>(
    cpu: Cpu<'_>,
    g: &mut [T],
    w: &[T],
    units: Units,
    limit: AdaptiveLimit,
    norms: &mut [f64],
) -> Result<ClippedUnits, Error> {
    let AdaptiveLimit { ratio, epsilon } = limit;
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

/// Bounds the norm of each output unit's weights: `w_u = w_u * (limit / |w_u|)` where `|w_u| >
/// limit` (Srivastava et al., JMLR 2014; Keras `MaxNorm`, without its epsilon). `norms`, one per
/// unit, becomes the norms from before.
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
/// [`Error::Parameter`] unless `limit` is finite and above 0, [`Error::Length`] if `w`, `units` and
/// `norms` do not fit, [`Error::NonFinite`] with the index of the first NaN or infinity. `w` is not
/// written then.
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

/// The Euclidean norms of the units of `x`, or the first non-finite element.
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

/// Rescales the units of `x` whose norm is above `limit(unit)`. A NaN or infinite limit clips
/// nothing.
fn clip_units<T: Float>(
    cpu: Cpu<'_>,
    x: &mut [T],
    units: Units,
    norms: &[f64],
    limit: impl Fn(usize) -> f64 + Sync,
) -> ClippedUnits {
    let mut found = ClippedUnits::default();
    for (unit, &norm) in norms.iter().enumerate() {
        found.norm = larger(found.norm, norm);
        let excess = norm / limit(unit);
        if excess > found.excess {
            found.excess = excess;
        }
        found.clipped += usize::from(norm > limit(unit));
    }
    if found.clipped == 0 {
        return found;
    }
    let factor = |unit: usize| {
        let limit = limit(unit);
        if norms[unit] > limit { limit / norms[unit] } else { 1.0 }
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

/// Multiplies each element of `x` by `scale * factor`.
pub(crate) fn rescale<T: Float>(cpu: Cpu<'_>, x: &mut [T], scale: f64, factor: f64) {
    cpu.for_each_item(x.chunks_mut(CHUNK), |x| cpu.isa.run(Rescale { x, scale, factor }));
}

/// `x * scale * factor`, in f64: `scale`, a power of two, and `factor` may be outside the range of
/// `T`.
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

/// Rows whose columns from `first` on are multiplied by one factor each.
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

/// Clamps each element of `x` to `[-limit, limit]`.
fn bound<T: Float>(cpu: Cpu<'_>, x: &mut [T], limit: f64) {
    // One operand alone has no other length to differ from.
    _ = for_each_element(cpu, &Bound(T::from_f64(limit)), [], [("x", x)]);
}

struct Bound<T>(T);

impl<T: Float> Elementwise<T, 0, 1> for Bound<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, []: [T::V<S>; 0], [x]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let (min, max) = (T::splat(s, -self.0), T::splat(s, self.0));
        let x = T::select(s, T::less(s, x, min), min, x);
        [T::select(s, T::less(s, max, x), max, x)]
    }
}
