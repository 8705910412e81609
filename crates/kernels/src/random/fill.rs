//! Slices of random numbers: uniform and normal.
//!
//! ```text
//! for each chunk                                       on any thread
//!     for some blocks of the generator                 their words side by side, in registers
//!         uniform:  low + (high - low) u
//!         normal:   pairs of u become sqrt(-2 ln u[2j]) (cos, sin)(2 pi u[2j + 1])
//! ```
//!
//! Element `i` is a function of `(seed, stream, i)` alone, so that chunks, threads and instruction sets change no bit,
//! and a longer slice begins like a shorter one. Called by the initialisers of a network and by whatever makes data.

use super::{Stream, join, unit_f32, unit_f64};
use crate::elementwise::{CHUNK, Elementwise, along};
use crate::error::check_parameter;
use crate::math::{ln::ln, sin_pi::sin_cos_pi};
use crate::simd::{Float, Lanes, Simd, WithSimd};
use crate::{Cpu, Error};

/// Blocks of the generator that are worked on at a time: two registers of AVX-512 for each of their four words.
pub(super) const BLOCKS: usize = 32;

/// The elements of that many blocks, at most: a tile of f32.
pub(crate) const TILE: usize = 4 * BLOCKS;

/// Word `w` of block `i` is `words[w][i]`.
type Words = [[u32; BLOCKS]; 4];

/// How a type takes its numbers from the blocks of a [`Stream`].
pub trait Draw: Lanes {
    /// How many numbers a block of 128 bits holds.
    const PER_BLOCK: usize;
    /// Number `k` of block `i`, on `[0, 1)`: what `uniform_f32` and `uniform_f64` give.
    fn from_zero(words: &Words, i: usize, k: usize) -> Self;
    /// The same number from all of its bits and half a unit more, on `(0, 1]`: fine near 0, and never 0.
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

/// `out[i]` is uniform on `[low, high)`: `low + (high - low) * u[i]`, rounded once, where `u[i]` is
/// [`Stream::uniform_f32`] or [`Stream::uniform_f64`] of `i`. The rounding can give `high` itself.
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
/// [`Error::Parameter`] unless `low`, `high` and `high - low` are finite and `low <= high`. Nothing has been written
/// then.
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
    fill(cpu, stream, Uniform(Affine { offset: low, factor: width }), out);
    Ok(())
}

/// `out[i]` is normal with the given mean and standard deviation `std`: `mean + std * z[i]`, rounded once.
///
/// The pair `z[2j]`, `z[2j + 1]` is Box and Muller's (1958) `sqrt(-2 ln a) (cos, sin)(2 pi b)` of the draws `a` and `b`
/// with these numbers. `a` is as small as 2^-33 for f32 and 2^-65 for f64: no `z` is beyond ±6.8 and ±9.5, where a
/// normal one would be with a chance of 1e-11 and 2e-21.
///
/// # Errors
/// [`Error::Parameter`] unless `mean` and `std` are finite and `std` at least 0. Nothing has been written then.
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
    fill(cpu, stream, Normal(Affine { offset: mean, factor: std }), out);
    Ok(())
}

/// A distribution: how the words of some blocks become their elements.
trait Distribution<T>: Copy + Sync {
    /// Fills `tile`, which holds the elements of all blocks of `words`.
    fn tile<S: Simd>(self, s: S, words: &Words, tile: &mut [T]);
}

fn fill<T: Float>(cpu: Cpu<'_>, stream: Stream, distribution: impl Distribution<T>, out: &mut [T]) {
    let chunks = (0..).step_by(CHUNK / T::PER_BLOCK).zip(out.chunks_mut(CHUNK));
    cpu.for_each_item(chunks, |(block, out)| cpu.isa.run(Fill { stream, distribution, block, out }));
}

struct Fill<'a, D, T> {
    stream: Stream,
    distribution: D,
    /// The block with which the chunk begins.
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

/// `offset + factor * x`, in place.
#[derive(Clone, Copy)]
struct Affine<T> {
    offset: T,
    factor: T,
}

impl<T: Float> Elementwise<T, 0, 1> for Affine<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, []: [T::V<S>; 0], [x]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [T::mul_add(s, x, T::splat(s, self.factor), T::splat(s, self.offset))]
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
        // The pairs of all blocks at once: the first of each block, then the second if there are two.
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

/// Two uniform numbers become two normal ones.
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
    extern crate std;

    use std::{vec, vec::Vec};

    use super::*;
    use crate::testing::{bits, same_on_every_cpu};

    /// `n` standard normal numbers.
    fn normal<T: Float>(n: usize) -> Vec<T> {
        let mut z = vec![T::NAN; n];
        fill_normal(Cpu::detect(), Stream::new(5, 1), T::ZERO, T::ONE, &mut z).unwrap();
        z
    }

    fn every_element_depends_on_its_index_alone<T: Float>() {
        // Around registers, tiles, chunks.
        let long = [127, 128, 129, 16_383, 16_384, 16_385, 40_001];
        let stream = Stream::new(8, 3);
        let (mut uniform, mut normal) = (vec![T::NAN; 40_001], vec![T::NAN; 40_001]);
        let cpu = Cpu::detect();
        let (low, high) = (T::from_f64(-0.3), T::from_f64(0.7));
        fill_uniform(cpu, stream, low, high, &mut uniform).unwrap();
        fill_normal(cpu, stream, low, high, &mut normal).unwrap();
        for n in (0..=70).chain(long) {
            same_on_every_cpu(|cpu| {
                let mut x = vec![T::NAN; n + 2];
                fill_uniform(cpu, stream, low, high, &mut x[1..=n]).unwrap();
                assert_eq!(bits(&x[1..=n]), bits(&uniform[..n]));
                assert!(x[0].to_f64().is_nan() && x[n + 1].to_f64().is_nan());
                fill_normal(cpu, stream, low, high, &mut x[1..=n]).unwrap();
                assert_eq!(bits(&x[1..=n]), bits(&normal[..n]));
                assert!(x[0].to_f64().is_nan() && x[n + 1].to_f64().is_nan());
            });
        }
    }

    #[test]
    fn every_element_is_a_function_of_its_index_on_every_cpu() {
        every_element_depends_on_its_index_alone::<f32>();
        every_element_depends_on_its_index_alone::<f64>();
    }

    #[test]
    fn uniform_numbers_are_those_of_the_stream() {
        let stream = Stream::new(2, 9);
        let (mut x, mut y) = ([0.0_f32; 99], [0.0_f64; 99]);
        fill_uniform(Cpu::detect(), stream, 0.0, 1.0, &mut x).unwrap();
        fill_uniform(Cpu::detect(), stream, 0.0, 1.0, &mut y).unwrap();
        for (i, (x, y)) in (0..).zip(x.iter().zip(&y)) {
            assert_eq!((*x, *y), (stream.uniform_f32(i), stream.uniform_f64(i)));
        }
    }

    /// Phi, by Simpson's rule on the density; accurate to 1e-10 within ±8.
    fn normal_distribution(z: f64) -> f64 {
        const STEPS: usize = 400;
        let h = z / STEPS as f64;
        let exponents: [f64; STEPS + 1] = core::array::from_fn(|i| -(i as f64 * h) * (i as f64 * h) / 2.0);
        let mut density = [0.0; STEPS + 1];
        crate::math::exp(Cpu::detect(), &exponents, &mut density).unwrap();
        let weight = |i| if i == 0 || i == STEPS { 1.0 } else { (2 + 2 * (i % 2)) as f64 };
        let sum: f64 = density.iter().enumerate().map(|(i, y)| weight(i) * y).sum();
        0.5 + sum * h / 3.0 / (2.0 * core::f64::consts::PI).sqrt()
    }

    fn normal_numbers_are_normal<T: Float>() {
        let n = 200_000;
        let mut z: Vec<f64> = normal::<T>(n).iter().map(|z| z.to_f64()).collect();
        let root = (n as f64).sqrt();
        let moment = |power: fn(f64) -> f64| z.iter().map(|&z| power(z)).sum::<f64>() / n as f64;
        // Five standard errors: the variances of z, z^2, z^3, z^4 are 1, 2, 15, 96.
        assert!(moment(|z| z).abs() < 5.0 / root);
        assert!((moment(|z| z * z) - 1.0).abs() < 5.0 * 2.0_f64.sqrt() / root);
        assert!(moment(|z| z * z * z).abs() < 5.0 * 15.0_f64.sqrt() / root);
        assert!((moment(|z| z * z * z * z) - 3.0).abs() < 5.0 * 96.0_f64.sqrt() / root);
        // Neighbours, which come of one pair, are uncorrelated.
        for (lag, start) in [(1, 0), (1, 1), (2, 0)] {
            let products: f64 = z[start..].chunks_exact(lag + 1).map(|z| z[0] * z[lag]).sum();
            assert!(products.abs() < 5.0 * ((n / (lag + 1)) as f64).sqrt(), "lag {lag}");
        }
        // Kolmogorov and Smirnov: sqrt(n) D is above 2.5 with a chance of 7e-6.
        z.sort_by(f64::total_cmp);
        let distance = |(i, &z): (usize, &f64)| (normal_distribution(z) - (i as f64 + 0.5) / n as f64).abs();
        let worst = z.iter().enumerate().step_by(50).map(distance).fold(0.0, f64::max);
        assert!(worst * root < 2.5, "{}", worst * root);
        // Both tails are there: beyond 4 lie 6 in 100 000.
        let beyond = z.iter().filter(|z| z.abs() > 4.0).count();
        assert!((1..40).contains(&beyond), "{beyond}");
    }

    #[test]
    fn normal_numbers_have_the_moments_and_the_distribution_of_the_normal() {
        normal_numbers_are_normal::<f32>();
        normal_numbers_are_normal::<f64>();
    }

    #[test]
    fn the_extreme_draws_give_finite_numbers() {
        let (least, greatest) = ([[0; BLOCKS]; 4], [[u32::MAX; BLOCKS]; 4]);
        assert_eq!(f32::above_zero(&least, 0, 3), 0.5 / 4_294_967_296.0);
        assert_eq!(f64::above_zero(&least, 0, 1), 0.5 / 18_446_744_073_709_551_616.0);
        assert_eq!((f32::above_zero(&greatest, 0, 3), f64::above_zero(&greatest, 0, 1)), (1.0, 1.0));
        assert!(f32::from_zero(&greatest, 0, 3) < 1.0 && f64::from_zero(&greatest, 0, 1) < 1.0);
        for words in [least, greatest] {
            let mut tile = [f64::NAN; 2 * BLOCKS];
            Normal(Affine { offset: 0.0, factor: 1.0 }).tile(pulp::Scalar::new(), &words, &mut tile);
            assert!(tile.iter().all(|z| z.abs() < 9.5), "{}", tile[0]);
            let mut tile = [f32::NAN; 4 * BLOCKS];
            Normal(Affine { offset: 0.0, factor: 1.0 }).tile(pulp::Scalar::new(), &words, &mut tile);
            assert!(tile.iter().all(|z| z.abs() < 6.8), "{}", tile[0]);
        }
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        let stream = Stream::new(0, 0);
        let mut x = [7.0_f32; 3];
        let cpu = Cpu::detect();
        for (low, high, name) in [
            (f32::NAN, 1.0, "low"),
            (0.0, f32::INFINITY, "high"),
            (1.0, 0.0, "high"),
            (-3e38, 3e38, "high - low"),
        ] {
            let error = fill_uniform(cpu, stream, low, high, &mut x).unwrap_err();
            assert!(matches!(error, Error::Parameter { name: n, .. } if n == name), "{error}");
        }
        for (mean, std, name) in [(f32::INFINITY, 1.0, "mean"), (0.0, -1.0, "std"), (0.0, f32::NAN, "std")] {
            let error = fill_normal(cpu, stream, mean, std, &mut x).unwrap_err();
            assert!(matches!(error, Error::Parameter { name: n, .. } if n == name), "{error}");
        }
        assert_eq!(x, [7.0; 3]);
        fill_uniform(cpu, stream, 0.5, 0.5, &mut x).unwrap();
        assert_eq!(x, [0.5; 3]);
        fill_normal(cpu, stream, -2.0, 0.0, &mut x).unwrap();
        assert_eq!(x, [-2.0; 3]);
    }
}
