//! Statistics of a tensor, for the health of gradients: counts of NaN, infinite, subnormal and zero
//! elements; mean, variance, minimum, maximum and absolute mean of the finite elements
//! ([`statistics`]); a histogram of magnitudes over the powers of two ([`histogram`]).
//!
//! ```text
//! for each chunk of 16384 elements                       in parallel
//!     pivot = the first finite element
//!     for each block of 512: counts, min, max; then, for each finite element i, d = x - pivot,
//!         into lane i % 16 of three sums:  d,  d * d,  |x|
//!     the upper half of the lanes is added to the lower half until one is left
//! chunks are merged in ascending order
//! ```
//!
//! [`statistics`] costs about as much as a step of Adam on the same elements. [`histogram`], which
//! counts one element at a time, costs half as much again. So they are for a sample of the steps; a
//! norm for each tensor and the first non-finite element come with clipping at every step. The
//! order depends on the length (and on which elements are finite) alone, so that every instruction
//! set and every number of threads gives the same bits. Sums are in f64. Called by monitoring of a
//! training.

mod histogram;

pub use histogram::{Histogram, histogram};

use pulp::bytemuck;

use crate::math::sqrt;
use crate::norm::{CHUNK, Sum, Wide, join_lanes};
use crate::simd::{Float, Lanes, Simd, WithSimd};
use crate::{Cpu, Element};

/// Elements that are read twice while they are in L1: first counted, then summed up. A multiple of
/// [`LANES`].
const BLOCK: usize = 512;

/// Virtual lanes of each sum. Part of the bit contract. Three sums take six registers of AVX-512,
/// twelve of the sixteen of AVX2.
const LANES: usize = 16;

/// Statistics of a tensor, or of several merged into one. All but the counts are over the finite
/// elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Number of elements.
    pub count: u64,
    /// Number of NaN.
    pub nan: u64,
    /// Number of Inf and -Inf.
    pub infinite: u64,
    /// Number of elements that are subnormal in their storage type; for bf16, in f32, which has the
    /// same exponents.
    pub subnormal: u64,
    /// Number of 0 and -0.
    pub zero: u64,
    /// Minimum; Inf if no element is finite. A zero is +0.
    pub min: f64,
    /// Maximum; -Inf if no element is finite. A zero is +0.
    pub max: f64,
    /// Mean; 0 if no element is finite.
    pub mean: f64,
    /// Sum of `|x|`.
    pub absolute_sum: f64,
    /// Sum of `(x - mean)^2`.
    pub squared_deviations: f64,
}

impl Default for Statistics {
    /// Statistics of no elements.
    fn default() -> Self {
        Self {
            count: 0,
            nan: 0,
            infinite: 0,
            subnormal: 0,
            zero: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            mean: 0.0,
            absolute_sum: 0.0,
            squared_deviations: 0.0,
        }
    }
}

impl Statistics {
    /// Number of elements that are neither NaN nor infinite.
    pub fn finite(&self) -> u64 {
        self.count - self.nan - self.infinite
    }

    /// Biased variance of the finite elements; 0 if there are none.
    pub fn variance(&self) -> f64 {
        self.per_element(self.squared_deviations)
    }

    /// Mean of `|x|` over the finite elements; 0 if there are none.
    pub fn absolute_mean(&self) -> f64 {
        self.per_element(self.absolute_sum)
    }

    /// Root mean square of the finite elements, `sqrt(mean^2 + variance)`; 0 if there are none.
    pub fn root_mean_square(&self, cpu: Cpu<'_>) -> f64 {
        sqrt(cpu, self.mean * self.mean + self.variance())
    }

    fn per_element(&self, sum: f64) -> f64 {
        if self.finite() == 0 { 0.0 } else { sum / self.finite() as f64 }
    }

    /// Merges the statistics of two sets of elements (Chan, Golub, LeVeque 1979).
    ///
    /// With `n` and `m` finite elements and `d = other.mean - self.mean`, the mean is
    /// `mean + d * (m / (n + m))`, and the squared deviations are added up, plus
    /// `d * d * (n * m / (n + m))`. Where one side has no finite elements, the other keeps its
    /// bits. Another order of merging may change the last bits of `mean`, `absolute_sum` and
    /// `squared_deviations`.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let counts = Self {
            count: self.count + other.count,
            nan: self.nan + other.nan,
            infinite: self.infinite + other.infinite,
            subnormal: self.subnormal + other.subnormal,
            zero: self.zero + other.zero,
            ..*self
        };
        if other.finite() == 0 {
            return counts;
        }
        if self.finite() == 0 {
            let Self { min, max, mean, absolute_sum, squared_deviations, .. } = *other;
            return Self { min, max, mean, absolute_sum, squared_deviations, ..counts };
        }
        let (n, m) = (self.finite() as f64, other.finite() as f64);
        let (share, d) = (m / (n + m), other.mean - self.mean);
        Self {
            min: if other.min < self.min { other.min } else { self.min },
            max: if other.max > self.max { other.max } else { self.max },
            mean: self.mean + d * share,
            absolute_sum: self.absolute_sum + other.absolute_sum,
            squared_deviations: self.squared_deviations
                + other.squared_deviations
                + d * d * (n * share),
            ..counts
        }
    }
}

/// Computes the [`Statistics`] of `x`.
///
/// The variance is as accurate as one of two passes. The pivot of each chunk of at most 2^14
/// elements is one of them, so that cancellation costs at most 14 of 53 bits; chunks are merged by
/// their rounded means. Sums of f32 and bf16 neither overflow nor underflow. Sums of f64 do where
/// its squares do, above 2^511 and below 2^-511; the variance is then Inf, NaN or 0.
///
/// ```
/// use kernels::{Cpu, statistics::statistics};
/// let gradient = statistics(Cpu::detect(), &[1.0_f32, -3.0, 0.0, f32::NAN, 1e-40, 2.0]);
/// assert_eq!((gradient.count, gradient.nan, gradient.zero, gradient.subnormal), (6, 1, 1, 1));
/// assert_eq!((gradient.min, gradient.max), (-3.0, 2.0));
/// assert_eq!((gradient.mean as f32, gradient.absolute_mean() as f32), (0.0, 1.2));
/// ```
#[inline(never)]
pub fn statistics<E: Element>(cpu: Cpu<'_>, x: &[E]) -> Statistics {
    let mut total = Statistics::default();
    cpu.in_order(
        x.chunks(CHUNK),
        |x| cpu.isa.run(Chunk { x }),
        |chunk| total = total.merge(&chunk),
    );
    total
}

struct Chunk<'a, E> {
    x: &'a [E],
}

impl<E: Element> WithSimd for Chunk<'_, E> {
    type Output = Statistics;
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> Statistics {
        let mut found = Statistics { count: self.x.len() as u64, ..Statistics::default() };
        let pivot = self.x.iter().map(|x| wide(*x)).find(|x| x.is_finite()).unwrap_or(0.0);
        let (mut counts, mut sums) = (Counts::<S, E>::new(s), Sums::new(s));
        for block in self.x.chunks(BLOCK) {
            if counts.add_if_finite(s, block, &mut found) {
                sums.add_all(s, block, pivot);
            } else {
                sums.add_finite(block, pivot, &mut found);
            }
        }
        counts.finish(&mut found);
        if found.finite() > 0 {
            let [shifted, squares, absolute] = sums.finish(s);
            let mean = shifted / found.finite() as f64;
            let deviations = squares - shifted * mean;
            found.mean = pivot + mean;
            found.absolute_sum = absolute;
            found.squared_deviations = if deviations < 0.0 { 0.0 } else { deviations };
        }
        found
    }
}

/// Converts `x` exactly.
#[inline(always)]
fn wide<E: Element>(x: E) -> f64 {
    x.to_float().to_f64()
}

impl Statistics {
    /// Adds one element to the counts and the range, if it is finite.
    #[inline(always)]
    fn count<T: Float>(&mut self, x: f64) {
        if x.is_finite() {
            self.zero += u64::from(x == 0.0);
            self.subnormal += u64::from(x != 0.0 && x.abs() < T::MIN_POSITIVE.to_f64());
            self.extend(x, x);
        }
    }

    /// Extends the range by `min` and `max`.
    #[inline(always)]
    fn extend(&mut self, min: f64, max: f64) {
        // Never -0: which of two zeros is stored would depend on the order.
        self.min = if min < self.min { min + 0.0 } else { self.min };
        self.max = if max > self.max { max + 0.0 } else { self.max };
    }
}

/// Counts and range of whole registers, lane by lane. Counts are exact: a lane counts at most a
/// chunk.
struct Counts<S: Simd, E: Element> {
    zeros: <E::Float as Lanes>::V<S>,
    /// Magnitudes below the smallest normal number, including zeros.
    small: <E::Float as Lanes>::V<S>,
    min: <E::Float as Lanes>::V<S>,
    max: <E::Float as Lanes>::V<S>,
}

impl<S: Simd, E: Element> Counts<S, E> {
    #[inline(always)]
    fn new(s: S) -> Self {
        let [zero, infinity, below] = [E::Float::ZERO, E::Float::INFINITY, -E::Float::INFINITY]
            .map(|x| <E::Float as Lanes>::splat(s, x));
        Self { zeros: zero, small: zero, min: infinity, max: below }
    }

    /// Adds a block if all of it is finite; returns `false` otherwise.
    #[inline(always)]
    fn add_if_finite(&mut self, s: S, block: &[E], found: &mut Statistics) -> bool {
        let lanes = <E::Float as Lanes>::lanes::<S>();
        let registers = block.len() / lanes;
        let zero = <E::Float as Lanes>::splat(s, E::Float::ZERO);
        let one = <E::Float as Lanes>::splat(s, E::Float::ONE);
        let smallest = <E::Float as Lanes>::splat(s, E::Float::MIN_POSITIVE);
        let Self { mut zeros, mut small, mut min, mut max } = *self;
        let mut probe = zero;
        for i in 0..registers {
            let x = E::register(s, block, i);
            let size = <E::Float as Lanes>::abs::<S>(x);
            // 0 times a non-finite element is NaN, and stays.
            probe = <E::Float as Lanes>::mul_add(s, x, zero, probe);
            let is_zero = <E::Float as Lanes>::less_or_equal(s, size, zero);
            zeros = <E::Float as Lanes>::add(
                s,
                zeros,
                <E::Float as Lanes>::select(s, is_zero, one, zero),
            );
            let is_small = <E::Float as Lanes>::less(s, size, smallest);
            small = <E::Float as Lanes>::add(
                s,
                small,
                <E::Float as Lanes>::select(s, is_small, one, zero),
            );
            min = <E::Float as Lanes>::select(s, <E::Float as Lanes>::less(s, x, min), x, min);
            max = <E::Float as Lanes>::select(s, <E::Float as Lanes>::less(s, max, x), x, max);
        }
        let rest = &block[registers * lanes..];
        if values::<S, E::Float>(&probe).iter().any(|x| x.to_f64().is_nan())
            || rest.iter().any(|x| !wide(*x).is_finite())
        {
            return false;
        }
        *self = Self { zeros, small, min, max };
        rest.iter().for_each(|x| found.count::<E::Float>(wide(*x)));
        true
    }

    #[inline(always)]
    fn finish(&self, found: &mut Statistics) {
        for (zeros, small) in
            values::<S, E::Float>(&self.zeros).iter().zip(values::<S, E::Float>(&self.small))
        {
            let (zeros, small) = (zeros.to_f64() as u64, small.to_f64() as u64);
            found.zero += zeros;
            found.subnormal += small - zeros;
        }
        for (min, max) in
            values::<S, E::Float>(&self.min).iter().zip(values::<S, E::Float>(&self.max))
        {
            found.extend(min.to_f64(), max.to_f64());
        }
    }
}

/// The lanes of a register.
#[inline(always)]
fn values<S: Simd, T: Float>(v: &T::V<S>) -> &[T] {
    bytemuck::cast_slice(core::slice::from_ref(v))
}

/// Accumulators of a chunk, for the narrowest instruction set; the first `LANES / lanes` are used.
struct Sums<S: Simd> {
    shifted: [Wide<S>; LANES],
    squares: [Wide<S>; LANES],
    absolute: [Wide<S>; LANES],
}

impl<S: Simd> Sums<S> {
    #[inline(always)]
    fn new(s: S) -> Self {
        let zero = [<f64 as Lanes>::splat(s, 0.0); LANES];
        Self { shifted: zero, squares: zero, absolute: zero }
    }

    /// Adds a block whose elements are all finite.
    #[inline(always)]
    fn add_all<E: Element>(&mut self, s: S, block: &[E], pivot: f64) {
        let per_register = f64::lanes::<S>();
        let shift = <f64 as Lanes>::splat(s, pivot);
        let Self { mut shifted, mut squares, mut absolute } = *self;
        let (whole, rest) = block.as_chunks::<LANES>();
        for x in whole {
            for r in 0..LANES / per_register {
                let x = E::widen(s, &x[r * per_register..][..per_register]);
                let d = <f64 as Lanes>::sub(s, x, shift);
                shifted[r] = <f64 as Lanes>::add(s, shifted[r], d);
                squares[r] = <f64 as Lanes>::add(s, squares[r], <f64 as Lanes>::mul(s, d, d));
                absolute[r] = <f64 as Lanes>::add(s, absolute[r], <f64 as Lanes>::abs::<S>(x));
            }
        }
        *self = Self { shifted, squares, absolute };
        for (lane, x) in rest.iter().enumerate() {
            self.add(lane, wide(*x), pivot);
        }
    }

    /// Adds the finite elements of a block and counts the others.
    #[inline(always)]
    fn add_finite<E: Element>(&mut self, block: &[E], pivot: f64, found: &mut Statistics) {
        for (i, x) in block.iter().enumerate() {
            let x = wide(*x);
            found.count::<E::Float>(x);
            if x.is_nan() {
                found.nan += 1;
            } else if x.is_infinite() {
                found.infinite += 1;
            } else {
                self.add(i % LANES, x, pivot);
            }
        }
    }

    #[inline(always)]
    fn add(&mut self, lane: usize, x: f64, pivot: f64) {
        let d = x - pivot;
        for (sum, term) in
            [(&mut self.shifted, d), (&mut self.squares, d * d), (&mut self.absolute, x.abs())]
        {
            bytemuck::cast_slice_mut::<Wide<S>, f64>(sum)[lane] += term;
        }
    }

    /// Reduces the lanes to the three sums.
    #[inline(always)]
    fn finish(&self, s: S) -> [f64; 3] {
        let mut totals = [0.0; 3];
        for (total, sums) in totals.iter_mut().zip([&self.shifted, &self.squares, &self.absolute]) {
            let mut lanes = [0.0; LANES];
            for (lanes, &sum) in lanes.chunks_mut(f64::lanes::<S>()).zip(sums) {
                <f64 as Lanes>::store(s, lanes, sum);
            }
            *total = join_lanes(Sum, lanes);
        }
        totals
    }
}
