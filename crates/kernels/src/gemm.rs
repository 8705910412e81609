//! Matrix products with a fused epilogue: everything that a dense layer does to the result while it
//! is in registers.
//!
//! ```text
//! C <- act(alpha * A B + beta * C + bias)          A: m x k, B: k x n, C: m x n
//!
//! choose lanes along C's rows or along its columns       -- `orientation`: whichever packs less
//! if k is long and C small, split k among threads        -- `split_k`
//! else split C into blocks, one task each                -- `grid`
//!   LOOP 5  for each KB of k                             -- `macrokernel`: the bit contract
//!   LOOP 4    for each MC rows, whose A stays packed     -- last-level cache
//!   LOOP 3      for each NC columns:  pack B             -- `pack`: L2
//!   LOOP 2        for each MR rows:  pack A              -- `pack`: L1
//!   LOOP 1          for each NR columns:                 -- `tile`
//!                     MR x NR accumulators               -- `microkernel`: registers
//!                     scale, add, bias, activate, store  -- `epilogue`
//! ```
//!
//! **Bits.** For an element c of C, r = beta * c (+0 when beta is 0, and then c is not read). For
//! each block of `KB` consecutive k, p is one chain of terms from +0 in ascending k, and r =
//! fma(alpha, p, r) (for the first block r = alpha * p when beta is 0). Then r + bias, then the
//! activation. For f32 and f64 a term is a fused multiply-add, and `KB` is 512 and 256. For bf16 a
//! term is a pair of k, as [`gemm_bf16`] says, and `KB` is 1024.
//!
//! The order depends on k alone. Therefore no bit depends on the instruction set, the threads, the
//! strides or the blocking, nor on the number of rows and columns of C (batch invariance).
//!
//! Called by the dense, recurrent and attention layers, forward and backward, and by `convolution`.
//!
//! ```text
//! view           pointers and strides           product       checked operands of all tasks
//! arithmetic     FMA, or pairs of bf16          pack          panels of A and B
//! pair           pairs of bf16 as bits          microkernel   register tiles
//! operand, load  operands, converted loads      tile          microkernel and epilogue
//! chain          pairs without the instruction
//! output         types of C                     macrokernel   LOOP 5 to LOOP 1 of a task
//! panels, packed operands packed beforehand     scratch       its length, slots of tasks
//! blocking       block sizes                    driver        one product; `batch` many
//! ```

pub(crate) mod arithmetic;
mod batch;
mod blocking;
mod chain;
mod driver;
mod epilogue;
mod grid;
mod load;
mod macrokernel;
mod microkernel;
mod operand;
mod orientation;
pub(crate) mod output;
mod pack;
mod packed;
mod pair;
mod panels;
mod product;
mod scratch;
mod shape;
mod split_k;
mod tile;
mod view;

use crate::{Cpu, Error, Float, MatMut, MatRef};
use arithmetic::{Arithmetic, Pairs, Single};
pub use batch::{Batch, BatchMut, gemm_batch};
use driver::Call;
pub use epilogue::Epilogue;
use operand::OperandView;
pub use operand::{Bf16Operand, Operand};
pub use output::Bf16Result;
pub use packed::{Packed, PackedBf16, packed_bf16_len, packed_len};
pub(crate) use pair::round_pair;
use scratch::BF16_BLOCK;
pub(crate) use scratch::gemm_with_scratch;
pub use scratch::{gemm_bf16_scratch, gemm_scratch};
pub use shape::GemmShape;
use view::Target;

/// C <- act(alpha A B + beta C + bias), with the epilogue's bias and activation.
///
/// `a` is `[m, k]`, `b` `[k, n]`, `c` `[m, n]`, each with any strides: a [`MatRef`], or another
/// [`Operand`]. Any dimension may be 0; with k = 0 the product is +0 and is not added. When `beta`
/// is 0, `c` is not read and may hold anything. NaN and infinities propagate as IEEE 754 says, also
/// with `alpha` = 0.
///
/// The order of the sums is fixed (see this module's head), so the result's bits depend on the
/// operands alone. With u the unit roundoff, |error| of an element is at most about
/// (min(k, KB) + k / KB) u times the sum of |a||b|.
///
/// `scratch` has at least [`gemm_scratch`]`(threads, shape)` elements, which are overwritten; or
/// none. Without scratch nothing is packed, and k is not split among threads. That is as fast for
/// small operands that the microkernel can read as they are, slower for large ones, and slow where
/// B would have to be transposed or converted.
///
/// # Errors
/// [`Error::Length`] if the shapes do not agree, [`Error::Scratch`] if `scratch` is too small, but
/// not if it is empty. Nothing is changed then.
///
/// ```
/// use kernels::gemm::{Epilogue, GemmShape, gemm, gemm_scratch};
/// use kernels::{Cpu, MatMut, MatRef};
/// let (a, b, mut c) = ([1.0_f32, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [0.0; 4]);
/// let mut scratch = [0.0; gemm_scratch::<f32>(1, GemmShape { m: 2, n: 2, k: 2 })];
/// gemm(
///     Cpu::detect(),
///     1.0,
///     MatRef::row_major(&a, 2, 2)?,
///     MatRef::row_major(&b, 2, 2)?,
///     0.0,
///     MatMut::row_major(&mut c, 2, 2)?,
///     Epilogue::NONE,
///     &mut scratch,
/// )?;
/// assert_eq!(c, [19.0, 22.0, 43.0, 50.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[expect(clippy::too_many_arguments, reason = "they are the operands of BLAS, in its order")]
pub fn gemm<'a, T: Float>(
    cpu: Cpu<'_>,
    alpha: T,
    a: impl Into<Operand<'a, T>>,
    b: impl Into<Operand<'a, T>>,
    beta: T,
    c: MatMut<'_, T>,
    epilogue: Epilogue<'_, T>,
    scratch: &mut [T],
) -> Result<(), Error> {
    multiply::<Single<T>>(cpu, alpha, [a.into().0, b.into().0], beta, c, epilogue, scratch)
}

/// C <- A B + beta C, as [`gemm`] or [`gemm_bf16`] computes it, by the arithmetic `K`.
pub(crate) fn gemm_with<K: Arithmetic>(
    cpu: Cpu<'_>,
    operands: [MatRef<'_, K::Acc>; 2],
    beta: K::Acc,
    c: MatMut<'_, K::Acc>,
    epilogue: Epilogue<'_, K::Acc>,
    scratch: &mut [K::Acc],
) -> Result<(), Error> {
    let operands = operands.map(OperandView::of::<K>);
    multiply::<K>(cpu, Float::ONE, operands, beta, c, epilogue, scratch)
}

/// [`gemm`] of operands in any form.
#[inline(never)]
pub(crate) fn multiply<K: Arithmetic>(
    cpu: Cpu<'_>,
    alpha: K::Acc,
    operands: [OperandView<'_, K::Acc>; 2],
    beta: K::Acc,
    mut c: MatMut<'_, K::Acc>,
    epilogue: Epilogue<'_, K::Acc>,
    scratch: &mut [K::Acc],
) -> Result<(), Error> {
    // The scratch counts k in elements.
    let shape = GemmShape { m: c.rows(), n: c.cols(), k: operands[1].depth() };
    let expected = gemm_scratch::<K::Acc>(cpu.threads(), shape);
    let c = Target::new(&mut c);
    let call = Call::<K, K::Acc> { cpu, alpha, operands, beta, c, partial: c, epilogue };
    // SAFETY: `partial` is C, which is borrowed from the caller.
    unsafe { call.run(expected, scratch) }
}

/// [`gemm`] of bf16 matrices, accumulated in f32 and stored as `O`: f32 or bf16.
///
/// A term has two products: for values 2i and 2i + 1 of k, first the odd product is added, then the
/// even one, each rounded to f32. Subnormal values, and sums that would be subnormal, count as
/// zeros. That is the operation of the processor's instruction, where there is one. Elsewhere two
/// fused multiply-adds of f32 give the same bits, unless the operands are so small that a sum could
/// be flushed: then it takes several times as long. A summation block has 1024 values of k. C is
/// rounded to its type at the end, to nearest, ties to even.
///
/// `scratch` has [`gemm_bf16_scratch`]`(threads, shape)` elements of f32, or none, if k is at
/// most 1024 or `O` is f32.
///
/// # Errors
/// As for [`gemm`].
#[expect(clippy::too_many_arguments, reason = "they are the operands of BLAS, in its order")]
pub fn gemm_bf16<'a, O: Bf16Result>(
    cpu: Cpu<'_>,
    alpha: f32,
    a: impl Into<Bf16Operand<'a>>,
    b: impl Into<Bf16Operand<'a>>,
    beta: f32,
    c: MatMut<'_, O>,
    epilogue: Epilogue<'_, f32, O>,
    scratch: &mut [f32],
) -> Result<(), Error> {
    multiply_bf16(cpu, alpha, [a.into().0, b.into().0], beta, c, epilogue, scratch)
}

/// [`gemm_bf16`] of operands in any form.
#[inline(never)]
pub(crate) fn multiply_bf16<O: Bf16Result>(
    cpu: Cpu<'_>,
    alpha: f32,
    operands: [OperandView<'_, f32>; 2],
    beta: f32,
    mut c: MatMut<'_, O>,
    epilogue: Epilogue<'_, f32, O>,
    scratch: &mut [f32],
) -> Result<(), Error> {
    let shape = GemmShape { m: c.rows(), n: c.cols(), k: operands[1].shape().rows };
    let expected = gemm_bf16_scratch(cpu.threads(), shape);
    // Between two summation blocks the accumulators are stored in f32: in C, or at the start of the
    // scratch.
    let partial_len = if shape.k > BF16_BLOCK { shape.m * shape.n } else { 0 };
    let may_be_empty = O::IS_ACC || partial_len == 0;
    if scratch.len() < expected && !(scratch.is_empty() && may_be_empty) {
        return Err(Error::Scratch { expected, got: scratch.len() });
    }
    let (partial, scratch) = scratch.split_at_mut(partial_len.min(scratch.len()));
    let expected = expected - partial.len();
    let c = Target::new(&mut c);
    let partial = O::as_acc(c).unwrap_or_else(|| Target::row_major(partial, shape.n));
    let call = Call::<Pairs, O> { cpu, alpha, operands, beta, c, partial, epilogue };
    // SAFETY: `partial` is C, or has `m * n` elements if k exceeds one summation block, by the
    // check of the scratch. Both are borrowed from the caller.
    unsafe { call.run(expected, scratch) }
}
