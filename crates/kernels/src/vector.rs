//! Vector operations: scale, add, axpy and lerp, element by element; the dot product and the cosine
//! of two vectors.
//!
//! Element-wise operations have no order. A dot product is summed in f64 in the lanes and chunks of
//! `norm`. Called for gradient accumulation, parameter averages and gradient directions.

use crate::elementwise::{self, Elementwise, for_each_element};
use crate::error::check_length;
use crate::norm::{CHUNK, LANES, Sum, join_lanes, scaled_norm2};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Element, Error};

/// `x[i] = alpha * x[i]`, rounded once.
///
/// NaN, infinities and signs of zeros propagate as in multiplication, even where `alpha` is 0 or 1.
#[inline(never)]
pub fn scale<E: Element>(cpu: Cpu<'_>, alpha: E::Float, x: &mut [E]) {
    // The only operand cannot differ in length.
    _ = for_each_element(cpu, &Scale(alpha), [], [("x", x)]);
}

struct Scale<T>(T);

impl<T: Float> Elementwise<T, 0, 1> for Scale<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, []: [T::V<S>; 0], [x]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::mul(s, T::splat(s, self.0), x)]
    }
}

/// `y[i] = alpha * x[i]`, rounded once: converts bytes such as pixels.
///
/// ```
/// use kernels::{Cpu, vector};
/// let mut y = [0.0_f32; 3];
/// vector::scale_bytes(Cpu::detect(), 1.0 / 255.0, &[0, 255, 0], &mut y)?;
/// assert_eq!(y, [0.0, 1.0, 0.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `x` and `y` differ in length.
#[inline(never)]
pub fn scale_bytes<T: Float>(cpu: Cpu<'_>, alpha: T, x: &[u8], y: &mut [T]) -> Result<(), Error> {
    check_length("x", y.len(), x.len())?;
    let chunks = x.chunks(elementwise::CHUNK).zip(y.chunks_mut(elementwise::CHUNK));
    cpu.for_each_item(chunks, |(x, y)| cpu.isa.run(ScaleBytes { alpha, x, y }));
    Ok(())
}

struct ScaleBytes<'a, T> {
    alpha: T,
    x: &'a [u8],
    y: &'a mut [T],
}

impl<T: Float> WithSimd for ScaleBytes<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = T::from_u8(x);
            *y *= self.alpha;
        }
    }
}

/// `y[i] = y[i] + x[i]`: gradient accumulation.
///
/// # Errors
/// [`Error::Length`] if `x` and `y` differ in length.
#[inline(never)]
pub fn accumulate<E: Element>(cpu: Cpu<'_>, x: &[E], y: &mut [E]) -> Result<(), Error> {
    for_each_element(cpu, &Accumulate, [("x", x)], [("y", y)])
}

struct Accumulate;

impl<T: Float> Elementwise<T, 1, 1> for Accumulate {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], [y]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::add(s, y, x)]
    }
}

/// `y[i] = fma(alpha, x[i], y[i])` (BLAS `axpy`).
///
/// ```
/// use kernels::{Cpu, vector};
/// let mut y = [1.0_f32, 2.0];
/// vector::axpy(Cpu::detect(), -0.5, &[2.0, 4.0], &mut y)?;
/// assert_eq!(y, [0.0, 0.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `x` and `y` differ in length.
#[inline(never)]
pub fn axpy<E: Element>(cpu: Cpu<'_>, alpha: E::Float, x: &[E], y: &mut [E]) -> Result<(), Error> {
    for_each_element(cpu, &Axpy(alpha), [("x", x)], [("y", y)])
}

struct Axpy<T>(T);

impl<T: Float> Elementwise<T, 1, 1> for Axpy<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], [y]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::mul_add(s, T::splat(s, self.0), x, y)]
    }
}

/// Linear interpolation, `y[i] = fma(t, x[i] - y[i], y[i])`: from `y` (`t = 0`) to `x` (`t = 1`)
/// (PyTorch `lerp_`).
///
/// A moving average of parameters uses `t = 1 - decay`; Lookahead (Zhang et al., NeurIPS 2019) uses
/// it as its slow step. `t = 0` leaves finite elements unchanged; `t = 1` gives `x` up to one
/// rounding. Differences above the largest finite number are infinite.
///
/// ```
/// use kernels::{Cpu, vector};
/// let mut average = [0.0_f32, 8.0];
/// vector::lerp(Cpu::detect(), 0.25, &[4.0, 4.0], &mut average)?;
/// assert_eq!(average, [1.0, 7.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `x` and `y` differ in length.
#[inline(never)]
pub fn lerp<E: Element>(cpu: Cpu<'_>, t: E::Float, x: &[E], y: &mut [E]) -> Result<(), Error> {
    for_each_element(cpu, &Lerp(t), [("x", x)], [("y", y)])
}

struct Lerp<T>(T);

impl<T: Float> Elementwise<T, 1, 1> for Lerp<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], [y]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::mul_add(s, T::splat(s, self.0), T::sub(s, x, y), y)]
    }
}

/// Dot product, `sum of x[i] * y[i]`, in f64; 0 for empty slices.
///
/// Products of f32 are exact in f64; they are added in the lanes and chunks of [`crate::norm`].
/// NaN, infinities and overflow (which f32 cannot reach) propagate as in multiplication and
/// addition.
///
/// ```
/// use kernels::{Cpu, vector};
/// assert_eq!(vector::dot(Cpu::detect(), &[1e30_f32, 2.0], &[0.0, 4.0]), Ok(8.0));
/// ```
///
/// # Errors
/// [`Error::Length`] if `x` and `y` differ in length.
#[inline(never)]
pub fn dot<T: Float>(cpu: Cpu<'_>, x: &[T], y: &[T]) -> Result<f64, Error> {
    check_length("y", x.len(), y.len())?;
    Ok(chunked_dot(cpu, x, y, |x, y| Dot { x: Unscaled, y: Unscaled, operands: (x, y) }))
}

/// Cosine of the angle between `x` and `y`: `dot(x, y) / (|x| |y|)`, in [-1, 1]; 0 where either is
/// a zero vector.
///
/// No intermediate result of finite elements overflows or underflows. NaN if any element is NaN or
/// infinite.
///
/// ```
/// use kernels::{Cpu, vector};
/// assert_eq!(vector::cosine(Cpu::detect(), &[1e30_f32, 0.0], &[-1e-30, 0.0]), Ok(-1.0));
/// ```
///
/// # Errors
/// [`Error::Length`] if `x` and `y` differ in length.
#[inline(never)]
pub fn cosine<T: Float>(cpu: Cpu<'_>, x: &[T], y: &[T]) -> Result<f64, Error> {
    check_length("y", x.len(), y.len())?;
    let (Ok(x_norm), Ok(y_norm)) = (scaled_norm2(cpu, x), scaled_norm2(cpu, y)) else {
        return Ok(f64::NAN);
    };
    if x_norm.norm == 0.0 || y_norm.norm == 0.0 {
        return Ok(0.0);
    }
    // Powers of two bring both norms between 1 and 4, so that no intermediate result leaves the
    // range.
    let [x_scales, y_scales] = [x_norm, y_norm].map(|x| [x.scale, power_below_inverse(x.norm)]);
    let product = (x_norm.norm * x_scales[1]) * (y_norm.norm * y_scales[1]);
    let dot = chunked_dot(cpu, x, y, |x, y| Dot {
        x: Scaled(x_scales),
        y: Scaled(y_scales),
        operands: (x, y),
    });
    Ok((dot / product).clamp(-1.0, 1.0))
}

/// The power of two that scales a norm to between 1 and 2; the largest norms to below 4.
fn power_below_inverse(norm: f64) -> f64 {
    f64::from_bits((2046_u64.saturating_sub(norm.to_bits() >> 52)).max(1) << 52)
}

/// Sums a dot product, chunk by chunk.
fn chunked_dot<'a, T: Float, M: Prescale>(
    cpu: Cpu<'_>,
    x: &'a [T],
    y: &'a [T],
    dot: impl Fn(&'a [T], &'a [T]) -> Dot<'a, T, M> + Sync,
) -> f64 {
    let mut total = 0.0;
    cpu.in_order(
        x.chunks(CHUNK).zip(y.chunks(CHUNK)),
        |(x, y)| cpu.isa.run(dot(x, y)),
        |chunk| total += chunk,
    );
    total
}

/// Scaling of the operands of a dot product.
trait Prescale: Copy + Send + Sync {
    fn of(self, x: f64) -> f64;
}

/// No scaling.
#[derive(Clone, Copy)]
struct Unscaled;

impl Prescale for Unscaled {
    #[inline(always)]
    fn of(self, x: f64) -> f64 {
        x
    }
}

/// Scaling by two powers of two, whose product may be out of range.
#[derive(Clone, Copy)]
struct Scaled([f64; 2]);

impl Prescale for Scaled {
    #[inline(always)]
    fn of(self, x: f64) -> f64 {
        x * self.0[0] * self.0[1]
    }
}

/// One chunk of a dot product.
struct Dot<'a, T, M> {
    x: M,
    y: M,
    operands: (&'a [T], &'a [T]),
}

impl<T: Float, M: Prescale> WithSimd for Dot<'_, T, M> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let mut lanes = [0.0; LANES];
        let (xs, ys) = self.operands;
        let ((xs, xs_rest), (ys, ys_rest)) = (xs.as_chunks::<LANES>(), ys.as_chunks::<LANES>());
        for (x, y) in xs.iter().zip(ys) {
            for l in 0..LANES {
                lanes[l] += self.x.of(x[l].to_f64()) * self.y.of(y[l].to_f64());
            }
        }
        for ((lane, x), y) in lanes.iter_mut().zip(xs_rest).zip(ys_rest) {
            *lane += self.x.of(x.to_f64()) * self.y.of(y.to_f64());
        }
        join_lanes(Sum, lanes)
    }
}
