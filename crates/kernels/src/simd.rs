//! One vocabulary for the lanes of f32 and f64 on every instruction set, so that each kernel is written once.
//!
//! A kernel is a [`WithSimd`]: a struct of its arguments with one method, generic over the instruction set
//! `S: Simd`. It names registers and operations through its element type: `T::V<S>` is a register of `T` lanes,
//! `T::add(s, a, b)` adds two of them. [`Isa::run`](crate::Isa::run) compiles and runs it once per instruction
//! set.
//!
//! Underneath stands pulp, whose types stay in this module and in `isa`. Only operations that IEEE 754 rounds
//! correctly are here, so that every instruction set gives the same bits. There is no `min` and no `max`, since
//! those of x86 lose NaN: compare and select.
//!
//! ```text
//! lanes      the operations on registers, by element type
//! float      f32 and f64 themselves
//! token      an instruction set of pulp's, with what pulp lacks: `scalar` `avx2` `avx512` `avx512_bf16` `neon`
//! one_lane   one lane at a time, with the hardware's FMA
//! plain      operations on integers, in plain numbers
//! prefetch   asks for a cache line ahead of its use
//! ```

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_bf16;
mod float;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod one_lane;
mod plain;
mod prefetch;
mod scalar;
mod token;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx512_bf16::Avx512Bf16;
pub use float::Float;
pub(crate) use lanes::{Lanes, Vector};
#[cfg(target_arch = "x86_64")]
pub(crate) use one_lane::OneLane;
pub(crate) use prefetch::prefetch;
pub use prefetch::prefetch_slice;

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

/// [`Simd::TILE_ROWS`] of one lane: eight chains hide the latency of an FMA, and more shapes would only take time to compile.
pub(crate) const ONE_LANE_TILE_ROWS: usize = 4;

/// The most lanes of any register.
pub(crate) const MOST_LANES: usize = 16;
