//! Packing: operands are copied into panels, in the order in which the microkernel reads them.
//!
//! ```text
//! B, kc x nc            packed: panels of NR columns, each kc rows long
//! . . . . | . . . . |   p=0: j0 j1 j2 j3   p=1: j0 j1 j2 j3   ...   then the next panel
//! . . . . | . . . . |   columns past nc are filled with 0
//!
//! A, mr x kc            packed: one panel per tile, as rows or as columns (`ReadA`)
//! i0: p0 p1 p2 ...      rows:     i0: p0 p1 p2 ... gap   i1: p0 p1 p2 ... gap
//! i1: p0 p1 p2 ...      columns:  p0: i0 i1 ... pad      p1: i0 i1 ... pad
//!
//! sparse A              columns that have a nonzero:  p: i0 i1 i2 ... p, then their number
//! ```
//!
//! The macrokernel calls [`PackB`] in its LOOP 3, [`PackA`] and [`PackSparseA`] in LOOP 2; `packed`
//! calls [`PackB`] for whole operands. All of them check their ranges when they are made.

use super::blocking::{TileShapes, line_len};
use super::chain::MeasureExponents;
use super::load::load_contiguous_row;
use super::operand::OperandView;
use super::view::Source;
use crate::simd::{MOST_LANES, Simd, WithSimd, prefetch};
use crate::{Float, MatRef};

/// Elements between the rows of a packed panel of A: a cache line of f32, so that the rows do not
/// share cache sets.
const GAP: usize = 16;
const _: () = assert!(GAP >= MOST_LANES, "a register that ends a row stays in the gap behind it");

/// Elements from one k to the next in a panel of A that is packed as columns.
const fn column_stride<S: Simd>() -> usize {
    S::TILE_ROWS.next_power_of_two()
}

/// Elements of a packed panel of A, as rows or as columns.
pub(super) const fn panel_len_a<S: Simd>(kc: usize) -> usize {
    (kc + GAP) * column_stride::<S>()
}

/// At least as many elements as the packed panels of `rows` rows of A have on any instruction set,
/// and as one panel has: panels have up to 14 rows padded to 16, or up to 6 padded to 8.
pub(super) const fn panels_len_a(rows: usize, kc: usize) -> usize {
    (kc + GAP) * (rows + rows.div_ceil(3) + 16)
}

/// `true` if addresses `stride` elements apart share few sets of L1, which repeat every 4 KiB.
fn collides<T>(stride: usize) -> bool {
    let bytes = stride * size_of::<T>();
    bytes >= 4096 - 256 && !(256..=4096 - 256).contains(&(bytes % 4096))
}

/// Packs rows `p..p + kc` of columns `j..j + nc` of B in panels of `panel` columns.
pub(super) struct PackB<'a, T> {
    b: &'a OperandView<'a, T>,
    p: usize,
    kc: usize,
    j: usize,
    nc: usize,
    panel: usize,
    packed: &'a mut [T],
}

impl<'a, T: Float> PackB<'a, T> {
    /// # Panics
    /// If the range is not inside `b`.
    #[inline(always)]
    pub(super) fn new(
        b: &'a OperandView<'a, T>,
        (p, kc): (usize, usize),
        (j, nc): (usize, usize),
        panel: usize,
        packed: &'a mut [T],
    ) -> Self {
        assert!(p + kc <= b.depth() && j + nc <= b.width(), "a block of B");
        Self { b, p, kc, j, nc, panel, packed }
    }
}

impl<T: Float> WithSimd for PackB<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { b, p, kc, j, nc, panel, packed } = self;
        if kc == 0 || nc == 0 {
            return;
        }
        let lanes = T::lanes::<S>();
        let panel = TileShapes::of::<S>().constant_panel(lanes, panel);
        if b.needs_transpose(lanes) {
            for (jr, packed) in (0..nc).step_by(panel).zip(packed.chunks_exact_mut(panel * kc)) {
                for v in (0..panel).step_by(lanes) {
                    let columns = (nc - jr).saturating_sub(v).min(lanes);
                    let columns = (j + jr + v, columns);
                    pack_transposed(s, b, (p, kc), columns, panel, &mut packed[v..]);
                }
            }
            return;
        }
        // A loop per form of the operand: the form is matched once, not for each register.
        match *b {
            OperandView::Plain(matrix, _) if b.has_contiguous_rows() => {
                let prefetch = move |pr| prefetch_row(matrix, p + pr + PREFETCH_ROWS, (j, nc));
                // SAFETY: `PackB::new` has checked that the block is inside B; `pack_rows` passes
                // ranges of up to a register inside the block, whose rows are contiguous.
                let load = move |pr, jr, count| unsafe {
                    load_contiguous_row(s, matrix, p + pr, j + jr, count)
                };
                pack_rows::<S, T>(packed, (kc, nc, panel), prefetch, load);
            }
            OperandView::Rounded(matrix, sparsity) if b.has_contiguous_rows() => {
                let prefetch = move |pr| {
                    let row = 2 * (p + pr + PREFETCH_ROWS / 2);
                    (0..2).for_each(|half| prefetch_row(matrix, row + half, (j, nc)));
                };
                let pairs = OperandView::<T>::Rounded(matrix, sparsity);
                pack_rows::<S, T>(
                    packed,
                    (kc, nc, panel),
                    prefetch,
                    // Inlined, or it may become a function without the instruction set.
                    // SAFETY: `PackB::new` has checked that the block is inside B; `pack_rows`
                    // passes ranges of up to a register inside the block.
                    #[inline(always)]
                    |pr, jr, count| unsafe { pairs.load_row(s, p + pr, j + jr, count) },
                );
            }
            _ => pack_rows::<S, T>(
                packed,
                (kc, nc, panel),
                |_| (),
                // Inlined, or it may become a function without the instruction set.
                // SAFETY: `PackB::new` has checked that the block is inside B; `pack_rows` passes
                // ranges of up to a register inside the block.
                #[inline(always)]
                |pr, jr, count| unsafe { b.load_row(s, p + pr, j + jr, count) },
            ),
        }
    }
}

/// Packs B row by row: whole panels, then the last, which is padded with 0.
///
/// `prefetch(pr)` is called before each row. `load(pr, jr, count)` loads up to a register of
/// elements of the block, from row `pr` and column `jr` on.
#[inline(always)]
fn pack_rows<S: Simd, T: Float>(
    packed: &mut [T],
    (kc, nc, panel): (usize, usize, usize),
    prefetch: impl Fn(usize),
    load: impl Fn(usize, usize, usize) -> T::V<S>,
) {
    let lanes = T::lanes::<S>();
    let whole = nc - nc % panel;
    for pr in 0..kc {
        prefetch(pr);
        let mut offset = pr * panel;
        for jr in (0..whole).step_by(panel) {
            for v in (0..panel).step_by(lanes) {
                store_register::<S, T>(packed, offset + v, load(pr, jr + v, lanes));
            }
            offset += panel * kc;
        }
        if whole < nc {
            for v in (0..panel).step_by(lanes) {
                let count = lanes.min((nc - whole).saturating_sub(v));
                store_register::<S, T>(packed, offset + v, load(pr, whole + v, count));
            }
        }
    }
}

/// Prefetches values `j..j + nc` of a row, inside the matrix or not.
#[inline(always)]
fn prefetch_row<E: Copy>(matrix: MatRef<'_, E>, row: usize, (j, nc): (usize, usize)) {
    let source = Source::new(matrix);
    (0..nc)
        .step_by(line_len::<E>())
        .for_each(|jr| prefetch::<_, true>(source.pointer(row, j + jr)));
}

/// Rows of B between the one that is packed and the one that is prefetched: each may be in a page
/// of its own, whose translation takes hundreds of cycles. Benchmark `gemm`.
const PREFETCH_ROWS: usize = 16;

/// Packs rows `p..p + kc` of one register's columns of B, whose columns are contiguous: block by
/// block, transposed in registers. `PackB::new` has checked the range.
#[inline(always)]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "either reads the same elements")]
fn pack_transposed<S: Simd, T: Float>(
    s: S,
    b: &OperandView<'_, T>,
    (p, kc): (usize, usize),
    (j, columns): (usize, usize),
    panel: usize,
    packed: &mut [T],
) {
    let lanes = T::lanes::<S>();
    let whole = if columns == lanes { kc - kc % lanes } else { 0 };
    let transposed = b.unpacked().map(Source::transpose);
    for pr in (0..whole).step_by(lanes) {
        let mut block = [T::splat(s, T::ZERO); MOST_LANES];
        for (column, register) in block.iter_mut().enumerate().take(lanes) {
            // SAFETY: `PackB::new` has checked that the block is inside B. `whole` is 0 unless
            // there are `lanes` columns, and a multiple of `lanes` up to `kc`.
            *register = unsafe {
                match transposed {
                    Some(columns) => columns.register::<S>(j + column, p + pr),
                    None => b.load_column(s, p + pr, j + column, lanes),
                }
            };
        }
        let block = T::transpose(s, block);
        let packed = &mut packed[pr * panel..][..(lanes - 1) * panel + lanes];
        for (row, register) in block.iter().enumerate().take(lanes) {
            store_register::<S, T>(packed, row * panel, *register);
        }
    }
    for pr in (whole..kc).step_by(lanes) {
        let rows = lanes.min(kc - pr);
        let mut block = [T::splat(s, T::ZERO); MOST_LANES];
        for (column, register) in block.iter_mut().enumerate().take(columns) {
            // SAFETY: `PackB::new` has checked that the block is inside B; `rows` and `columns`
            // end with it.
            *register = unsafe { b.load_column(s, p + pr, j + column, rows) };
        }
        let block = T::transpose(s, block);
        for (row, register) in block.into_iter().enumerate().take(rows) {
            store_register::<S, T>(packed, (pr + row) * panel, register);
        }
    }
}

/// Stores a register from index `offset` on.
#[inline(always)]
fn store_register<S: Simd, T: Float>(packed: &mut [T], offset: usize, register: T::V<S>) {
    let (registers, _) = T::split_mut::<S>(&mut packed[offset..][..T::lanes::<S>()]);
    registers[0] = register;
}

/// How the microkernel reads A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadA {
    /// In place.
    Unpacked,
    /// From panels whose elements along k are contiguous.
    PackedRows,
    /// From panels whose columns are contiguous.
    PackedColumns,
}

impl ReadA {
    /// A is read unpacked if its rows or columns are contiguous, without conversion, and so far
    /// apart that a tile's rows do not share few cache sets. Otherwise it is packed as it is
    /// contiguous.
    pub(super) fn of<T: Float>(a: &OperandView<'_, T>) -> Self {
        let shape = a.shape();
        let is_plain = a.unpacked().is_some();
        if a.has_contiguous_columns() {
            if is_plain && !collides::<T>(shape.col_stride) {
                Self::Unpacked
            } else {
                Self::PackedRows
            }
        } else if a.has_contiguous_rows() && is_plain && !collides::<T>(shape.row_stride) {
            Self::Unpacked
        } else {
            Self::PackedColumns
        }
    }

    /// A packed panel as the microkernel reads it.
    #[inline(always)]
    pub(super) fn source<S: Simd, T: Float>(self, packed: &[T], kc: usize) -> Source<T> {
        match self {
            Self::PackedRows => Source::packed(packed, 1, kc + GAP),
            Self::Unpacked | Self::PackedColumns => Source::packed(packed, column_stride::<S>(), 1),
        }
    }
}

impl ReadA {
    /// The elements that [`PackA`] writes to a panel of `mr` rows, to be measured.
    #[inline(always)]
    pub(super) fn packed_elements<S: Simd, T: Float>(
        self,
        packed: &[T],
        mr: usize,
        kc: usize,
    ) -> MeasureExponents<'_, T> {
        match self {
            Self::PackedRows => {
                let stride = kc + GAP;
                MeasureExponents { packed: &packed[..mr * stride], stride, used: kc }
            }
            Self::Unpacked | Self::PackedColumns => {
                let stride = column_stride::<S>();
                // Whole registers are written, with zeros or neighbours past the tile's rows.
                let used = mr.next_multiple_of(T::lanes::<S>());
                MeasureExponents { packed: &packed[..kc * stride], stride, used }
            }
        }
    }
}

/// Packs elements `p..p + kc` of `mr` rows of C from row `i` on, which are columns of `a`, to one
/// panel of [`panel_len_a`]`(kc)` elements.
pub(super) struct PackA<'a, T> {
    a: &'a OperandView<'a, T>,
    i: usize,
    mr: usize,
    p: usize,
    kc: usize,
    read_a: ReadA,
    packed: &'a mut [T],
}

impl<'a, T: Float> PackA<'a, T> {
    /// # Panics
    /// If the range is not inside `a`.
    #[inline(always)]
    pub(super) fn new(
        a: &'a OperandView<'a, T>,
        (i, mr): (usize, usize),
        (p, kc): (usize, usize),
        read_a: ReadA,
        packed: &'a mut [T],
    ) -> Self {
        assert!(p + kc <= a.depth() && i + mr <= a.width(), "a block of A");
        Self { a, i, mr, p, kc, read_a, packed }
    }
}

impl<T: Float> WithSimd for PackA<'_, T> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "either reads the same elements")]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { a, i, mr, p, kc, read_a, packed } = self;
        let lanes = T::lanes::<S>();
        if read_a == ReadA::PackedRows {
            let unpacked = a.unpacked().map(Source::transpose);
            for (i, row) in (i..i + mr).zip(packed.chunks_exact_mut(kc + GAP)) {
                for pr in (0..kc).step_by(lanes) {
                    // A register may reach into the gap behind the row.
                    let count = lanes.min(kc - pr);
                    // SAFETY: `PackA::new` has checked that the block is inside A, and `count` ends
                    // with it. `ReadA::of` has found the columns of A contiguous.
                    let register = unsafe {
                        match unpacked {
                            Some(rows) if count == lanes => rows.register::<S>(i, p + pr),
                            _ => a.load_column(s, p + pr, i, count),
                        }
                    };
                    store_register::<S, T>(row, pr, register);
                }
            }
            return;
        }
        let width = a.width();
        for (p, column) in (p..p + kc).zip(packed.chunks_exact_mut(column_stride::<S>())) {
            for v in (0..mr).step_by(lanes) {
                // Reading past the tile's rows is harmless, past A's is not.
                let count = lanes.min(width - i - v);
                // SAFETY: `PackA::new` has checked `p` and `i`, and `count` ends with A's width.
                store_register::<S, T>(column, v, unsafe { a.load_row(s, p, i + v, count) });
            }
        }
    }
}

/// Elements from one column to the next in a sparse panel of A: its rows, and the index of the
/// column within the summation block.
pub(super) const fn sparse_column_stride<S: Simd>() -> usize {
    (TileShapes::of::<S>().rows(true) + 1).next_power_of_two()
}

/// Elements of a sparse panel of A.
pub(super) const fn sparse_panel_len_a<S: Simd>(kc: usize) -> usize {
    (kc + GAP) * sparse_column_stride::<S>()
}

/// Packs the nonzero columns of the tiles `tiles.0..tiles.1` of A, of elements `p..p + kc`.
///
/// A panel has `panel_len` elements. Its columns are [`sparse_column_stride`] apart; the last
/// element of a column is its index in the block. After `kc` columns comes their number. Skipped
/// columns would add 0 times an element of B to each accumulator.
pub(super) struct PackSparseA<'a, T, E> {
    a: &'a OperandView<'a, T>,
    tiles: (usize, usize),
    /// First row of a tile.
    edge: E,
    p: usize,
    kc: usize,
    panel_len: usize,
    packed: &'a mut [T],
}

impl<'a, T: Float, E: Fn(usize) -> usize> PackSparseA<'a, T, E> {
    /// `edge(t)` is the first row of tile `t`; it ascends with `t`.
    ///
    /// # Panics
    /// If the range is not inside `a`.
    #[inline(always)]
    pub(super) fn new(
        a: &'a OperandView<'a, T>,
        tiles: (usize, usize),
        edge: E,
        (p, kc): (usize, usize),
        panel_len: usize,
        packed: &'a mut [T],
    ) -> Self {
        assert!(p + kc <= a.depth() && edge(tiles.1) <= a.width(), "a block of A");
        Self { a, tiles, edge, p, kc, panel_len, packed }
    }
}

impl<T: Float, E: Fn(usize) -> usize> WithSimd for PackSparseA<'_, T, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { a, tiles: (t0, t1), edge, p, kc, panel_len, packed } = self;
        let (lanes, rows, stride) =
            (T::lanes::<S>(), TileShapes::of::<S>().rows(true), sparse_column_stride::<S>());
        // Tiles that share a register of rows are read together.
        let together = (lanes / rows).max(1);
        for first in (t0..t1).step_by(together) {
            let last = t1.min(first + together);
            let (i0, i1) = (edge(first), edge(last));
            let by_rows = a.has_contiguous_rows() && i1 - i0 <= lanes;
            let mut counts = [0; MOST_LANES];
            for pr in (0..kc).step_by(lanes) {
                let columns = lanes.min(kc - pr);
                let mut block = [T::splat(s, T::ZERO); MOST_LANES];
                if by_rows {
                    for (r, register) in block.iter_mut().enumerate().take(columns) {
                        // SAFETY: `PackSparseA::new` has checked that the block is inside A;
                        // `by_rows` says that the rows fit a register.
                        *register = unsafe { a.load_row(s, p + pr + r, i0, i1 - i0) };
                    }
                } else {
                    for (row, register) in block.iter_mut().enumerate().take(i1 - i0) {
                        // SAFETY: `PackSparseA::new` has checked that the block is inside A, and
                        // `columns` ends with it.
                        *register = unsafe { a.load_column(s, p + pr, i0 + row, columns) };
                    }
                }
                let block = pulp::bytemuck::cast_slice::<T::V<S>, T>(&block);
                for (tile, count) in (first..last).zip(&mut counts) {
                    let (from, to) = (edge(tile) - i0, edge(tile + 1) - i0);
                    let panel = &mut packed[(tile - t0) * panel_len..][..panel_len];
                    let strides = if by_rows { (1, lanes) } else { (lanes, 1) };
                    let tile = LoadedColumns { block, strides, row: from, columns, pr };
                    // The number of rows is known to the compiler for all but a few tiles.
                    *count = if to - from == rows {
                        tile.append_nonzero(rows, stride, *count, panel)
                    } else {
                        tile.append_nonzero(to - from, stride, *count, panel)
                    };
                }
            }
            for (tile, count) in (first..last).zip(counts) {
                packed[(tile - t0) * panel_len + kc * stride] = T::from_low_bits(count as u32);
            }
        }
    }
}

/// Some columns of a tile of A, loaded to a block of registers.
struct LoadedColumns<'a, T> {
    block: &'a [T],
    /// Strides from row to row, and from column to column.
    strides: (usize, usize),
    /// First row of the tile in the block.
    row: usize,
    columns: usize,
    /// Index of the first column in the summation block.
    pr: usize,
}

impl<T: Float> LoadedColumns<'_, T> {
    /// Appends the columns with a nonzero to the `count` in `panel`. Returns the new count.
    #[inline(always)]
    fn append_nonzero(&self, rows: usize, stride: usize, count: usize, panel: &mut [T]) -> usize {
        let mut count = count;
        let (row_stride, col_stride) = self.strides;
        for r in 0..self.columns {
            let column = &mut panel[count * stride..][..stride];
            let mut any = 0;
            for (row, element) in column.iter_mut().enumerate().take(rows) {
                *element = self.block[(self.row + row) * row_stride + r * col_stride];
                any |= element.low_bits();
            }
            column[stride - 1] = T::from_low_bits((self.pr + r) as u32);
            // The column is written anyway, and overwritten unless it counts: cheaper than a branch
            // that is often mispredicted.
            count += usize::from(any != 0);
        }
        count
    }
}
