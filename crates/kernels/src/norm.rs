//! Reductions of a long slice to one f64: the sum and the Euclidean norm.
//!
//! ```text
//! for each chunk of 16384 elements           on any thread
//!     element i is added to lane i % 32      each lane one ascending chain
//!     the upper half of the lanes is added to the lower until one is left
//! the results of the chunks are added in ascending order
//! ```
//!
//! The order depends on the length alone, so that every instruction set and every number of threads gives the same
//! bits. All arithmetic is in f64: squares of f32 are exact there, and neither they nor their sum leave its range.
//! A piece of the chunk is widened to f64 first, on the stack, then added up in whole registers. Called by `clip` and
//! by the loss of a network.

use crate::math::sqrt;
use crate::parallel::GROUP;
use crate::simd::{Float, Lanes, Simd, WithSimd};
use crate::{Cpu, Error};

/// Elements of a chunk. Part of the bit contract. 64 KiB of f32, as for the element-wise operations.
const CHUNK: usize = 16 * 1024;

/// Virtual lanes of a chunk. Part of the bit contract. Four registers of AVX-512, eight of AVX2: enough additions in
/// flight to keep up with a second-level cache.
const LANES: usize = 32;

/// Elements that are widened at a time: a multiple of [`LANES`], 4 KiB of the first-level cache.
const PIECE: usize = 512;

/// Below this norm, squares may have lost digits by underflow: 2^-480. From here on, the error of those that
/// underflow, at most 2^-1075 each, is lost in a sum of at least 2^-960.
const LEAST: f64 = f64::from_bits((1023 - 480) << 52);

/// 2^600, which takes the squares of the smallest f64 into range; its inverse does so for the largest, and for the sum
/// of as many of them as memory holds.
const SCALE: f64 = f64::from_bits((1023 + 600) << 52);

/// The sum of `x`, in f64; 0 for an empty slice.
///
/// NaN, infinities and overflow are what addition makes of them.
///
/// ```
/// use kernels::{Cpu, norm};
/// assert_eq!(norm::sum(Cpu::detect(), &[1.5_f32, -0.5, 2.0]), 3.0);
/// ```
pub fn sum<T: Float>(cpu: Cpu<'_>, x: &[T]) -> f64 {
    reduce(cpu, x, |x| cpu.isa.run(Sum { x }))
}

/// The Euclidean norm of `x`, `sqrt(sum of x[i]^2)`; 0 for an empty slice.
///
/// No finite `x` of f32 overflows or underflows. Nor do the squares of f64: where they would, they are taken of `x`
/// times a power of two. Only a norm of f64 that is itself past `f64::MAX` is Inf.
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
pub fn norm2<T: Float>(cpu: Cpu<'_>, x: &[T]) -> Result<f64, Error> {
    let Scaled { norm, scale } = scaled_norm2(cpu, x)?;
    Ok(norm / scale)
}

/// A norm, `norm / scale`, which may itself be out of range.
pub(crate) struct Scaled {
    /// The norm of `scale * x`.
    pub(crate) norm: f64,
    /// A power of two; 1 unless the squares needed another.
    pub(crate) scale: f64,
}

/// [`norm2`], which cannot overflow.
pub(crate) fn scaled_norm2<T: Float>(cpu: Cpu<'_>, x: &[T]) -> Result<Scaled, Error> {
    let norm = |scale| {
        let squares = reduce(cpu, x, |x| cpu.isa.run(Squares { x, scale }));
        Scaled { norm: sqrt(cpu, squares), scale }
    };
    let plain = norm(1.0);
    if (LEAST..f64::INFINITY).contains(&plain.norm) {
        return Ok(plain);
    }
    if plain.norm < LEAST {
        return Ok(norm(SCALE));
    }
    match x.iter().position(|x| !x.to_f64().is_finite()) {
        Some(index) => Err(Error::NonFinite { index }),
        None => Ok(norm(1.0 / SCALE)),
    }
}

/// The results of `reduce_chunk` for each chunk of `x`, added in ascending order.
fn reduce<T: Float>(cpu: Cpu<'_>, x: &[T], reduce_chunk: impl Fn(&[T]) -> f64 + Sync) -> f64 {
    let mut total = 0.0;
    for group in x.chunks(GROUP * CHUNK) {
        let mut results = [0.0; GROUP];
        let chunks = group.chunks(CHUNK);
        let count = chunks.len();
        cpu.for_each_item(chunks.zip(&mut results), |(x, result)| *result = reduce_chunk(x));
        results[..count].iter().for_each(|result| total += result);
    }
    total
}

/// The sum of a chunk.
struct Sum<'a, T> {
    x: &'a [T],
}

impl<T: Float> WithSimd for Sum<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> f64 {
        sum_in_lanes(s, self.x, |x| x.to_f64())
    }
}

/// The sum of the squares of a chunk times `scale`.
struct Squares<'a, T> {
    x: &'a [T],
    scale: f64,
}

impl<T: Float> WithSimd for Squares<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> f64 {
        sum_in_lanes(s, self.x, |x| {
            let x = x.to_f64() * self.scale;
            x * x
        })
    }
}

/// The sum of `f(x[i])` in [`LANES`] lanes.
#[inline(always)]
fn sum_in_lanes<S: Simd, T: Float>(s: S, x: &[T], f: impl Fn(T) -> f64) -> f64 {
    let (mut lanes, mut terms) = ([0.0; LANES], [0.0; PIECE]);
    for piece in x.chunks(PIECE) {
        let terms = &mut terms[..piece.len()];
        for (term, &x) in terms.iter_mut().zip(piece) {
            *term = f(x);
        }
        accumulate(s, &mut lanes, terms);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Adds element `i` to lane `i % LANES`.
#[inline(always)]
fn accumulate<S: Simd>(s: S, lanes: &mut [f64; LANES], x: &[f64]) {
    let (whole, rest) = x.as_chunks::<LANES>();
    let registers = LANES / f64::lanes::<S>();
    let mut sums = [<f64 as Lanes>::splat(s, 0.0); LANES];
    sums[..registers].copy_from_slice(<f64 as Lanes>::split::<S>(lanes).0);
    for x in whole {
        let (x, _) = <f64 as Lanes>::split::<S>(x);
        for (sum, &x) in sums[..registers].iter_mut().zip(x) {
            *sum = <f64 as Lanes>::add(s, *sum, x);
        }
    }
    <f64 as Lanes>::split_mut::<S>(lanes).0.copy_from_slice(&sums[..registers]);
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += x;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{vec, vec::Vec};

    use super::*;
    use crate::random::Stream;
    use crate::testing::same_on_every_cpu;

    fn uniform<T: Float>(n: usize) -> Vec<T> {
        (0..n as u64).map(|i| T::from_f64(Stream::new(4, 4).uniform_f64(i) - 0.5)).collect()
    }

    /// The promised order, in scalars.
    fn ordered_sum(x: &[f64]) -> f64 {
        let mut total = 0.0;
        for chunk in x.chunks(16 * 1024) {
            let mut lanes = [0.0; 32];
            chunk.iter().enumerate().for_each(|(i, x)| lanes[i % 32] += x);
            for half in [16, 8, 4, 2, 1] {
                for l in 0..half {
                    lanes[l] += lanes[l + half];
                }
            }
            total += lanes[0];
        }
        total
    }

    fn sums_in_the_promised_order<T: Float>() {
        // Around chunks (16384) and groups of chunks (2^20).
        let long = [16_383, 16_384, 16_385, 50_000, (1 << 20) - 1, (1 << 20) + 1, 3_000_000];
        let x = uniform::<T>(3_000_000);
        for n in (0..=70).chain(long) {
            let x = &x[..n];
            let wide: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
            let squares: Vec<f64> = wide.iter().map(|x| x * x).collect();
            let expected = (ordered_sum(&wide), ordered_sum(&squares).sqrt());
            let got = same_on_every_cpu(|cpu| (sum(cpu, x), norm2(cpu, x).unwrap()));
            assert_eq!(got, expected, "{n} elements");
        }
    }

    #[test]
    fn the_order_is_the_promised_one_on_every_cpu() {
        sums_in_the_promised_order::<f32>();
        sums_in_the_promised_order::<f64>();
    }

    #[test]
    fn alignment_changes_nothing() {
        let x = uniform::<f32>(1003);
        let mut moved = vec![0.0; 1010];
        for offset in 0..7 {
            moved[offset..][..1003].copy_from_slice(&x);
            assert_eq!(
                norm2(Cpu::detect(), &moved[offset..][..1003]).unwrap().to_bits(),
                norm2(Cpu::detect(), &x).unwrap().to_bits()
            );
        }
    }

    #[test]
    fn no_finite_norm_overflows_or_underflows() {
        let norm = |x: &[f64]| same_on_every_cpu(|cpu| norm2(cpu, x).unwrap());
        let tiny = f64::from_bits(1);
        assert_eq!(norm(&[]), 0.0);
        assert_eq!(norm(&[0.0, -0.0]), 0.0);
        // 3, 4 and 5 times a power of two: exact.
        let (huge, small) = (f64::from_bits((1023 + 700) << 52), f64::from_bits((1023 - 700) << 52));
        assert_eq!(norm(&[3.0 * huge, 4.0 * huge]), 5.0 * huge);
        assert_eq!(norm(&[3.0 * small, -4.0 * small]), 5.0 * small);
        assert_eq!(norm(&[f64::MAX]), f64::MAX);
        assert_eq!(norm(&[tiny]), tiny);
        assert_eq!(norm(&[3.0 * tiny, 4.0 * tiny]), 5.0 * tiny);
        assert_eq!(norm(&[1e300, tiny]), 1e300);
        assert_eq!(norm(&[f64::MAX; 4]), f64::INFINITY);
        // On both sides of the scale's threshold, 2^-480 or about 3e-145.
        for size in [2e-145, 3e-145, 4e-145] {
            assert!((norm(&[3.0 * size, 4.0 * size]) / size - 5.0).abs() < 1e-14);
        }

        let norm = |x: &[f32]| same_on_every_cpu(|cpu| norm2(cpu, x).unwrap());
        assert_eq!(norm(&[f32::MAX; 4]), 2.0 * f64::from(f32::MAX));
        assert_eq!(norm(&[f32::from_bits(1); 4]), 2.0 * f64::from(f32::from_bits(1)));
        let power = f32::from_bits(254 << 23);
        assert_eq!(norm(&vec![power; 1 << 20]), 1024.0 * f64::from(power));
    }

    fn names_the_first_that_is_not_finite<T: Float>() {
        for n in [1, 31, 33, 40_000] {
            for at in [0, n / 2, n - 1] {
                for bad in [T::NAN, T::INFINITY, -T::INFINITY] {
                    let mut x = uniform::<T>(n);
                    x[at] = bad;
                    x[n - 1] = bad;
                    same_on_every_cpu(|cpu| {
                        assert_eq!(norm2(cpu, &x), Err(Error::NonFinite { index: at }));
                    });
                }
            }
        }
    }

    #[test]
    fn the_first_element_that_is_not_finite_is_named() {
        names_the_first_that_is_not_finite::<f32>();
        names_the_first_that_is_not_finite::<f64>();
        // Beside numbers whose squares overflow.
        let x = [f64::MAX, f64::MAX, f64::NEG_INFINITY];
        assert_eq!(norm2(Cpu::detect(), &x), Err(Error::NonFinite { index: 2 }));
    }

    #[test]
    fn a_sum_is_what_addition_makes_of_it() {
        let cpu = Cpu::detect();
        assert_eq!(sum::<f32>(cpu, &[]), 0.0);
        assert_eq!(sum(cpu, &[1e38_f32; 4]), 4.0 * f64::from(1e38_f32));
        assert!(sum(cpu, &[1.0, f64::NAN]).is_nan());
        assert_eq!(sum(cpu, &[1.0, f64::INFINITY]), f64::INFINITY);
    }
}
