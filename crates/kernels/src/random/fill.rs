//! Slices of uniform and normal random numbers.
//!
//! ```text
//! for each chunk                                       in parallel
//!     for some blocks of the generator                 their words transposed, in registers
//!         uniform:  low + (high - low) u
//!         normal:   pairs of u become sqrt(-2 ln u[2j]) (cos, sin)(2 pi u[2j + 1])
//! ```
//!
//! Element `i` is a function of `(seed, stream, i)` alone, so that chunks, threads and instruction
//! sets change no bit, and a longer slice begins like a shorter one. Called by the initialisers of
//! a network and by data generators.

use super::{Stream, join, unit_f32, unit_f64};
use crate::elementwise::{CHUNK, Elementwise, along};
use crate::error::check_parameter;
use crate::math::{ln::ln, sin_pi::sin_cos_pi};
use crate::simd::{Float, Lanes, Simd, WithSimd};
use crate::{Cpu, Error};

/// Blocks of the generator per step: two registers of AVX-512 for each of their four words.
pub(super) const BLOCKS: usize = 32;

/// Maximum number of elements in that many blocks, reached by f32.
pub(crate) const TILE: usize = 4 * BLOCKS;

/// Word `w` of block `i` is `words[w][i]`.
type Words = [[u32; BLOCKS]; 4];

/// Conversion of blocks of a [`Stream`] to numbers.
pub trait Draw: Lanes {
    /// Numbers per block of 128 bits.
    const PER_BLOCK: usize;
    /// Number `k` of block `i`, on `[0, 1)`, as `uniform_f32` and `uniform_f64`.
    fn from_zero(words: &Words, i: usize, k: usize) -> Self;
    /// The same number from all of its bits plus half a unit, on `(0, 1]`: fine near 0, and never
    /// 0.
    fn above_zero(words: &Words, i: usize, k: usize) -> Self;
}

impl Draw for f32 {
    const PER_BLOCK: usize = 4;
    #[inline(always)]
    fn from_zero(words: &Words, i: usize, k: usize) -> f32 {
        unit_f32(words[k][i])
    }
    #[inline(always)]
    fn above_zero(words: &Words, i: usize, k: usize) -> f32 {
        (words[k][i] as f32 + 0.5) * (1.0 / (1_u64 << 32) as f32)
    }
}

impl Draw for f64 {
    const PER_BLOCK: usize = 2;
    #[inline(always)]
    fn from_zero(words: &Words, i: usize, k: usize) -> f64 {
        unit_f64(join(words[2 * k][i], words[2 * k + 1][i]))
    }
    #[inline(always)]
    fn above_zero(words: &Words, i: usize, k: usize) -> f64 {
        (join(words[2 * k][i], words[2 * k + 1][i]) as f64 + 0.5) * (0.5 / (1_u64 << 63) as f64)
    }
}

/// Fills `out` with numbers uniform on `[low, high)`: `out[i] = low + (high - low) * u[i]`, rounded
/// once, where `u[i]` is [`Stream::uniform_f32`] or [`Stream::uniform_f64`] of `i`. Rounding can
/// give `high` itself.
///
/// ```
/// use kernels::{Cpu, random::{Stream, fill_uniform}};
/// let mut x = [0.0_f32; 100];
/// fill_uniform(Cpu::detect(), Stream::new(42, 0), -1.0, 1.0, &mut x)?;
/// assert_eq!(x[7], 2.0 * Stream::new(42, 0).uniform_f32(7) - 1.0);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] unless `low`, `high` and `high - low` are finite and `low <= high`. Nothing
/// is written then.
#[inline(never)]
pub fn fill_uniform<T: Float>(
    cpu: Cpu<'_>,
    stream: Stream,
    low: T,
    high: T,
    out: &mut [T],
) -> Result<(), Error> {
    let mut width = high;
    width -= low;
    check_parameter("low", low.to_f64(), "finite", |_| true)?;
    check_parameter("high", high.to_f64(), "finite and at least `low`", |_| low <= high)?;
    check_parameter("high - low", width.to_f64(), "finite", |_| true)?;
    fill(cpu, stream, Uniform(Affine { offset: low, scale: width }), out);
    Ok(())
}

/// Fills `out` with normal numbers of the given mean and standard deviation:
/// `out[i] = mean + std * z[i]`, rounded once.
///
/// The pair `z[2j]`, `z[2j + 1]` is Box and Muller's (1958) `sqrt(-2 ln a) (cos, sin)(2 pi b)`
/// of the draws `a` and `b` with these indices. `a` is at least 2^-33 for f32 and 2^-65 for
/// f64, so that `z` stays within ±6.8 and ±9.5, which an exact normal number exceeds with
/// probability 1e-11 and 2e-21.
///
/// # Errors
/// [`Error::Parameter`] unless `mean` and `std` are finite and `std` is at least 0. Nothing is
/// written then.
#[inline(never)]
pub fn fill_normal<T: Float>(
    cpu: Cpu<'_>,
    stream: Stream,
    mean: T,
    std: T,
    out: &mut [T],
) -> Result<(), Error> {
    check_parameter("mean", mean.to_f64(), "finite", |_| true)?;
    check_parameter("std", std.to_f64(), "finite and at least 0", |std| std >= 0.0)?;
    fill(cpu, stream, Normal(Affine { offset: mean, scale: std }), out);
    Ok(())
}

/// A distribution: the conversion of blocks to its elements.
trait Distribution<T>: Copy + Sync {
    /// Fills `tile`, which holds the elements of all blocks of `words`.
    fn tile<S: Simd>(self, s: S, words: &Words, tile: &mut [T]);
}

fn fill<T: Float>(cpu: Cpu<'_>, stream: Stream, distribution: impl Distribution<T>, out: &mut [T]) {
    let chunks = (0..).step_by(CHUNK / T::PER_BLOCK).zip(out.chunks_mut(CHUNK));
    cpu.for_each_item(chunks, |(block, out)| {
        cpu.isa.run(Fill { stream, distribution, block, out });
    });
}

struct Fill<'a, D, T> {
    stream: Stream,
    distribution: D,
    /// Block that the chunk begins with.
    block: u64,
    out: &'a mut [T],
}

impl<T: Float, D: Distribution<T>> WithSimd for Fill<'_, D, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { stream, distribution, mut block, out } = self;
        let mut tile = [T::ZERO; TILE];
        let tile = &mut tile[..BLOCKS * T::PER_BLOCK];
        for out in out.chunks_mut(tile.len()) {
            distribution.tile(s, &stream.blocks(block), tile);
            out.copy_from_slice(&tile[..out.len()]);
            block += BLOCKS as u64;
        }
    }
}

/// `offset + scale * x`, in place.
#[derive(Clone, Copy)]
struct Affine<T> {
    offset: T,
    scale: T,
}

impl<T: Float> Elementwise<T, 0, 1> for Affine<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, []: [T::V<S>; 0], [x]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::mul_add(s, x, T::splat(s, self.scale), T::splat(s, self.offset))]
    }
}

#[derive(Clone, Copy)]
struct Uniform<T>(Affine<T>);

impl<T: Float> Distribution<T> for Uniform<T> {
    #[inline(always)]
    fn tile<S: Simd>(self, s: S, words: &Words, tile: &mut [T]) {
        for (i, numbers) in tile.chunks_exact_mut(T::PER_BLOCK).enumerate() {
            for (k, number) in numbers.iter_mut().enumerate() {
                *number = T::from_zero(words, i, k);
            }
        }
        along(s, &self.0, [], [tile]);
    }
}

#[derive(Clone, Copy)]
struct Normal<T>(Affine<T>);

impl<T: Float> Distribution<T> for Normal<T> {
    #[inline(always)]
    fn tile<S: Simd>(self, s: S, words: &Words, tile: &mut [T]) {
        // All blocks at once: the first pair of each block, then the second if there are two.
        for pair in 0..T::PER_BLOCK / 2 {
            let (mut a, mut b) = ([T::ZERO; BLOCKS], [T::ZERO; BLOCKS]);
            for i in 0..BLOCKS {
                a[i] = T::above_zero(words, i, 2 * pair);
                b[i] = T::from_zero(words, i, 2 * pair + 1);
            }
            along(s, &BoxMuller, [], [&mut a, &mut b]);
            for (i, numbers) in tile.chunks_exact_mut(T::PER_BLOCK).enumerate() {
                numbers[2 * pair] = a[i];
                numbers[2 * pair + 1] = b[i];
            }
        }
        along(s, &self.0, [], [tile]);
    }
}

/// Replaces two uniform numbers by two normal ones.
struct BoxMuller;

impl<T: Float> Elementwise<T, 0, 2> for BoxMuller {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, []: [T::V<S>; 0], [a, b]: [T::V<S>; 2]) -> [T::V<S>; 2] {
        let two = T::splat(s, T::TWO);
        let radius = T::sqrt(s, T::mul(s, T::splat(s, -T::TWO), ln::<S, T>(s, a)));
        let (sin, cos) = sin_cos_pi::<S, T>(s, T::mul(s, two, b));
        [T::mul(s, radius, cos), T::mul(s, radius, sin)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extreme_draws_give_finite_numbers() {
        let (lowest, highest) = ([[0; BLOCKS]; 4], [[u32::MAX; BLOCKS]; 4]);
        assert_eq!(f32::above_zero(&lowest, 0, 3), 0.5 / 4_294_967_296.0);
        assert_eq!(f64::above_zero(&lowest, 0, 1), 0.5 / 18_446_744_073_709_551_616.0);
        let ones = (f32::above_zero(&highest, 0, 3), f64::above_zero(&highest, 0, 1));
        assert_eq!(ones, (1.0, 1.0));
        assert!(f32::from_zero(&highest, 0, 3) < 1.0 && f64::from_zero(&highest, 0, 1) < 1.0);
        for words in [lowest, highest] {
            let mut tile = [f64::NAN; 2 * BLOCKS];
            Normal(Affine { offset: 0.0, scale: 1.0 }).tile(pulp::Scalar::new(), &words, &mut tile);
            assert!(tile.iter().all(|z| z.abs() < 9.5), "{}", tile[0]);
            let mut tile = [f32::NAN; 4 * BLOCKS];
            Normal(Affine { offset: 0.0, scale: 1.0 }).tile(pulp::Scalar::new(), &words, &mut tile);
            assert!(tile.iter().all(|z| z.abs() < 6.8), "{}", tile[0]);
        }
    }
}
