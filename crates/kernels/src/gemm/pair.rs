//! Pairs of bf16 as 32 bits: two values that are neighbours in k, the even one in the lower half.
//!
//! The pair instruction counts a subnormal as a zero of its sign, so packing flushes subnormals.
//! Called where operands are loaded: by `load`, and by `convolution`.

use crate::bf16::narrowed;

/// The pair of two bf16 given as bits. A subnormal becomes a zero of its sign.
#[inline(always)]
pub(super) fn join_pair(even: u16, odd: u16) -> u32 {
    flush_subnormals(u32::from(even) | u32::from(odd) << 16)
}

/// The pair with a zero of its sign in place of each subnormal.
#[inline(always)]
pub(super) fn flush_subnormals(pair: u32) -> u32 {
    // All ones where the exponent is not zero.
    let low = u32::from(pair & 0x7F80 != 0).wrapping_neg();
    let high = u32::from(pair & 0x7F80_0000 != 0).wrapping_neg();
    pair & (low & 0x7FFF | high & 0x7FFF_0000 | 0x8000_8000)
}

/// The pair of two f32, each rounded to bf16. A subnormal counts as a zero of its sign before it is
/// rounded, as in the pair instruction.
#[inline(always)]
pub(crate) fn round_pair(even: f32, odd: f32) -> u32 {
    let half = |x: f32| {
        let subnormal = x.abs() < f32::MIN_POSITIVE;
        let x = if subnormal { x.to_bits() & 0x8000_0000 } else { x.to_bits() };
        u32::from(narrowed(f32::from_bits(x)).to_bits())
    };
    half(even) | half(odd) << 16
}
