//! The terms of a sum: what a word is, and how two words are multiplied and added.
//!
//! For f32 and f64 a word is an element, and a term one fused multiply-add. For bf16 a word is a pair of elements that are
//! neighbours in k, and a term is what the instruction VDPBF16PS does, as the tests
//! find:
//!
//! ```text
//! p <- step(odd of a, odd of b, p);  p <- step(even of a, even of b, p)
//! step(x, y, p) = x y + p, rounded once to f32 as if exponents had no lower end,
//!                 then a zero of its sign if it is below the smallest normal number
//! ```
//!
//! where subnormal x and y count as zeros of their sign. Where there is no such instruction the same bits are computed
//! step by step.

use super::block::Block;
use super::operand::{Bf16Operand, Operand};
use crate::simd::{Lanes, Simd};
use crate::{Float, Isa, MatRef};

/// How words are multiplied.
pub trait Terms: Send + Sync + Sized + 'static {
    /// The type of sums, whose registers hold words as well.
    type Sum: Float;
    /// The word of elements that are all 1.
    const ONE: Self::Sum;
    /// `acc` and the product of `a` and `b`.
    fn mul_add<S: Simd>(
        s: S,
        a: <Self::Sum as Lanes>::V<S>,
        b: <Self::Sum as Lanes>::V<S>,
        acc: <Self::Sum as Lanes>::V<S>,
    ) -> <Self::Sum as Lanes>::V<S>;
    /// Elements to a word.
    const ELEMENTS: usize;
    /// Whether tiles leave out words of a sparse factor: more code for each type.
    const SKIPS: bool;
    /// The matrix as a factor of these words, rounded to their elements.
    fn factor(matrix: MatRef<'_, Self::Sum>) -> Operand<'_, Self::Sum>;
    /// Computes `block` with `isa`.
    fn run(isa: Isa, block: Block<'_, Self, Self::Sum>);
}

/// Elements of type `T`, one by one.
#[derive(Clone, Copy, Debug)]
pub struct Single<T>(core::marker::PhantomData<T>);

impl<T: Float> Terms for Single<T> {
    type Sum = T;
    const ONE: T = T::ONE;
    const ELEMENTS: usize = 1;
    const SKIPS: bool = size_of::<T>() == size_of::<f32>();
    fn factor(matrix: MatRef<'_, T>) -> Operand<'_, T> {
        matrix.into()
    }
    fn run(isa: Isa, block: Block<'_, Self, T>) {
        T::run(isa, block);
    }
    #[inline(always)]
    fn mul_add<S: Simd>(s: S, a: T::V<S>, b: T::V<S>, acc: T::V<S>) -> T::V<S> {
        T::mul_add(s, a, b, acc)
    }
}

/// Pairs of bf16, summed in f32.
#[derive(Clone, Copy, Debug)]
pub struct Pairs;

impl Terms for Pairs {
    type Sum = f32;
    const ONE: f32 = f32::from_bits(0x3F80_3F80);
    const ELEMENTS: usize = 2;
    const SKIPS: bool = true;
    fn factor(matrix: MatRef<'_, f32>) -> Operand<'_, f32> {
        Operand(Bf16Operand::rounded(matrix).0)
    }
    fn run(isa: Isa, block: Block<'_, Self, f32>) {
        isa.run_pairs(block);
    }
    #[inline(always)]
    fn mul_add<S: Simd>(
        s: S,
        a: <f32 as Lanes>::V<S>,
        b: <f32 as Lanes>::V<S>,
        acc: <f32 as Lanes>::V<S>,
    ) -> <f32 as Lanes>::V<S> {
        if S::HAS_PAIRS {
            return s.mul_add_pairs(a, b, acc);
        }
        let odd_a = <f32 as Lanes>::map_bits::<S>(a, |bits| bits & 0xFFFF_0000);
        let odd_b = <f32 as Lanes>::map_bits::<S>(b, |bits| bits & 0xFFFF_0000);
        let even_a = <f32 as Lanes>::map_bits::<S>(a, |bits| bits << 16);
        let even_b = <f32 as Lanes>::map_bits::<S>(b, |bits| bits << 16);
        step::<S, f32>(s, even_a, even_b, step::<S, f32>(s, odd_a, odd_b, acc))
    }
}

/// `x y + acc` in f32 as VDPBF16PS adds it. No argument is subnormal: packing has seen to those of the factors.
///
/// Generic in the name of f32 alone, whose own `mul_add` is another.
#[inline(always)]
fn step<S: Simd, T: Float>(s: S, x: T::V<S>, y: T::V<S>, acc: T::V<S>) -> T::V<S> {
    let r = T::mul_add(s, x, y, acc);
    // Below 2^-126 the rounding above has kept fewer than 24 bits, and may have rounded up to 2^-126 what stays below it
    // with 24. Scaled by 2^64 it keeps them; where r is as small as that, the scaled terms are far from overflow.
    let (least, up) = (f64::from(f32::MIN_POSITIVE), (1_u128 << 64) as f64);
    let scale = T::splat(s, T::from_f64(up));
    let scaled = T::mul_add(s, T::mul(s, x, scale), y, T::mul(s, acc, scale));
    let tiny = T::less(s, T::abs::<S>(scaled), T::splat(s, T::from_f64(least * up)));
    let zero = T::map_bits::<S>(r, |bits| bits & T::SIGN);
    let settled = T::select(s, tiny, zero, r);
    // NaN and large sums compare as false with 2^-126, and are kept whatever `scaled` has become.
    let small = T::less_or_equal(s, T::abs::<S>(r), T::splat(s, T::from_f64(least)));
    T::select(s, small, settled, r)
}

/// The word of two bf16, given as bits. A subnormal becomes a zero of its sign.
#[inline(always)]
pub(super) fn pair(even: u16, odd: u16) -> u32 {
    settled(u32::from(even) | u32::from(odd) << 16)
}

/// The word with zeros of their sign for subnormal halves.
#[inline(always)]
pub(super) fn settled(word: u32) -> u32 {
    // All ones where the exponent is not zero.
    let low = u32::from(word & 0x7F80 != 0).wrapping_neg();
    let high = u32::from(word & 0x7F80_0000 != 0).wrapping_neg();
    word & (low & 0x7FFF | high & 0x7FFF_0000 | 0x8000_8000)
}
