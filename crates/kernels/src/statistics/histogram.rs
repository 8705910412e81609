//! How the magnitudes of a tensor's numbers are spread over the powers of two.
//!
//! ```text
//! for each chunk of 16384 elements            on any thread
//!     for each block of 512: the place of each number, vectorised; then each place is counted, in one of four tables in turn
//! ```
//!
//! Counts have no order. Counting goes number by number; four tables keep equal neighbours from waiting for each other.

use super::wide;
use crate::norm::CHUNK;
use crate::simd::{Simd, WithSimd};
use crate::{Cpu, Element};

/// Numbers whose places are found before they are counted.
const BLOCK: usize = 512;

/// Tables that are counted in, in turn.
const TABLES: usize = 4;

/// The exponent field of the first bin, in f64.
const FIRST: u16 = (1023 + Histogram::LEAST_EXPONENT) as u16;

/// The places of a table: 0 is below the bins, then come these, and then the last three.
const ABOVE: u16 = Histogram::BINS as u16 + 1;
const NON_FINITE: u16 = ABOVE + 1;
const ZERO: u16 = ABOVE + 2;
const PLACES: usize = Histogram::BINS + 4;

/// How many numbers have which magnitude: one bin for each power of two from 2^-96 to 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// `bins[b]` counts the numbers whose size is at least `2^(LEAST_EXPONENT + b)` and less than twice that.
    pub bins: [u64; Self::BINS],
    /// Numbers that are 0 or -0.
    pub zero: u64,
    /// Numbers below the first bin, other than 0.
    pub below: u64,
    /// Finite numbers above the last bin.
    pub above: u64,
    /// NaN and infinities.
    pub non_finite: u64,
}

impl Default for Histogram {
    /// Of no numbers.
    fn default() -> Self {
        Self { bins: [0; Self::BINS], zero: 0, below: 0, above: 0, non_finite: 0 }
    }
}

impl Histogram {
    /// Bins: half of the exponents of f32, from a vanished gradient to an exploded one.
    pub const BINS: usize = 128;
    /// The exponent of the first bin.
    pub const LEAST_EXPONENT: i32 = -96;

    /// The counts of both.
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
    fn add(&mut self, places: &[u32; PLACES]) {
        let [below, bins @ .., above, non_finite, zero] = places.map(u64::from);
        self.below += below;
        self.above += above;
        self.non_finite += non_finite;
        self.zero += zero;
        self.bins.iter_mut().zip(bins).for_each(|(bin, count)| *bin += count);
    }
}

/// The [`Histogram`] of `x`.
///
/// ```
/// use kernels::{Cpu, statistics::{Histogram, histogram}};
/// let spread = histogram(Cpu::detect(), &[1.0_f32, -1.5, 2.0, 0.0, f32::INFINITY, 1e-40]);
/// let one = Histogram::LEAST_EXPONENT.unsigned_abs() as usize;
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
    type Output = [u32; PLACES];
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [u32; PLACES] {
        // As many entries as a byte has values, so that none is out of bounds.
        let mut tables = [[0_u32; 256]; TABLES];
        let mut places = [0_u8; BLOCK];
        for block in self.x.chunks(BLOCK) {
            let places = &mut places[..block.len()];
            for (place, x) in places.iter_mut().zip(block) {
                *place = place_of(wide(*x));
            }
            let (whole, rest) = places.as_chunks::<TABLES>();
            for places in whole {
                for (table, &place) in tables.iter_mut().zip(places) {
                    table[usize::from(place)] += 1;
                }
            }
            for &place in rest {
                tables[0][usize::from(place)] += 1;
            }
        }
        core::array::from_fn(|place| tables.iter().map(|table| table[place]).sum())
    }
}

/// Where `x` is counted.
#[inline(always)]
fn place_of(x: f64) -> u8 {
    // The sign, the exponent and four bits of the significand, of which the exponent is kept.
    let exponent = ((x.to_bits() >> 48) as u16 & 0x7FFF) >> 4;
    let place = exponent.saturating_sub(FIRST - 1).min(ABOVE);
    let place = if exponent == 0x7FF { NON_FINITE } else { place };
    (if x == 0.0 { ZERO } else { place }) as u8
}
