//! Draws of yes or no: slices of ones and zeros, and the mask of a dropout.
//!
//! Element `i` is one where the upper 31 bits of word `i` of a stream are below `p 2^31`. The comparison is of
//! integers, so that the draw is the same for every type of element; and both `p = 0` and `p = 1` are exact. Called by
//! whoever makes data or masks, and by `dropout`.

use super::Stream;
use super::fill::{BLOCKS, TILE};
use crate::elementwise::CHUNK;
use crate::error::check_parameter;
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Element, Error};

/// `out[i]` is 1 with probability `p`, else 0: 1 where `stream.bits(i) >> 1` is below `p 2^31`, rounded to nearest.
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
/// [`Error::Parameter`] unless `p` is in `[0, 1]`. Nothing has been written then.
pub fn fill_bernoulli<E: Element>(cpu: Cpu<'_>, stream: Stream, p: f64, out: &mut [E]) -> Result<(), Error> {
    let draws = Bernoulli::new(stream, p)?;
    let chunks = (0..).step_by(CHUNK).zip(out.chunks_mut(CHUNK));
    cpu.for_each_item(chunks, |(first, out)| cpu.isa.run(Fill { draws, first, out }));
    Ok(())
}

/// Draws of 1 with a given probability, else 0.
#[derive(Clone, Copy)]
pub(crate) struct Bernoulli {
    stream: Stream,
    /// One where the upper 31 bits are below it: at most 2^31.
    threshold: u32,
}

impl Bernoulli {
    /// # Errors
    /// [`Error::Parameter`] unless `p` is in `[0, 1]`.
    pub(crate) fn new(stream: Stream, p: f64) -> Result<Self, Error> {
        check_parameter("p", p, "in [0, 1]", |p| (0.0..=1.0).contains(&p))?;
        // Exact but for the half that rounds.
        Ok(Self { stream, threshold: (p * f64::from(1_u32 << 31) + 0.5) as u32 })
    }

    /// Draws `first`, `first + 1`, ..., at least one and as many as `tile` has room for.
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

/// A chunk, which begins with draw `first`.
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
    extern crate std;

    use std::vec;

    use half::bf16;

    use super::*;
    use crate::testing::same_on_every_cpu;

    fn ones_are_where_the_words_say<E: Element>() {
        let stream = Stream::new(4, 1);
        for n in (0..=70).chain([127, 128, 129, 16_383, 16_384, 16_385, 40_001]) {
            same_on_every_cpu(|cpu| {
                let canary = E::from_float(E::Float::from_f64(7.0));
                let mut x = vec![canary; n + 2];
                fill_bernoulli(cpu, stream, 0.3, &mut x[1..=n]).unwrap();
                for (i, x) in (0..).zip(&x[1..=n]) {
                    let one = f64::from(stream.bits(i) >> 1) < 0.3 * f64::from(1_u32 << 31);
                    assert_eq!(x.to_float().to_f64(), f64::from(u8::from(one)), "{i} of {n}");
                }
                assert_eq!((x[0], x[n + 1]), (canary, canary));
            });
        }
    }

    #[test]
    fn ones_are_where_the_words_say_for_every_type() {
        ones_are_where_the_words_say::<f32>();
        ones_are_where_the_words_say::<f64>();
        ones_are_where_the_words_say::<bf16>();
    }

    #[test]
    fn there_are_as_many_ones_as_the_probability_asks_for() {
        let n = 1_000_000;
        let mut x = vec![0.0_f32; n];
        for (turn, p) in [(0, 0.001), (1, 0.1), (2, 0.5), (3, 0.9), (4, 0.999)] {
            fill_bernoulli(Cpu::detect(), Stream::new(9, turn), p, &mut x).unwrap();
            let ones: f64 = x.iter().map(|&x| f64::from(x)).sum();
            // Five standard deviations.
            assert!((ones - p * n as f64).abs() < 5.0 * (p * (1.0 - p) * n as f64).sqrt(), "{p}: {ones}");
        }
        for p in [0.0, 1.0] {
            fill_bernoulli(Cpu::detect(), Stream::new(9, 9), p, &mut x).unwrap();
            assert!(x.iter().all(|&x| f64::from(x) == p));
        }
    }

    #[test]
    fn probabilities_out_of_range_are_refused() {
        let mut x = [7.0_f32; 3];
        for p in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let error = fill_bernoulli(Cpu::detect(), Stream::new(0, 0), p, &mut x).unwrap_err();
            assert!(matches!(error, Error::Parameter { name: "p", .. }), "{error}");
        }
        assert_eq!(x, [7.0; 3]);
    }

    #[test]
    fn the_threshold_is_exact_at_both_ends() {
        let threshold = |p| Bernoulli::new(Stream::new(0, 0), p).unwrap().threshold;
        assert_eq!([0.0, 0.5, 1.0].map(threshold), [0, 1 << 30, 1 << 31]);
        assert_eq!(threshold(1.0 - f64::EPSILON), 1 << 31);
    }
}
