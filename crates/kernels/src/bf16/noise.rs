//! Random bits for the stochastic rounding of a tile. Called by `bf16` and by the moments of
//! `optimizer`.

use half::bf16;

use super::narrowed_with;
use crate::random::Stream;

/// Elements that share [`Noise`]. Part of the bit contract; a divisor of [`CHUNK`].
pub(crate) const TILE: usize = 8 * BLOCKS;

/// Blocks of the generator per step: a register of AVX-512 for each of their words.
pub(crate) const BLOCKS: usize = 16;

/// 16 random bits for each of [`TILE`] elements. Element `e` uses half `e / 64`, the lower first,
/// of word `e / 16 % 4` of block `e % 16`, so that neighbours have neighbouring bits.
#[derive(Clone, Copy)]
pub struct Noise([u32; TILE / 2]);

impl Noise {
    /// Before the first draw.
    pub(crate) const ZERO: Self = Self([0; TILE / 2]);

    /// Draws from blocks `first..first + 16` of `stream`.
    #[inline(always)]
    pub(crate) fn new(stream: Stream, first: u64) -> Self {
        let mut words = [0; TILE / 2];
        for (to, from) in
            words.as_chunks_mut::<BLOCKS>().0.iter_mut().zip(stream.blocks::<BLOCKS>(first))
        {
            *to = from;
        }
        Self(words)
    }

    /// Rounds `values` to `x`, elements `at..` of the tile. They must not cross its middle.
    #[inline(always)]
    pub(crate) fn narrow(&self, at: usize, values: &[f32], x: &mut [bf16]) {
        let half = TILE / 2;
        let shift = 16 * (at / half) as u32;
        for ((x, &value), &word) in x.iter_mut().zip(values).zip(&self.0[at % half..]) {
            *x = narrowed_with(value, word >> shift & 0xFFFF);
        }
    }
}
