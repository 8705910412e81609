//! Softmax and its logarithm along the rows of `[rows, classes]`, each beside its gradient.
//!
//! ```text
//! softmax      z -= greatest z;  p = e^z / sum of e^z                     dz = p (dp - sum of p dp)
//! log-softmax  z -= greatest z;  y = z - ln(1 + rest)                     dz = dy - e^y sum of dy
//!              rest = sum of e^z but for the first greatest z
//! ```
//!
//! Taking the greatest logit away first keeps every power in [0, 1]: no logit is too large. Leaving the greatest, whose
//! power is 1, out of the sum keeps the digits of a logarithm near 0. The gradients read the *output*, so that a network
//! keeps one buffer a layer. Sums have the order of `row`: eight virtual lanes. Called by attention and by what reports
//! probabilities; a loss takes logits and has its softmax inside.
//!
//! A row with a NaN or +Inf among its logits, or with -Inf alone, has no probabilities: all of it becomes NaN, other rows
//! are not touched by it.

use crate::elementwise::{Elementwise, along};
use crate::math::{exp::exp, ln::ln_1p};
use crate::row::{self, Powers, TILE, block, tile_rows};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error, error::check_length};

/// `probabilities[i, j] = e^logits[i, j] / (sum over k of e^logits[i, k])`, both `[rows, classes]`.
///
/// No finite logits overflow. A row with NaN or +Inf, or with -Inf alone, becomes NaN; -Inf elsewhere gives 0.
///
/// ```
/// use kernels::{Cpu, softmax::softmax};
/// let mut p = [0.0_f32; 4];
/// softmax(Cpu::detect(), &[1e4, 1e4, 3.0, f32::NEG_INFINITY], 2, &mut p)?;
/// assert_eq!(p, [0.5, 0.5, 1.0, 0.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `logits` are no whole rows of `classes`, or `probabilities` differ in length.
#[inline(never)]
pub fn softmax<T: Float>(
    cpu: Cpu<'_>,
    logits: &[T],
    classes: usize,
    probabilities: &mut [T],
) -> Result<(), Error> {
    check_rows("logits", logits.len(), classes)?;
    check_length("probabilities", logits.len(), probabilities.len())?;
    let (_, block) = block(classes);
    cpu.for_each_item(logits.chunks(block).zip(probabilities.chunks_mut(block)), |(logits, z)| {
        cpu.isa.run(Softmax { logits: Some(logits), z, classes });
    });
    Ok(())
}

/// [`softmax`] in place of its logits.
///
/// # Errors
/// [`Error::Length`] if `logits` are no whole rows of `classes`.
#[inline(never)]
pub fn softmax_in_place<T: Float>(cpu: Cpu<'_>, logits: &mut [T], classes: usize) -> Result<(), Error> {
    check_rows("logits", logits.len(), classes)?;
    let (_, block) = block(classes);
    cpu.for_each_item(logits.chunks_mut(block), |z| cpu.isa.run(Softmax { logits: None, z, classes }));
    Ok(())
}

/// The gradient of [`softmax`] with respect to its logits, in place of that with respect to its output:
/// `dy[i, j]` becomes `y[i, j] * (dy[i, j] - sum over k of y[i, k] * dy[i, k])`.
///
/// `y` is what [`softmax`] gave. A NaN or an infinity in `dy` spreads over its row.
///
/// # Errors
/// [`Error::Length`] if `y` are no whole rows of `classes`, or `dy` differs in length.
#[inline(never)]
pub fn softmax_backward<T: Float>(cpu: Cpu<'_>, y: &[T], classes: usize, dy: &mut [T]) -> Result<(), Error> {
    check_rows("y", y.len(), classes)?;
    check_length("dy", y.len(), dy.len())?;
    let (_, block) = block(classes);
    cpu.for_each_item(y.chunks(block).zip(dy.chunks_mut(block)), |(y, dy)| {
        cpu.isa.run(SoftmaxBackward { y, dy, classes });
    });
    Ok(())
}

/// `log_probabilities[i, j] = logits[i, j] - ln(sum over k of e^logits[i, k])`, both `[rows, classes]`.
///
/// No finite logits overflow, and a result near 0 keeps its digits. A row with NaN or +Inf, or with -Inf alone, becomes
/// NaN; -Inf elsewhere stays.
///
/// # Errors
/// [`Error::Length`] if `logits` are no whole rows of `classes`, or `log_probabilities` differ in length.
#[inline(never)]
pub fn log_softmax<T: Float>(
    cpu: Cpu<'_>,
    logits: &[T],
    classes: usize,
    log_probabilities: &mut [T],
) -> Result<(), Error> {
    check_rows("logits", logits.len(), classes)?;
    check_length("log_probabilities", logits.len(), log_probabilities.len())?;
    let (_, block) = block(classes);
    cpu.for_each_item(logits.chunks(block).zip(log_probabilities.chunks_mut(block)), |(logits, z)| {
        cpu.isa.run(LogSoftmax { logits: Some(logits), z, classes });
    });
    Ok(())
}

/// [`log_softmax`] in place of its logits.
///
/// # Errors
/// [`Error::Length`] if `logits` are no whole rows of `classes`.
#[inline(never)]
pub fn log_softmax_in_place<T: Float>(cpu: Cpu<'_>, logits: &mut [T], classes: usize) -> Result<(), Error> {
    check_rows("logits", logits.len(), classes)?;
    let (_, block) = block(classes);
    cpu.for_each_item(logits.chunks_mut(block), |z| cpu.isa.run(LogSoftmax { logits: None, z, classes }));
    Ok(())
}

/// The gradient of [`log_softmax`] with respect to its logits, in place of that with respect to its output:
/// `dy[i, j]` becomes `dy[i, j] - e^y[i, j] * (sum over k of dy[i, k])`.
///
/// `y` is what [`log_softmax`] gave. A NaN or an infinity in `dy` spreads over its row.
///
/// # Errors
/// [`Error::Length`] if `y` are no whole rows of `classes`, or `dy` differs in length.
pub fn log_softmax_backward<T: Float>(
    cpu: Cpu<'_>,
    y: &[T],
    classes: usize,
    dy: &mut [T],
) -> Result<(), Error> {
    check_rows("y", y.len(), classes)?;
    check_length("dy", y.len(), dy.len())?;
    let (_, block) = block(classes);
    cpu.for_each_item(y.chunks(block).zip(dy.chunks_mut(block)), |(y, dy)| {
        cpu.isa.run(LogSoftmaxBackward { y, dy, classes });
    });
    Ok(())
}

/// `Ok` if `got` elements are whole rows.
fn check_rows(operand: &'static str, got: usize, classes: usize) -> Result<(), Error> {
    check_length(operand, got / classes.max(1) * classes, got)
}

/// The softmax of a block of rows.
struct Softmax<'a, T> {
    /// The logits, if they are not in `z` already.
    logits: Option<&'a [T]>,
    z: &'a mut [T],
    classes: usize,
}

impl<T: Float> WithSimd for Softmax<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { logits, z, classes } = self;
        let tile = tile_rows(classes) * classes;
        for (start, z) in (0..).step_by(tile).zip(z.chunks_mut(tile)) {
            let logits = logits.map(|logits| &logits[start..][..z.len()]);
            let mut powers = [Powers::default(); TILE];
            for (row, powers) in logits.unwrap_or(z).chunks_exact(classes).zip(&mut powers) {
                *powers = Powers::without(s, row, usize::MAX);
            }
            row::raise(s, logits, z, classes, &mut powers);
            for (row, powers) in z.chunks_exact_mut(classes).zip(&powers) {
                for p in row {
                    *p /= powers.rest;
                }
            }
        }
    }
}

/// The gradient of the softmax of a block of rows.
struct SoftmaxBackward<'a, T> {
    y: &'a [T],
    dy: &'a mut [T],
    classes: usize,
}

impl<T: Float> WithSimd for SoftmaxBackward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { y, dy, classes } = self;
        for (y, dy) in y.chunks_exact(classes).zip(dy.chunks_exact_mut(classes)) {
            let mean = row::dot(y, dy);
            for (dy, &y) in dy.iter_mut().zip(y) {
                *dy -= mean;
                *dy *= y;
            }
        }
    }
}

/// The logarithm of the softmax of a block of rows.
struct LogSoftmax<'a, T> {
    /// The logits, if they are not in `z` already.
    logits: Option<&'a [T]>,
    z: &'a mut [T],
    classes: usize,
}

impl<T: Float> WithSimd for LogSoftmax<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { logits, z, classes } = self;
        let tile = tile_rows(classes) * classes;
        for (start, z) in (0..).step_by(tile).zip(z.chunks_mut(tile)) {
            if let Some(logits) = logits {
                z.copy_from_slice(&logits[start..][..z.len()]);
            }
            let mut powers = [Powers::default(); TILE];
            for (row, powers) in z.chunks_exact(classes).zip(&mut powers) {
                *powers = Powers::without_greatest(s, row);
            }
            row::sum_powers(s, z, classes, &mut powers);
            let mut logs = powers.map(|powers| powers.excess());
            along(s, &Ln1p, [], [&mut logs]);
            for ((row, powers), &log) in z.chunks_exact_mut(classes).zip(&powers).zip(&logs) {
                for y in row {
                    *y -= powers.greatest;
                    *y -= log;
                }
            }
        }
    }
}

/// `ln(1 + x)`, in place.
struct Ln1p;

impl<T: Float> Elementwise<T, 0, 1> for Ln1p {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, []: [T::V<S>; 0], [x]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [ln_1p::<S, T>(s, x)]
    }
}

/// The gradient of the logarithm of the softmax of a block of rows.
struct LogSoftmaxBackward<'a, T> {
    y: &'a [T],
    dy: &'a mut [T],
    classes: usize,
}

impl<T: Float> WithSimd for LogSoftmaxBackward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { y, dy, classes } = self;
        for (y, dy) in y.chunks_exact(classes).zip(dy.chunks_exact_mut(classes)) {
            let sum = row::sum(dy);
            along(s, &LessPower { factor: -sum }, [y], [dy]);
        }
    }
}

/// `dy + factor * e^y`, in place of `dy`.
struct LessPower<T> {
    factor: T,
}

impl<T: Float> Elementwise<T, 1, 1> for LessPower<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [y]: [T::V<S>; 1], [dy]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::mul_add(s, T::splat(s, self.factor), exp::<S, T>(s, y), dy)]
    }
}
