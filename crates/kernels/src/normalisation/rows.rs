//! Sums along a row, and gradients, which also sum down the rows. Shared by layer and RMS
//! normalisation.
//!
//! ```text
//! along a row: element j in lane j % L, each lane one ascending chain; then the upper half of the
//!     lanes is added to the lower half until one is left         L: 32 lanes of f32, 16 of f64
//!     layer:  shift = x[0] + (sum of x - x[0]) / channels;  then the sums of x - shift and of
//!             its square
//!     rms:    the sum of x^2
//! backward, for each block of 128 rows                           in parallel
//!     for each group of 4 rows, ascending
//!         each row:    sums of g = dy * gamma and of g * (x - mean), in lanes
//!         each column: dgamma, dbeta += the terms of the group, in pairs, as in `columns`; dx
//! the blocks' sums of dgamma and dbeta are added in ascending order, in f64
//! ```
//!
//! Each added product is one fused multiply-add, except the first of a pair.

use super::columns::{BLOCK, GROUP, WIDTH, add_terms, rows, rows_mut, totals};
use super::{
    Affine, AffineGradient, InverseRoot, at_least_zero, check_epsilon, check_scratch, split_mean,
};
use crate::elementwise::{CHUNK, along};
use crate::error::check_length;
use crate::simd::{Float, MOST_LANES, Simd, WithSimd};
use crate::{Cpu, Error};

/// Bytes of the virtual lanes of a row. Part of the bit contract. Two registers of AVX-512, four of
/// AVX2: with two sums, enough additions in flight for a row in L1.
const LANE_BYTES: usize = 128;

/// Maximum number of lanes of any type.
const MAX_LANES: usize = LANE_BYTES / size_of::<f32>();

/// Scratch elements of the gradients of `rows` x `channels`: two per channel for each 128 rows.
pub(super) const fn backward_scratch(rows: usize, channels: usize) -> usize {
    rows.div_ceil(BLOCK).saturating_mul(2).saturating_mul(channels)
}

/// Terms of each element: `a`, which is summed, and `b`; `a * b` is summed too.
trait Terms<T: Float, const READ: usize> {
    fn terms<S: Simd>(&self, s: S, read: [T::V<S>; READ]) -> (T::V<S>, T::V<S>);
}

/// `a` and `b` are both `x - centre`.
struct Centred<T> {
    centre: T,
}

impl<T: Float> Terms<T, 1> for Centred<T> {
    #[inline(always)]
    fn terms<S: Simd>(&self, s: S, [x]: [T::V<S>; 1]) -> (T::V<S>, T::V<S>) {
        let difference = T::sub(s, x, T::splat(s, self.centre));
        (difference, difference)
    }
}

/// `a` is `dy * gamma`, `b` is `x - centre`.
struct GradientTerms<T> {
    centre: T,
}

impl<T: Float> Terms<T, 3> for GradientTerms<T> {
    #[inline(always)]
    fn terms<S: Simd>(&self, s: S, [dy, x, gamma]: [T::V<S>; 3]) -> (T::V<S>, T::V<S>) {
        (T::mul(s, dy, gamma), T::sub(s, x, T::splat(s, self.centre)))
    }
}

impl<T: Float> Terms<T, 2> for GradientTerms<T> {
    #[inline(always)]
    fn terms<S: Simd>(&self, s: S, [dy, x]: [T::V<S>; 2]) -> (T::V<S>, T::V<S>) {
        (dy, T::sub(s, x, T::splat(s, self.centre)))
    }
}

/// Sums of `a` and of `a * b` along a row.
#[inline(always)]
fn sums<S: Simd, T: Float, const READ: usize>(
    s: S,
    op: &impl Terms<T, READ>,
    mut read: [&[T]; READ],
) -> (T, T) {
    let lanes = T::lanes::<S>();
    // Registers that hold the virtual lanes.
    let count = const { LANE_BYTES / size_of::<T::V<S>>() };
    let zero = T::splat(s, T::ZERO);
    let (mut a_sums, mut ab_sums, mut inputs) =
        ([zero; MAX_LANES], [zero; MAX_LANES], [zero; READ]);
    let len = read.iter().fold(usize::MAX, |len, x| len.min(x.len()));
    for x in &mut read {
        *x = &x[..len];
    }
    let whole = len / (count * lanes) * count;
    for i in (0..whole).step_by(count) {
        for l in 0..count {
            for (v, x) in inputs.iter_mut().zip(read) {
                *v = T::register(s, x, i + l);
            }
            let (a, b) = op.terms(s, inputs);
            a_sums[l] = T::add(s, a_sums[l], a);
            ab_sums[l] = T::mul_add(s, a, b, ab_sums[l]);
        }
    }
    // The remaining elements fill some of the lanes; the others add a = 0.
    for l in 0..count {
        let start = (whole + l) * lanes;
        if start >= len {
            break;
        }
        let end = len.min(start + lanes);
        for (v, x) in inputs.iter_mut().zip(read) {
            *v = T::rest(s, &x[start..end]);
        }
        let (a, b) = op.terms(s, inputs);
        let is_here = T::less(s, zero, T::rest(s, &[T::ONE; MOST_LANES][..end - start]));
        let (a, b) = (T::select(s, is_here, a, zero), T::select(s, is_here, b, zero));
        a_sums[l] = T::add(s, a_sums[l], a);
        ab_sums[l] = T::mul_add(s, a, b, ab_sums[l]);
    }
    (fold::<S, T>(s, a_sums), fold::<S, T>(s, ab_sums))
}

/// Sum of all lanes: the upper half is added to the lower half until one is left.
#[inline(always)]
fn fold<S: Simd, T: Float>(s: S, mut registers: [T::V<S>; MAX_LANES]) -> T {
    let mut half = const { LANE_BYTES / size_of::<T::V<S>>() } / 2;
    while half > 0 {
        for l in 0..half {
            registers[l] = T::add(s, registers[l], registers[l + half]);
        }
        half /= 2;
    }
    let mut lanes = [T::ZERO; MOST_LANES];
    T::put_register(s, &mut lanes, 0, registers[0]);
    let mut half = T::lanes::<S>() / 2;
    while half > 0 {
        let (lower, upper) = lanes.split_at_mut(half);
        for (lower, &upper) in lower.iter_mut().zip(&*upper) {
            *lower += upper;
        }
        half /= 2;
    }
    lanes[0]
}

/// Normalises the rows of `x`; `rstd` has one element per row. If `CENTRED`, the mean is subtracted
/// and saved to `mean`.
#[expect(clippy::too_many_arguments, reason = "inputs, saved statistics, outputs")]
pub(super) fn forward<T: Float, const CENTRED: bool>(
    cpu: Cpu<'_>,
    x: &[T],
    channels: usize,
    affine: Affine<'_, T>,
    epsilon: f64,
    mean: &mut [f64],
    rstd: &mut [f64],
    y: &mut [T],
) -> Result<(), Error> {
    check_length("x", rstd.len().saturating_mul(channels), x.len())?;
    check_length("y", x.len(), y.len())?;
    affine.check(channels)?;
    check_epsilon(epsilon)?;
    if x.is_empty() {
        return Ok(());
    }
    let rows = (CHUNK / channels).max(1);
    let mut mean = mean;
    // Without means, their chunks are empty.
    let saved = rstd.chunks_mut(rows).map(move |rstd| {
        (mean.split_off_mut(..rstd.len().min(mean.len())).unwrap_or_default(), rstd)
    });
    let tasks = x.chunks(rows * channels).zip(y.chunks_mut(rows * channels)).zip(saved);
    cpu.for_each_item(tasks, |((x, y), (mean, rstd))| {
        cpu.isa.run(Forward::<T, CENTRED> { x, channels, affine, epsilon, mean, rstd, y });
    });
    Ok(())
}

struct Forward<'a, T, const CENTRED: bool> {
    x: &'a [T],
    channels: usize,
    affine: Affine<'a, T>,
    epsilon: f64,
    mean: &'a mut [f64],
    rstd: &'a mut [f64],
    y: &'a mut [T],
}

impl<T: Float, const CENTRED: bool> WithSimd for Forward<'_, T, CENTRED> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { x, channels, affine, epsilon, mean, rstd, y } = self;
        let n = channels as f64;
        let tiles = x
            .chunks(GROUP * channels)
            .zip(y.chunks_mut(GROUP * channels))
            .zip(rstd.chunks_mut(GROUP));
        for (tile, ((x, y), rstd)) in tiles.enumerate() {
            // Each step for all rows of the tile, so that their sums are independent chains.
            let mut shifts = [T::ZERO; GROUP];
            if CENTRED {
                for (shift, x) in shifts.iter_mut().zip(x.chunks_exact(channels)) {
                    *shift = sums(s, &Centred { centre: x[0] }, [x]).0;
                    *shift /= T::from_f64(n);
                    *shift += x[0];
                }
            }
            let mut means = [0.0; GROUP];
            for (((x, &shift), mean), rstd) in
                x.chunks_exact(channels).zip(&shifts).zip(&mut means).zip(&mut *rstd)
            {
                let (sum, squares) = sums(s, &Centred { centre: shift }, [x]);
                if CENTRED {
                    let correction = sum.to_f64() / n;
                    *mean = shift.to_f64() + correction;
                    *rstd = at_least_zero(squares.to_f64() - sum.to_f64() * correction) / n;
                } else {
                    *rstd = squares.to_f64() / n;
                }
            }
            along(s, &InverseRoot { epsilon }, [], [&mut *rstd]);
            let rows = x.chunks_exact(channels).zip(y.chunks_exact_mut(channels));
            for ((&rstd, &mean), (x, y)) in rstd.iter().zip(&means).zip(rows) {
                let (centre, rest) = split_mean(mean);
                let row =
                    Row { centre, scale: T::from_f64(rstd), shift: T::from_f64(-rest * rstd) };
                normalise(s, row, x, affine, y);
            }
            if CENTRED {
                for (to, mean) in mean[tile * GROUP..].iter_mut().zip(means) {
                    *to = mean;
                }
            }
        }
    }
}

/// Constants of a row: `xhat = (x - centre) * scale + shift`.
#[derive(Clone, Copy)]
struct Row<T> {
    centre: T,
    scale: T,
    shift: T,
}

#[inline(always)]
fn normalise<S: Simd, T: Float>(s: S, row: Row<T>, x: &[T], affine: Affine<'_, T>, y: &mut [T]) {
    let Row { centre, scale, shift } = row;
    let (centre, scale, shift) = (T::splat(s, centre), T::splat(s, scale), T::splat(s, shift));
    let lanes = T::lanes::<S>();
    let whole = y.len() / lanes * lanes;
    let Affine { gamma, beta } = affine;
    for i in 0..y.len() / lanes {
        let mut v = T::mul_add(s, T::sub(s, T::register(s, x, i), centre), scale, shift);
        v = match (gamma, beta) {
            (Some(gamma), Some(beta)) => {
                T::mul_add(s, v, T::register(s, gamma, i), T::register(s, beta, i))
            }
            (Some(gamma), None) => T::mul(s, v, T::register(s, gamma, i)),
            (None, Some(beta)) => T::add(s, v, T::register(s, beta, i)),
            (None, None) => v,
        };
        T::put_register(s, y, i, v);
    }
    if whole < y.len() {
        let mut v = T::mul_add(s, T::sub(s, T::rest(s, &x[whole..]), centre), scale, shift);
        v = match (gamma, beta) {
            (Some(gamma), Some(beta)) => {
                T::mul_add(s, v, T::rest(s, &gamma[whole..]), T::rest(s, &beta[whole..]))
            }
            (Some(gamma), None) => T::mul(s, v, T::rest(s, &gamma[whole..])),
            (None, Some(beta)) => T::add(s, v, T::rest(s, &beta[whole..])),
            (None, None) => v,
        };
        T::put_rest(s, &mut y[whole..], v);
    }
}

/// The gradients of [`forward`]: `dy` becomes `dx`.
#[expect(clippy::too_many_arguments, reason = "inputs, saved statistics, outputs")]
pub(super) fn backward<T: Float, const CENTRED: bool>(
    cpu: Cpu<'_>,
    x: &[T],
    channels: usize,
    gamma: Option<&[T]>,
    mean: &[f64],
    rstd: &[f64],
    dy: &mut [T],
    mut gradient: AffineGradient<'_, T>,
    scratch: &mut [T],
) -> Result<(), Error> {
    check_length("x", rstd.len().saturating_mul(channels), x.len())?;
    check_length("dy", x.len(), dy.len())?;
    Affine { gamma, beta: None }.check(channels)?;
    gradient.check(channels)?;
    let needed = backward_scratch(rstd.len(), channels);
    check_scratch(needed, scratch.len())?;
    if x.is_empty() {
        (0..channels).for_each(|j| gradient.put(j, 0.0, 0.0));
        return Ok(());
    }
    let is_wanted = gradient.is_wanted();
    let partials = &mut scratch[..needed];
    let rows = (CHUNK / (BLOCK * channels)).max(1) * BLOCK;
    let tasks = (x.chunks(rows * channels).zip(dy.chunks_mut(rows * channels)))
        .zip(rstd.chunks(rows).zip(partials.chunks_mut(rows / BLOCK * 2 * channels)))
        .enumerate();
    cpu.for_each_item(tasks, |(i, ((x, dy), (rstd, partials)))| {
        let mean = mean.get(i * rows..).unwrap_or_default();
        cpu.isa.run(Backward::<T, CENTRED> {
            x,
            channels,
            gamma,
            mean,
            rstd,
            dy,
            is_wanted,
            partials,
        });
    });
    if is_wanted {
        cpu.isa.run(Gradients { channels, partials, gradient });
    }
    Ok(())
}

struct Backward<'a, T, const CENTRED: bool> {
    x: &'a [T],
    channels: usize,
    gamma: Option<&'a [T]>,
    mean: &'a [f64],
    rstd: &'a [f64],
    dy: &'a mut [T],
    is_wanted: bool,
    partials: &'a mut [T],
}

impl<T: Float, const CENTRED: bool> WithSimd for Backward<'_, T, CENTRED> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { x, channels, gamma, mean, rstd, dy, is_wanted, partials } = self;
        let blocks = (x.chunks(BLOCK * channels).zip(dy.chunks_mut(BLOCK * channels)))
            .zip(rstd.chunks(BLOCK).zip(partials.chunks_exact_mut(2 * channels)));
        for (block, ((x, dy), (rstd, partial))) in blocks.enumerate() {
            partial.fill(T::ZERO);
            let mut sums = is_wanted.then(|| partial.split_at_mut(channels));
            let mut done = 0;
            while done < rstd.len() {
                let count = if rstd.len() - done >= GROUP { GROUP } else { 1 };
                let (x, dy) = (&x[done * channels..], &mut dy[done * channels..]);
                let rstd = &rstd[done..];
                let mean = if CENTRED { &mean[block * BLOCK + done..] } else { mean };
                if count == GROUP {
                    backward_rows::<S, T, CENTRED, GROUP>(
                        s, x, channels, gamma, mean, rstd, dy, &mut sums,
                    );
                } else {
                    backward_rows::<S, T, CENTRED, 1>(
                        s, x, channels, gamma, mean, rstd, dy, &mut sums,
                    );
                }
                done += count;
            }
        }
    }
}

/// Computes the gradients of the first `ROWS` rows.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "inputs, saved statistics, outputs")]
fn backward_rows<S: Simd, T: Float, const CENTRED: bool, const ROWS: usize>(
    s: S,
    x: &[T],
    channels: usize,
    gamma: Option<&[T]>,
    mean: &[f64],
    rstd: &[f64],
    dy: &mut [T],
    sums_of_columns: &mut Option<(&mut [T], &mut [T])>,
) {
    let lanes = T::lanes::<S>();
    let whole = channels / lanes * lanes;
    let n = channels as f64;
    let x = rows::<T, ROWS>(x, channels);
    let dy = rows_mut::<T, ROWS>(dy, channels);

    // dx = scale * g + (slope * (x - centre) + pull)
    let zero = T::splat(s, T::ZERO);
    let [mut centre, mut scale, mut shift, mut slope, mut pull] = [[zero; ROWS]; 5];
    for r in 0..ROWS {
        let rstd = rstd[r];
        let (near, rest) = if CENTRED { split_mean(mean[r]) } else { (T::ZERO, 0.0) };
        let terms = GradientTerms { centre: near };
        let (sum, product) = match gamma {
            Some(gamma) => sums(s, &terms, [&*dy[r], x[r], gamma]),
            None => sums(s, &terms, [&*dy[r], x[r]]),
        };
        let (sum, product) = (if CENTRED { sum.to_f64() } else { 0.0 }, product.to_f64());
        let by = -rstd * rstd * (rstd * (product - rest * sum)) / n;
        centre[r] = T::splat(s, near);
        scale[r] = T::splat(s, T::from_f64(rstd));
        shift[r] = T::splat(s, T::from_f64(-rest * rstd));
        slope[r] = T::splat(s, T::from_f64(by));
        pull[r] = T::splat(s, T::from_f64(-rstd * sum / n - by * rest));
    }

    let (mut a, mut xhat) = ([zero; ROWS], [zero; ROWS]);
    for start in (0..channels).step_by(lanes) {
        let i = start / lanes;
        let is_whole = start < whole;
        let gamma = match gamma {
            Some(gamma) => Some(fetch(s, gamma, i, is_whole)),
            None => None,
        };
        for r in 0..ROWS {
            a[r] = fetch(s, &*dy[r], i, is_whole);
            let difference = T::sub(s, fetch(s, x[r], i, is_whole), centre[r]);
            xhat[r] = T::mul_add(s, difference, scale[r], shift[r]);
            let g = match gamma {
                Some(gamma) => T::mul(s, a[r], gamma),
                None => a[r],
            };
            let dx = T::mul_add(s, scale[r], g, T::mul_add(s, slope[r], difference, pull[r]));
            put(s, dy[r], i, is_whole, dx);
        }
        if let Some((sums, products)) = sums_of_columns {
            let old = (fetch(s, sums, i, is_whole), fetch(s, products, i, is_whole));
            let (sum, product) = add_terms::<S, T, ROWS>(s, a, xhat, old);
            put(s, sums, i, is_whole, sum);
            put(s, products, i, is_whole, product);
        }
    }
}

/// Loads register `i` of `x`, partially if it is the last and not whole.
#[inline(always)]
fn fetch<S: Simd, T: Float>(s: S, x: &[T], i: usize, is_whole: bool) -> T::V<S> {
    if is_whole { T::register(s, x, i) } else { T::rest(s, &x[i * T::lanes::<S>()..]) }
}

/// Stores `v` to register `i` of `x`, partially if it is the last and not whole.
#[inline(always)]
fn put<S: Simd, T: Float>(s: S, x: &mut [T], i: usize, is_whole: bool, v: T::V<S>) {
    if is_whole {
        T::put_register(s, x, i, v);
    } else {
        T::put_rest(s, &mut x[i * T::lanes::<S>()..], v);
    }
}

/// Computes the gradients of gamma and beta.
struct Gradients<'a, T> {
    channels: usize,
    partials: &'a [T],
    gradient: AffineGradient<'a, T>,
}

impl<T: Float> WithSimd for Gradients<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { channels, partials, mut gradient } = self;
        for first in (0..channels).step_by(WIDTH) {
            let [dbeta, dgamma] = totals(channels, partials, first);
            for (i, j) in (first..channels).take(WIDTH).enumerate() {
                gradient.put(j, dgamma[i], dbeta[i]);
            }
        }
    }
}
