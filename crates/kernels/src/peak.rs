//! Peak rate of one thread: independent chains of multiply-adds in registers.
//!
//! ```text
//! repeat rounds times:  for each chain:  acc = x * acc + y        -- all in registers, no memory
//! ```
//!
//! There are more chains than the processor has operations in flight, so that no chain waits for
//! another. No matrix product can be faster; benchmarks print the fraction of this peak that it
//! reaches.

use core::hint::black_box;

use crate::Isa;
use crate::simd::{Lanes, Simd, Vector, WithSimd};

/// Runs `rounds` rounds of f32 fused multiply-adds in the registers of `isa`, on one thread.
/// Returns the number of floating-point operations.
///
/// A round is ten to thirty instructions: thousands of rounds take a measurable time.
///
/// ```
/// use kernels::{Isa, peak};
/// let isa = Isa::detect();
/// // Two operations in each lane of each chain.
/// assert_eq!(peak::fma_chains(isa, 1000) % (2 * 1000 * isa.lanes_f32() as u64), 0);
/// ```
pub fn fma_chains(isa: Isa, rounds: u64) -> u64 {
    isa.run(Chains::<false>(rounds))
}

/// The same with the instruction that adds products of pairs of bf16 to f32; `None` where `isa` has
/// no such instruction.
///
/// An instruction counts as four operations in each lane of f32.
pub fn pair_chains(isa: Isa, rounds: u64) -> Option<u64> {
    Some(isa.run_pairs(Chains::<true>(rounds))).filter(|&flop| flop > 0)
}

/// Rounds of fused multiply-adds, or of pair instructions.
struct Chains<const PAIRS: bool>(u64);

impl<const PAIRS: bool> WithSimd for Chains<PAIRS> {
    type Output = u64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> u64 {
        // Two units with a latency of four to six cycles need 8 to 12 chains. More hide the loop; x
        // and y need registers too.
        let chains = match (PAIRS && !S::HAS_PAIRS, S::TILE_ROWS > 12) {
            (true, _) => return 0,
            (false, true) => run::<S, PAIRS, 24>(s, self.0),
            (false, false) => run::<S, PAIRS, 12>(s, self.0),
        };
        let operations = if PAIRS { 4 } else { 2 };
        self.0 * chains * operations * f32::lanes::<S>() as u64
    }
}

/// Runs `N` chains and returns `N`.
#[inline(always)]
fn run<S: Simd, const PAIRS: bool, const N: usize>(s: S, rounds: u64) -> u64 {
    // 0x3C00 is a small bf16: as a pair, and as the f32 of both halves.
    let x = f32::splat(
        s,
        if PAIRS { f32::from_bits(black_box(0x3C00_3C00)) } else { black_box(0.999) },
    );
    let y =
        f32::splat(s, if PAIRS { f32::from_bits(black_box(0x3C00_3C00)) } else { black_box(1e-3) });
    let mut acc = [f32::splat(s, black_box(0.0)); N];
    for _ in 0..rounds {
        for a in &mut acc {
            *a = if PAIRS {
                s.mul_add_pairs(x, y, *a)
            } else {
                <S as Vector<f32>>::mul_add(s, x, *a, y)
            };
        }
    }
    black_box(acc);
    N as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_on_every_instruction_set() {
        for isa in Isa::available() {
            let lanes = isa.lanes_f32() as u64;
            let flop = fma_chains(isa, 10);
            assert!(flop == 10 * 12 * 2 * lanes || flop == 10 * 24 * 2 * lanes, "{isa}: {flop}");
            assert_eq!(fma_chains(isa, 0), 0);
            let pairs = pair_chains(isa, 10);
            assert!(pairs.is_none() || pairs == Some(2 * flop), "{isa}: {pairs:?}");
        }
    }
}
