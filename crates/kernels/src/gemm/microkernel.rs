//! The microkernel: an MR x NR register tile of C is accumulated while k advances.
//!
//! ```text
//!              b[p]   b[p]           for p in 0..kc:
//!             +------+------+          NV registers of B's row p        (NR = NV registers)
//!   a[p,0] -> | acc  | acc  |          for each row i < MR:
//!   a[p,1] -> | acc  | acc  |            acc[i][..] += a[p,i] * b[p][..]     (fused)
//!     ...     |  ... |  ... |        store the accumulators once
//!  a[p,MR-1]->| acc  | acc  |
//!             +------+------+
//! ```
//!
//! With 32 registers MR is up to 14 and NV 2: 28 accumulators, two registers of B, one of A. With
//! 16, MR is up to 6: 12, 2 and 1. Fourteen rows keep both FMA units busy (their latency needs
//! eight chains) with 16 loads to 28 FMAs. Where C has three rows or fewer, B is read once and
//! nothing is reused: then NV is 8, so that long runs of B's rows are read.
//!
//! Two variants read B without packing it: [`TransposingMicrokernel`] for few rows,
//! [`UnpackedMicrokernel`] for callers without scratch. Called by `tile`.

use super::arithmetic::Arithmetic;
use super::blocking::{TileShapes, WIDE};
use super::chain::{Chain, NormalPairs, PairChain, ScaledPairs, StepwisePairs, Whole};
use super::operand::OperandView;
use super::view::Source;
use crate::Float;
use crate::simd::{Lanes, MOST_LANES, Simd, WithSimd, outlined, prefetch};

/// Registers that the accumulators of the largest tile take.
pub(super) const ACCUMULATORS: usize = 28;

/// Rows of an [`UnpackedMicrokernel`].
pub(super) const UNPACKED_ROWS: usize = 4;

/// Operands and result of one microkernel call: `kc` columns of a panel of A, `kc` rows of a panel
/// of B.
pub(super) struct Microkernel<T> {
    pub(super) a: Source<T>,
    pub(super) b: Source<T>,
    pub(super) kc: usize,
    /// A is a sparse panel: the last element of each column is the row of B to multiply.
    pub(super) skips: bool,
    /// Row-major accumulators, rows `stride` apart.
    pub(super) acc: *mut T,
    pub(super) stride: usize,
    /// Prefetch pointer, advanced by B's row stride with each row of B.
    pub(super) prefetch: *const T,
}

/// Runs the [`RegisterTile`] of `($mr, $nv)` rows and registers: those of the rows `$rows` with one
/// or two registers, and of the rows `$wide` with [`WIDE`]. Only shapes that [`TileShapes`] has are
/// compiled.
macro_rules! run_shape {
    ($call:expr, $s:ident, $S:ident, $C:ident, $skips:literal, ($mr:expr, $nv:expr):
     $($rows:literal)*; $($wide:literal)*) => {
        match ($mr, $nv) {
            $(
                ($rows, 1) => run_shape!(@tile $call, $s, $S, $C, $skips, $rows, 1),
                ($rows, 2) => run_shape!(@tile $call, $s, $S, $C, $skips, $rows, 2),
            )*
            $(($wide, WIDE) => run_shape!(@tile $call, $s, $S, $C, $skips, $wide, WIDE),)*
            (mr, nv) => debug_assert!(false, "no microkernel of {mr} rows and {nv} registers"),
        }
    };
    (@tile $call:expr, $s:ident, $S:ident, $C:ident, $skips:literal, $rows:literal, $nv:expr) => {
        if const { TileShapes::of::<$S>().has($rows, $nv, $skips) } {
            outlined($s, RegisterTile::<$C, $rows, { $nv }, $skips>::new($call));
        } else {
            debug_assert!(false, "no microkernel of {} rows and {} registers", $rows, $nv);
        }
    };
}

impl<T: Float> Microkernel<T> {
    /// Computes `mr` rows of `nv` registers: a shape that [`TileShapes::has`], as all that
    /// [`TileShapes`] chooses are. `chain` accumulates pairs without the pair instruction.
    ///
    /// # Safety
    /// - `a` has `kc` rows of `mr` elements. If it is sparse, it is what
    ///   [`PackSparseA`](super::pack::PackSparseA) writes.
    /// - `b` has `kc` rows of `nv` registers. If `a` is sparse, it has the rows that `a` names.
    /// - `acc` has `mr` rows of `nv` registers, which no other thread accesses.
    #[inline(always)]
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "they have the same conditions")]
    pub(super) unsafe fn run<S: Simd, K: Arithmetic<Acc = T>>(
        self,
        s: S,
        chain: PairChain,
        mr: usize,
        nv: usize,
    ) {
        debug_assert!(!self.acc.is_null() && (mr == 1 || self.stride >= nv * T::lanes::<S>()));
        debug_assert!(self.kc == 0 || !self.a.ptr.is_null() && !self.b.ptr.is_null());
        // SAFETY: the conditions of each of these are those of this function.
        unsafe {
            if const { K::K_PER_ELEMENT == 1 || S::HAS_PAIRS } {
                if K::SKIPS_ZEROS && self.skips {
                    self.run_sparse::<S, Whole<K>>(s, mr, nv);
                } else {
                    self.run_dense::<S, Whole<K>>(s, mr, nv);
                }
            } else {
                match (chain, self.skips) {
                    (PairChain::Normal, true) => self.run_sparse::<S, NormalPairs<T>>(s, mr, nv),
                    (PairChain::Normal, false) => self.run_dense::<S, NormalPairs<T>>(s, mr, nv),
                    (_, true) => self.run_sparse::<S, StepwisePairs<T>>(s, mr, nv),
                    (PairChain::Scaled, false) => self.run_parts::<S, ScaledPairs<T>>(s, mr, nv),
                    (PairChain::Stepwise, false) => {
                        self.run_parts::<S, StepwisePairs<T>>(s, mr, nv);
                    }
                }
            }
        }
    }

    /// # Safety
    /// - The conditions of [`run`](Self::run) hold, and `a` is not sparse.
    #[inline(always)]
    unsafe fn run_dense<S: Simd, C: Chain<Acc = T>>(self, s: S, mr: usize, nv: usize) {
        // SAFETY: the macro matches `mr` rows and `nv` registers, so that the conditions of
        // `RegisterTile::new` are those of this function.
        unsafe {
            run_shape!(self, s, S, C, false, (mr, nv): 1 2 3 4 5 6 7 8 9 10 11 12 13 14; 1 2 3);
        }
    }

    /// # Safety
    /// - The conditions of [`run`](Self::run) hold, and `a` is sparse.
    #[inline(always)]
    unsafe fn run_sparse<S: Simd, C: Chain<Acc = T>>(self, s: S, mr: usize, nv: usize) {
        // SAFETY: as in `run_dense`: the macro matches `mr` rows and `nv` registers.
        unsafe {
            run_shape!(self, s, S, C, true, (mr, nv): 1 2 3 4 5 6; 1 2 3);
        }
    }

    /// Computes the tile in parts of up to two rows and two registers: less code for chains that
    /// are rare.
    ///
    /// # Safety
    /// - The conditions of [`run`](Self::run) hold, and `a` is not sparse.
    #[inline(always)]
    unsafe fn run_parts<S: Simd, C: Chain<Acc = T>>(self, s: S, mr: usize, nv: usize) {
        let lanes = T::lanes::<S>();
        for i in (0..mr).step_by(2) {
            for v in (0..nv).step_by(2) {
                let part = Self {
                    a: self.a.offset(0, i),
                    b: self.b.offset(0, v * lanes),
                    acc: self.acc.wrapping_add(i * self.stride + v * lanes),
                    ..self
                };
                // SAFETY: the part is inside the tile, which has `mr` rows and `nv` registers. The
                // macro matches the rows and registers of the part.
                unsafe {
                    run_shape!(part, s, S, C, false, ((mr - i).min(2), (nv - v).min(2)): 1 2; );
                }
            }
        }
    }
}

/// A microkernel of exactly `MR` rows and `NV` registers. If it `SKIPS`, A is a sparse panel.
struct RegisterTile<C: Chain, const MR: usize, const NV: usize, const SKIPS: bool>(
    Microkernel<C::Acc>,
);

impl<C: Chain, const MR: usize, const NV: usize, const SKIPS: bool> RegisterTile<C, MR, NV, SKIPS> {
    /// # Safety
    /// - The conditions of [`Microkernel::run`] hold for `MR` rows and `NV` registers.
    /// - `call.skips` is `SKIPS`.
    #[inline(always)]
    unsafe fn new(call: Microkernel<C::Acc>) -> Self {
        debug_assert!(SKIPS == call.skips);
        Self(call)
    }
}

impl<C: Chain, const MR: usize, const NV: usize, const SKIPS: bool> WithSimd
    for RegisterTile<C, MR, NV, SKIPS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Microkernel { a, b, kc, acc: to, stride, prefetch: ahead, .. } = self.0;
        let lanes = <C::Acc as Lanes>::lanes::<S>();
        let zero = <C::Acc as Lanes>::splat(s, <C::Acc as Float>::ZERO);
        let mut acc = [[zero; NV]; MR];
        for p in 0..kc {
            // With one register per row the microkernel waits for loads: a prefetch would be one
            // more.
            if NV > 1 && !SKIPS {
                prefetch::<_, false>(ahead.wrapping_add(p * b.row_stride));
            }
            let b_row = if SKIPS {
                // SAFETY: `Self::new` requires a sparse panel with `kc` columns; the last element
                // of each is the index of a row.
                unsafe { a.get(p, a.row_stride - 1) }.low_bits() as usize
            } else {
                p
            };
            // SAFETY: `Self::new` requires that A has `kc` rows of MR elements, and B `kc` rows of
            // NV registers, or those that a sparse panel names.
            unsafe { accumulate::<S, C, 0, MR, NV>(s, (a, p), (b, b_row), &mut acc) };
            if C::PHASES > 1 {
                // The elements are loaded again: kept in registers, they would take the place of
                // accumulators.
                let (a, b) = (a.opaque(), b.opaque());
                // SAFETY: they are the same elements.
                unsafe { accumulate::<S, C, 1, MR, NV>(s, (a, p), (b, b_row), &mut acc) };
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            for (v, &acc) in acc.iter().enumerate() {
                let to = to.wrapping_add(i * stride + v * lanes).cast::<<C::Acc as Lanes>::V<S>>();
                let sum = C::sum(s, acc);
                // A skipped term may be +0, which changes an accumulator of -0 to +0.
                let sum = if SKIPS { <C::Acc as Lanes>::add(s, sum, zero) } else { sum };
                // SAFETY: `Self::new` requires that `acc` has MR rows of NV registers, and that
                // this thread alone accesses them.
                unsafe { to.write_unaligned(sum) };
            }
        }
    }
}

/// Adds the products of row `p` of A and row `b_row` of B to the accumulators, in one phase.
///
/// # Safety
/// - Row `p` of `a` has `MR` elements.
/// - Row `b_row` of `b` has `NV` registers.
#[inline(always)]
unsafe fn accumulate<S: Simd, C: Chain, const PHASE: usize, const MR: usize, const NV: usize>(
    s: S,
    (a, p): (Source<C::Acc>, usize),
    (b, b_row): (Source<C::Acc>, usize),
    acc: &mut [[<C::Acc as Lanes>::V<S>; NV]; MR],
) {
    let lanes = <C::Acc as Lanes>::lanes::<S>();
    let mut row = [<C::Acc as Lanes>::splat(s, <C::Acc as Float>::ZERO); NV];
    for (v, value) in row.iter_mut().enumerate() {
        // SAFETY: the second condition.
        let elements = unsafe { b.register::<S>(b_row, v * lanes) };
        *value = C::value_of_b::<S, PHASE>(s, elements);
    }
    for (i, acc) in acc.iter_mut().enumerate() {
        // SAFETY: the first condition.
        let element = <C::Acc as Lanes>::splat(s, unsafe { a.get(p, i) });
        let a = C::value_of_a::<S, PHASE>(s, element);
        for (acc, b) in acc.iter_mut().zip(row) {
            *acc = C::mul_add(s, a, b, *acc);
        }
    }
}

/// A microkernel of `MR` rows and one register that transposes B in registers, for a B whose
/// columns are contiguous.
///
/// It serves few rows, which would read a packed copy once or twice. The chains of one block wait
/// for one another while the next block is transposed.
pub(super) struct TransposingMicrokernel<'a, K: Arithmetic, const MR: usize> {
    a: Source<K::Acc>,
    b: &'a OperandView<'a, K::Acc>,
    cols: (usize, usize),
    k_range: (usize, usize),
    acc: *mut K::Acc,
}

impl<'a, K: Arithmetic, const MR: usize> TransposingMicrokernel<'a, K, MR> {
    /// The microkernel for columns `cols.0..cols.1` of `b`, at most a register, and elements
    /// `k_range.0..k_range.1` of k. `acc` receives a register per row.
    ///
    /// # Safety
    /// - `a` has a row of `MR` elements for each k in the range.
    /// - The ranges are inside `b`, whose columns are contiguous.
    /// - There are at most as many columns as lanes.
    /// - `acc` has `MR` registers, which no other thread accesses.
    #[inline(always)]
    pub(super) unsafe fn new<S: Simd>(
        a: Source<K::Acc>,
        b: &'a OperandView<'a, K::Acc>,
        cols: (usize, usize),
        k_range: (usize, usize),
        acc: *mut K::Acc,
    ) -> Self {
        debug_assert!(cols.1 <= b.width() && k_range.1 <= b.depth());
        debug_assert!(b.has_contiguous_columns());
        debug_assert!(cols.1 - cols.0 <= <K::Acc as Lanes>::lanes::<S>() && !acc.is_null());
        Self { a, b, cols, k_range, acc }
    }
}

impl<K: Arithmetic, const MR: usize> WithSimd for TransposingMicrokernel<'_, K, MR> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { a, b, cols: (j0, j1), k_range: (p0, p1), acc: to } = self;
        let lanes = <K::Acc as Lanes>::lanes::<S>();
        let zero = <K::Acc as Lanes>::splat(s, <K::Acc as Float>::ZERO);
        let mut acc = [zero; MR];
        let columns = j1 - j0;
        let unpacked = b.unpacked().map(Source::transpose).filter(|_| columns == lanes);
        for p in (p0..p1).step_by(lanes) {
            let depth = lanes.min(p1 - p);
            match unpacked {
                Some(columns) if depth == lanes => {
                    let mut block = [zero; MOST_LANES];
                    for (column, register) in block.iter_mut().enumerate().take(lanes) {
                        // SAFETY: `Self::new` requires that the ranges are inside B, and contiguous
                        // columns. `unpacked` has `lanes` columns.
                        *register = unsafe { columns.register::<S>(j0 + column, p) };
                    }
                    let block = <K::Acc as Lanes>::transpose(s, block);
                    for (r, row) in block.iter().enumerate().take(lanes) {
                        for (i, acc) in acc.iter_mut().enumerate() {
                            // SAFETY: `Self::new` requires MR elements for each k of the range.
                            let a = <K::Acc as Lanes>::splat(s, unsafe { a.get(p + r, i) });
                            *acc = K::mul_add(s, a, *row, *acc);
                        }
                    }
                }
                _ => {
                    let mut block = [zero; MOST_LANES];
                    for (column, register) in block.iter_mut().enumerate().take(columns) {
                        // SAFETY: `Self::new` requires that the ranges, with which `columns` and
                        // `depth` end, are inside B.
                        *register = unsafe { b.load_column(s, p, j0 + column, depth) };
                    }
                    let block = <K::Acc as Lanes>::transpose(s, block);
                    for (r, row) in block.iter().enumerate().take(depth) {
                        for (i, acc) in acc.iter_mut().enumerate() {
                            // SAFETY: `Self::new` requires MR elements for each k of the range.
                            let a = <K::Acc as Lanes>::splat(s, unsafe { a.get(p + r, i) });
                            *acc = K::mul_add(s, a, *row, *acc);
                        }
                    }
                }
            }
        }
        for (row, acc) in acc.iter().enumerate() {
            let to = to.wrapping_add(row * lanes).cast::<<K::Acc as Lanes>::V<S>>();
            // SAFETY: `Self::new` requires MR registers, which this thread alone accesses.
            unsafe { to.write_unaligned(*acc) };
        }
    }
}

/// A microkernel of up to [`UNPACKED_ROWS`] rows and one register that loads and converts each
/// element where it is, for callers without scratch.
pub(super) struct UnpackedMicrokernel<'a, K: Arithmetic> {
    a: &'a OperandView<'a, K::Acc>,
    b: &'a OperandView<'a, K::Acc>,
    rows: (usize, usize),
    cols: (usize, usize),
    k_range: (usize, usize),
    acc: *mut K::Acc,
}

impl<'a, K: Arithmetic> UnpackedMicrokernel<'a, K> {
    /// The microkernel for columns `rows.0..rows.1` of `a`, columns `cols.0..cols.1` of `b`, and
    /// elements `k_range.0..k_range.1` of k. `acc` receives a register per row.
    ///
    /// # Safety
    /// - The ranges are inside `a` and `b`.
    /// - There are at most [`UNPACKED_ROWS`] rows, and at most as many columns as lanes.
    /// - `acc` has a register per row, which no other thread accesses.
    #[inline(always)]
    pub(super) unsafe fn new<S: Simd>(
        [a, b]: [&'a OperandView<'a, K::Acc>; 2],
        rows: (usize, usize),
        cols: (usize, usize),
        k_range: (usize, usize),
        acc: *mut K::Acc,
    ) -> Self {
        debug_assert!(rows.1 <= a.width() && cols.1 <= b.width());
        debug_assert!(k_range.1 <= a.depth() && k_range.1 <= b.depth());
        debug_assert!(rows.1 - rows.0 <= UNPACKED_ROWS && !acc.is_null());
        debug_assert!(cols.1 - cols.0 <= <K::Acc as Lanes>::lanes::<S>());
        Self { a, b, rows, cols, k_range, acc }
    }
}

impl<K: Arithmetic> WithSimd for UnpackedMicrokernel<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { a, b, rows: (i0, i1), cols: (j0, j1), k_range: (p0, p1), acc: to } = self;
        let lanes = <K::Acc as Lanes>::lanes::<S>();
        let zero = <K::Acc as Lanes>::splat(s, <K::Acc as Float>::ZERO);
        let mut acc = [zero; UNPACKED_ROWS];
        for p in p0..p1 {
            // SAFETY: `Self::new` requires that the ranges are inside B, and at most `lanes`
            // columns.
            let row = unsafe { b.load_row(s, p, j0, j1 - j0) };
            for (acc, i) in acc.iter_mut().zip(i0..i1) {
                // SAFETY: `Self::new` requires that the ranges are inside A.
                let a = <K::Acc as Lanes>::splat(s, unsafe { a.get(p, i) });
                *acc = K::mul_add(s, a, row, *acc);
            }
        }
        for (row, acc) in acc.iter().take(i1 - i0).enumerate() {
            let to = to.wrapping_add(row * lanes).cast::<<K::Acc as Lanes>::V<S>>();
            // SAFETY: `Self::new` requires a register per row, which this thread alone accesses.
            unsafe { to.write_unaligned(*acc) };
        }
    }
}
