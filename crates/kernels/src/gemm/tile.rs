//! One register tile of C: the microkernel that fits its operands, then the epilogue.
//!
//! ```text
//! A and B as the microkernel reads them:   `Microkernel`, to C directly or to a buffer
//! B whose columns are contiguous, few rows: `TransposingMicrokernel`
//! no scratch, and elements to convert:     `UnpackedMicrokernel`
//! then, unless the accumulators are in C:  `ApplyEpilogue`
//! ```
//!
//! Called by the macrokernel in its LOOP 1.

use core::mem::MaybeUninit;

use super::arithmetic::Arithmetic;
use super::chain::Exponents;
use super::epilogue::{ApplyEpilogue, BlockEpilogue};
use super::microkernel::{
    ACCUMULATORS, Microkernel, TransposingMicrokernel, UNPACKED_ROWS, UnpackedMicrokernel,
};
use super::operand::OperandView;
use super::output::OutputType;
use super::view::Source;
use crate::simd::{Lanes, Simd, outlined};
use crate::{Float, MatRef};

/// Elements of k from which on a microkernel takes long enough for prefetched elements of C to
/// arrive.
const MIN_PREFETCH_DEPTH: usize = 64;

/// A summation block: elements `p..p + kc` of k, the same for all tiles of one pass.
#[derive(Clone, Copy)]
pub(super) struct KBlock {
    pub(super) p: usize,
    pub(super) kc: usize,
}

/// One tile of C: its rows and columns, each as (start, end), and its operands as they are read.
pub(super) struct Tile<T> {
    pub(super) rows: (usize, usize),
    pub(super) cols: (usize, usize),
    /// From the tile's first row and the block's first k on. `None`: elements to convert, and no
    /// scratch.
    pub(super) a: Option<Source<T>>,
    /// From the tile's first column and the block's first k on. `None` as for `a`.
    pub(super) b: Option<Source<T>>,
    /// Number of columns of `a`, if it is a sparse panel.
    pub(super) nonzero_columns: Option<usize>,
    /// [`Microkernel::prefetch`].
    pub(super) prefetch: *const T,
    /// Of the block's pairs of A and of B, where they were measured.
    pub(super) exponents: [Exponents; 2],
}

impl<T: Float> Tile<T> {
    /// Multiplies and stores the tile.
    ///
    /// # Safety
    /// - The tile is inside the operands, and `block` inside k.
    /// - `a` and `b` satisfy [`Microkernel::run`].
    /// - The tile satisfies [`ApplyEpilogue::new`].
    #[inline(always)]
    pub(super) unsafe fn compute<S: Simd, K: Arithmetic<Acc = T>, O: OutputType<T>>(
        &self,
        s: S,
        operands: [&OperandView<'_, T>; 2],
        epilogue: &BlockEpilogue<'_, T, O>,
        block: KBlock,
    ) {
        let Self { rows: (i0, i1), cols: (j0, j1), a, b, nonzero_columns, prefetch, .. } = *self;
        let lanes = T::lanes::<S>();
        let (rows, cols) = (i1 - i0, j1 - j0);
        let registers = cols.div_ceil(lanes);
        let mut buffer = [const { MaybeUninit::<T::V<S>>::uninit() }; ACCUMULATORS];
        let acc: *mut T = buffer.as_mut_ptr().cast();
        let (Some(a), Some(b)) = (a, b) else {
            for i in (i0..i1).step_by(UNPACKED_ROWS) {
                for j in (j0..j1).step_by(lanes) {
                    let (rows, cols) = ((i, i1.min(i + UNPACKED_ROWS)), (j, j1.min(j + lanes)));
                    let k_range = (block.p, block.p + block.kc);
                    // SAFETY: the ranges end with the tile, which is inside the operands by the
                    // first condition. The buffer has more than `UNPACKED_ROWS` registers.
                    let microkernel = unsafe {
                        UnpackedMicrokernel::<K>::new::<S>(operands, rows, cols, k_range, acc)
                    };
                    outlined(s, microkernel);
                    let (rows, cols) = (rows.1 - rows.0, cols.1 - cols.0);
                    let acc = Source::accumulators(acc, lanes);
                    // SAFETY: the microkernel has written a register per row, and this part of the
                    // tile satisfies the third condition as the tile does.
                    outlined(s, unsafe { ApplyEpilogue::new(epilogue, acc, (i, j), rows, cols) });
                }
            }
            return;
        };
        if block.kc >= MIN_PREFETCH_DEPTH {
            epilogue.prefetch(i0, j0, rows, cols);
        }
        let direct = epilogue.direct_store(i0, j0).filter(|_| cols == registers * lanes);
        let (acc, stride) = match direct {
            Some(c) => (c, epilogue.partial.row_stride()),
            None => (acc, registers * lanes),
        };
        let (kc, skips) = (nonzero_columns.unwrap_or(block.kc), nonzero_columns.is_some());
        let [exponents_a, exponents_b] = self.exponents;
        let chain = Exponents::chain(exponents_a, exponents_b);
        let microkernel = Microkernel { a, b, kc, skips, acc, stride, prefetch };
        // SAFETY: A and B satisfy `run` by the second condition. The accumulators go to the buffer,
        // which has the registers of the largest tile, or to whole registers of C, which are this
        // thread's by the third condition.
        unsafe { microkernel.run::<S, K>(s, chain, rows, registers) };
        if direct.is_none() {
            let acc = Source::accumulators(acc, stride);
            // SAFETY: the microkernel has written `registers` registers per row, and the tile
            // satisfies the third condition.
            outlined(s, unsafe { ApplyEpilogue::new(epilogue, acc, (i0, j0), rows, cols) });
        }
    }

    /// Stores the sums of the tile's columns of B: the product with a row of ones.
    ///
    /// # Safety
    /// - The conditions of [`compute`](Self::compute) hold for `b`, its columns and `block`.
    /// - Row 0 and the tile's columns satisfy [`ApplyEpilogue::new`] with this epilogue.
    #[inline(always)]
    pub(super) unsafe fn sum_columns<S: Simd, K: Arithmetic<Acc = T>>(
        &self,
        s: S,
        b: &OperandView<'_, T>,
        epilogue: &BlockEpilogue<'_, T, T>,
        block: KBlock,
    ) {
        let ones = [K::ONE];
        // Strides of 0 repeat the one element.
        let Ok(ones) = MatRef::strided(&ones, block.p + block.kc, 1, 0, 0) else { return };
        let a = Some(Source::new(ones));
        let exponents = [Exponents::ONES, self.exponents[1]];
        let tile = Self { rows: (0, 1), a, nonzero_columns: None, exponents, ..*self };
        // SAFETY: `ones` has one column and the elements of k up to the end of the block; the
        // conditions on B and on the epilogue are those of this function.
        unsafe { tile.compute::<S, K, T>(s, [&OperandView::dense(ones), b], epilogue, block) };
    }
}

/// Multiplies and stores columns `cols.0..cols.1` of a product of few rows, with B transposed in
/// registers.
///
/// # Safety
/// - `a` has a row of `rows.1 - rows.0` elements, 1 to 3 of them, for each k of `block`.
/// - `cols` and `block` are inside `b`, whose columns are contiguous.
/// - There are at most as many columns as lanes.
/// - The tile satisfies [`ApplyEpilogue::new`].
#[inline(always)]
pub(super) unsafe fn compute_transposing<S: Simd, K: Arithmetic, O: OutputType<K::Acc>>(
    s: S,
    a: Source<K::Acc>,
    b: &OperandView<'_, K::Acc>,
    (i0, i1): (usize, usize),
    cols: (usize, usize),
    epilogue: &BlockEpilogue<'_, K::Acc, O>,
    block: KBlock,
) {
    let lanes = <K::Acc as Lanes>::lanes::<S>();
    let mut buffer = [const { MaybeUninit::<<K::Acc as Lanes>::V<S>>::uninit() }; ACCUMULATORS];
    let acc: *mut K::Acc = buffer.as_mut_ptr().cast();
    let k_range = (block.p, block.p + block.kc);
    macro_rules! run {
        ($rows:literal) => {
            // SAFETY: the match has found the number of rows; the first three conditions are those
            // of `new`. The buffer has more than three registers.
            unsafe {
                outlined(s, TransposingMicrokernel::<K, $rows>::new::<S>(a, b, cols, k_range, acc))
            }
        };
    }
    match i1 - i0 {
        1 => run!(1),
        2 => run!(2),
        3 => run!(3),
        rows => unreachable!("a transposing microkernel of {rows} rows"),
    }
    let acc = Source::accumulators(acc, lanes);
    let (rows, width) = (i1 - i0, cols.1 - cols.0);
    // SAFETY: the microkernel has written a register per row, and the tile satisfies the last
    // condition.
    outlined(s, unsafe { ApplyEpilogue::new(epilogue, acc, (i0, cols.0), rows, width) });
}
