//! Conversion to and from bf16: the upper half of an f32, with its sign, its exponent and 7 of its
//! 23 fraction bits.
//!
//! ```text
//! widen:              16 zeros are appended: exact
//! narrow:             to nearest, ties to even
//! narrow_stochastic:  the 16 dropped bits, over 2^16, are the probability of rounding away
//!                     from zero, otherwise towards it
//! ```
//!
//! Stochastic rounding is unbiased: a small change that is added again and again adds up, where
//! rounding to nearest would lose it every time. A NaN keeps its sign and becomes quiet; an
//! infinity stays. Called by `element`, by `gemm` for its results, by the moments of `optimizer`,
//! and by users.

mod noise;

use half::bf16;

use crate::elementwise::CHUNK;
use crate::error::check_length;
use crate::random::Stream;
use crate::simd::{Simd, WithSimd};
use crate::{Cpu, Error};

pub(crate) use noise::{BLOCKS, Noise, TILE};

/// Converts exactly.
#[inline(always)]
pub(crate) fn widened(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// Rounds `x` to nearest, ties to even.
#[inline(always)]
pub(crate) fn narrowed(x: f32) -> bf16 {
    // Half a unit of the last bit minus one, plus one if that bit is set: ties go to even.
    narrowed_with(x, 0x7FFF + (x.to_bits() >> 16 & 1))
}

/// The upper half of `x` after `noise`, at most 2^16, was added to its bits.
#[inline(always)]
fn narrowed_with(x: f32, noise: u32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(noise) >> 16;
    // A NaN is not rounded, since that could carry it into infinity.
    bf16::from_bits(
        if bits & 0x7FFF_FFFF > 0x7F80_0000 { bits >> 16 | 0x40 } else { rounded } as u16
    )
}

/// `y[i] = x[i]`, exactly; a NaN keeps its sign and payload.
///
/// # Errors
/// [`Error::Length`] if `x` and `y` differ in length.
pub fn widen(cpu: Cpu<'_>, x: &[bf16], y: &mut [f32]) -> Result<(), Error> {
    check_length("x", y.len(), x.len())?;
    cpu.for_each_item(x.chunks(CHUNK).zip(y.chunks_mut(CHUNK)), |(x, y)| {
        cpu.isa.run(Widen { x, y });
    });
    Ok(())
}

/// `y[i] = x[i]`, rounded to nearest, ties to even.
///
/// From half a unit above the largest bf16 on, the result is Inf. Subnormal numbers are not
/// flushed. NaN stays NaN, with its sign, and becomes quiet.
///
/// ```
/// use half::bf16;
/// use kernels::Cpu;
/// let mut y = [bf16::ZERO; 2];
/// kernels::bf16::narrow(Cpu::detect(), &[1.0, 1.0 + 1.0 / 256.0], &mut y)?; // the second is a tie
/// assert_eq!(y, [bf16::ONE; 2]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `x` and `y` differ in length. Nothing has been written then.
pub fn narrow(cpu: Cpu<'_>, x: &[f32], y: &mut [bf16]) -> Result<(), Error> {
    check_length("x", y.len(), x.len())?;
    cpu.for_each_item(x.chunks(CHUNK).zip(y.chunks_mut(CHUNK)), |(x, y)| {
        cpu.isa.run(Narrow { x, y });
    });
    Ok(())
}

/// Stochastic rounding: `y[i]` is one of the two neighbours of `x[i]`, with the mean `x[i]` over
/// streams. The probability of the neighbour away from zero is the 16 dropped bits over 2^16, which
/// is exact.
///
/// `y[i]` is a function of `x[i]`, `stream` and `i` alone. Values that bf16 represents stay, and so
/// does Inf. Above the largest bf16 the neighbour away from zero is Inf. NaN stays NaN, with its
/// sign, and becomes quiet.
///
/// # Errors
/// [`Error::Length`] if `x` and `y` differ in length. Nothing has been written then.
pub fn narrow_stochastic(
    cpu: Cpu<'_>,
    stream: Stream,
    x: &[f32],
    y: &mut [bf16],
) -> Result<(), Error> {
    check_length("x", y.len(), x.len())?;
    let chunks = x.chunks(CHUNK).zip(y.chunks_mut(CHUNK)).zip((0..).step_by(CHUNK / 8));
    cpu.for_each_item(chunks, |((x, y), first)| {
        cpu.isa.run(NarrowStochastic { stream, first, x, y });
    });
    Ok(())
}

struct Widen<'a> {
    x: &'a [bf16],
    y: &'a mut [f32],
}

impl WithSimd for Widen<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = widened(x);
        }
    }
}

struct Narrow<'a> {
    x: &'a [f32],
    y: &'a mut [bf16],
}

impl WithSimd for Narrow<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = narrowed(x);
        }
    }
}

struct NarrowStochastic<'a> {
    stream: Stream,
    /// Block of the generator that the chunk begins with.
    first: u64,
    x: &'a [f32],
    y: &'a mut [bf16],
}

impl WithSimd for NarrowStochastic<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let tiles = self.x.chunks(TILE).zip(self.y.chunks_mut(TILE));
        for ((x, y), first) in tiles.zip((self.first..).step_by(BLOCKS)) {
            let noise = Noise::new(self.stream, first);
            let middle = (TILE / 2).min(x.len());
            let ((x0, x1), (y0, y1)) = (x.split_at(middle), y.split_at_mut(middle));
            noise.narrow(0, x0, y0);
            noise.narrow(TILE / 2, x1, y1);
        }
    }
}
