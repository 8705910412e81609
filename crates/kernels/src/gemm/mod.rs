//! Matrix product with everything that a dense layer does to the result while it is in registers.
//!
//! ```text
//! C <- act(alpha * A B + beta * C + bias)          A: m x k, B: k x n, C: m x n
//!
//! split C into blocks of rows and columns, one task each        -- threads; no bit depends on the cut
//!   for each NC columns of the block                            -- B's panels fit the second-level cache
//!     for each KB of k                                          -- the summation blocks of the bit contract
//!       pack B: KB x NC, in panels of two registers' width      -- `pack`
//!       for each MR rows                                        -- A's rows fit the first-level cache
//!         for each panel                                        -- B's panel streams past
//!           MR x NR elements of C in registers                  -- `tile`
//! ```
//!
//! **Bits.** Every element is r = beta * c (+0 when beta is 0, and then c is not read); for each block of `KB`
//! consecutive k, p is one chain of fused multiply-adds from +0 in ascending k, and r = fma(alpha, p, r) (for
//! the first block r = alpha * p when beta is 0); then r + bias, then the activation. It follows that neither
//! instruction set, nor threads, nor strides, nor the cut into blocks changes a bit. `KB` is 512 for f32 and
//! 256 for f64.
//!
//! Called by the dense layer, forward and backward.

pub(crate) mod block;
mod grid;
mod pack;
mod tile;

use crate::error::check_length;
use crate::{Cpu, Error, Float, MatMut, MatRef};
use block::{Block, NC, Product};
use grid::Grid;
use tile::Target;

/// The widest register that is compiled in, in f32 lanes.
const MAX_LANES: usize = if cfg!(target_arch = "x86_64") {
    16
} else if cfg!(target_arch = "aarch64") {
    4
} else {
    1
};

/// What happens to an element of the product before it is stored.
///
/// ```
/// use kernels::gemm::Epilogue;
/// let bias = [0.5_f32, -0.5];
/// let dense_with_relu = Epilogue::bias(&bias).relu();
/// # let _ = dense_with_relu;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, T> {
    bias: Option<&'a [T]>,
    activation: Activation<'a, T>,
}

#[derive(Clone, Copy, Debug)]
enum Activation<'a, T> {
    Identity,
    Relu,
    ReluGradient(MatRef<'a, T>),
}

impl<'a, T> Epilogue<'a, T> {
    /// The element is stored as it is.
    pub const NONE: Self = Self { bias: None, activation: Activation::Identity };

    /// `bias[j]` is added to the elements of column `j`. `bias` has one element per column of C.
    pub const fn bias(bias: &'a [T]) -> Self {
        Self { bias: Some(bias), ..Self::NONE }
    }

    /// Then the rectifier: 0 where the element is at most 0, else the element. NaN stays NaN.
    pub const fn relu(self) -> Self {
        Self { activation: Activation::Relu, ..self }
    }

    /// Then the rectifier's gradient at its output `y` (m x n): 0 where `y` is at most 0, else the element.
    pub const fn relu_gradient(self, y: MatRef<'a, T>) -> Self {
        Self { activation: Activation::ReluGradient(y), ..self }
    }
}

/// C <- act(alpha * A B + beta * C + bias), where the epilogue names bias and activation.
///
/// `a` is m x k, `b` k x n, `c` m x n, each with any strides; `scratch` has at least
/// [`gemm_scratch`]`(threads, m, n, k)` elements, which are overwritten. Any dimension may be 0; with k = 0 the
/// product is +0 and is not added. When `beta` is 0, `c` is not read and may hold anything. NaN and infinities
/// flow as IEEE 754 has them, also with `alpha` = 0. The order of the sums is fixed (see this module's head),
/// so the result's bits depend on the operands alone. With u the unit roundoff, |error| of an element is at most
/// about (min(k, KB) + k / KB) u times the sum of |a||b|.
///
/// # Errors
/// [`Error::Length`] if the shapes do not agree, [`Error::Scratch`] if `scratch` is too small. `c` is unchanged
/// then.
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
pub fn gemm<T: Float>(
    cpu: Cpu<'_>,
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    mut c: MatMut<'_, T>,
    epilogue: Epilogue<'_, T>,
    scratch: &mut [T],
) -> Result<(), Error> {
    let (m, n, k) = (c.rows(), c.cols(), a.cols());
    check_length("rows of a", m, a.rows())?;
    check_length("rows of b", k, b.rows())?;
    check_length("columns of b", n, b.cols())?;
    // A bias is a matrix whose rows are all the same.
    let bias = match epilogue.bias {
        None => None,
        Some(bias) => {
            check_length("bias", n, bias.len())?;
            Some(MatRef::strided(bias, m, n, 0, 1)?)
        }
    };
    let (relu, gradient_at) = match epilogue.activation {
        Activation::Identity => (false, None),
        Activation::Relu => (true, None),
        Activation::ReluGradient(y) => {
            check_length("rows of y", m, y.rows())?;
            check_length("columns of y", n, y.cols())?;
            (false, Some(y))
        }
    };
    let expected = gemm_scratch::<T>(cpu.threads(), m, n, k);
    if scratch.len() < expected {
        return Err(Error::Scratch { expected, got: scratch.len() });
    }
    if m == 0 || n == 0 {
        return Ok(());
    }

    let beta = (beta != T::ZERO).then_some(beta);
    let mut product = Product { alpha, a, b, beta, c: Target::new(&mut c), bias, relu, gradient_at };
    // Registers lie along the rows of C. Where C's columns are contiguous instead, compute the transpose.
    if product.c.shape.col_stride != 1 && product.c.shape.row_stride == 1 {
        product = product.transpose();
    }
    let product = &product;

    let grid = Grid::new(cpu, product.shape(), k);
    let per_task = task_scratch::<T>(n.max(m), k);
    let slots = Slots::new(scratch);
    cpu.for_each(grid.tasks(), &|task| {
        let (rows, cols) = grid.block(task);
        // SAFETY: `for_each` passes each number below `tasks` once, and `gemm_scratch` has a slot for each.
        let scratch = unsafe { slots.get(task, per_task) };
        T::run(cpu.isa, Block { product, rows, cols, scratch });
    });
    Ok(())
}

/// How many elements of scratch [`gemm`] needs for these dimensions on an executor of `threads` threads, on
/// any instruction set that is compiled in.
pub const fn gemm_scratch<T: Float>(threads: usize, m: usize, n: usize, k: usize) -> usize {
    let threads = if threads == 0 { 1 } else { threads };
    let longer = if m > n { m } else { n };
    threads * task_scratch::<T>(longer, k)
}

/// One task's share: a block of B and a tile's rows of A, packed.
const fn task_scratch<T: Float>(cols: usize, k: usize) -> usize {
    let panel = 2 * (MAX_LANES * size_of::<f32>()).div_ceil(size_of::<T>());
    let cols = if cols < NC { cols.next_multiple_of(panel) } else { NC };
    let depth = if k < T::KB { k } else { T::KB };
    depth * cols + pack::rows_len(depth)
}

/// The scratch, shared by the tasks.
struct Slots<'a, T> {
    start: *mut T,
    borrowed: core::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: each task touches its own slot alone, by the condition on `get`.
unsafe impl<T: Send> Sync for Slots<'_, T> {}

impl<'a, T> Slots<'a, T> {
    fn new(scratch: &'a mut [T]) -> Self {
        Self { start: scratch.as_mut_ptr(), borrowed: core::marker::PhantomData }
    }

    /// The slot of `task`, of `len` elements.
    ///
    /// # Safety
    /// The scratch has more than `task` slots of `len`, and no other thread has this one.
    unsafe fn get(&self, task: usize, len: usize) -> &'a mut [T] {
        let slot = self.start.wrapping_add(task * len);
        // SAFETY: the slot lies inside the scratch, which is borrowed for 'a, and nobody else has it.
        unsafe { core::slice::from_raw_parts_mut(slot, len) }
    }
}
