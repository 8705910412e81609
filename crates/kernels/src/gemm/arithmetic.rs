//! Arithmetic of a product: the elements that a register holds, and how two of them are multiplied
//! and added to an accumulator.
//!
//! For f32 and f64 ([`Single`]) the operation is one fused multiply-add. For bf16 ([`Pairs`]) an
//! element is a pair of bf16 that are neighbours in k, and the operation is that of the instruction
//! VDPBF16PS, as the tests find:
//!
//! ```text
//! p <- step(odd of a, odd of b, p);  p <- step(even of a, even of b, p)
//! step(x, y, p) = x y + p, rounded once to f32 as if exponents had no lower end,
//!                 then a zero of its sign if it is below the smallest normal number
//! ```
//!
//! where subnormal x and y count as zeros of their sign. Without the instruction, `mul_add`
//! computes the same bits step by step; microkernels choose a cheaper `chain` where they can. Used
//! by the microkernel, and by `convolution`.

use crate::simd::{Lanes, Simd, WithSimd};
use crate::{Float, Isa, MatRef};

/// Multiplication and accumulation of elements.
pub trait Arithmetic: Send + Sync + Sized + 'static {
    /// Type of the accumulators, whose registers hold elements as well.
    type Acc: Float;
    /// The element whose values are all 1.
    const ONE: Self::Acc;
    /// Number of k per element: 1, or 2 for pairs.
    const K_PER_ELEMENT: usize;
    /// `true` if microkernels that skip zeros of a sparse operand are compiled: more code per type.
    const SKIPS_ZEROS: bool;
    /// `acc` plus the product of `a` and `b`.
    fn mul_add<S: Simd>(
        s: S,
        a: <Self::Acc as Lanes>::V<S>,
        b: <Self::Acc as Lanes>::V<S>,
        acc: <Self::Acc as Lanes>::V<S>,
    ) -> <Self::Acc as Lanes>::V<S>;
    /// `matrix`, if its elements are rounded to bf16 before they are multiplied.
    fn to_round(matrix: MatRef<'_, Self::Acc>) -> Option<MatRef<'_, f32>>;
    /// Runs `op` with the pair instruction of `isa`, if this is the arithmetic of pairs.
    fn run<Op: WithSimd>(isa: Isa, op: Op) -> Op::Output;
}

/// Elements of type `T`, one per k.
#[derive(Clone, Copy, Debug)]
pub struct Single<T>(core::marker::PhantomData<T>);

impl<T: Float> Arithmetic for Single<T> {
    type Acc = T;
    const ONE: T = T::ONE;
    const K_PER_ELEMENT: usize = 1;
    const SKIPS_ZEROS: bool = size_of::<T>() == size_of::<f32>();
    #[inline(always)]
    fn mul_add<S: Simd>(s: S, a: T::V<S>, b: T::V<S>, acc: T::V<S>) -> T::V<S> {
        T::mul_add(s, a, b, acc)
    }
    fn to_round(_: MatRef<'_, T>) -> Option<MatRef<'_, f32>> {
        None
    }
    fn run<Op: WithSimd>(isa: Isa, op: Op) -> Op::Output {
        isa.run(op)
    }
}

/// Pairs of bf16, accumulated in f32.
#[derive(Clone, Copy, Debug)]
pub struct Pairs;

impl Arithmetic for Pairs {
    type Acc = f32;
    const ONE: f32 = f32::from_bits(0x3F80_3F80);
    const K_PER_ELEMENT: usize = 2;
    const SKIPS_ZEROS: bool = true;
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
        let (odd_a, odd_b) = (f32::odd_of_pairs::<S>(a), f32::odd_of_pairs::<S>(b));
        let (even_a, even_b) = (f32::even_of_pairs::<S>(a), f32::even_of_pairs::<S>(b));
        step::<S, f32>(s, even_a, even_b, step::<S, f32>(s, odd_a, odd_b, acc))
    }
    fn to_round(matrix: MatRef<'_, f32>) -> Option<MatRef<'_, f32>> {
        Some(matrix)
    }
    fn run<Op: WithSimd>(isa: Isa, op: Op) -> Op::Output {
        isa.run_pairs(op)
    }
}

/// `x y + acc` in f32 as VDPBF16PS adds it. No argument is subnormal: packing flushes those of the
/// operands.
///
/// `T` is f32. The function is generic because f32 has a `mul_add` of its own.
#[inline(always)]
pub(super) fn step<S: Simd, T: Float>(s: S, x: T::V<S>, y: T::V<S>, acc: T::V<S>) -> T::V<S> {
    let r = T::mul_add(s, x, y, acc);
    // Below 2^-126 the rounding above has fewer than 24 bits, and may give 2^-126 for a value that
    // is below it when rounded to 24. Scaled by 2^64 the value has 24 bits; where r is that small,
    // the scaled terms are far from overflow.
    let (least, up) = (f64::from(f32::MIN_POSITIVE), (1_u128 << 64) as f64);
    let scale = T::splat(s, T::from_f64(up));
    let scaled = T::mul_add(s, T::mul(s, x, scale), y, T::mul(s, acc, scale));
    let tiny = T::less(s, T::abs::<S>(scaled), T::splat(s, T::from_f64(least * up)));
    let zero = T::map_bits::<S>(r, |bits| bits & T::SIGN);
    let flushed = T::select(s, tiny, zero, r);
    // A NaN or a large r compares as false with 2^-126, and stays whatever `scaled` is.
    let small = T::less_or_equal(s, T::abs::<S>(r), T::splat(s, T::from_f64(least)));
    T::select(s, small, flushed, r)
}
