//! Epilogues: accumulators are scaled, added to C, and after the last summation block biased, saved
//! for backward, activated and stored.
//!
//! ```text
//! r = alpha * p   or   alpha * p + beta * c   or, after the first block,   alpha * p + r
//! last block:  r + bias;  saved to z, if asked for;  activation;  stored to C
//! ```
//!
//! Where the product is computed as its transpose, the rows of a tile are columns of C: they are
//! transposed in registers first. The caller chooses an [`Epilogue`]; the macrokernel runs
//! [`ApplyEpilogue`] after the microkernel.

use super::blocking::line_len;
use super::output::OutputType;
use super::view::{Source, Target};
use crate::simd::{MOST_LANES, Simd, WithSimd, prefetch};
use crate::{Float, MatMut, MatRef};

/// Operations on an element of the product before it is stored, and further outputs.
///
/// `T` is the type of the accumulators, `O` that of C.
///
/// ```
/// use kernels::gemm::Epilogue;
/// let bias = [0.5_f32, -0.5];
/// let dense_with_relu: Epilogue<'_, f32> = Epilogue::bias(&bias).relu();
/// # let _ = dense_with_relu;
/// ```
#[derive(Debug)]
pub struct Epilogue<'a, T, O = T> {
    pub(super) bias: Option<&'a [T]>,
    pub(super) z: Option<MatMut<'a, O>>,
    pub(super) activation: Activation<'a, O>,
    pub(super) column_sums: Option<&'a mut [T]>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Activation<'a, O> {
    Identity,
    Relu,
    ReluGradient(MatRef<'a, O>),
}

impl<'a, T, O> Epilogue<'a, T, O> {
    /// Stores the element as it is.
    pub const NONE: Self =
        Self { bias: None, z: None, activation: Activation::Identity, column_sums: None };

    /// Adds `bias[j]` to the elements of column `j`. `bias` has one element per column of C.
    pub const fn bias(bias: &'a [T]) -> Self {
        Self { bias: Some(bias), ..Self::NONE }
    }

    /// Then saves the element to `z`, `[m, n]`, before the activation: for gradients of activations
    /// that their output does not determine.
    pub fn save(self, z: MatMut<'a, O>) -> Self {
        Self { z: Some(z), ..self }
    }

    /// Then applies ReLU: 0 where the element is at most 0, else the element. NaN stays NaN.
    pub fn relu(self) -> Self {
        Self { activation: Activation::Relu, ..self }
    }

    /// Then applies the gradient of ReLU at its output `y`, `[m, n]`: 0 where `y` is at most 0,
    /// else the element.
    pub fn relu_gradient(self, y: MatRef<'a, O>) -> Self {
        Self { activation: Activation::ReluGradient(y), ..self }
    }

    /// Besides, `sums[j]` becomes alpha times the sum of B's column `j`, plus beta times its old
    /// value: the element that a row of ones in A would give, bit for bit.
    ///
    /// In dW = X^T dY this is db. `sums` has one element per column of B.
    pub fn column_sums(self, sums: &'a mut [T]) -> Self {
        Self { column_sums: Some(sums), ..self }
    }
}

/// Position of a summation block within k.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockPosition {
    pub(super) first: bool,
    pub(super) last: bool,
    /// k is 0: there are no accumulators.
    pub(super) empty: bool,
}

/// The epilogue of one summation block: the same for all tiles of one pass over C.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockEpilogue<'a, T, O> {
    pub(super) alpha: T,
    /// `None`: C is not read.
    pub(super) beta: Option<T>,
    pub(super) block: BlockPosition,
    pub(super) c: Target<'a, O>,
    /// Storage of r between two summation blocks: C itself, if it has the type of r.
    pub(super) partial: Target<'a, T>,
    pub(super) bias: Option<Source<T>>,
    pub(super) z: Option<Target<'a, O>>,
    pub(super) relu: bool,
    pub(super) y: Option<Source<O>>,
    /// The rows of a tile are columns of C.
    pub(super) transposed: bool,
    /// A p of -0 counts as +0: an operand is sparse, and the microkernel has not cleared the sign.
    pub(super) clears_negative_zero: bool,
}

impl<T: Float, O: OutputType<T>> BlockEpilogue<'_, T, O> {
    /// Address of element `(i, j)` of C, if the microkernel may store its accumulators there
    /// directly: r is p, and nothing follows.
    #[inline(always)]
    pub(super) fn direct_store(&self, i: usize, j: usize) -> Option<*mut T> {
        let is_stored_in_rows =
            !self.transposed && self.partial.col_stride() == 1 && (!self.block.last || O::IS_ACC);
        (is_stored_in_rows && self.is_identity()).then(|| self.partial.pointer(i, j))
    }

    /// `true` if r is p, and nothing follows but the store.
    #[inline(always)]
    fn is_identity(&self) -> bool {
        let follows = self.bias.is_some() || self.z.is_some() || self.relu || self.y.is_some();
        !self.clears_negative_zero
            && self.block.first
            && !self.block.empty
            && self.beta.is_none()
            && self.alpha == T::ONE
            && !(self.block.last && follows)
    }

    /// Prefetches the elements of C that a tile at `(i, j)` writes.
    #[inline(always)]
    pub(super) fn prefetch(&self, i: usize, j: usize, rows: usize, cols: usize) {
        let (i, j, rows, cols) =
            if self.transposed { (j, i, cols, rows) } else { (i, j, rows, cols) };
        if self.partial.col_stride() != 1 {
            return;
        }
        let mut row = self.partial.pointer(i, j);
        for _ in 0..rows {
            for j in (0..cols).step_by(line_len::<T>()) {
                prefetch::<_, false>(row.wrapping_add(j));
            }
            row = row.wrapping_add(self.partial.row_stride());
        }
    }

    /// `true` if a row's elements are contiguous, in C and in all other operands of the epilogue.
    fn has_contiguous_rows(&self) -> bool {
        self.c.col_stride() == 1
            && self.partial.col_stride() == 1
            && self.z.is_none_or(|z| z.col_stride() == 1)
            && self.bias.is_none_or(|bias| bias.col_stride == 1)
            && self.y.is_none_or(|y| y.col_stride == 1)
    }

    /// Computes the `count` elements of C from `(i, j)` on from the accumulators `p`.
    ///
    /// `WHOLE`: they fill a register, and [`has_contiguous_rows`](Self::has_contiguous_rows).
    ///
    /// # Safety
    /// - The elements are inside C, `z`, bias and `y`, and inside `partial` unless the block is
    ///   both first and last.
    /// - No other thread accesses those of C, `partial` and `z`.
    /// - `count` is at most the number of lanes.
    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "one condition covers all of these elements"
    )]
    unsafe fn store<S: Simd, const WHOLE: bool>(
        &self,
        s: S,
        i: usize,
        j: usize,
        count: usize,
        p: T::V<S>,
    ) {
        debug_assert!(count <= T::lanes::<S>());
        let (alpha, zero) = (T::splat(s, self.alpha), T::splat(s, T::ZERO));
        let (c, partial) = (self.c, self.partial);
        let stride = |stride: usize| if WHOLE { 1 } else { stride };
        let p = if self.clears_negative_zero { T::add(s, p, zero) } else { p };
        let count = if WHOLE { T::lanes::<S>() } else { count };
        // SAFETY: `ApplyEpilogue::new`, whose tile these elements are part of, requires that they
        // are inside all of these operands and belong to this thread. `partial` is read after the
        // first block and written before the last one alone.
        unsafe {
            let mut r = if self.block.first {
                let old = self.beta.map(|beta| {
                    T::mul(
                        s,
                        T::splat(s, beta),
                        O::load_strided(s, c.pointer(i, j), stride(c.col_stride()), count),
                    )
                });
                match (old, self.block.empty) {
                    (None, false) => T::mul(s, alpha, p),
                    (Some(old), false) => T::mul_add(s, alpha, p, old),
                    (old, true) => old.unwrap_or(zero),
                }
            } else {
                let col_stride = stride(partial.col_stride());
                let old = T::load_strided(s, partial.pointer(i, j), col_stride, count);
                T::mul_add(s, alpha, p, old)
            };
            if !self.block.last {
                let col_stride = stride(partial.col_stride());
                return T::store_strided(s, partial.pointer(i, j), col_stride, count, r);
            }
            if let Some(bias) = self.bias {
                let col_stride = stride(bias.col_stride);
                let bias = T::load_strided(s, bias.pointer(i, j), col_stride, count);
                r = T::add(s, r, bias);
            }
            if let Some(z) = self.z {
                O::store_strided(s, z.pointer(i, j), stride(z.col_stride()), count, r);
            }
            if self.relu {
                r = T::select(s, T::less_or_equal(s, r, zero), zero, r);
            }
            if let Some(y) = self.y {
                let y = O::load_strided(s, y.pointer(i, j), stride(y.col_stride), count);
                r = T::select(s, T::less_or_equal(s, y, zero), zero, r);
            }
            O::store_strided(s, c.pointer(i, j), stride(c.col_stride()), count, r);
        }
    }
}

/// Applies the epilogue to the accumulators of one tile, and stores them.
pub(super) struct ApplyEpilogue<'a, T, O> {
    epilogue: &'a BlockEpilogue<'a, T, O>,
    acc: Source<T>,
    at: (usize, usize),
    rows: usize,
    cols: usize,
}

impl<'a, T: Float, O: OutputType<T>> ApplyEpilogue<'a, T, O> {
    /// The epilogue of the tile of `rows` x `cols` elements whose first is at `at`.
    ///
    /// # Safety
    /// - `acc` has `rows` contiguous rows of initialised elements: `cols`, rounded up to whole
    ///   registers.
    /// - The tile is inside C, `z`, bias and `y`, and inside `partial` unless the block is both
    ///   first and last.
    /// - No other thread accesses the tile's elements of C, `partial` and `z`.
    #[inline(always)]
    pub(super) unsafe fn new(
        epilogue: &'a BlockEpilogue<'a, T, O>,
        acc: Source<T>,
        at: (usize, usize),
        rows: usize,
        cols: usize,
    ) -> Self {
        debug_assert!(acc.col_stride == 1 && (rows <= 1 || acc.row_stride >= cols));
        debug_assert!({
            let &BlockEpilogue { block, c, partial, z, transposed, .. } = epilogue;
            let (down, across) = (at.0 + rows, at.1 + cols);
            let (down, across) = if transposed { (across, down) } else { (down, across) };
            let is_inside = |rows: usize, cols: usize| down <= rows && across <= cols;
            is_inside(c.rows(), c.cols())
                && (block.first && block.last || is_inside(partial.rows(), partial.cols()))
                && z.is_none_or(|z| is_inside(z.rows(), z.cols()))
        });
        Self { epilogue, acc, at, rows, cols }
    }
}

impl<T: Float, O: OutputType<T>> WithSimd for ApplyEpilogue<'_, T, O> {
    type Output = ();

    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "accumulators and their elements of C go together"
    )]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { epilogue, acc, at: (i, j), rows, cols } = self;
        let lanes = T::lanes::<S>();
        let is_identity = epilogue.block.last && epilogue.is_identity();
        let has_whole_registers = !epilogue.transposed && cols.is_multiple_of(lanes);
        if has_whole_registers && epilogue.has_contiguous_rows() {
            if is_identity {
                for row in 0..rows {
                    for v in (0..cols).step_by(lanes) {
                        // SAFETY: `Self::new` requires that the tile is inside both, and this
                        // thread's. The check above makes whole registers of contiguous elements.
                        unsafe {
                            O::store_strided(
                                s,
                                epilogue.c.pointer(i + row, j + v),
                                1,
                                lanes,
                                acc.register::<S>(row, v),
                            );
                        }
                    }
                }
                return;
            }
            for row in 0..rows {
                for v in (0..cols).step_by(lanes) {
                    // SAFETY: `Self::new` requires that the tile is inside both, and this thread's.
                    // The check above makes whole registers of contiguous elements.
                    unsafe {
                        let p = acc.register::<S>(row, v);
                        epilogue.store::<S, true>(s, i + row, j + v, lanes, p);
                    };
                }
            }
            return;
        }
        if !epilogue.transposed {
            for row in 0..rows {
                for v in (0..cols).step_by(lanes) {
                    // SAFETY: `Self::new` requires whole registers in each row of `acc`, and that
                    // the tile, with which `count` ends, is inside C and this thread's.
                    unsafe {
                        let p = acc.register::<S>(row, v);
                        let count = lanes.min(cols - v);
                        epilogue.store::<S, false>(s, i + row, j + v, count, p);
                    }
                }
            }
            return;
        }
        for v in (0..cols).step_by(lanes) {
            for row in (0..rows).step_by(lanes) {
                let count = lanes.min(rows - row);
                let mut block = [T::splat(s, T::ZERO); MOST_LANES];
                for (r, register) in block.iter_mut().enumerate().take(count) {
                    // SAFETY: `Self::new` requires whole registers in each row of `acc`.
                    *register = unsafe { acc.register::<S>(row + r, v) };
                }
                let block = T::transpose(s, block);
                if is_identity {
                    for (l, &p) in block.iter().enumerate().take(lanes.min(cols - v)) {
                        let to = epilogue.c.pointer(j + v + l, i + row);
                        // SAFETY: `Self::new` requires that the tile, with which `count` ends, is
                        // inside C and this thread's.
                        unsafe { O::store_strided(s, to, epilogue.c.col_stride(), count, p) };
                    }
                    continue;
                }
                for (l, &p) in block.iter().enumerate().take(lanes.min(cols - v)) {
                    // SAFETY: `Self::new` requires that the tile, with which `count` ends, is
                    // inside C and this thread's.
                    unsafe { epilogue.store::<S, false>(s, j + v + l, i + row, count, p) };
                }
            }
        }
    }
}
