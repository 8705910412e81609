//! Histogram of the magnitudes of a tensor's elements over the powers of two.
//!
//! ```text
//! for each chunk of 16384 elements            in parallel
//!     for each block of 512: the bin index of each element, vectorised;
//!         then count each index, in one of four tables in turn
//! ```
//!
//! Counts have no order. Elements are counted one at a time; four tables avoid store-to-load stalls
//! between equal neighbours.

use super::wide;
use crate::norm::CHUNK;
use crate::simd::{Simd, WithSimd};
use crate::{Cpu, Element};

/// Elements whose bin indices are computed before they are counted.
const BLOCK: usize = 512;

/// Count tables, used in turn.
const TABLES: usize = 4;

/// Exponent field of the first bin, in f64.
const FIRST: u16 = (1023 + Histogram::MIN_EXPONENT) as u16;

/// Indices of a table: 0 is below the bins, then the bins, then these three.
const ABOVE: u16 = Histogram::BINS as u16 + 1;
const NON_FINITE: u16 = ABOVE + 1;
const ZERO: u16 = ABOVE + 2;
const INDICES: usize = Histogram::BINS + 4;

/// Histogram of magnitudes: one bin for each power of two from 2^-96 to 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// `bins[b]` counts the elements with a magnitude of at least `2^(MIN_EXPONENT + b)` and less
    /// than twice that.
    pub bins: [u64; Self::BINS],
    /// Elements that are 0 or -0.
    pub zero: u64,
    /// Non-zero elements below the first bin.
    pub below: u64,
    /// Finite elements above the last bin.
    pub above: u64,
    /// NaN and infinities.
    pub non_finite: u64,
}

impl Default for Histogram {
    /// Histogram of no elements.
    fn default() -> Self {
        Self { bins: [0; Self::BINS], zero: 0, below: 0, above: 0, non_finite: 0 }
    }
}

impl Histogram {
    /// Number of bins: half of the exponents of f32, from a vanished gradient to an exploded one.
    pub const BINS: usize = 128;
    /// Exponent of the first bin.
    pub const MIN_EXPONENT: i32 = -96;

    /// Adds up the counts of both.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let mut merged = *self;
        merged.bins.iter_mut().zip(other.bins).for_each(|(bin, other)| *bin += other);
        merged.zero += other.zero;
        merged.below += other.below;
        merged.above += other.above;
        merged.non_finite += other.non_finite;
        merged
    }

    /// Adds the counts of a chunk.
    fn add(&mut self, indices: &[u32; INDICES]) {
        let [below, bins @ .., above, non_finite, zero] = indices.map(u64::from);
        self.below += below;
        self.above += above;
        self.non_finite += non_finite;
        self.zero += zero;
        self.bins.iter_mut().zip(bins).for_each(|(bin, count)| *bin += count);
    }
}

/// Computes the [`Histogram`] of `x`.
///
/// ```
/// use kernels::{Cpu, statistics::{Histogram, histogram}};
/// let spread = histogram(Cpu::detect(), &[1.0_f32, -1.5, 2.0, 0.0, f32::INFINITY, 1e-40]);
/// let one = Histogram::MIN_EXPONENT.unsigned_abs() as usize;
/// assert_eq!(spread.bins[one..][..2], [2, 1]);
/// assert_eq!((spread.zero, spread.below, spread.above, spread.non_finite), (1, 1, 0, 1));
/// ```
#[inline(never)]
pub fn histogram<E: Element>(cpu: Cpu<'_>, x: &[E]) -> Histogram {
    let mut total = Histogram::default();
    cpu.in_order(x.chunks(CHUNK), |x| cpu.isa.run(Chunk { x }), |chunk| total.add(&chunk));
    total
}

/// The counts of a chunk.
struct Chunk<'a, E> {
    x: &'a [E],
}

impl<E: Element> WithSimd for Chunk<'_, E> {
    type Output = [u32; INDICES];
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [u32; INDICES] {
        // 256 entries, so that no byte is out of bounds.
        let mut tables = [[0_u32; 256]; TABLES];
        let mut indices = [0_u8; BLOCK];
        for block in self.x.chunks(BLOCK) {
            let indices = &mut indices[..block.len()];
            for (index, x) in indices.iter_mut().zip(block) {
                *index = index_of(wide(*x));
            }
            let (whole, rest) = indices.as_chunks::<TABLES>();
            for indices in whole {
                for (table, &index) in tables.iter_mut().zip(indices) {
                    table[usize::from(index)] += 1;
                }
            }
            for &index in rest {
                tables[0][usize::from(index)] += 1;
            }
        }
        core::array::from_fn(|index| tables.iter().map(|table| table[index]).sum())
    }
}

/// Index of the count of `x`.
#[inline(always)]
fn index_of(x: f64) -> u8 {
    // The sign, the exponent and four bits of the significand; the shift leaves the exponent.
    let exponent = ((x.to_bits() >> 48) as u16 & 0x7FFF) >> 4;
    let index = exponent.saturating_sub(FIRST - 1).min(ABOVE);
    let index = if exponent == 0x7FF { NON_FINITE } else { index };
    (if x == 0.0 { ZERO } else { index }) as u8
}
