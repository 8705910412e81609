//! Operations on the lanes of f32 and f64 for every instruction set, so that each kernel is written
//! once.
//!
//! A kernel is a [`WithSimd`]: a struct of its arguments with one method, generic over the
//! instruction set `S: Simd`. It names registers and operations through its element type: `T::V<S>`
//! is a register of `T` lanes, `T::add(s, a, b)` adds two of them. [`Isa::run`](crate::Isa::run)
//! compiles and runs it once per instruction set.
//!
//! pulp provides the instruction sets; its types stay in this module and in `isa`. Only operations
//! that IEEE 754 rounds correctly are here, so that every instruction set gives the same bits.
//! There is no `min` and no `max`, since those of x86 lose NaN: compare and select.
//!
//! ```text
//! lanes      operations on registers, by element type
//! float      f32 and f64
//! token      an instruction set of pulp's, with what pulp lacks:
//!            `scalar` `avx2` `avx512` `avx512_bf16` `neon`
//! one_lane   one lane at a time, with the hardware's FMA
//! plain      integer operations in portable Rust
//! prefetch   prefetch instructions; `opaque` pointers
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
mod opaque;
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
pub(crate) use opaque::opaque;
pub(crate) use prefetch::prefetch;
pub use prefetch::prefetch_slice;

/// A kernel: its arguments, and a method that is generic over the instruction set.
pub trait WithSimd {
    /// Return type.
    type Output;
    /// Runs the kernel. Mark it, and everything it calls, `#[inline(always)]`: a function that is
    /// not inlined is compiled without the instruction set.
    fn with_simd<S: Simd>(self, s: S) -> Self::Output;
}

/// An instruction set: a proof that the machine has it, and its lanes of f32 and f64.
pub trait Simd: Vector<f32> + Vector<f64> + Send + Sync + 'static {
    /// Rows of the GEMM register tile: two registers each, and three for the operands.
    const TILE_ROWS: usize;
    /// Largest number of rows for which the GEMM register tile has `WIDE` registers per row.
    const WIDE_ROWS: usize;
    /// `true` if there is an instruction for [`Simd::mul_add_pairs`].
    const HAS_PAIRS: bool;
    /// `true` if [`Simd::round_pairs`] and [`Simd::round_neighbours`] work on registers.
    const ROUNDS_PAIRS: bool;
    /// Adds the products of bf16 pairs to `acc`, as defined by `gemm::arithmetic`. Only with
    /// [`Self::HAS_PAIRS`].
    fn mul_add_pairs(
        self,
        a: <Self as Vector<f32>>::V,
        b: <Self as Vector<f32>>::V,
        acc: <Self as Vector<f32>>::V,
    ) -> <Self as Vector<f32>>::V;
    /// Rounds to bf16 and packs pairs for `gemm::arithmetic`: pair i is `even[i]`, `odd[i]`. A
    /// subnormal counts as a zero of its sign. Only with [`Self::ROUNDS_PAIRS`].
    fn round_pairs(
        self,
        even: <Self as Vector<f32>>::V,
        odd: <Self as Vector<f32>>::V,
    ) -> <Self as Vector<f32>>::V;
    /// Rounds to bf16 and packs neighbouring lanes in pairs: those of `low`, then those of `high`.
    /// Only with [`Self::ROUNDS_PAIRS`].
    fn round_neighbours(
        self,
        low: <Self as Vector<f32>>::V,
        high: <Self as Vector<f32>>::V,
    ) -> <Self as Vector<f32>>::V;
    /// `a + b` of 32-bit integers in the lanes of the f32, wrapping.
    fn add_integers(
        self,
        a: <Self as Vector<f32>>::V,
        b: <Self as Vector<f32>>::V,
    ) -> <Self as Vector<f32>>::V;
    /// Loads the first lanes of a register of f64 from `x`, exactly; +0 in the other lanes.
    fn widen(self, x: &[f32]) -> <Self as Vector<f64>>::V;
    /// Multiplies 16-bit integers, two per f32 lane, and adds the two products of each lane as
    /// 32-bit integers.
    fn mul_integers(
        self,
        a: <Self as Vector<f32>>::V,
        b: <Self as Vector<f32>>::V,
    ) -> <Self as Vector<f32>>::V;
    /// Loads bytes as 16-bit integers, as many as fit a register; 0 in the other lanes.
    fn widen_bytes(self, bytes: &[i8]) -> <Self as Vector<f32>>::V;
    /// Runs `op` in a function compiled for this instruction set.
    fn vectorize<Op: WithSimd>(self, op: Op) -> Op::Output;
}

/// Runs a microkernel in a function of its own, so that it can use all registers. Inlined into the
/// loops around it, it would share them with values that the optimiser hoists, and accumulators
/// would be spilled.
#[inline(never)]
pub(crate) fn outlined<S: Simd, Op: WithSimd>(s: S, op: Op) -> Op::Output {
    s.vectorize(op)
}

/// [`Simd::TILE_ROWS`] of one lane: eight chains hide the latency of an FMA; more tile sizes would
/// only take compile time.
pub(crate) const ONE_LANE_TILE_ROWS: usize = 4;

/// Maximum number of lanes of any register.
pub(crate) const MOST_LANES: usize = 16;
