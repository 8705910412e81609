//! Operations on registers of f32 and f64, and their implementation for every instruction set.

use core::ops::{BitAnd, BitOr, BitXor, Not, Shl, Shr};
use pulp::bytemuck::{self, Pod};

use super::token::Token;
use super::{MOST_LANES, Simd};

/// Registers of `T` on one instruction set. Kernels use it through [`Lanes`].
pub trait Vector<T>: Copy {
    /// A register of values.
    type V: Pod;
    /// A register of truth values.
    type M: Copy;
    /// [`Lanes::opaque`].
    #[inline(always)]
    fn opaque(self, v: Self::V) -> Self::V {
        v
    }
    fn splat(self, x: T) -> Self::V;
    fn load(self, x: &[T]) -> Self::V;
    fn store(self, x: &mut [T], v: Self::V);
    fn split(x: &[T]) -> (&[Self::V], &[T]);
    fn split_mut(x: &mut [T]) -> (&mut [Self::V], &mut [T]);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(self, a: Self::V) -> Self::V;
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn less(self, a: Self::V, b: Self::V) -> Self::M;
    fn less_or_equal(self, a: Self::V, b: Self::V) -> Self::M;
    fn select(self, m: Self::M, a: Self::V, b: Self::V) -> Self::V;
    fn transpose(self, block: [Self::V; MOST_LANES]) -> [Self::V; MOST_LANES];
}

/// f32 or f64, as an element of registers.
pub trait Lanes:
    Pod + PartialOrd + Default + Send + Sync + core::fmt::Debug + core::fmt::Display
{
    /// The unsigned integer of the same width.
    type Bits: Pod
        + BitAnd<Output = Self::Bits>
        + BitOr<Output = Self::Bits>
        + BitXor<Output = Self::Bits>
        + Not<Output = Self::Bits>
        + Shl<u32, Output = Self::Bits>
        + Shr<u32, Output = Self::Bits>;
    /// A register of values.
    type V<S: Simd>: Pod;
    /// A register of truth values.
    type M<S: Simd>: Copy;
    /// Summation block of a GEMM: after this many k, the partial sum is added to the element.
    ///
    /// Part of the bit contract. 14 rows of 512 f32 (256 f64) take 28 KiB, most of an L1 of 32 to
    /// 48 KiB; benchmark `gemm`.
    const KB: usize;
    /// The sign bit.
    const SIGN: Self::Bits;
    /// Stored bits of the significand.
    const MANTISSA: u32;
    /// The value whose lower 32 bits are `bits`: for f32, a pair of bf16 of [`crate::gemm`].
    fn from_low_bits(bits: u32) -> Self;
    /// The lower 32 bits.
    fn low_bits(self) -> u32;

    /// Lanes in a register.
    #[inline(always)]
    fn lanes<S: Simd>() -> usize {
        const { size_of::<Self::V<S>>() / size_of::<Self>() }
    }
    /// Lanes of a register, as a slice.
    #[inline(always)]
    fn slice<S: Simd>(v: &Self::V<S>) -> &[Self] {
        bytemuck::cast_slice(core::slice::from_ref(v))
    }
    /// Lanes of a register, as a slice.
    #[inline(always)]
    fn slice_mut<S: Simd>(v: &mut Self::V<S>) -> &mut [Self] {
        bytemuck::cast_slice_mut(core::slice::from_mut(v))
    }
    /// Sets all lanes to `x`.
    fn splat<S: Simd>(s: S, x: Self) -> Self::V<S>;
    /// Loads the first lanes from `x`, which may be shorter than a register; +0 in the other lanes.
    fn load<S: Simd>(s: S, x: &[Self]) -> Self::V<S>;
    /// Stores the first lanes to `x`, which may be shorter than a register.
    fn store<S: Simd>(s: S, x: &mut [Self], v: Self::V<S>);
    /// Splits `x` into whole registers and the remaining elements.
    fn split<S: Simd>(x: &[Self]) -> (&[Self::V<S>], &[Self]);
    /// Splits `x` into whole registers and the remaining elements.
    fn split_mut<S: Simd>(x: &mut [Self]) -> (&mut [Self::V<S>], &mut [Self]);
    /// `a + b`.
    fn add<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a - b`.
    fn sub<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a * b`.
    fn mul<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a / b`.
    fn div<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// Square root.
    fn sqrt<S: Simd>(s: S, a: Self::V<S>) -> Self::V<S>;
    /// `a * b + c`, rounded once.
    fn mul_add<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S>;
    /// `a < b`, false where either is NaN.
    fn less<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::M<S>;
    /// `a <= b`, false where either is NaN.
    fn less_or_equal<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::M<S>;
    /// `a` where `m`, else `b`.
    fn select<S: Simd>(s: S, m: Self::M<S>, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// Transposes a square block: lane `l` of register `r` becomes lane `r` of register `l`.
    fn transpose<S: Simd>(s: S, block: [Self::V<S>; MOST_LANES]) -> [Self::V<S>; MOST_LANES];

    /// `v`, hidden from the optimiser.
    ///
    /// Otherwise it turns an operation on a broadcast value into a scalar operation and a broadcast
    /// from a general register, which is slower than a broadcast from memory.
    fn opaque<S: Simd>(s: S, v: Self::V<S>) -> Self::V<S>;

    /// Applies `f` to each lane's bits: integer operations, which the compiler vectorises by
    /// itself.
    ///
    /// The result is a new register: written in place, rustc 1.95 let the argument share the stack
    /// slot of the caller's register, so that the caller saw it changed.
    #[inline(always)]
    fn map_bits<S: Simd>(v: Self::V<S>, f: impl Fn(Self::Bits) -> Self::Bits) -> Self::V<S> {
        let mut mapped = v;
        let from = bytemuck::cast_slice::<Self::V<S>, Self::Bits>(core::slice::from_ref(&v));
        let to =
            bytemuck::cast_slice_mut::<Self::V<S>, Self::Bits>(core::slice::from_mut(&mut mapped));
        for (to, &from) in to.iter_mut().zip(from) {
            *to = f(from);
        }
        mapped
    }
    /// Absolute value; NaN stays NaN.
    #[inline(always)]
    fn abs<S: Simd>(v: Self::V<S>) -> Self::V<S> {
        Self::map_bits::<S>(v, |bits| bits & !Self::SIGN)
    }
    /// Even value of each pair of bf16, as f32. Only for f32.
    #[inline(always)]
    fn even_of_pairs<S: Simd>(pairs: Self::V<S>) -> Self::V<S> {
        Self::map_bits::<S>(pairs, |bits| bits << 16)
    }
    /// Odd value of each pair of bf16, as f32. Only for f32.
    #[inline(always)]
    fn odd_of_pairs<S: Simd>(pairs: Self::V<S>) -> Self::V<S> {
        Self::map_bits::<S>(pairs, |bits| bits >> 16 << 16)
    }
    /// `v` with its sign flipped where that of `sign` is set.
    #[inline(always)]
    fn xor_sign<S: Simd>(v: Self::V<S>, sign: Self::V<S>) -> Self::V<S> {
        let mut flipped = v;
        let values = bytemuck::cast_slice::<Self::V<S>, Self::Bits>(core::slice::from_ref(&v));
        let signs = bytemuck::cast_slice::<Self::V<S>, Self::Bits>(core::slice::from_ref(&sign));
        let to =
            bytemuck::cast_slice_mut::<Self::V<S>, Self::Bits>(core::slice::from_mut(&mut flipped));
        for ((to, &value), &sign) in to.iter_mut().zip(values).zip(signs) {
            *to = value ^ (sign & Self::SIGN);
        }
        flipped
    }
}

/// Implements [`Vector`] for every token by forwarding to pulp's method for the type, and [`Lanes`]
/// for the type.
macro_rules! forward {
    ($float:ident, $bits:ident, $kb:literal, $v:ident, $m:ident,
     {$($to:ident: $from:ident($($arg:ident: $kind:ident),*) -> $out:ident;)*},
     $split:ident, $split_mut:ident, $store:ident, $load:ident, $splat:ident, $transpose:ident,
     $opaque:ident) => {
        impl<S: Token> Vector<$float> for S {
            type V = <S::Pulp as pulp::Simd>::$v;
            type M = <S::Pulp as pulp::Simd>::$m;
            #[inline(always)]
            fn splat(self, x: $float) -> Self::V { pulp::Simd::$splat(self.pulp(), x) }
            #[inline(always)]
            fn load(self, x: &[$float]) -> Self::V { Token::$load(self, x) }
            #[inline(always)]
            fn store(self, x: &mut [$float], v: Self::V) { Token::$store(self, x, v) }
            #[inline(always)]
            fn split(x: &[$float]) -> (&[Self::V], &[$float]) { <S::Pulp as pulp::Simd>::$split(x) }
            #[inline(always)]
            fn split_mut(x: &mut [$float]) -> (&mut [Self::V], &mut [$float]) {
                <S::Pulp as pulp::Simd>::$split_mut(x)
            }
            #[inline(always)]
            fn transpose(self, block: [Self::V; MOST_LANES]) -> [Self::V; MOST_LANES] {
                Token::$transpose(self, block)
            }
            #[inline(always)]
            fn opaque(self, v: Self::V) -> Self::V { Token::$opaque(self, v) }
            $(#[inline(always)]
            fn $to(self, $($arg: Self::$kind),*) -> Self::$out {
                pulp::Simd::$from(self.pulp(), $($arg),*)
            })*
        }

        impl Lanes for $float {
            type Bits = $bits;
            type V<S: Simd> = <S as Vector<$float>>::V;
            type M<S: Simd> = <S as Vector<$float>>::M;
            const KB: usize = $kb;
            const SIGN: $bits = 1 << ($bits::BITS - 1);
            const MANTISSA: u32 = $float::MANTISSA_DIGITS - 1;
            #[inline(always)]
            fn from_low_bits(bits: u32) -> Self { Self::from_bits($bits::from(bits)) }
            #[inline(always)]
            fn low_bits(self) -> u32 { self.to_bits() as u32 }

            #[inline(always)]
            fn opaque<S: Simd>(s: S, v: Self::V<S>) -> Self::V<S> {
                Vector::<$float>::opaque(s, v)
            }
            #[inline(always)]
            fn splat<S: Simd>(s: S, x: Self) -> Self::V<S> { Vector::<$float>::splat(s, x) }
            #[inline(always)]
            fn load<S: Simd>(s: S, x: &[Self]) -> Self::V<S> { s.load(x) }
            #[inline(always)]
            fn store<S: Simd>(s: S, x: &mut [Self], v: Self::V<S>) { s.store(x, v) }
            #[inline(always)]
            fn split<S: Simd>(x: &[Self]) -> (&[Self::V<S>], &[Self]) { S::split(x) }
            #[inline(always)]
            fn split_mut<S: Simd>(x: &mut [Self]) -> (&mut [Self::V<S>], &mut [Self]) {
                S::split_mut(x)
            }
            #[inline(always)]
            fn transpose<S: Simd>(
                s: S,
                block: [Self::V<S>; MOST_LANES],
            ) -> [Self::V<S>; MOST_LANES] {
                Vector::<$float>::transpose(s, block)
            }
            $(#[inline(always)]
            fn $to<S: Simd>(s: S, $($arg: Self::$kind<S>),*) -> Self::$out<S> {
                <S as Vector<$float>>::$to(s, $($arg),*)
            })*
        }
    };
}

forward!(f32, u32, 512, f32s, m32s, {
    add: add_f32s(a: V, b: V) -> V;
    sub: sub_f32s(a: V, b: V) -> V;
    mul: mul_f32s(a: V, b: V) -> V;
    div: div_f32s(a: V, b: V) -> V;
    sqrt: sqrt_f32s(a: V) -> V;
    mul_add: mul_add_f32s(a: V, b: V, c: V) -> V;
    less: less_than_f32s(a: V, b: V) -> M;
    less_or_equal: less_than_or_equal_f32s(a: V, b: V) -> M;
    select: select_f32s(m: M, a: V, b: V) -> V;
}, as_simd_f32s, as_mut_simd_f32s, store_f32, load_f32, splat_f32s, transpose_f32, opaque_f32);
forward!(f64, u64, 256, f64s, m64s, {
    add: add_f64s(a: V, b: V) -> V;
    sub: sub_f64s(a: V, b: V) -> V;
    mul: mul_f64s(a: V, b: V) -> V;
    div: div_f64s(a: V, b: V) -> V;
    sqrt: sqrt_f64s(a: V) -> V;
    mul_add: mul_add_f64s(a: V, b: V, c: V) -> V;
    less: less_than_f64s(a: V, b: V) -> M;
    less_or_equal: less_than_or_equal_f64s(a: V, b: V) -> M;
    select: select_f64s(m: M, a: V, b: V) -> V;
}, as_simd_f64s, as_mut_simd_f64s, store_f64, load_f64, splat_f64s, transpose_f64, opaque_f64);
