//! One vocabulary for the lanes of f32 and f64 on every instruction set, so that each kernel is written once.
//!
//! A kernel is a [`WithSimd`]: a struct of its arguments with one method, generic over the instruction set
//! `S: Simd`. It names registers and operations through its element type: `T::V<S>` is a register of `T` lanes,
//! `T::add(s, a, b)` adds two of them. [`Isa::run`](crate::Isa::run) compiles and runs it once per instruction
//! set.
//!
//! Underneath stands pulp, whose types stay in this file and in `isa`. Only operations that IEEE 754 rounds
//! correctly are here, so that every instruction set gives the same bits. There is no `min` and no `max`, since
//! those of x86 lose NaN: compare and select.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{
    _mm256_maskload_pd, _mm256_maskload_ps, _mm256_maskstore_pd, _mm256_maskstore_ps, _mm512_mask_storeu_pd,
    _mm512_mask_storeu_ps, _mm512_maskz_loadu_pd, _mm512_maskz_loadu_ps,
};
use core::ops::{AddAssign, BitAnd, BitOr, BitXor, DivAssign, MulAssign, Neg, Not, Shl, Shr, SubAssign};
use pulp::bytemuck::{self, Pod};

use crate::activation::Normal;
use crate::convolution::words::Rounds;
use crate::element::Element;
use crate::gemm::block::Multiply;
use crate::gemm::target::Stored;
use crate::math::{erf::Erf, exp::Exp, ln::Ln, sin_pi::SinPi, softplus::Softplus};
use crate::optimizer::Moment;
use crate::random::Draw;

/// A kernel: arguments that wait for an instruction set.
pub trait WithSimd {
    /// What it returns.
    type Output;
    /// The kernel itself. Mark it, and all that it calls, `#[inline(always)]`: a function that is not inlined
    /// is compiled without the instruction set.
    fn with_simd<S: Simd>(self, s: S) -> Self::Output;
}

/// An instruction set: a proof that the machine has it, and its lanes of f32 and f64.
pub trait Simd: Vector<f32> + Vector<f64> + Send + Sync + 'static {
    /// Rows of C that a GEMM keeps in registers: two registers each, and three for the operands.
    const TILE_ROWS: usize;
    /// Up to this many rows of C a GEMM keeps `WIDE` registers of each.
    const WIDE_ROWS: usize;
    /// Whether there is an instruction for [`Simd::mul_add_pairs`].
    const HAS_PAIRS: bool;
    /// The products of pairs of bf16 added to `acc`, as `gemm::terms` defines it. Only where there is an instruction.
    fn mul_add_pairs(
        self,
        a: <Self as Vector<f32>>::V,
        b: <Self as Vector<f32>>::V,
        acc: <Self as Vector<f32>>::V,
    ) -> <Self as Vector<f32>>::V;
    /// Words of `gemm::terms` of numbers that are rounded to bf16, a subnormal counting as a zero of its sign: word i has `even[i]` and
    /// `odd[i]`. Only where there is an instruction.
    fn round_pairs(
        self,
        even: <Self as Vector<f32>>::V,
        odd: <Self as Vector<f32>>::V,
    ) -> <Self as Vector<f32>>::V;
    /// Likewise of neighbours: those of `low`, then those of `high`.
    fn round_neighbours(
        self,
        low: <Self as Vector<f32>>::V,
        high: <Self as Vector<f32>>::V,
    ) -> <Self as Vector<f32>>::V;
    /// Integers of 32 bits in the places of the f32: `a + b`, wrapping.
    fn add_integers(
        self,
        a: <Self as Vector<f32>>::V,
        b: <Self as Vector<f32>>::V,
    ) -> <Self as Vector<f32>>::V;
    /// The first lanes of a register of f64 from `x`, exactly; +0 in the rest.
    fn widen(self, x: &[f32]) -> <Self as Vector<f64>>::V;
    /// Integers of 32 bits from integers of 16 bits, of which a register holds two in the place of each: the sum of
    /// their two products.
    fn mul_integers(
        self,
        a: <Self as Vector<f32>>::V,
        b: <Self as Vector<f32>>::V,
    ) -> <Self as Vector<f32>>::V;
    /// Bytes as integers of 16 bits, as many as fit a register; 0 in the rest.
    fn widen_bytes(self, bytes: &[i8]) -> <Self as Vector<f32>>::V;
    /// Runs `op` in a function compiled for this instruction set.
    fn vectorize<Op: WithSimd>(self, op: Op) -> Op::Output;
}

/// `x`, or as many of its numbers as there are, and +0.
#[inline(always)]
fn padded<const N: usize>(x: &[f32]) -> [f32; N] {
    if let Some(whole) = x.first_chunk() {
        return *whole;
    }
    let mut padded = [0.0; N];
    padded[..x.len()].copy_from_slice(x);
    padded
}

/// The lanes of `T` on one instruction set. Kernels use it through [`Lanes`].
pub trait Vector<T>: Copy {
    /// A register of values.
    type V: Pod;
    /// A register of truth values.
    type M: Copy;
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

/// The most lanes of any register.
pub(crate) const MOST_LANES: usize = 16;

/// Asks for the cache line of `place` ahead of its use: in the nearest cache, or, if `FAR`, in the next. Any address will
/// do: nothing is read.
#[inline(always)]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "one of the two is run")]
pub(crate) fn prefetch<T, const FAR: bool>(place: *const T) {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse", not(miri)))]
    // SAFETY: the instruction is there (SSE), and has no effect but on the caches, at any address.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        if FAR {
            _mm_prefetch::<_MM_HINT_T1>(place.cast());
        } else {
            _mm_prefetch::<_MM_HINT_T0>(place.cast());
        }
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: the instruction has no effect but on the caches, at any address.
    unsafe {
        if FAR {
            core::arch::asm!("prfm pldl2keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
        } else {
            core::arch::asm!("prfm pldl1keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
        }
    }
    #[cfg(any(miri, not(any(all(target_arch = "x86_64", target_feature = "sse"), target_arch = "aarch64"))))]
    let _ = place;
}

/// f32 or f64, as an element of registers.
pub trait Lanes: Pod + PartialOrd + Default + Send + Sync + core::fmt::Debug + core::fmt::Display {
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
    /// Part of the bit contract. 14 rows of 512 f32 (256 f64) take 28 KiB, most of a first-level cache of 32 to
    /// 48 KiB; benchmark `gemm`.
    const KB: usize;
    /// The sign bit.
    const SIGN: Self::Bits;
    /// How many bits of the significand are stored.
    const MANTISSA: u32;
    /// The value whose first 32 bits are `word`: for f32, a word of [`crate::gemm`].
    fn from_word(word: u32) -> Self;
    /// The word that it is from.
    fn word(self) -> u32;

    /// Lanes in a register.
    #[inline(always)]
    fn lanes<S: Simd>() -> usize {
        const { size_of::<Self::V<S>>() / size_of::<Self>() }
    }
    /// All lanes are `x`.
    fn splat<S: Simd>(s: S, x: Self) -> Self::V<S>;
    /// The first lanes from `x`, which may be shorter than a register; +0 in the rest.
    fn load<S: Simd>(s: S, x: &[Self]) -> Self::V<S>;
    /// The first lanes into `x`, which may be shorter than a register.
    fn store<S: Simd>(s: S, x: &mut [Self], v: Self::V<S>);
    /// `x` as whole registers and a rest.
    fn split<S: Simd>(x: &[Self]) -> (&[Self::V<S>], &[Self]);
    /// `x` as whole registers and a rest.
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
    /// Lane `l` of register `r` becomes lane `r` of register `l`, for as many registers as one has lanes.
    fn transpose<S: Simd>(s: S, block: [Self::V<S>; MOST_LANES]) -> [Self::V<S>; MOST_LANES];

    /// Each lane's bits through `f`: integer work, which the compiler vectorises by itself.
    ///
    /// From one register to another: written in place, rustc 1.95 was seen to let the argument share the place of the
    /// caller's register, so that the caller saw it changed.
    #[inline(always)]
    fn map_bits<S: Simd>(v: Self::V<S>, f: impl Fn(Self::Bits) -> Self::Bits) -> Self::V<S> {
        let mut mapped = v;
        let from = bytemuck::cast_slice::<Self::V<S>, Self::Bits>(core::slice::from_ref(&v));
        let to = bytemuck::cast_slice_mut::<Self::V<S>, Self::Bits>(core::slice::from_mut(&mut mapped));
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
    /// `v` with its sign flipped where that of `sign` is set.
    #[inline(always)]
    fn xor_sign<S: Simd>(v: Self::V<S>, sign: Self::V<S>) -> Self::V<S> {
        let mut flipped = v;
        let values = bytemuck::cast_slice::<Self::V<S>, Self::Bits>(core::slice::from_ref(&v));
        let signs = bytemuck::cast_slice::<Self::V<S>, Self::Bits>(core::slice::from_ref(&sign));
        let to = bytemuck::cast_slice_mut::<Self::V<S>, Self::Bits>(core::slice::from_mut(&mut flipped));
        for ((to, &value), &sign) in to.iter_mut().zip(values).zip(signs) {
            *to = value ^ (sign & Self::SIGN);
        }
        flipped
    }
}

/// [`Vector`] for every token of pulp, by forwarding to its method for the type; and [`Lanes`] for the type.
macro_rules! forward {
    ($float:ident, $bits:ident, $kb:literal, $v:ident, $m:ident, {$($to:ident: $from:ident($($arg:ident: $kind:ident),*) -> $out:ident;)*},
     $split:ident, $split_mut:ident, $store:ident, $load:ident, $splat:ident, $transpose:ident) => {
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
            fn split_mut(x: &mut [$float]) -> (&mut [Self::V], &mut [$float]) { <S::Pulp as pulp::Simd>::$split_mut(x) }
            #[inline(always)]
            fn transpose(self, block: [Self::V; MOST_LANES]) -> [Self::V; MOST_LANES] { Token::$transpose(self, block) }
            $(#[inline(always)]
            fn $to(self, $($arg: Self::$kind),*) -> Self::$out { pulp::Simd::$from(self.pulp(), $($arg),*) })*
        }

        impl Lanes for $float {
            type Bits = $bits;
            type V<S: Simd> = <S as Vector<$float>>::V;
            type M<S: Simd> = <S as Vector<$float>>::M;
            const KB: usize = $kb;
            const SIGN: $bits = 1 << ($bits::BITS - 1);
            const MANTISSA: u32 = $float::MANTISSA_DIGITS - 1;
            #[inline(always)]
            fn from_word(word: u32) -> Self { Self::from_bits($bits::from(word)) }
            #[inline(always)]
            fn word(self) -> u32 { self.to_bits() as u32 }

            #[inline(always)]
            fn splat<S: Simd>(s: S, x: Self) -> Self::V<S> { Vector::<$float>::splat(s, x) }
            #[inline(always)]
            fn load<S: Simd>(s: S, x: &[Self]) -> Self::V<S> { s.load(x) }
            #[inline(always)]
            fn store<S: Simd>(s: S, x: &mut [Self], v: Self::V<S>) { s.store(x, v) }
            #[inline(always)]
            fn split<S: Simd>(x: &[Self]) -> (&[Self::V<S>], &[Self]) { S::split(x) }
            #[inline(always)]
            fn split_mut<S: Simd>(x: &mut [Self]) -> (&mut [Self::V<S>], &mut [Self]) { S::split_mut(x) }
            #[inline(always)]
            fn transpose<S: Simd>(s: S, block: [Self::V<S>; MOST_LANES]) -> [Self::V<S>; MOST_LANES] {
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
}, as_simd_f32s, as_mut_simd_f32s, store_f32, load_f32, splat_f32s, transpose_f32);
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
}, as_simd_f64s, as_mut_simd_f64s, store_f64, load_f64, splat_f64s, transpose_f64);

/// The transpose of the first `$lanes` registers of `$block`, where `$zip` makes of two registers the lanes of both in turn:
/// `a0 b0 a1 b1 ...`, in two registers.
///
/// Zipping the first half of the registers with the second moves every lane's place, a number of twice as many bits as
/// `$lanes` has, around by one bit; as often as `$lanes` has bits, and the two halves of the number have changed places.
///
/// A macro, since a closure that is not inlined is compiled without the instruction set.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! zips {
    ($block:ident, $lanes:literal, |$a:ident, $b:ident| $zip:expr) => {{
        let mut block = $block;
        for _ in 0..usize::trailing_zeros($lanes) {
            let before = block;
            for i in 0..$lanes / 2 {
                let ($a, $b) = (pulp::cast(before[i]), pulp::cast(before[i + $lanes / 2]));
                let [first, second] = $zip;
                block[2 * i] = pulp::cast(first);
                block[2 * i + 1] = pulp::cast(second);
            }
        }
        block
    }};
}

/// [`Simd::add_integers`] in plain numbers. This and the two below are what x86 has methods of its own for: LLVM makes
/// their one instruction of them where they stand alone, and scattered loads where they stand among others.
#[inline(always)]
fn add_integers<V: Pod>(a: V, b: V) -> V {
    let mut sums = a;
    let new = bytemuck::cast_slice_mut::<V, i32>(core::slice::from_mut(&mut sums));
    let (a, b) = (core::slice::from_ref(&a), core::slice::from_ref(&b));
    let (a, b) = (bytemuck::cast_slice::<V, i32>(a), bytemuck::cast_slice::<V, i32>(b));
    for ((new, &a), &b) in new.iter_mut().zip(a).zip(b) {
        *new = a.wrapping_add(b);
    }
    sums
}

/// [`Simd::mul_integers`] in plain numbers.
#[inline(always)]
fn mul_integers<V: Pod>(a: V, b: V) -> V {
    let mut sums = a;
    let new = bytemuck::cast_slice_mut::<V, i32>(core::slice::from_mut(&mut sums));
    let (a, b) = (core::slice::from_ref(&a), core::slice::from_ref(&b));
    let (a, b) = (bytemuck::cast_slice::<V, [i16; 2]>(a), bytemuck::cast_slice::<V, [i16; 2]>(b));
    for ((new, [a0, a1]), [b0, b1]) in new.iter_mut().zip(a).zip(b) {
        *new = (i32::from(*a0) * i32::from(*b0)).wrapping_add(i32::from(*a1) * i32::from(*b1));
    }
    sums
}

/// [`Simd::widen_bytes`] in plain numbers.
#[inline(always)]
fn widen_bytes<V: Pod>(bytes: &[i8]) -> V {
    let mut widened = V::zeroed();
    let places = bytemuck::cast_slice_mut::<V, i16>(core::slice::from_mut(&mut widened));
    for (place, &byte) in places.iter_mut().zip(bytes) {
        *place = i16::from(byte);
    }
    widened
}

/// An instruction set of pulp's, with what pulp lacks.
pub trait Token: Copy + Send + Sync + 'static {
    /// pulp's proof of it.
    type Pulp: pulp::Simd;
    fn pulp(self) -> Self::Pulp;
    fn transpose_f32(self, block: [F32s<Self>; MOST_LANES]) -> [F32s<Self>; MOST_LANES];
    fn transpose_f64(self, block: [F64s<Self>; MOST_LANES]) -> [F64s<Self>; MOST_LANES];
    /// [`Lanes::load`] and [`Lanes::store`]. pulp chooses among its instructions by a jump that processors guess badly; where
    /// there is one instruction with a mask, that is a few times faster. Benchmark `gemm`, products of few columns.
    #[inline(always)]
    fn load_f32(self, x: &[f32]) -> F32s<Self> {
        pulp::Simd::partial_load_f32s(self.pulp(), x)
    }
    #[inline(always)]
    fn load_f64(self, x: &[f64]) -> F64s<Self> {
        pulp::Simd::partial_load_f64s(self.pulp(), x)
    }
    #[inline(always)]
    fn store_f32(self, x: &mut [f32], v: F32s<Self>) {
        pulp::Simd::partial_store_f32s(self.pulp(), x, v);
    }
    #[inline(always)]
    fn store_f64(self, x: &mut [f64], v: F64s<Self>) {
        pulp::Simd::partial_store_f64s(self.pulp(), x, v);
    }
    /// Whether there is an instruction for [`mul_add_pairs`](Self::mul_add_pairs).
    const PAIRS: bool = false;
    /// [`Simd::mul_add_pairs`].
    #[inline(always)]
    fn mul_add_pairs(self, _: F32s<Self>, _: F32s<Self>, acc: F32s<Self>) -> F32s<Self> {
        acc
    }
    /// [`Simd::round_pairs`].
    #[inline(always)]
    fn round_pairs(self, even: F32s<Self>, _: F32s<Self>) -> F32s<Self> {
        even
    }
    /// [`Simd::round_neighbours`].
    #[inline(always)]
    fn round_neighbours(self, low: F32s<Self>, _: F32s<Self>) -> F32s<Self> {
        low
    }
    /// [`Simd::add_integers`].
    #[inline(always)]
    fn add_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        add_integers(a, b)
    }
    /// [`Simd::mul_integers`].
    #[inline(always)]
    fn mul_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        mul_integers(a, b)
    }
    /// [`Simd::widen_bytes`].
    #[inline(always)]
    fn widen_bytes(self, bytes: &[i8]) -> F32s<Self> {
        widen_bytes(bytes)
    }
    /// [`Simd::widen`].
    fn widen(self, x: &[f32]) -> F64s<Self>;
    /// [`Simd::vectorize`].
    #[inline(always)]
    fn vectorize<Op: WithSimd>(self, op: Op) -> Op::Output {
        struct Call<S, Op>(S, Op);
        impl<S: Token, Op: WithSimd> pulp::WithSimd for Call<S, Op> {
            type Output = Op::Output;
            #[inline(always)]
            fn with_simd<P: pulp::Simd>(self, _: P) -> Op::Output {
                self.1.with_simd(self.0)
            }
        }
        pulp::Simd::vectorize(self.pulp(), Call(self, op))
    }
}
type F32s<T> = <<T as Token>::Pulp as pulp::Simd>::f32s;
type F64s<T> = <<T as Token>::Pulp as pulp::Simd>::f64s;

impl<S: Token> Simd for S {
    const TILE_ROWS: usize = if <S::Pulp as pulp::Simd>::REGISTER_COUNT >= 32 { 14 } else { 6 };
    const WIDE_ROWS: usize = if <S::Pulp as pulp::Simd>::REGISTER_COUNT >= 32 { 3 } else { 1 };
    const HAS_PAIRS: bool = S::PAIRS;
    #[inline(always)]
    fn mul_add_pairs(self, a: F32s<S>, b: F32s<S>, acc: F32s<S>) -> F32s<S> {
        Token::mul_add_pairs(self, a, b, acc)
    }
    #[inline(always)]
    fn round_pairs(self, even: F32s<S>, odd: F32s<S>) -> F32s<S> {
        Token::round_pairs(self, even, odd)
    }
    #[inline(always)]
    fn round_neighbours(self, low: F32s<S>, high: F32s<S>) -> F32s<S> {
        Token::round_neighbours(self, low, high)
    }
    #[inline(always)]
    fn add_integers(self, a: F32s<S>, b: F32s<S>) -> F32s<S> {
        Token::add_integers(self, a, b)
    }
    #[inline(always)]
    fn mul_integers(self, a: F32s<S>, b: F32s<S>) -> F32s<S> {
        Token::mul_integers(self, a, b)
    }
    #[inline(always)]
    fn widen_bytes(self, bytes: &[i8]) -> F32s<S> {
        Token::widen_bytes(self, bytes)
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> F64s<S> {
        Token::widen(self, x)
    }
    #[inline(always)]
    fn vectorize<Op: WithSimd>(self, op: Op) -> Op::Output {
        Token::vectorize(self, op)
    }
}

/// The loads and stores of a token that has instructions for them with a mask.
#[cfg(target_arch = "x86_64")]
macro_rules! masked {
    ($($load:ident, $store:ident, $float:ident, $v:ident: |$x:ident, $count:ident| $read:expr, |$y:ident, $values:ident| $write:expr;)*) => {$(
        #[inline(always)]
        fn $load(self, x: &[$float]) -> $v<Self> {
            let ($x, $count) = (x.as_ptr(), x.len());
            // SAFETY: the token proves the instruction, which reads only as many lanes as the slice has elements.
            pulp::cast(unsafe { $read })
        }
        #[inline(always)]
        fn $store(self, x: &mut [$float], v: $v<Self>) {
            let ($count, $y, $values) = (x.len(), x.as_mut_ptr(), pulp::cast(v));
            // SAFETY: the token proves the instruction, which writes only as many lanes as the slice has elements.
            unsafe { $write }
        }
    )*};
}

/// The lowest `count` bits.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn lowest(count: usize) -> u16 {
    ((1_u32 << count.min(16)) - 1) as u16
}

/// Ones in the first `count` lanes, zeros in the others: a window on both.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn first_lanes<const LANES: usize, T: Pod>(count: usize, ones_and_zeros: &[[T; LANES]; 2]) -> [T; LANES] {
    let [mut lanes, _] = *ones_and_zeros;
    lanes.copy_from_slice(&ones_and_zeros.as_flattened()[LANES - count.min(LANES)..][..LANES]);
    lanes
}

impl Token for pulp::Scalar {
    type Pulp = Self;
    #[inline(always)]
    fn pulp(self) -> Self {
        self
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> f64 {
        let [x] = padded(x);
        f64::from(x)
    }
    #[inline(always)]
    fn transpose_f32(self, block: [f32; MOST_LANES]) -> [f32; MOST_LANES] {
        block
    }
    #[inline(always)]
    fn transpose_f64(self, block: [f64; MOST_LANES]) -> [f64; MOST_LANES] {
        block
    }
}

#[cfg(target_arch = "x86_64")]
impl Token for pulp::x86::V3 {
    type Pulp = Self;
    #[inline(always)]
    fn pulp(self) -> Self {
        self
    }
    masked! {
        load_f32, store_f32, f32, F32s:
            |x, count| _mm256_maskload_ps(x, pulp::cast(first_lanes(count, &[[-1_i32; 8], [0; 8]]))),
            |y, v| _mm256_maskstore_ps(y, pulp::cast(first_lanes(count, &[[-1_i32; 8], [0; 8]])), v);
        load_f64, store_f64, f64, F64s:
            |x, count| _mm256_maskload_pd(x, pulp::cast(first_lanes(count, &[[-1_i64; 4], [0; 4]]))),
            |y, v| _mm256_maskstore_pd(y, pulp::cast(first_lanes(count, &[[-1_i64; 4], [0; 4]])), v);
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> F64s<Self> {
        pulp::cast(self.avx._mm256_cvtps_pd(pulp::cast(padded::<4>(x))))
    }
    #[inline(always)]
    fn transpose_f32(self, block: [F32s<Self>; MOST_LANES]) -> [F32s<Self>; MOST_LANES] {
        zips!(block, 8, |a, b| {
            // Within each half of a register first, then the halves.
            let (low, high) = (self.avx._mm256_unpacklo_ps(a, b), self.avx._mm256_unpackhi_ps(a, b));
            let first = self.avx._mm256_permute2f128_ps::<0x20>(low, high);
            [first, self.avx._mm256_permute2f128_ps::<0x31>(low, high)]
        })
    }
    #[inline(always)]
    fn transpose_f64(self, block: [F64s<Self>; MOST_LANES]) -> [F64s<Self>; MOST_LANES] {
        zips!(block, 4, |a, b| {
            let (low, high) = (self.avx._mm256_unpacklo_pd(a, b), self.avx._mm256_unpackhi_pd(a, b));
            let first = self.avx._mm256_permute2f128_pd::<0x20>(low, high);
            [first, self.avx._mm256_permute2f128_pd::<0x31>(low, high)]
        })
    }
    #[inline(always)]
    fn add_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        pulp::cast(self.avx2._mm256_add_epi32(pulp::cast(a), pulp::cast(b)))
    }
    #[inline(always)]
    fn mul_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        pulp::cast(self.avx2._mm256_madd_epi16(pulp::cast(a), pulp::cast(b)))
    }
    #[inline(always)]
    fn widen_bytes(self, bytes: &[i8]) -> F32s<Self> {
        match bytes.first_chunk::<16>() {
            Some(&bytes) => pulp::cast(self.avx2._mm256_cvtepi8_epi16(pulp::cast(bytes))),
            None => widen_bytes(bytes),
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Token for pulp::x86::V4 {
    type Pulp = Self;
    #[inline(always)]
    fn pulp(self) -> Self {
        self
    }
    masked! {
        load_f32, store_f32, f32, F32s:
            |x, count| _mm512_maskz_loadu_ps(lowest(count), x),
            |y, v| _mm512_mask_storeu_ps(y, lowest(count), v);
        load_f64, store_f64, f64, F64s:
            |x, count| _mm512_maskz_loadu_pd(lowest(count) as u8, x),
            |y, v| _mm512_mask_storeu_pd(y, lowest(count) as u8, v);
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> F64s<Self> {
        pulp::cast(self.avx512f._mm512_cvtps_pd(pulp::cast(padded::<8>(x))))
    }
    #[inline(always)]
    fn transpose_f32(self, block: [F32s<Self>; MOST_LANES]) -> [F32s<Self>; MOST_LANES] {
        // Loops instead of closures: a closure that is not inlined is compiled without the instruction set.
        let f = self.avx512f;
        let pair = |x| f._mm512_castps_pd(x);
        let single = |x| f._mm512_castpd_ps(x);
        let zero = f._mm512_setzero_ps();
        let mut r = [zero; MOST_LANES];
        for i in 0..MOST_LANES {
            r[i] = pulp::cast(block[i]);
        }
        // Quarter L of `columns[g][c]` becomes column 4 L + c of rows 4 g to 4 g + 3.
        let mut columns = [[zero; 4]; 4];
        for g in 0..4 {
            let [w, x, y, z] = [r[4 * g], r[4 * g + 1], r[4 * g + 2], r[4 * g + 3]];
            let (a, b) = (pair(f._mm512_unpacklo_ps(w, x)), pair(f._mm512_unpacklo_ps(y, z)));
            let (c, d) = (pair(f._mm512_unpackhi_ps(w, x)), pair(f._mm512_unpackhi_ps(y, z)));
            columns[g] = [
                single(f._mm512_unpacklo_pd(a, b)),
                single(f._mm512_unpackhi_pd(a, b)),
                single(f._mm512_unpacklo_pd(c, d)),
                single(f._mm512_unpackhi_pd(c, d)),
            ];
        }
        let mut out = block;
        for c in 0..4 {
            let [w, x, y, z] = [columns[0][c], columns[1][c], columns[2][c], columns[3][c]];
            let (even, odd) = (f._mm512_shuffle_f32x4::<0x88>(w, x), f._mm512_shuffle_f32x4::<0x88>(y, z));
            out[c] = pulp::cast(f._mm512_shuffle_f32x4::<0x88>(even, odd));
            out[8 + c] = pulp::cast(f._mm512_shuffle_f32x4::<0xDD>(even, odd));
            let (even, odd) = (f._mm512_shuffle_f32x4::<0xDD>(w, x), f._mm512_shuffle_f32x4::<0xDD>(y, z));
            out[4 + c] = pulp::cast(f._mm512_shuffle_f32x4::<0x88>(even, odd));
            out[12 + c] = pulp::cast(f._mm512_shuffle_f32x4::<0xDD>(even, odd));
        }
        out
    }
    #[inline(always)]
    fn transpose_f64(self, block: [F64s<Self>; MOST_LANES]) -> [F64s<Self>; MOST_LANES] {
        let f = self.avx512f;
        let zero = f._mm512_setzero_pd();
        // Quarter L of `columns[g][c]` becomes column 2 L + c of rows 2 g and 2 g + 1.
        let mut columns = [[zero; 2]; 4];
        for g in 0..4 {
            let (x, y) = (pulp::cast(block[2 * g]), pulp::cast(block[2 * g + 1]));
            columns[g] = [f._mm512_unpacklo_pd(x, y), f._mm512_unpackhi_pd(x, y)];
        }
        let mut out = block;
        for c in 0..2 {
            let [w, x, y, z] = [columns[0][c], columns[1][c], columns[2][c], columns[3][c]];
            let (even, odd) = (f._mm512_shuffle_f64x2::<0x88>(w, x), f._mm512_shuffle_f64x2::<0x88>(y, z));
            out[c] = pulp::cast(f._mm512_shuffle_f64x2::<0x88>(even, odd));
            out[4 + c] = pulp::cast(f._mm512_shuffle_f64x2::<0xDD>(even, odd));
            let (even, odd) = (f._mm512_shuffle_f64x2::<0xDD>(w, x), f._mm512_shuffle_f64x2::<0xDD>(y, z));
            out[2 + c] = pulp::cast(f._mm512_shuffle_f64x2::<0x88>(even, odd));
            out[6 + c] = pulp::cast(f._mm512_shuffle_f64x2::<0xDD>(even, odd));
        }
        out
    }
    #[inline(always)]
    fn add_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        pulp::cast(self.avx512f._mm512_add_epi32(pulp::cast(a), pulp::cast(b)))
    }
    #[inline(always)]
    fn mul_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        pulp::cast(self.avx512bw._mm512_madd_epi16(pulp::cast(a), pulp::cast(b)))
    }
    #[inline(always)]
    fn widen_bytes(self, bytes: &[i8]) -> F32s<Self> {
        match bytes.first_chunk::<32>() {
            Some(&bytes) => pulp::cast(self.avx512bw._mm512_cvtepi8_epi16(pulp::cast(bytes))),
            None => widen_bytes(bytes),
        }
    }
}

/// AVX-512 with its instruction for pairs of bf16, which pulp does not know.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512Bf16(pulp::x86::V4);

#[cfg(target_arch = "x86_64")]
impl Avx512Bf16 {
    /// # Safety
    /// The processor has AVX512_BF16 besides what `v4` proves.
    pub(crate) unsafe fn new(v4: pulp::x86::V4) -> Self {
        Self(v4)
    }
}

#[cfg(target_arch = "x86_64")]
impl Token for Avx512Bf16 {
    type Pulp = pulp::x86::V4;
    #[inline(always)]
    fn pulp(self) -> pulp::x86::V4 {
        self.0
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> F64s<Self> {
        Token::widen(self.0, x)
    }
    #[inline(always)]
    fn load_f32(self, x: &[f32]) -> F32s<Self> {
        self.0.load_f32(x)
    }
    #[inline(always)]
    fn load_f64(self, x: &[f64]) -> F64s<Self> {
        self.0.load_f64(x)
    }
    #[inline(always)]
    fn store_f32(self, x: &mut [f32], v: F32s<Self>) {
        self.0.store_f32(x, v);
    }
    #[inline(always)]
    fn store_f64(self, x: &mut [f64], v: F64s<Self>) {
        self.0.store_f64(x, v);
    }
    #[inline(always)]
    fn transpose_f32(self, block: [F32s<Self>; MOST_LANES]) -> [F32s<Self>; MOST_LANES] {
        self.0.transpose_f32(block)
    }
    #[inline(always)]
    fn transpose_f64(self, block: [F64s<Self>; MOST_LANES]) -> [F64s<Self>; MOST_LANES] {
        self.0.transpose_f64(block)
    }
    #[inline(always)]
    fn add_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        Token::add_integers(self.0, a, b)
    }
    #[inline(always)]
    fn mul_integers(self, a: F32s<Self>, b: F32s<Self>) -> F32s<Self> {
        Token::mul_integers(self.0, a, b)
    }
    #[inline(always)]
    fn widen_bytes(self, bytes: &[i8]) -> F32s<Self> {
        Token::widen_bytes(self.0, bytes)
    }
    const PAIRS: bool = true;
    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "the instruction and the types of its arguments"
    )]
    fn mul_add_pairs(self, a: F32s<Self>, b: F32s<Self>, acc: F32s<Self>) -> F32s<Self> {
        use core::arch::x86_64::{__m512, __m512bh, __m512i, _mm512_dpbf16_ps};
        use core::mem::transmute;
        let (a, b): (__m512i, __m512i) = (pulp::cast(a), pulp::cast(b));
        // SAFETY: `new` vouches for the instruction. The two types are 64 bytes without an invalid pattern.
        let sums: __m512 = unsafe {
            _mm512_dpbf16_ps(
                pulp::cast(acc),
                transmute::<__m512i, __m512bh>(a),
                transmute::<__m512i, __m512bh>(b),
            )
        };
        pulp::cast(sums)
    }
    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "the instructions and the types of their arguments"
    )]
    fn round_pairs(self, even: F32s<Self>, odd: F32s<Self>) -> F32s<Self> {
        use core::arch::x86_64::{__m512i, _mm512_permutexvar_epi16};
        /// Half 2i is that of even number i, half 2i + 1 that of odd number i.
        const IN_TURN: [u16; 32] = {
            let mut places = [0; 32];
            let mut half = 0;
            while half < 32 {
                places[half] = half as u16 / 2 + half as u16 % 2 * 16;
                half += 1;
            }
            places
        };
        let halves: __m512i = pulp::cast(Token::round_neighbours(self, even, odd));
        // SAFETY: the token has AVX-512 BW by `V4`.
        pulp::cast(unsafe { _mm512_permutexvar_epi16(pulp::cast(IN_TURN), halves) })
    }
    #[inline(always)]
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "the instruction and the type of its result")]
    fn round_neighbours(self, low: F32s<Self>, high: F32s<Self>) -> F32s<Self> {
        use core::arch::x86_64::{__m512bh, __m512i, _mm512_cvtne2ps_pbh};
        use core::mem::transmute;
        // SAFETY: `new` vouches for the instruction. The two types are 64 bytes without an invalid pattern.
        pulp::cast(unsafe {
            transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(pulp::cast(high), pulp::cast(low)))
        })
    }
    #[inline(always)]
    fn vectorize<Op: WithSimd>(self, op: Op) -> Op::Output {
        #[target_feature(
            enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr"
        )]
        unsafe fn run<Op: WithSimd>(s: Avx512Bf16, op: Op) -> Op::Output {
            op.with_simd(s)
        }
        // SAFETY: the token proves AVX-512 by `V4`, and its instruction for bf16 by `new`.
        unsafe { run(self, op) }
    }
}

#[cfg(target_arch = "aarch64")]
impl Token for pulp::aarch64::Neon {
    type Pulp = Self;
    #[inline(always)]
    fn pulp(self) -> Self {
        self
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> F64s<Self> {
        let [a, b] = padded(x);
        pulp::cast([f64::from(a), f64::from(b)])
    }
    #[inline(always)]
    fn transpose_f32(self, block: [F32s<Self>; MOST_LANES]) -> [F32s<Self>; MOST_LANES] {
        zips!(block, 4, |a, b| { [self.neon.vzip1q_f32(a, b), self.neon.vzip2q_f32(a, b)] })
    }
    #[inline(always)]
    fn transpose_f64(self, block: [F64s<Self>; MOST_LANES]) -> [F64s<Self>; MOST_LANES] {
        zips!(block, 2, |a, b| { [self.neon.vzip1q_f64(a, b), self.neon.vzip2q_f64(a, b)] })
    }
}

/// One lane with the hardware's FMA, which pulp's own one-lane token lacks without std.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct OneLane(pub(crate) pulp::x86::V3);

#[cfg(target_arch = "x86_64")]
macro_rules! one_lane {
    ($float:ident, $sse:ident, $set:ident, $get:ident, $sqrt:ident, $fma:ident) => {
        impl Vector<$float> for OneLane {
            type V = $float;
            type M = bool;
            #[inline(always)]
            fn splat(self, x: $float) -> $float {
                x
            }
            #[inline(always)]
            fn load(self, x: &[$float]) -> $float {
                x.first().copied().unwrap_or(0.0)
            }
            #[inline(always)]
            fn store(self, x: &mut [$float], v: $float) {
                if let Some(first) = x.first_mut() {
                    *first = v;
                }
            }
            #[inline(always)]
            fn split(x: &[$float]) -> (&[$float], &[$float]) {
                (x, &[])
            }
            #[inline(always)]
            fn split_mut(x: &mut [$float]) -> (&mut [$float], &mut [$float]) {
                (x, &mut [])
            }
            #[inline(always)]
            fn add(self, a: $float, b: $float) -> $float {
                a + b
            }
            #[inline(always)]
            fn sub(self, a: $float, b: $float) -> $float {
                a - b
            }
            #[inline(always)]
            fn mul(self, a: $float, b: $float) -> $float {
                a * b
            }
            #[inline(always)]
            fn div(self, a: $float, b: $float) -> $float {
                a / b
            }
            #[inline(always)]
            fn sqrt(self, a: $float) -> $float {
                let OneLane(v3) = self;
                v3.$sse.$get(v3.$sse.$sqrt(v3.$sse.$set(a)))
            }
            #[inline(always)]
            fn mul_add(self, a: $float, b: $float, c: $float) -> $float {
                let OneLane(v3) = self;
                v3.$sse.$get(v3.fma.$fma(v3.$sse.$set(a), v3.$sse.$set(b), v3.$sse.$set(c)))
            }
            #[inline(always)]
            fn less(self, a: $float, b: $float) -> bool {
                a < b
            }
            #[inline(always)]
            fn less_or_equal(self, a: $float, b: $float) -> bool {
                a <= b
            }
            #[inline(always)]
            fn select(self, m: bool, a: $float, b: $float) -> $float {
                if m { a } else { b }
            }
            #[inline(always)]
            fn transpose(self, block: [$float; MOST_LANES]) -> [$float; MOST_LANES] {
                block
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
one_lane!(f32, sse, _mm_set_ss, _mm_cvtss_f32, _mm_sqrt_ps, _mm_fmadd_ss);
#[cfg(target_arch = "x86_64")]
one_lane!(f64, sse2, _mm_set_sd, _mm_cvtsd_f64, _mm_sqrt_pd, _mm_fmadd_sd);

#[cfg(target_arch = "x86_64")]
impl Simd for OneLane {
    const TILE_ROWS: usize = 6;
    const WIDE_ROWS: usize = 1;
    const HAS_PAIRS: bool = false;
    #[inline(always)]
    fn mul_add_pairs(self, _: f32, _: f32, acc: f32) -> f32 {
        acc
    }
    #[inline(always)]
    fn round_pairs(self, even: f32, _: f32) -> f32 {
        even
    }
    #[inline(always)]
    fn round_neighbours(self, low: f32, _: f32) -> f32 {
        low
    }
    #[inline(always)]
    fn add_integers(self, a: f32, b: f32) -> f32 {
        add_integers(a, b)
    }
    #[inline(always)]
    fn mul_integers(self, a: f32, b: f32) -> f32 {
        mul_integers(a, b)
    }
    #[inline(always)]
    fn widen_bytes(self, bytes: &[i8]) -> f32 {
        widen_bytes(bytes)
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> f64 {
        let [x] = padded(x);
        f64::from(x)
    }
    #[inline(always)]
    fn vectorize<Op: WithSimd>(self, op: Op) -> Op::Output {
        struct In<Op>(OneLane, Op);
        impl<Op: WithSimd> pulp::NullaryFnOnce for In<Op> {
            type Output = Op::Output;
            #[inline(always)]
            fn call(self) -> Op::Output {
                self.1.with_simd(self.0)
            }
        }
        self.0.vectorize(In(self, op))
    }
}

/// An element of the kernels: `f32` or `f64`.
///
/// Arithmetic on single values is had by assignment (`x += y`): `T::add` and its kin are those of registers.
pub trait Float:
    Lanes
    + Element<Float = Self>
    + Moment
    + Multiply
    + Rounds
    + Stored<Self>
    + Exp
    + Ln
    + SinPi
    + Erf
    + Normal
    + Softplus
    + Draw
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Neg<Output = Self>
{
    /// +0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Positive infinity.
    const INFINITY: Self;
    /// A quiet NaN.
    const NAN: Self;
    /// The smallest normal number above 0.
    const MIN_POSITIVE: Self;
    /// Moments of optimizers below this size are 0: 2^26 times the smallest normal number.
    const SETTLED: Self;
    /// `x`, rounded to nearest, ties to even.
    fn from_f64(x: f64) -> Self;
    /// This value, exactly.
    fn to_f64(self) -> f64;
    /// `x`, exactly.
    fn from_u8(x: u8) -> Self;
}

macro_rules! float {
    ($float:ident) => {
        impl Float for $float {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const INFINITY: Self = $float::INFINITY;
            const NAN: Self = $float::NAN;
            const MIN_POSITIVE: Self = $float::MIN_POSITIVE;
            const SETTLED: Self = (1 << 26) as $float * $float::MIN_POSITIVE;
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as Self
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn from_u8(x: u8) -> Self {
                Self::from(x)
            }
        }
    };
}
float!(f32);
float!(f64);
