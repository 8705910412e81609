//! Bernoulli draws: slices of ones and zeros, and dropout masks.
//!
//! Element `i` is 1 where the upper 31 bits of word `i` of a stream are below `p 2^31`. The
//! comparison is of integers, so that the draw is the same for every element type; `p = 0` and
//! `p = 1` are exact. Called by data generators, and by `dropout`.

use super::Stream;
use super::fill::{BLOCKS, TILE};
use crate::elementwise::CHUNK;
use crate::error::check_parameter;
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Element, Error};

/// Sets `out[i]` to 1 with probability `p`, otherwise to 0: to 1 where `stream.bits(i) >> 1` is
/// below `p 2^31`, rounded to nearest.
///
/// ```
/// use kernels::{Cpu, random::{Stream, fill_bernoulli}};
/// let mut x = [0.0_f32; 1000];
/// fill_bernoulli(Cpu::detect(), Stream::new(42, 0), 0.25, &mut x)?;
/// assert!((200.0..300.0).contains(&x.iter().sum::<f32>()));
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] unless `p` is in `[0, 1]`. Nothing is written then.
pub fn fill_bernoulli<E: Element>(
    cpu: Cpu<'_>,
    stream: Stream,
    p: f64,
    out: &mut [E],
) -> Result<(), Error> {
    let draws = Bernoulli::new(stream, p)?;
    let chunks = (0..).step_by(CHUNK).zip(out.chunks_mut(CHUNK));
    cpu.for_each_item(chunks, |(first, out)| cpu.isa.run(Fill { draws, first, out }));
    Ok(())
}

/// Draws of 1 with a given probability, otherwise 0.
#[derive(Clone, Copy)]
pub(crate) struct Bernoulli {
    stream: Stream,
    /// The draw is 1 where the upper 31 bits are below this: at most 2^31.
    threshold: u32,
}

impl Bernoulli {
    /// # Errors
    /// [`Error::Parameter`] unless `p` is in `[0, 1]`.
    pub(crate) fn new(stream: Stream, p: f64) -> Result<Self, Error> {
        check_parameter("p", p, "in [0, 1]", |p| (0.0..=1.0).contains(&p))?;
        // Exact, up to the half that rounds.
        Ok(Self { stream, threshold: (p * f64::from(1_u32 << 31) + 0.5) as u32 })
    }

    /// Draws `first`, `first + 1`, ...: at least one, and as many as fit `tile`.
    #[inline(always)]
    pub(crate) fn tile<E: Element>(self, first: u64, tile: &mut [E; TILE]) -> &[E] {
        let (zero, one) = (E::default(), E::from_float(E::Float::ONE));
        let words = self.stream.blocks::<BLOCKS>(first / 4);
        for (i, draws) in tile.chunks_exact_mut(4).enumerate() {
            for (draw, words) in draws.iter_mut().zip(&words) {
                *draw = if words[i] >> 1 < self.threshold { one } else { zero };
            }
        }
        &tile[(first % 4) as usize..]
    }
}

/// A chunk that begins with draw `first`.
struct Fill<'a, E> {
    draws: Bernoulli,
    first: u64,
    out: &'a mut [E],
}

impl<E: Element> WithSimd for Fill<'_, E> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { draws, mut first, out } = self;
        let mut tile = [E::default(); TILE];
        for out in out.chunks_mut(TILE) {
            out.copy_from_slice(&draws.tile(first, &mut tile)[..out.len()]);
            first += TILE as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_exact_at_zero_and_one() {
        let threshold = |p| Bernoulli::new(Stream::new(0, 0), p).unwrap().threshold;
        assert_eq!([0.0, 0.5, 1.0].map(threshold), [0, 1 << 30, 1 << 31]);
        assert_eq!(threshold(1.0 - f64::EPSILON), 1 << 31);
    }
}
