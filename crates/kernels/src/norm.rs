//! Reductions of long slices in f64: sums, and L1, L2 and max norms of a slice, of each tensor of a
//! network or of each output unit of a matrix.
//!
//! ```text
//! for each chunk of 16384 elements           in parallel
//!     element i is added to lane i % 32      each lane one ascending chain
//!     the upper half of the lanes is added to the lower half until one is left
//! the results of the chunks are added in ascending order
//! ```
//!
//! An element adds x, |x| or x * x; a max norm keeps the maximum instead. The order depends on the
//! length alone, so that every instruction set and every number of threads gives the same bits. A
//! row of a matrix is reduced like a slice; a column is one ascending chain. All arithmetic is in
//! f64: squares of f32 are exact there, and neither they nor their sum leave its range. Called by
//! `clip`, `vector`, `spectral` and by the loss of a network.

use crate::error::{check_length, check_shape};
use crate::math::sqrt;
use crate::simd::{Float, Lanes, Simd, WithSimd};
use crate::{Cpu, Error};

/// Elements per chunk. Part of the bit contract. 64 KiB of f32, as for the element-wise operations.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Virtual lanes of a chunk. Part of the bit contract. Four registers of AVX-512, eight of AVX2:
/// enough additions in flight for the bandwidth of L2.
pub(crate) const LANES: usize = 32;

/// Columns per task, each down all rows: their sums are 2 KiB of L1.
pub(crate) const COLUMNS: usize = 256;

/// 2^-480: below this norm, squares may have lost digits by underflow. From here on, the error of
/// squares that underflow, at most 2^-1075 each, is lost in a sum of at least 2^-960.
const MIN_NORM: f64 = f64::from_bits((1023 - 480) << 52);

/// 2^600, which scales the squares of the smallest f64 into range. Its inverse does so for the
/// largest f64, and for the sum of as many of them as memory can hold.
const SCALE: f64 = f64::from_bits((1023 + 600) << 52);

/// Sum of `x`, in f64; 0 for an empty slice.
///
/// NaN, infinities and overflow propagate as in addition.
///
/// ```
/// use kernels::{Cpu, norm};
/// assert_eq!(norm::sum(Cpu::detect(), &[1.5_f32, -0.5, 2.0]), 3.0);
/// ```
pub fn sum<T: Float>(cpu: Cpu<'_>, x: &[T]) -> f64 {
    reduce(cpu, Sum, x)
}

/// L1 norm of `x`, `sum of |x[i]|`; 0 for an empty slice. A norm of f64 above `f64::MAX` is Inf.
///
/// # Errors
/// [`Error::NonFinite`] with the index of the first NaN or infinity.
#[inline(never)]
pub fn norm1<T: Float>(cpu: Cpu<'_>, x: &[T]) -> Result<f64, Error> {
    finite_or_first(reduce(cpu, Absolute, x), x)
}

/// L2 norm of `x`, `sqrt(sum of x[i]^2)`; 0 for an empty slice.
///
/// No finite `x` of f32 overflows or underflows. Squares of f64 that would do so are computed from
/// `x` scaled by a power of two. Only a norm of f64 that is itself above `f64::MAX` is Inf.
///
/// ```
/// use kernels::{Cpu, Error, norm};
/// let cpu = Cpu::detect();
/// assert_eq!(norm::norm2(cpu, &[3e30_f32, -4e30]).map(|norm| norm as f32), Ok(5e30));
/// assert_eq!(norm::norm2(cpu, &[0.0, f32::NAN]), Err(Error::NonFinite { index: 1 }));
/// ```
///
/// # Errors
/// [`Error::NonFinite`] with the index of the first NaN or infinity.
#[inline(never)]
pub fn norm2<T: Float>(cpu: Cpu<'_>, x: &[T]) -> Result<f64, Error> {
    scaled_norm2(cpu, x).map(Scaled::value)
}

/// Max norm of `x`: the largest `|x[i]|`; 0 for an empty slice.
///
/// # Errors
/// [`Error::NonFinite`] with the index of the first NaN or infinity.
#[inline(never)]
pub fn norm_max<T: Float>(cpu: Cpu<'_>, x: &[T]) -> Result<f64, Error> {
    finite_or_first(reduce(cpu, Largest, x), x)
}

/// Sets `norms[t]` to the [`norm2`] of tensor `t`. Returns the norm of all of them as one vector; 0
/// for none.
///
/// The sums of squares of the tensors are added in ascending order, so that the result may differ
/// in its last bit from the norm of one slice with the same elements. Reads the tensors once.
///
/// ```
/// use kernels::{Cpu, Error, norm::tensor_norms};
/// let (cpu, mut norms) = (Cpu::detect(), [0.0; 2]);
/// assert_eq!(tensor_norms(cpu, &[&[3.0_f32], &[-4.0]], &mut norms), Ok(5.0));
/// assert_eq!(norms, [3.0, 4.0]);
/// let bad = tensor_norms(cpu, &[&[1.0_f32], &[1.0, f32::INFINITY]], &mut norms);
/// assert_eq!(bad, Err(Error::NonFiniteIn { tensor: 1, index: 1 }));
/// ```
///
/// # Errors
/// [`Error::Length`] unless there are as many `norms` as tensors; [`Error::NonFiniteIn`] with the
/// first tensor that has a NaN or an infinity. In the second case `norms` is written, and the norm
/// of each such tensor is non-finite.
#[inline(never)]
pub fn tensor_norms<T: Float>(
    cpu: Cpu<'_>,
    tensors: &[&[T]],
    norms: &mut [f64],
) -> Result<f64, Error> {
    check_length("norms", tensors.len(), norms.len())?;
    scaled_tensor_norms(cpu, tensors.iter().copied(), norms).map(Scaled::value)
}

/// A vector norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Sum of absolute values.
    L1,
    /// Square root of the sum of squares.
    L2,
    /// Largest absolute value.
    Max,
}

/// Output units: how the elements of a tensor, in row-major order, are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// All elements are one unit: a bias, a gain.
    Whole,
    /// Each row of this many elements: weights `[out, in]`, filters `[out, in, height, width]`.
    Rows(usize),
    /// Each column, of rows of this many elements: weights `[in, out]`, filters
    /// `[height, width, in, out]`.
    Columns(usize),
}

impl Units {
    /// Number of units in a tensor of `len` elements.
    ///
    /// # Errors
    /// [`Error::Length`] if `len` is not a multiple of the length of a row.
    pub fn count(self, len: usize) -> Result<usize, Error> {
        match self {
            Self::Whole => Ok(1),
            Self::Rows(cols) => check_shape("x", len, cols),
            Self::Columns(cols) => check_shape("x", len, cols).map(|_| cols),
        }
    }
}

/// Sets `norms[u]` to the norm of the elements of `x` that belong to output unit `u`.
///
/// The norm of a row has the bits of [`norm1`], [`norm2`] or [`norm_max`]; the norm of a column is
/// one ascending chain. No intermediate result of finite elements overflows or underflows. A unit
/// with a NaN or an infinity has a non-finite norm; the others are not affected.
///
/// ```
/// use kernels::{Cpu, norm::{Norm, Units, unit_norms}};
/// let (x, mut norms) = ([3.0_f32, 1.0, -4.0, 0.0], [0.0; 2]);
/// unit_norms(Cpu::detect(), Norm::L2, Units::Columns(2), &x, &mut norms)?;
/// assert_eq!(norms, [5.0, 1.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `x` is not a whole number of rows, or if `norms` does not have one element
/// per unit.
#[inline(never)]
pub fn unit_norms<T: Float>(
    cpu: Cpu<'_>,
    norm: Norm,
    units: Units,
    x: &[T],
    norms: &mut [f64],
) -> Result<(), Error> {
    check_length("norms", units.count(x.len())?, norms.len())?;
    match norm {
        Norm::L1 => each_unit(cpu, Absolute, units, x, norms),
        Norm::Max => each_unit(cpu, Largest, units, x, norms),
        Norm::L2 => {
            each_unit(cpu, Squares, units, x, norms);
            for (unit, norm) in norms.iter_mut().enumerate() {
                let plain = Scaled { norm: sqrt(cpu, *norm), scale: 1.0 };
                *norm = match plain.better_scale::<T>() {
                    None => plain,
                    Some(scale) => {
                        let of_unit = ScaledSquares(scale);
                        let squares = match units {
                            Units::Whole => reduce(cpu, of_unit, x),
                            Units::Rows(cols) => reduce(cpu, of_unit, &x[unit * cols..][..cols]),
                            Units::Columns(cols) => {
                                let column =
                                    x.iter().skip(unit).step_by(cols).map(|x| x.to_f64() * scale);
                                column.fold(0.0, |sum, x| sum + x * x)
                            }
                        };
                        Scaled { norm: sqrt(cpu, squares), scale }
                    }
                }
                .value();
            }
        }
    }
    Ok(())
}

/// A norm as a quotient, `norm / scale`, whose value may be out of range.
#[derive(Clone, Copy)]
pub(crate) struct Scaled {
    /// The norm of `scale * x`.
    pub(crate) norm: f64,
    /// A power of two; 1 unless the squares require another.
    pub(crate) scale: f64,
}

impl Scaled {
    pub(crate) fn value(self) -> f64 {
        self.norm / self.scale
    }

    /// The scale that this norm requires, if its squares were out of range.
    fn better_scale<T: Float>(self) -> Option<f64> {
        // Squares of f32 are never out of range: 0 and non-finite norms need no scale.
        if T::MANTISSA < f64::MANTISSA_DIGITS - 1
            || (MIN_NORM..f64::INFINITY).contains(&self.norm)
            || self.norm.is_nan()
        {
            None
        } else if self.norm < MIN_NORM {
            Some(SCALE)
        } else {
            Some(1.0 / SCALE)
        }
    }
}

/// [`norm2`], which cannot overflow.
pub(crate) fn scaled_norm2<T: Float>(cpu: Cpu<'_>, x: &[T]) -> Result<Scaled, Error> {
    let plain = Scaled { norm: sqrt(cpu, reduce(cpu, Squares, x)), scale: 1.0 };
    finite_or_first(plain.norm, x)?;
    Ok(match plain.better_scale::<T>() {
        None => plain,
        Some(scale) => Scaled { norm: sqrt(cpu, reduce(cpu, ScaledSquares(scale), x)), scale },
    })
}

/// [`tensor_norms`], which cannot overflow; truncated to the shorter of `tensors` and `norms`.
pub(crate) fn scaled_tensor_norms<'a, T: Float>(
    cpu: Cpu<'_>,
    tensors: impl Iterator<Item = &'a [T]> + Send + Clone,
    norms: &mut [f64],
) -> Result<Scaled, Error> {
    let total = squares_of_tensors(cpu, Squares, tensors.clone(), norms);
    let plain = Scaled { norm: sqrt(cpu, total), scale: 1.0 };
    for norm in &mut *norms {
        *norm = sqrt(cpu, *norm);
    }
    if !plain.norm.is_finite() {
        for (tensor, x) in tensors.clone().enumerate() {
            if let Some(index) = x.iter().position(|x| !x.to_f64().is_finite()) {
                return Err(Error::NonFiniteIn { tensor, index });
            }
        }
    }
    let Some(scale) = plain.better_scale::<T>() else {
        // Small tensors among large ones need a scale of their own.
        for (norm, x) in norms.iter_mut().zip(tensors) {
            if (Scaled { norm: *norm, scale: 1.0 }).better_scale::<T>().is_some() {
                *norm = scaled_norm2(cpu, x)?.value();
            }
        }
        return Ok(plain);
    };
    let total = squares_of_tensors(cpu, ScaledSquares(scale), tensors.clone(), norms);
    for (norm, x) in norms.iter_mut().zip(tensors) {
        *norm = scaled_norm2(cpu, x)?.value();
    }
    Ok(Scaled { norm: sqrt(cpu, total), scale })
}

/// Stores the sum of squares of each tensor in `sums`; returns their sum, in ascending order.
fn squares_of_tensors<'a, T: Float>(
    cpu: Cpu<'_>,
    squares: impl Fold,
    tensors: impl Iterator<Item = &'a [T]> + Send,
    sums: &mut [f64],
) -> f64 {
    sums.fill(0.0);
    let chunks = tensors
        .take(sums.len())
        .enumerate()
        .flat_map(|(tensor, x)| x.chunks(CHUNK).map(move |x| (tensor, x)));
    let add = |(tensor, sum): (usize, f64)| sums[tensor] += sum;
    cpu.in_order(chunks, |(tensor, x)| (tensor, cpu.isa.run(Chunk { fold: squares, x })), add);
    sums.iter().fold(0.0, |total, sum| total + sum)
}

/// `norm`, or an error if it is non-finite because `x` is.
fn finite_or_first<T: Float>(norm: f64, x: &[T]) -> Result<f64, Error> {
    if norm.is_finite() {
        return Ok(norm);
    }
    match x.iter().position(|x| !x.to_f64().is_finite()) {
        Some(index) => Err(Error::NonFinite { index }),
        None => Ok(norm),
    }
}

/// A reduction that starts at 0. NaN stays; another 0 changes nothing.
pub(crate) trait Fold: Copy + Send + Sync {
    /// Accumulates one element, which came from a `T`, in each lane.
    fn accumulate<S: Simd, T: Float>(self, s: S, result: Wide<S>, x: Wide<S>) -> Wide<S>;
    /// Combines the results of different elements.
    #[inline(always)]
    fn join(self, a: f64, b: f64) -> f64 {
        a + b
    }
}

/// A register of f64.
pub(crate) type Wide<S> = <f64 as Lanes>::V<S>;

#[derive(Clone, Copy)]
pub(crate) struct Sum;

impl Fold for Sum {
    #[inline(always)]
    fn accumulate<S: Simd, T: Float>(self, s: S, sum: Wide<S>, x: Wide<S>) -> Wide<S> {
        <f64 as Lanes>::add(s, sum, x)
    }
}

#[derive(Clone, Copy)]
struct Absolute;

impl Fold for Absolute {
    #[inline(always)]
    fn accumulate<S: Simd, T: Float>(self, s: S, sum: Wide<S>, x: Wide<S>) -> Wide<S> {
        <f64 as Lanes>::add(s, sum, <f64 as Lanes>::abs::<S>(x))
    }
}

#[derive(Clone, Copy)]
struct Squares;

impl Fold for Squares {
    #[inline(always)]
    fn accumulate<S: Simd, T: Float>(self, s: S, sum: Wide<S>, x: Wide<S>) -> Wide<S> {
        if T::MANTISSA < f64::MANTISSA_DIGITS - 1 {
            // The square of an f32 is exact: fusing it with the sum changes the time alone.
            return <f64 as Lanes>::mul_add(s, x, x, sum);
        }
        <f64 as Lanes>::add(s, sum, <f64 as Lanes>::mul(s, x, x))
    }
}

/// Squares of `x` times a power of two.
#[derive(Clone, Copy)]
struct ScaledSquares(f64);

impl Fold for ScaledSquares {
    #[inline(always)]
    fn accumulate<S: Simd, T: Float>(self, s: S, sum: Wide<S>, x: Wide<S>) -> Wide<S> {
        Squares.accumulate::<S, T>(
            s,
            sum,
            <f64 as Lanes>::mul(s, x, <f64 as Lanes>::splat(s, self.0)),
        )
    }
}

#[derive(Clone, Copy)]
struct Largest;

impl Fold for Largest {
    #[inline(always)]
    fn accumulate<S: Simd, T: Float>(self, s: S, largest: Wide<S>, x: Wide<S>) -> Wide<S> {
        let (size, zero) = (<f64 as Lanes>::abs::<S>(x), <f64 as Lanes>::splat(s, 0.0));
        let largest =
            <f64 as Lanes>::select(s, <f64 as Lanes>::less(s, largest, size), size, largest);
        // 0 times a non-finite element is NaN, which no later comparison removes.
        <f64 as Lanes>::add(s, <f64 as Lanes>::mul(s, x, zero), largest)
    }
    #[inline(always)]
    fn join(self, a: f64, b: f64) -> f64 {
        larger(a, b)
    }
}

/// The larger of `a` and `b`; NaN stays.
#[inline(always)]
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    if a >= b || a.is_nan() { a } else { b }
}

/// Reduces `x`, chunk by chunk.
fn reduce<T: Float>(cpu: Cpu<'_>, fold: impl Fold, x: &[T]) -> f64 {
    let mut result = 0.0;
    cpu.in_order(
        x.chunks(CHUNK),
        |x| cpu.isa.run(Chunk { fold, x }),
        |chunk| result = fold.join(result, chunk),
    );
    result
}

/// One chunk.
struct Chunk<'a, F, T> {
    fold: F,
    x: &'a [T],
}

impl<F: Fold, T: Float> WithSimd for Chunk<'_, F, T> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> f64 {
        fold_chunk(s, self.fold, self.x)
    }
}

/// Reduces a chunk in lanes: element `i` in lane `i % LANES`.
#[inline(always)]
fn fold_chunk<S: Simd, T: Float>(s: S, fold: impl Fold, x: &[T]) -> f64 {
    let per_register = f64::lanes::<S>();
    // Registers for the narrowest instruction set; the first `LANES / per_register` are used.
    let mut results = [<f64 as Lanes>::splat(s, 0.0); LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        for r in 0..LANES / per_register {
            results[r] = fold.accumulate::<S, T>(
                s,
                results[r],
                T::widen(s, &x[r * per_register..][..per_register]),
            );
        }
    }
    for (result, x) in results.iter_mut().zip(rest.chunks(per_register)) {
        *result = fold.accumulate::<S, T>(s, *result, T::widen(s, x));
    }
    let mut lanes = [0.0; LANES];
    for (lanes, result) in lanes.chunks_mut(per_register).zip(results) {
        <f64 as Lanes>::store(s, lanes, result);
    }
    join_lanes(fold, lanes)
}

/// Combines the upper half of the lanes into the lower half until one is left.
#[inline(always)]
pub(crate) fn join_lanes<const N: usize>(fold: impl Fold, mut lanes: [f64; N]) -> f64 {
    let mut half = N / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] = fold.join(lanes[l], lanes[l + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Reduces each unit of `x`, whose shape has been checked.
fn each_unit<T: Float>(cpu: Cpu<'_>, fold: impl Fold, units: Units, x: &[T], results: &mut [f64]) {
    match units {
        Units::Whole => results.fill(reduce(cpu, fold, x)),
        Units::Rows(cols) => {
            let rows = (CHUNK / cols.max(1)).max(1);
            let tasks = x.chunks((rows * cols).max(1)).zip(results.chunks_mut(rows));
            cpu.for_each_item(tasks, |(x, results)| cpu.isa.run(Rows { fold, x, cols, results }));
        }
        Units::Columns(cols) => {
            let tasks = results.chunks_mut(COLUMNS).enumerate();
            cpu.for_each_item(tasks, |(task, results)| {
                cpu.isa.run(Columns { fold, x, cols, first: task * COLUMNS, results });
            });
        }
    }
}

/// Some rows, each reduced as a slice.
struct Rows<'a, F, T> {
    fold: F,
    x: &'a [T],
    cols: usize,
    results: &'a mut [f64],
}

impl<F: Fold, T: Float> WithSimd for Rows<'_, F, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { fold, x, cols, results } = self;
        for (x, result) in x.chunks(cols.max(1)).zip(results) {
            *result = 0.0;
            for chunk in x.chunks(CHUNK) {
                *result = fold.join(*result, fold_chunk(s, fold, chunk));
            }
        }
    }
}

/// At most [`COLUMNS`] columns from `first` on, each one chain down all rows.
struct Columns<'a, F, T> {
    fold: F,
    x: &'a [T],
    cols: usize,
    first: usize,
    results: &'a mut [f64],
}

impl<F: Fold, T: Float> WithSimd for Columns<'_, F, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { fold, x, cols, first, results } = self;
        results.fill(0.0);
        let per_register = f64::lanes::<S>();
        let whole = results.len() / per_register * per_register;
        let (results, results_rest) = results.split_at_mut(whole);
        let (results, _) = <f64 as Lanes>::split_mut::<S>(results);
        for row in x.chunks(cols.max(1)) {
            let (x, rest) = row[first..].split_at(whole);
            for (result, x) in results.iter_mut().zip(x.chunks_exact(per_register)) {
                *result = fold.accumulate::<S, T>(s, *result, T::widen(s, x));
            }
            if !results_rest.is_empty() {
                let rest = &rest[..results_rest.len()];
                let result = fold.accumulate::<S, T>(
                    s,
                    <f64 as Lanes>::load(s, results_rest),
                    T::widen(s, rest),
                );
                <f64 as Lanes>::store(s, results_rest, result);
            }
        }
    }
}
