//! Matrix product with everything that a dense layer does to the result while it is in registers.
//!
//! ```text
//! C <- act(alpha * A B + beta * C + bias)          A: m x k, B: k x n, C: m x n
//!
//! choose lanes along C's rows or along its columns              -- `orientation`: whichever packs less
//! if k is long and C small, share k's summation blocks           -- `split_k`: threads
//! else split C into blocks of rows and columns, one task each   -- `grid`: threads
//!   for each KB of k                                            -- the summation blocks of the bit contract
//!     for each MC rows whose copies of A are kept               -- A's copies fit the last-level cache
//!       for each NC columns of the block                        -- B's panels fit the second-level cache
//!         pack B if it must be turned or converted              -- `pack`
//!         for each MR rows                                      -- A's rows fit the first-level cache
//!           for each panel of two registers' width              -- B's panel streams past
//!             MR x NR sums in registers                         -- `tile`
//!             scaled, added, biased, activated, stored          -- `finish`
//! ```
//!
//! **Bits.** Every element is r = beta * c (+0 when beta is 0, and then c is not read); for each block of `KB`
//! consecutive k, p is one chain of terms from +0 in ascending k, and r = fma(alpha, p, r) (for
//! the first block r = alpha * p when beta is 0); then r + bias, then the activation. For f32 and f64 a term is a fused
//! multiply-add, and `KB` is 512 and 256; for bf16 a term is a pair of k, as [`gemm_bf16`] says, and `KB` is 1024.
//! The order depends on k alone. It follows that neither instruction set, nor threads, nor strides,
//! nor the blocking changes a bit, and that an element of C does not depend on the number of rows
//! and columns beside it (batch invariance).
//!
//! Called by the dense layer, forward and backward.

mod batch;
pub(crate) mod block;
mod finish;
mod grid;
mod operand;
mod orientation;
mod pack;
mod packed;
mod split_k;
pub(crate) mod target;
pub(crate) mod terms;
mod tile;

use crate::error::check_length;
use crate::simd::Lanes;
use crate::{Cpu, Error, Float, Isa, MatMut, MatRef};
pub use batch::{Batch, BatchMut, gemm_batch};
pub use block::Bf16Result;
use block::{Block, Product, task_len};
use grid::Grid;
use operand::Elements;
pub(crate) use operand::rounded;
pub use operand::{Bf16Operand, Operand};
use orientation::turns;
pub use packed::{Packed, PackedBf16, packed_bf16_len, packed_len};
use target::{Beside, Stored, Target};
use terms::{Pairs, Single, Terms};

/// The widest register that is compiled in, in f32 lanes.
const MAX_LANES: usize = if cfg!(target_arch = "x86_64") {
    16
} else if cfg!(target_arch = "aarch64") {
    4
} else {
    1
};

/// The widest register that is compiled in, in lanes of `T`.
const fn most_lanes<T>() -> usize {
    (MAX_LANES * size_of::<f32>()).div_ceil(size_of::<T>())
}

/// What happens to an element of the product before it is stored, and what else is made on the way.
///
/// `T` is the type of the sums, `O` that of C.
///
/// ```
/// use kernels::gemm::Epilogue;
/// let bias = [0.5_f32, -0.5];
/// let dense_with_relu: Epilogue<'_, f32> = Epilogue::bias(&bias).relu();
/// # let _ = dense_with_relu;
/// ```
#[derive(Debug)]
pub struct Epilogue<'a, T, O = T> {
    bias: Option<&'a [T]>,
    keep: Option<MatMut<'a, O>>,
    activation: Activation<'a, O>,
    column_sums: Option<&'a mut [T]>,
}

#[derive(Clone, Copy, Debug)]
enum Activation<'a, O> {
    Identity,
    Relu,
    ReluGradient(MatRef<'a, O>),
}

impl<'a, T, O> Epilogue<'a, T, O> {
    /// The element is stored as it is.
    pub const NONE: Self =
        Self { bias: None, keep: None, activation: Activation::Identity, column_sums: None };

    /// `bias[j]` is added to the elements of column `j`. `bias` has one element per column of C.
    pub const fn bias(bias: &'a [T]) -> Self {
        Self { bias: Some(bias), ..Self::NONE }
    }

    /// Then the element is also stored to `z` (m x n), before the activation: what the gradient of an activation needs that
    /// cannot be had from its output.
    pub fn keep(self, z: MatMut<'a, O>) -> Self {
        Self { keep: Some(z), ..self }
    }

    /// Then the rectifier: 0 where the element is at most 0, else the element. NaN stays NaN.
    pub fn relu(self) -> Self {
        Self { activation: Activation::Relu, ..self }
    }

    /// Then the rectifier's gradient at its output `y` (m x n): 0 where `y` is at most 0, else the element.
    pub fn relu_gradient(self, y: MatRef<'a, O>) -> Self {
        Self { activation: Activation::ReluGradient(y), ..self }
    }

    /// Besides, `sums[j]` becomes alpha times the sum of B's column `j`, plus beta times what it holds: the element that a row
    /// of ones in A would give, bit for bit. In dW = X^T dY this is db. `sums` has one element per column of B.
    pub fn column_sums(self, sums: &'a mut [T]) -> Self {
        Self { column_sums: Some(sums), ..self }
    }
}

/// C <- act(alpha A B + beta C + bias), where the epilogue names bias and activation.
///
/// `a` is m x k, `b` k x n, `c` m x n, each with any strides: a [`MatRef`], or another [`Operand`]. Any dimension may be 0;
/// with k = 0 the product is +0 and is not added. When `beta` is 0, `c` is not read and may hold anything. NaN and infinities
/// flow as IEEE 754 has them, also with `alpha` = 0. The order of the sums is fixed (see this module's head),
/// so the result's bits depend on the operands alone. With u the unit roundoff, |error| of an element is at most
/// about (min(k, KB) + k / KB) u times the sum of |a||b|.
///
/// `scratch` has at least [`gemm_scratch`]`(threads, m, n, k)` elements, which are overwritten; or none: then nothing is copied,
/// which is as fast for small operands whose rows lie as they are read, slower for large ones, and slow where B would have to be
/// turned or converted; and k is not split among threads.
///
/// # Errors
/// [`Error::Length`] if the shapes do not agree, [`Error::Scratch`] if `scratch` is too small, but
/// not if it is empty. Nothing is changed then.
///
/// ```
/// use kernels::{gemm::{gemm, gemm_scratch, Epilogue}, Cpu, MatMut, MatRef};
/// let (a, b, mut c) = ([1.0_f32, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [0.0; 4]);
/// let mut scratch = [0.0; gemm_scratch::<f32>(1, 2, 2, 2)];
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

/// C <- A B + beta C, as [`gemm`] or [`gemm_bf16`] computes it, whichever `K` says.
pub(crate) fn gemm_terms<K: Terms>(
    cpu: Cpu<'_>,
    [a, b]: [MatRef<'_, K::Sum>; 2],
    beta: K::Sum,
    c: MatMut<'_, K::Sum>,
    epilogue: Epilogue<'_, K::Sum>,
    scratch: &mut [K::Sum],
) -> Result<(), Error> {
    multiply::<K>(cpu, Float::ONE, [K::factor(a).0, K::factor(b).0], beta, c, epilogue, scratch)
}

/// Elements of scratch that [`gemm_terms`] needs.
pub(crate) const fn gemm_terms_scratch<K: Terms>(
    threads: usize,
    m: usize,
    n: usize,
    k: usize,
) -> usize {
    gemm_scratch::<K::Sum>(threads, m, n, k.div_ceil(K::ELEMENTS))
}

/// [`gemm`] of operands in whatever form.
#[inline(never)]
pub(crate) fn multiply<K: Terms>(
    cpu: Cpu<'_>,
    alpha: K::Sum,
    factors: [Elements<'_, K::Sum>; 2],
    beta: K::Sum,
    mut c: MatMut<'_, K::Sum>,
    epilogue: Epilogue<'_, K::Sum>,
    scratch: &mut [K::Sum],
) -> Result<(), Error> {
    let expected = gemm_scratch::<K::Sum>(cpu.threads(), c.rows(), c.cols(), factors[1].depth());
    let dimensions = (c.rows(), c.cols());
    let c = Target::new(&mut c);
    let runs = Run { c: K::run, sums: K::run };
    Call { cpu, factors, alpha, beta, c, running: c, epilogue, runs }
        .multiply(dimensions, expected, scratch)
}

/// [`gemm`] of bf16 matrices, summed in f32 and stored as `O`: f32 or bf16.
///
/// A sum has two products to a term: for elements 2i and 2i + 1 of k, first the odd product is added, then the even one, each
/// rounded to f32; subnormal elements, and sums that would be subnormal, count as zeros. That is what the processor's
/// instruction does where there is one; elsewhere it is computed step by step, to the same bits, at a fraction of the speed. A
/// summation block has 1024 elements of k. C is rounded to its type at the end, to nearest, ties to even.
///
/// `scratch` has [`gemm_bf16_scratch`]`(threads, m, n, k)` elements of f32, or none, if k is at
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

/// [`gemm_bf16`] of operands in whatever form.
#[inline(never)]
pub(crate) fn multiply_bf16<O: Bf16Result>(
    cpu: Cpu<'_>,
    alpha: f32,
    factors: [Elements<'_, f32>; 2],
    beta: f32,
    mut c: MatMut<'_, O>,
    epilogue: Epilogue<'_, f32, O>,
    scratch: &mut [f32],
) -> Result<(), Error> {
    let k = factors[1].shape().rows;
    let expected = gemm_bf16_scratch(cpu.threads(), c.rows(), c.cols(), k);
    // Between two summation blocks the sums are kept in f32: in C, or before the rest of the scratch.
    let sums = if k > BF16_BLOCK { c.rows() * c.cols() } else { 0 };
    if scratch.len() < expected && !(scratch.is_empty() && (O::AS_IS || sums == 0)) {
        return Err(Error::Scratch { expected, got: scratch.len() });
    }
    let (sums, scratch) = scratch.split_at_mut(sums.min(scratch.len()));
    let expected = expected - sums.len();
    let mut sums = MatMut::row_major(sums, if sums.is_empty() { 0 } else { c.rows() }, c.cols())?;
    let dimensions = (c.rows(), c.cols());
    let c = Target::new(&mut c);
    let running = O::sums(c).unwrap_or_else(|| Target::new(&mut sums));
    let runs = Run { c: O::run_pairs, sums: f32::run_pairs };
    Call { cpu, factors, alpha, beta, c, running, epilogue, runs }
        .multiply(dimensions, expected, scratch)
}

/// Elements of k in a summation block of [`gemm_bf16`].
const BF16_BLOCK: usize = Pairs::ELEMENTS * <f32 as Lanes>::KB;

/// How many elements of scratch [`gemm_bf16`] needs for these dimensions on an executor of `threads` threads, on any instruction
/// set that is compiled in.
pub const fn gemm_bf16_scratch(threads: usize, m: usize, n: usize, k: usize) -> usize {
    let sums = if k > BF16_BLOCK { m * n } else { 0 };
    sums + gemm_scratch::<f32>(threads, m, n, k.div_ceil(Pairs::ELEMENTS))
}

/// The arguments of a product.
struct Call<'a, K: Terms, O> {
    cpu: Cpu<'a>,
    alpha: K::Sum,
    /// m x k and k x n.
    factors: [Elements<'a, K::Sum>; 2],
    beta: K::Sum,
    c: Target<'a, O>,
    running: Target<'a, K::Sum>,
    epilogue: Epilogue<'a, K::Sum, O>,
    runs: Run<K, O>,
}

/// Computes a block.
type RunBlock<K, O> = fn(Isa, Block<'_, K, O>);

/// How blocks of C are computed, and blocks of sums besides.
struct Run<K: Terms, O> {
    c: RunBlock<K, O>,
    sums: RunBlock<K, <K as Terms>::Sum>,
}

impl<K: Terms, O> Clone for Run<K, O> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K: Terms, O> Copy for Run<K, O> {}

impl<K: Terms, O: Stored<K::Sum>> Call<'_, K, O> {
    /// Checks all arguments, then multiplies.
    fn multiply(
        self,
        (m, n): (usize, usize),
        expected: usize,
        scratch: &mut [K::Sum],
    ) -> Result<(), Error> {
        let Self { cpu, alpha, factors: [a, b], beta, c, running, epilogue, runs } = self;
        let k = a.shape().cols;
        check_length("rows of a", m, a.shape().rows)?;
        check_length("rows of b", k, b.shape().rows)?;
        check_length("columns of b", n, b.shape().cols)?;
        // A bias is a matrix whose rows are all the same.
        let bias = match epilogue.bias {
            None => None,
            Some(bias) => {
                check_length("bias", n, bias.len())?;
                Some(Beside::new(MatRef::strided(bias, m, n, 0, 1)?))
            }
        };
        let mut keep = epilogue.keep;
        if let Some(keep) = &keep {
            check_length("rows of z", m, keep.rows())?;
            check_length("columns of z", n, keep.cols())?;
        }
        let (relu, gradient_at) = match epilogue.activation {
            Activation::Identity => (false, None),
            Activation::Relu => (true, None),
            Activation::ReluGradient(y) => {
                check_length("rows of y", m, y.rows())?;
                check_length("columns of y", n, y.cols())?;
                (false, Some(Beside::new(y)))
            }
        };
        if let Some(sums) = &epilogue.column_sums {
            check_length("column sums", n, sums.len())?;
        }
        if scratch.len() < expected && !scratch.is_empty() {
            return Err(Error::Scratch { expected, got: scratch.len() });
        }

        let beta = (beta != <K::Sum as Float>::ZERO).then_some(beta);
        let keep = keep.as_mut().map(Target::new);
        let column_sums = epilogue.column_sums.map(Target::row);
        let a = a.transpose();
        let mut product = Product::<K, O> {
            bias,
            keep,
            relu,
            gradient_at,
            ..Product::bare(alpha, [a, b], beta, c, running)
        };
        let mut swapped = false;
        // Registers are stored along the rows of C. Where its columns are contiguous instead, compute its transpose.
        if c.col_stride != 1 && c.row_stride == 1 {
            product = product.turn().transpose_c();
            swapped = true;
        }
        // A packed factor is read as B is; where both are packed, the other is read slowly.
        let turn = match (product.a.panels(), product.b.panels()) {
            (None, None) => turns(&product.a, &product.b, cpu.isa.lanes::<K::Sum>()),
            (packed, other) => packed.is_some() && other.is_none(),
        };
        if turn {
            product = product.turn();
            swapped = !swapped;
        }
        // The columns of B lie along the tile's rows, or there are no tiles: the sums are a product of their own.
        let beside = if swapped || m == 0 { column_sums } else { None };
        product.column_sums = if beside.is_none() { column_sums } else { None };
        spread(cpu, &product, runs, scratch);
        let Some(sums) = beside else { return Ok(()) };
        let ones = [K::ONE];
        let a = Elements::words(MatRef::strided(&ones, b.depth(), 1, 0, 0)?);
        let product = Product::<K, K::Sum>::bare(alpha, [a, b], beta, sums, sums);
        spread(cpu, &product, Run { c: runs.sums, sums: runs.sums }, scratch);
        Ok(())
    }
}

/// What part of a sparse factor's columns is multiplied, one in so many: of a digit's pixels one in five.
const SPARSE_SHARE: usize = 4;

/// Cuts `product` into tasks and runs them.
fn spread<K: Terms, O: Stored<K::Sum>>(
    cpu: Cpu<'_>,
    product: &Product<'_, K, O>,
    runs: Run<K, O>,
    scratch: &mut [K::Sum],
) {
    let (rows, cols, depth) = product.shape();
    if rows == 0 || cols == 0 {
        return;
    }
    let tasks = split_k::tasks(product, cpu.threads(), scratch.len());
    if tasks > 1 {
        return split_k::split(cpu, product, runs, tasks, scratch);
    }
    let slots = Slots::new(scratch, task_len::<K::Sum>(rows.max(cols), depth));
    // Of a sparse factor's columns, about so many are left.
    let left = if product.a.is_sparse() { depth / SPARSE_SHARE } else { depth };
    let grid = Grid::new(slots.count.min(cpu.threads()), (rows, cols), left);
    cpu.for_each(grid.tasks(), &|task| {
        let (rows, cols) = grid.block(task);
        // SAFETY: there is a slot for each task, and `for_each` passes each number once.
        let scratch = unsafe { slots.get(task) };
        (runs.c)(cpu.isa, Block { product, rows, cols, partials: None, scratch });
    });
}

/// How many elements of scratch [`gemm`] needs for these dimensions on an executor of `threads` threads, on
/// any instruction set that is compiled in.
pub const fn gemm_scratch<T: Float>(threads: usize, m: usize, n: usize, k: usize) -> usize {
    let task = task_len::<T>(if m > n { m } else { n }, k);
    if threads < 2 { task } else { threads * (task + split_k::partials_len::<T>(m, n, k)) }
}

/// The scratch, shared by the tasks: a slot for each, or none for any.
struct Slots<'a, T> {
    start: *mut T,
    /// Elements of a slot.
    len: usize,
    /// How many tasks there may be. Counted here and not taken from the executor, which might give another answer each time.
    count: usize,
    borrowed: core::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: each task touches its own slot alone, by the condition on `get`.
unsafe impl<T: Send> Sync for Slots<'_, T> {}

impl<'a, T> Slots<'a, T> {
    /// Slots of `len` elements, which is not 0; empty ones if there is no scratch.
    fn new(scratch: &'a mut [T], len: usize) -> Self {
        let (len, count) =
            if scratch.is_empty() { (0, usize::MAX) } else { (len, scratch.len() / len) };
        Self { start: scratch.as_mut_ptr(), len, count, borrowed: core::marker::PhantomData }
    }

    /// The slot of `task`.
    ///
    /// # Safety
    /// `task` is below `count`, and no other thread has this slot.
    unsafe fn get(&self, task: usize) -> &'a mut [T] {
        let slot = self.start.wrapping_add(task * self.len);
        // SAFETY: the slot lies inside the scratch, which is borrowed for 'a, and nobody else has it.
        unsafe { core::slice::from_raw_parts_mut(slot, self.len) }
    }
}
