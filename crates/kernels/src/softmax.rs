//! Softmax and log-softmax along the rows of `[rows, classes]`, with their gradients.
//!
//! ```text
//! softmax      z -= max z;  p = e^z / sum of e^z               dz = p (dp - sum of p dp)
//! log-softmax  z -= max z;  y = z - ln(1 + rest)               dz = dy - e^y sum of dy
//!              rest = sum of e^z without the first maximum
//! ```
//!
//! Subtracting the maximum first keeps every exponential in [0, 1], so that no logit is too large.
//! The exponential of the maximum is 1; excluding it from the sum keeps the digits of a logarithm
//! near 0. The gradients read the *output*, so that a network saves one buffer per layer. Sums have
//! the order of `row`: eight virtual lanes. Called by attention and by reports of probabilities; a
//! loss takes logits and includes its softmax.
//!
//! A row with a NaN or +Inf among its logits, or with -Inf alone, has no probabilities: the whole
//! row becomes NaN. Other rows are not affected.

use core::marker::PhantomData;

use crate::elementwise::{Elementwise, along};
use crate::math::{exp::exp, ln::ln_1p};
use crate::row::{self, Exponentials, TILE, block, tile_rows};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error, error::check_length};

/// `probabilities[i, j] = e^logits[i, j] / (sum over k of e^logits[i, k])`, both `[rows, classes]`.
///
/// No finite logits overflow. A row with NaN or +Inf, or with -Inf alone, becomes NaN; -Inf
/// elsewhere gives 0.
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
/// [`Error::Length`] if `logits` is not a whole number of rows of `classes`, or if `probabilities`
/// differs in length.
#[inline(never)]
pub fn softmax<T: Float>(
    cpu: Cpu<'_>,
    logits: &[T],
    classes: usize,
    probabilities: &mut [T],
) -> Result<(), Error> {
    forward::<T, Softmax>(cpu, Some(logits), classes, ("probabilities", probabilities))
}

/// [`softmax`] in place of its logits.
///
/// # Errors
/// [`Error::Length`] if `logits` is not a whole number of rows of `classes`.
#[inline(never)]
pub fn softmax_in_place<T: Float>(
    cpu: Cpu<'_>,
    logits: &mut [T],
    classes: usize,
) -> Result<(), Error> {
    forward::<T, Softmax>(cpu, None, classes, ("logits", logits))
}

/// The gradient of [`softmax`] with respect to its logits, in place of the gradient with respect to
/// its output: `dy[i, j]` becomes `y[i, j] * (dy[i, j] - sum over k of y[i, k] * dy[i, k])`.
///
/// `y` is the output of [`softmax`]. A NaN or an infinity in `dy` spreads over its row.
///
/// # Errors
/// [`Error::Length`] if `y` is not a whole number of rows of `classes`, or if `dy` differs in
/// length.
#[inline(never)]
pub fn softmax_backward<T: Float>(
    cpu: Cpu<'_>,
    y: &[T],
    classes: usize,
    dy: &mut [T],
) -> Result<(), Error> {
    backward::<T, Softmax>(cpu, y, classes, dy)
}

/// `log_probabilities[i, j] = logits[i, j] - ln(sum over k of e^logits[i, k])`, both
/// `[rows, classes]`.
///
/// No finite logits overflow, and a result near 0 keeps its digits. A row with NaN or +Inf, or with
/// -Inf alone, becomes NaN; -Inf elsewhere stays.
///
/// # Errors
/// [`Error::Length`] if `logits` is not a whole number of rows of `classes`, or if
/// `log_probabilities` differs in length.
#[inline(never)]
pub fn log_softmax<T: Float>(
    cpu: Cpu<'_>,
    logits: &[T],
    classes: usize,
    log_probabilities: &mut [T],
) -> Result<(), Error> {
    forward::<T, LogSoftmax>(cpu, Some(logits), classes, ("log_probabilities", log_probabilities))
}

/// [`log_softmax`] in place of its logits.
///
/// # Errors
/// [`Error::Length`] if `logits` is not a whole number of rows of `classes`.
#[inline(never)]
pub fn log_softmax_in_place<T: Float>(
    cpu: Cpu<'_>,
    logits: &mut [T],
    classes: usize,
) -> Result<(), Error> {
    forward::<T, LogSoftmax>(cpu, None, classes, ("logits", logits))
}

/// The gradient of [`log_softmax`] with respect to its logits, in place of the gradient with
/// respect to its output: `dy[i, j]` becomes `dy[i, j] - e^y[i, j] * (sum over k of dy[i, k])`.
///
/// `y` is the output of [`log_softmax`]. A NaN or an infinity in `dy` spreads over its row.
///
/// # Errors
/// [`Error::Length`] if `y` is not a whole number of rows of `classes`, or if `dy` differs in
/// length.
#[inline(never)]
pub fn log_softmax_backward<T: Float>(
    cpu: Cpu<'_>,
    y: &[T],
    classes: usize,
    dy: &mut [T],
) -> Result<(), Error> {
    backward::<T, LogSoftmax>(cpu, y, classes, dy)
}

/// Softmax or log-softmax: the operations in which the two differ.
trait Normaliser<T: Float>: Sync {
    /// Computes a tile of rows `z`, from `logits` or in place. Mark it `#[inline(always)]`.
    fn forward<S: Simd>(s: S, logits: Option<&[T]>, z: &mut [T], classes: usize);
    /// Replaces the gradient `dy` of a row. Mark it `#[inline(always)]`.
    fn backward<S: Simd>(s: S, y: &[T], dy: &mut [T]);
}

/// Checks the operands and computes `z`, named for the error, from `logits` or in place.
fn forward<T: Float, N: Normaliser<T>>(
    cpu: Cpu<'_>,
    logits: Option<&[T]>,
    classes: usize,
    (operand, z): (&'static str, &mut [T]),
) -> Result<(), Error> {
    let len = logits.map_or(z.len(), <[T]>::len);
    check_rows("logits", len, classes)?;
    check_length(operand, len, z.len())?;
    let (_, block) = block(classes);
    // A block of logits for each block of `z`; `None` without end in place.
    let mut blocks = logits.map(|logits| logits.chunks(block));
    let logits = core::iter::from_fn(|| Some(blocks.as_mut().and_then(Iterator::next)));
    cpu.for_each_item(z.chunks_mut(block).zip(logits), |(z, logits)| {
        cpu.isa.run(Forward { logits, z, classes, normaliser: PhantomData::<N> });
    });
    Ok(())
}

/// Checks the operands and replaces the gradient `dy`.
fn backward<T: Float, N: Normaliser<T>>(
    cpu: Cpu<'_>,
    y: &[T],
    classes: usize,
    dy: &mut [T],
) -> Result<(), Error> {
    check_rows("y", y.len(), classes)?;
    check_length("dy", y.len(), dy.len())?;
    let (_, block) = block(classes);
    cpu.for_each_item(y.chunks(block).zip(dy.chunks_mut(block)), |(y, dy)| {
        cpu.isa.run(Backward { y, dy, classes, normaliser: PhantomData::<N> });
    });
    Ok(())
}

/// Checks that `got` elements are a whole number of rows.
fn check_rows(operand: &'static str, got: usize, classes: usize) -> Result<(), Error> {
    check_length(operand, got / classes.max(1) * classes, got)
}

/// A block of rows, forward.
struct Forward<'a, T, N> {
    /// The logits, unless they are in `z` already.
    logits: Option<&'a [T]>,
    z: &'a mut [T],
    classes: usize,
    normaliser: PhantomData<N>,
}

impl<T: Float, N: Normaliser<T>> WithSimd for Forward<'_, T, N> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { logits, z, classes, .. } = self;
        let tile = tile_rows(classes) * classes;
        for (start, z) in (0..).step_by(tile).zip(z.chunks_mut(tile)) {
            let logits = logits.map(|logits| &logits[start..][..z.len()]);
            N::forward(s, logits, z, classes);
        }
    }
}

/// A block of rows, backward.
struct Backward<'a, T, N> {
    y: &'a [T],
    dy: &'a mut [T],
    classes: usize,
    normaliser: PhantomData<N>,
}

impl<T: Float, N: Normaliser<T>> WithSimd for Backward<'_, T, N> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { y, dy, classes, .. } = self;
        for (y, dy) in y.chunks_exact(classes).zip(dy.chunks_exact_mut(classes)) {
            N::backward(s, y, dy);
        }
    }
}

struct Softmax;

impl<T: Float> Normaliser<T> for Softmax {
    #[inline(always)]
    fn forward<S: Simd>(s: S, logits: Option<&[T]>, z: &mut [T], classes: usize) {
        let mut exps = [Exponentials::default(); TILE];
        for (row, exps) in logits.unwrap_or(z).chunks_exact(classes).zip(&mut exps) {
            *exps = Exponentials::excluding(s, row, usize::MAX);
        }
        row::exponentiate(s, logits, z, classes, &mut exps);
        for (row, exps) in z.chunks_exact_mut(classes).zip(&exps) {
            for p in row {
                *p /= exps.rest;
            }
        }
    }

    #[inline(always)]
    fn backward<S: Simd>(_: S, y: &[T], dy: &mut [T]) {
        let mean = row::dot(y, dy);
        for (dy, &y) in dy.iter_mut().zip(y) {
            *dy -= mean;
            *dy *= y;
        }
    }
}

struct LogSoftmax;

impl<T: Float> Normaliser<T> for LogSoftmax {
    #[inline(always)]
    fn forward<S: Simd>(s: S, logits: Option<&[T]>, z: &mut [T], classes: usize) {
        if let Some(logits) = logits {
            z.copy_from_slice(logits);
        }
        let mut exps = [Exponentials::default(); TILE];
        for (row, exps) in z.chunks_exact(classes).zip(&mut exps) {
            *exps = Exponentials::excluding_max(s, row);
        }
        row::sum_exp(s, z, classes, &mut exps);
        let mut logs = exps.map(|exps| exps.excess());
        along(s, &Ln1p, [], [&mut logs]);
        for ((row, exps), &log) in z.chunks_exact_mut(classes).zip(&exps).zip(&logs) {
            for y in row {
                *y -= exps.max;
                *y -= log;
            }
        }
    }

    #[inline(always)]
    fn backward<S: Simd>(s: S, y: &[T], dy: &mut [T]) {
        let sum = row::sum(dy);
        along(s, &AddScaledExp { scale: -sum }, [y], [dy]);
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

/// `dy + scale * e^y`, in place of `dy`.
struct AddScaledExp<T> {
    scale: T,
}

impl<T: Float> Elementwise<T, 1, 1> for AddScaledExp<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [y]: [T::V<S>; 1], [dy]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::mul_add(s, T::splat(s, self.scale), exp::<S, T>(s, y), dy)]
    }
}
