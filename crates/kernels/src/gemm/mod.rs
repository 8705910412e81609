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

mod pack;
mod tile;

use crate::error::check_length;
use crate::matrix::Shape;
use crate::simd::{Simd, WithSimd};
use crate::{Cpu, Error, Float, MatMut, MatRef};
use tile::{Element, Source, Target};

/// Columns of B that are packed at a time: 512 x 256 f32 are 512 KiB, half of a second-level cache of 1 MiB.
/// Benchmark `gemm`.
const NC: usize = 256;

/// The widest register that is compiled in, in f32 lanes.
const MAX_LANES: usize = if cfg!(target_arch = "x86_64") {
    16
} else if cfg!(target_arch = "aarch64") {
    4
} else {
    1
};

/// A task is worth waking a thread for from this many multiply-adds on: some 10 microseconds of one core.
/// Benchmark `gemm`.
const TASK_WORK: usize = 1 << 20;

/// Whether B is read where it stands, without a copy: its rows must be contiguous, and either few tiles would use
/// the copy, or the rows from the first to the last fit half a second-level cache. Rows a multiple of 4 KiB apart
/// fall into the same few sets of the caches, and are copied unless they are few. Benchmark `gemm`.
const fn reads_in_place<T>(b: Source<T>, kc: usize, tiles: usize) -> bool {
    let stride = b.row_stride * size_of::<T>();
    b.col_stride == 1 && (kc * stride <= 512 << 10 || (tiles <= 12 && !stride.is_multiple_of(4096)))
}

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
        cpu.isa.run(Block { product, rows, cols, scratch });
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

/// The operands, after all checks.
struct Product<'a, T> {
    alpha: T,
    a: MatRef<'a, T>,
    b: MatRef<'a, T>,
    /// `None` when C is not to be read.
    beta: Option<T>,
    c: Target<'a, T>,
    bias: Option<MatRef<'a, T>>,
    relu: bool,
    gradient_at: Option<MatRef<'a, T>>,
}

impl<T> Product<'_, T> {
    /// The transposed product: C^T = B^T A^T. The same bits, since a * b = b * a.
    fn transpose(self) -> Self {
        Self {
            a: self.b.transpose(),
            b: self.a.transpose(),
            c: self.c.transpose(),
            bias: self.bias.map(MatRef::transpose),
            gradient_at: self.gradient_at.map(MatRef::transpose),
            ..self
        }
    }

    fn shape(&self) -> Shape {
        self.c.shape
    }
}

/// How C is cut into tasks: `down` x `across` blocks of whole tiles and panels.
struct Grid {
    rows: usize,
    cols: usize,
    down: usize,
    across: usize,
}

/// Columns are dealt out in units of this many.
const PANEL: usize = 2 * MAX_LANES;
/// Rows are dealt out in units of this many: half a tile, so that no task gets a sliver.
const STRIP: usize = 8;

impl Grid {
    /// The cut whose largest block is the smallest; among equals the one with the fewest rows of blocks, since
    /// each of those packs B again.
    fn new(cpu: Cpu<'_>, c: Shape, k: usize) -> Self {
        let (strips, panels) = (c.rows.div_ceil(STRIP), c.cols.div_ceil(PANEL));
        let work = c.rows.saturating_mul(c.cols).saturating_mul(k);
        let most = cpu.threads().min(work / TASK_WORK).max(1);
        let (mut best, mut least) = ((1, 1), usize::MAX);
        for down in 1..=most.min(strips) {
            let across = (most / down).min(panels);
            let largest = strips.div_ceil(down) * panels.div_ceil(across);
            if largest < least {
                (best, least) = ((down, across), largest);
            }
        }
        Self { rows: c.rows, cols: c.cols, down: best.0, across: best.1 }
    }

    fn tasks(&self) -> usize {
        self.down * self.across
    }

    /// Rows and columns of block `task`, each as (start, end).
    fn block(&self, task: usize) -> ((usize, usize), (usize, usize)) {
        let cut = |len: usize, unit: usize, parts: usize, part: usize| {
            let units = len.div_ceil(unit);
            let edge = |part: usize| (units * part / parts * unit).min(len);
            (edge(part), edge(part + 1))
        };
        (
            cut(self.rows, STRIP, self.down, task / self.across),
            cut(self.cols, PANEL, self.across, task % self.across),
        )
    }
}

/// One task: the rows and columns of C that it owns, and its scratch.
struct Block<'a, T> {
    product: &'a Product<'a, T>,
    rows: (usize, usize),
    cols: (usize, usize),
    scratch: &'a mut [T],
}

impl<T: Float> WithSimd for Block<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { product, rows: (i0, i1), cols: (j0, j1), scratch } = self;
        let k = product.a.cols();
        let panel = 2 * T::lanes::<S>();
        let (a, b) = (Source::new(product.a), Source::new(product.b));
        let depth = k.min(T::KB);
        let (packed_a, packed_b) = scratch.split_at_mut(pack::rows_len(depth));
        // All tiles of the block get about the same number of rows: no sliver keeps the pipeline waiting.
        let tiles = (i1 - i0).div_ceil(S::TILE_ROWS);
        let tile_row = |t: usize| i0 + (i1 - i0) * t / tiles;

        for j in (j0..j1).step_by(NC) {
            let nc = NC.min(j1 - j);
            // One pass for k = 0 too: the epilogue still applies.
            for p in (0..k.max(1)).step_by(T::KB) {
                let kc = T::KB.min(k - p);
                let element = Element {
                    alpha: product.alpha,
                    beta: product.beta,
                    first: p == 0,
                    last: p + kc == k,
                    empty: k == 0,
                    bias: product.bias.map(Source::new),
                    relu: product.relu,
                    gradient_at: product.gradient_at.map(Source::new),
                };
                // Columns below `packed_from` are read in place. A last panel that is not full never is: its
                // registers would reach past the row.
                let packed_from = if reads_in_place(b, kc, tiles) { nc - nc % panel } else { 0 };
                let (source, rest) = (b.offset(p, j + packed_from), nc - packed_from);
                s.vectorize(pack::PackB { source, kc, nc: rest, panel, packed: packed_b });
                for t in 0..tiles {
                    let (i, mr) = (tile_row(t), tile_row(t + 1) - tile_row(t));
                    let rows = pack::rows(s, a.offset(i, p), mr, kc, packed_a);
                    for jr in (0..nc).step_by(panel) {
                        let nr = panel.min(nc - jr);
                        let at = (i, j + jr);
                        let columns = if jr < packed_from {
                            b.offset(p, j + jr)
                        } else {
                            Source::packed(&packed_b[(jr - packed_from) * kc..], panel, 1)
                        };
                        // SAFETY: rows i..i+mr and columns j+jr..j+jr+nr lie inside C, hence inside bias and
                        // gradient, and in this task's block; A has those rows and columns p..p+kc.
                        unsafe {
                            tile::tile(s, mr, rows, columns, kc, product.c, at, nr, &element);
                        }
                    }
                }
            }
        }
    }
}
