//! The macrokernel: the five loops around the microkernel, for one task's rows and columns of C.
//!
//! ```text
//! LOOP 5  for p in 0..k step KB           summation blocks, ascending: the bit contract
//! LOOP 4    for tiles of MC rows          A's packed panels stay in the last-level cache
//! LOOP 3      for j in columns step NC    pack B: KB x NC, which stays in L2
//! LOOP 2        for tile of MR rows       pack A: MR x KB, which stays in L1
//! LOOP 1          for jr in NC step NR    microkernel, then epilogue; B's panel streams by
//! ```
//!
//! ```text
//!            B packed (L2)                        C
//!           +----+----+----+               +----+----+----+
//!        KB | NR | NR | .. |            MR |tile|tile| .. |  LOOP 1 -->
//!           +----+----+----+               +----+----+----+
//!              NC columns               MR |tile|tile| .. |  LOOP 2
//!   A packed                               +----+----+----+    |
//!   +------+                            .. | .. | .. | .. |    v
//!   | KB   | MR rows (L1)                  +----+----+----+
//!   +------+                                  NC columns
//!   | KB   | MR rows
//!   +------+
//!   | ..   |   MC rows: reused by LOOP 3
//!   +------+
//! ```
//!
//! BLIS nests them as jc (NC), pc (KB), ic (MC), jr (NR), ir (MR). Here pc is outermost, so that an
//! element of C is finished block by block whatever the blocking; A's panels are reused for all
//! columns, since C has few of them in training; and jr is innermost, so that a panel of A stays in
//! L1. An operand that the microkernel can read as it is, is not packed. Block sizes: `blocking`.
//!
//! Run by `driver` once per task, and by `split_k`.

use super::arithmetic::Arithmetic;
use super::blocking::{
    LINE, MC, NC, SPARSE_TILES, TileShapes, line_len, max_lanes, reads_b_unpacked,
};
use super::chain::{Exponents, MeasureExponents};
use super::epilogue::{ApplyEpilogue, BlockEpilogue, BlockPosition};
use super::operand::OperandView;
use super::output::OutputType;
use super::pack::{self, PackA, PackB, PackSparseA, ReadA};
use super::panels::Panels;
use super::product::Product;
use super::shape::GemmShape;
use super::tile::{KBlock, Tile, compute_transposing};
use super::view::Source;
use crate::Float;
use crate::simd::{Lanes, Simd, WithSimd, outlined, prefetch};

/// Scratch of one task, in elements: a block of B, and panels of A.
pub(super) const fn task_len<T: Float>(width: usize, depth: usize) -> usize {
    let panel = 2 * max_lanes::<T>();
    let depth = if depth < T::KB { depth } else { T::KB };
    let cols = if width < NC { width.next_multiple_of(panel) } else { NC };
    let rows = if width <= NC {
        0
    } else if width < MC {
        width
    } else {
        MC
    };
    LINE / size_of::<T>() + depth * cols + pack::panels_len_a(rows, depth)
}

/// One task: the rows and columns of the product that it owns, and its scratch.
pub(super) struct Task<'a, K: Arithmetic, O> {
    product: &'a Product<'a, K, O>,
    rows: (usize, usize),
    cols: (usize, usize),
    /// Accumulators that were computed before: they are added to C, and nothing is multiplied.
    partials: Option<Partials<'a, K::Acc>>,
    /// Empty: nothing is packed.
    scratch: &'a mut [K::Acc],
}

impl<'a, K: Arithmetic, O: Copy> Task<'a, K, O> {
    /// The task of rows `rows.0..rows.1` and columns `cols.0..cols.1`.
    ///
    /// # Safety
    /// - The ranges are inside the product.
    /// - While the task runs, no other one has an element in both ranges, nor the column sums of
    ///   `cols` if `rows` begins with 0.
    pub(super) unsafe fn new(
        product: &'a Product<'a, K, O>,
        rows: (usize, usize),
        cols: (usize, usize),
        scratch: &'a mut [K::Acc],
    ) -> Self {
        let GemmShape { m, n, .. } = product.shape();
        debug_assert!(rows.0 <= rows.1 && rows.1 <= m && cols.0 <= cols.1 && cols.1 <= n);
        Self { product, rows, cols, partials: None, scratch }
    }

    /// The task that adds `partials` to all of C.
    ///
    /// # Safety
    /// - While the task runs, nothing else accesses C.
    pub(super) unsafe fn add(
        product: &'a Product<'a, K, O>,
        partials: Partials<'a, K::Acc>,
    ) -> Self {
        let GemmShape { m, n, .. } = product.shape();
        let partials = Some(partials);
        Self { product, rows: (0, m), cols: (0, n), partials, scratch: &mut [] }
    }
}

impl<K: Arithmetic, O: OutputType<K::Acc>> WithSimd for Task<'_, K, O> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { product, rows, cols, partials, scratch } = self;
        if let Some(partials) = partials {
            return partials.add::<S, K, O>(s, product);
        }
        let (start, end) = product.k_range;
        let most = (end - start).min(<K::Acc as Lanes>::KB);
        let plan = Plan::new::<S, O>(product, rows, cols, most, !scratch.is_empty());
        let (packed_b, packed_a) = plan.split_scratch(scratch, most);
        // Panels of A that are reused: as many tiles per pass as the scratch has panels for.
        let group = if plan.reuses_a { packed_a.len() / plan.panel_len_a } else { plan.tiles };
        let group = if plan.skips { group.min(SPARSE_TILES) } else { group };

        // LOOP 5: summation blocks. One pass for k = 0 too, since the epilogue still applies.
        for p in (start..end.max(start + 1)).step_by(<K::Acc as Lanes>::KB) {
            let block = KBlock { p, kc: <K::Acc as Lanes>::KB.min(end - p) };
            let position =
                BlockPosition { first: p == start, last: p + block.kc == end, empty: start == end };
            let epilogue = product.epilogue(position);
            // The sparse microkernel clears the sign itself.
            let clears_negative_zero = epilogue.clears_negative_zero && !plan.skips;
            let epilogue = BlockEpilogue { clears_negative_zero, ..epilogue };
            if let (Some(a), true) = (plan.a_unpacked, plan.transposes_b) {
                let lanes = <K::Acc as Lanes>::lanes::<S>();
                for j in (cols.0..cols.1).step_by(lanes) {
                    let (a, cols) = (a.offset(0, rows.0), (j, cols.1.min(j + lanes)));
                    // SAFETY: `Task::new` requires that the ranges are inside the product and this
                    // task's. `Plan::new` has checked that A is read unpacked, that B's columns are
                    // contiguous, and that there are at most `WIDE_ROWS` rows, which is 3.
                    unsafe {
                        compute_transposing::<S, K, O>(
                            s, a, &product.b, rows, cols, &epilogue, block,
                        );
                    }
                }
                continue;
            }
            // LOOP 4: groups of tiles whose panels of A are reused by LOOP 3.
            for first in (0..plan.tiles).step_by(group) {
                let tiles = (first, plan.tiles.min(first + group));
                let mut exponents_a = Exponents::ZEROS;
                // LOOP 3: blocks of NC columns.
                for j in (cols.0..cols.1).step_by(NC) {
                    let pass = Pass { block, tiles, j, nc: NC.min(cols.1 - j) };
                    plan.run::<S, O>(
                        s,
                        product,
                        &epilogue,
                        pass,
                        &mut exponents_a,
                        [&mut *packed_b, &mut *packed_a],
                    );
                }
            }
        }
    }
}

/// Partial sums of consecutive summation blocks: for each the rows of C, B's column sums if they
/// are wanted, and at least a register more.
pub(super) struct Partials<'a, T> {
    /// First element of k.
    pub(super) from: usize,
    pub(super) sums: &'a [T],
    /// Elements per summation block.
    pub(super) len: usize,
}

impl<T: Float> Partials<'_, T> {
    /// Adds these sums to all of C, summation blocks ascending.
    #[inline(always)]
    fn add<S: Simd, K: Arithmetic<Acc = T>, O: OutputType<T>>(
        &self,
        s: S,
        product: &Product<'_, K, O>,
    ) {
        let GemmShape { m, n, k } = product.shape();
        for (p, sums) in (self.from..k).step_by(T::KB).zip(self.sums.chunks_exact(self.len)) {
            let block = BlockPosition { first: p == 0, last: p + T::KB >= k, empty: false };
            let (c, column_sums) = sums.split_at(m * n);
            let (epilogue, acc) = (product.epilogue(block), Source::packed(c, n, 1));
            // SAFETY: `sums` has `m * n` elements and at least a register more, so that the last
            // row has whole registers too. `Task::add` requires that C is this task's.
            outlined(s, unsafe { ApplyEpilogue::new(&epilogue, acc, (0, 0), m, n) });
            if let Some(target) = product.column_sums {
                let epilogue = product.column_epilogue(target, block);
                let acc = Source::packed(column_sums, n, 1);
                // SAFETY: after C come `n` column sums and a register. They are this task's as C
                // is.
                outlined(s, unsafe { ApplyEpilogue::new(&epilogue, acc, (0, 0), 1, n) });
            }
        }
    }
}

/// Choices of a task, made once.
struct Plan<'a, K: Arithmetic> {
    rows: (usize, usize),
    cols: (usize, usize),
    /// Number of tiles on top of each other.
    tiles: usize,
    /// NR: columns of a panel of B.
    panel: usize,
    /// B, if it was packed beforehand for registers of this width.
    panels: Option<Panels<'a, K::Acc>>,
    /// The operands, if the microkernel can read them unpacked.
    a_unpacked: Option<Source<K::Acc>>,
    b_unpacked: Option<Source<K::Acc>>,
    read_a: ReadA,
    /// A is packed in sparse panels, without the columns that are 0.
    skips: bool,
    /// Packed panels of A are reused for further columns.
    reuses_a: bool,
    /// Elements of a packed panel of A.
    panel_len_a: usize,
    has_scratch: bool,
    /// There are few rows, and B is transposed in registers.
    transposes_b: bool,
}

/// One pass of LOOP 2: a summation block, tiles (from, to), columns of B.
#[derive(Clone, Copy)]
struct Pass {
    block: KBlock,
    tiles: (usize, usize),
    j: usize,
    nc: usize,
}

impl<'a, K: Arithmetic> Plan<'a, K> {
    #[inline(always)]
    fn new<S: Simd, O: OutputType<K::Acc>>(
        product: &Product<'a, K, O>,
        rows: (usize, usize),
        cols: (usize, usize),
        most: usize,
        has_scratch: bool,
    ) -> Self {
        let Product { a, b, .. } = product;
        let (height, width) = (rows.1 - rows.0, cols.1 - cols.0);
        let lanes = <K::Acc as Lanes>::lanes::<S>();
        let panels = b.panels().filter(|panels| panels.panel() == 2 * lanes);
        let skips = K::SKIPS_ZEROS && a.is_sparse() && has_scratch;
        let read_a = if skips { ReadA::PackedColumns } else { ReadA::of(a) };
        let a_unpacked = a.unpacked().filter(|_| read_a == ReadA::Unpacked || !has_scratch);
        let shapes = TileShapes::of::<S>();
        Self {
            rows,
            cols,
            tiles: height.div_ceil(shapes.rows(skips)),
            panel: panels
                .map_or_else(|| shapes.panel(lanes, width, skips), |panels| panels.panel()),
            panels,
            a_unpacked,
            b_unpacked: b.unpacked().filter(|_| b.has_contiguous_rows() || lanes == 1),
            read_a,
            skips,
            reuses_a: skips || read_a != ReadA::Unpacked && width > NC && has_scratch,
            panel_len_a: if skips {
                pack::sparse_panel_len_a::<S>(most)
            } else {
                pack::panel_len_a::<S>(most)
            },
            has_scratch,
            transposes_b: b.needs_transpose(lanes)
                && height <= S::WIDE_ROWS
                && a_unpacked.is_some()
                && product.column_sums.is_none(),
        }
    }

    /// Scratch for B's panels and for A's, from the edge of a cache line on.
    fn split_scratch<'s>(
        &self,
        scratch: &'s mut [K::Acc],
        most: usize,
    ) -> (&'s mut [K::Acc], &'s mut [K::Acc]) {
        if !self.has_scratch {
            return (&mut [], scratch);
        }
        let skip = scratch.as_ptr().align_offset(LINE).min(LINE / size_of::<K::Acc>());
        let width = (self.cols.1 - self.cols.0).next_multiple_of(self.panel);
        scratch[skip..].split_at_mut(most * width.min(NC))
    }

    /// Rows of tile `t`: about the same number for all tiles, so that none is too small to fill the
    /// pipeline.
    #[inline(always)]
    fn tile(&self, t: usize) -> (usize, usize) {
        let (i0, i1) = self.rows;
        let edge = |t: usize| i0 + ((i1 - i0) * t).div_ceil(self.tiles);
        (edge(t), edge(t + 1))
    }

    /// LOOP 2 and LOOP 1: all tiles of one pass.
    #[inline(always)]
    fn run<S: Simd, O: OutputType<K::Acc>>(
        &self,
        s: S,
        product: &Product<'_, K, O>,
        epilogue: &BlockEpilogue<'_, K::Acc, O>,
        pass: Pass,
        // Exponents of the packed panels of A, measured once for all passes that reuse them.
        exponents_a: &mut Exponents,
        [packed_b, packed_a]: [&mut [K::Acc]; 2],
    ) {
        let Pass { block, tiles: (t0, t1), j, nc } = pass;
        let KBlock { p, kc } = block;
        let &Self { panel, panels, read_a, skips, reuses_a, has_scratch, .. } = self;
        let lanes = <K::Acc as Lanes>::lanes::<S>();
        let b_unpacked = self.b_unpacked.filter(|b| {
            !has_scratch || reads_b_unpacked::<S, K::Acc>(b.row_stride, kc, t1 - t0, skips)
        });
        // Whole panels may be read unpacked. A last panel that is not full never is: its registers
        // would reach past the row.
        let unpacked = if b_unpacked.is_some() { nc - nc % panel } else { 0 };
        if has_scratch && panels.is_none() {
            let packed = &mut packed_b[unpacked * kc..];
            let columns = (j + unpacked, nc - unpacked);
            s.vectorize(PackB::new(&product.b, (p, kc), columns, panel, packed));
        }
        let measures = const { K::K_PER_ELEMENT > 1 && !S::HAS_PAIRS };
        let exponents_b = match panels {
            Some(panels) => panels.exponents(),
            None if measures && has_scratch && unpacked == 0 => {
                let packed = &packed_b[..kc * nc.next_multiple_of(panel)];
                s.vectorize(MeasureExponents { packed, stride: 1, used: 1 })
            }
            None => Exponents::UNKNOWN,
        };
        if self.a_unpacked.is_some() {
            *exponents_a = Exponents::UNKNOWN;
        }
        // Panels that are reused are packed with the first columns.
        let packs_a = read_a != ReadA::Unpacked && has_scratch && (j == self.cols.0 || !reuses_a);
        if skips && packs_a {
            let edge = |t| self.tile(t).0;
            let (tiles, packed) = ((t0, t1), &mut *packed_a);
            let len = self.panel_len_a;
            s.vectorize(PackSparseA::new(&product.a, tiles, edge, (p, kc), len, packed));
        }
        // LOOP 2: tiles of MR rows.
        for t in t0..t1 {
            let (i0, i1) = self.tile(t);
            let mut nonzero_columns = kc;
            let a = match self.a_unpacked {
                Some(a) => Some(a.offset(p, i0)),
                None if has_scratch => {
                    let panel_of_a = if reuses_a { (t - t0) * self.panel_len_a } else { 0 };
                    let packed = &mut packed_a[panel_of_a..][..self.panel_len_a];
                    if skips {
                        let stride = pack::sparse_column_stride::<S>();
                        nonzero_columns = packed[kc * stride].low_bits() as usize;
                        if measures && packs_a {
                            let packed = &packed[..nonzero_columns * stride];
                            let panel = MeasureExponents { packed, stride, used: i1 - i0 };
                            *exponents_a = exponents_a.merge(s.vectorize(panel));
                        }
                        Some(Source::packed(packed, stride, 1))
                    } else {
                        if packs_a {
                            let (rows, packed) = ((i0, i1 - i0), &mut *packed);
                            s.vectorize(PackA::new(&product.a, rows, (p, kc), read_a, packed));
                        }
                        if measures && packs_a {
                            let panel = read_a.packed_elements::<S, K::Acc>(packed, i1 - i0, kc);
                            let found = s.vectorize(panel);
                            *exponents_a = if reuses_a { exponents_a.merge(found) } else { found };
                        }
                        Some(read_a.source::<S, K::Acc>(packed, kc))
                    }
                }
                None => None,
            };
            // LOOP 1: panels of NR columns.
            let mut jr = 0;
            while jr < nc {
                let b_in_place = b_unpacked.filter(|_| jr < unpacked);
                let columns = (jr, unpacked, nc);
                let width = TileShapes::of::<S>().columns(lanes, i1 - i0, skips, panel, columns);
                let b = match (panels, b_in_place) {
                    (Some(panels), _) => {
                        Some(Source::packed(panels.block(p, kc, j + jr), panel, 1))
                    }
                    (None, Some(b)) => Some(b.offset(p, j + jr)),
                    (None, None) if has_scratch => {
                        Some(Source::packed(&packed_b[jr * kc..], panel, 1))
                    }
                    (None, None) => None,
                };
                // The first two tiles prefetch the two cache lines of each row that the same tile
                // of the next NC columns reads.
                let prefetch = match b_in_place {
                    Some(b) if t - t0 < 2 => {
                        b.pointer(p, j + NC + jr + (t - t0) * line_len::<K::Acc>())
                    }
                    _ => b.map_or(core::ptr::null(), |b| b.ptr),
                };
                if packs_a && t + 1 < t1 {
                    prefetch_a(&product.a, read_a, self.tile(t + 1), block, (jr, width, nc));
                }
                let cols = (j + jr, j + jr + width);
                let nonzero_columns = skips.then_some(nonzero_columns);
                let exponents = [*exponents_a, exponents_b];
                let tile =
                    Tile { rows: (i0, i1), cols, a, b, nonzero_columns, prefetch, exponents };
                // SAFETY: `Task::new` requires that the ranges, which rows and columns end with,
                // are inside the product and this task's. A and B are unpacked, or panels of `kc`
                // elements of k that were packed above.
                unsafe {
                    tile.compute::<S, K, O>(s, [&product.a, &product.b], epilogue, block);
                }
                if let (Some(sums), 0) = (product.column_sums, i0) {
                    let epilogue = product.column_epilogue(sums, epilogue.block);
                    // SAFETY: B is the same as above. `Task::new` requires that the column sums are
                    // this task's where its rows begin with 0.
                    unsafe { tile.sum_columns::<S, K>(s, &product.b, &epilogue, block) };
                }
                jr += width;
            }
        }
    }
}

/// Prefetches a share of the next tile's rows of A, as large as `width` of `nc` columns, before
/// they are packed.
#[inline(always)]
fn prefetch_a<T: Float>(
    a: &OperandView<'_, T>,
    read_a: ReadA,
    (i0, i1): (usize, usize),
    KBlock { p, kc }: KBlock,
    (jr, width, nc): (usize, usize, usize),
) {
    let Some(a) = a.unpacked().filter(|_| read_a == ReadA::PackedRows) else { return };
    for i in i0 + (i1 - i0) * jr / nc..i0 + (i1 - i0) * (jr + width) / nc {
        for pr in (0..kc).step_by(line_len::<T>()) {
            prefetch::<_, true>(a.pointer(p + pr, i));
        }
    }
}
