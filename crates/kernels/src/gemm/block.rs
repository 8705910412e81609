//! One task: the cache blocks of its part of C, and within them the tiles.

use core::mem::MaybeUninit;

use half::bf16;

use super::finish::{Finish, Sums};
use super::operand::{Elements, Source};
use super::pack::{self, CopyA, CopyNonzero, PackB, Reading, sparse_column};
use super::packed::Panels;
use super::target::{Beside, Stored, Target};
use super::terms::{Pairs, Single, Terms};
use super::tile::{LOOSE_ROWS, Loose, SUMS, Shapes, Tile, Turning, apart};
use crate::simd::{Lanes, Simd, WithSimd, prefetch};
use crate::{Float, Isa, MatRef};

/// Columns of B that are packed at a time: 512 x 256 f32 are 512 KiB, half of a second-level cache of 1 MiB.
/// Benchmark `gemm`.
pub(super) const NC: usize = 256;

/// Rows of A whose copies are kept while more columns of B than [`NC`] pass: 1024 x 512 f32 are 2 MiB of a cache that is
/// read once per [`NC`] columns. Benchmark `gemm`.
pub(super) const MC: usize = 1024;

/// Tiles of a sparse factor whose copies are kept: with three rows each, what they take beside B's columns in a second-level cache.
const SPARSE_TILES: usize = 32;

/// Whether rows of B this far apart, `kc` of them, are read where they stand by so many tiles: from the first to the last they
/// fit half a second-level cache, or few tiles would use a copy. Rows a multiple of 4 KiB apart fall into the same few
/// sets of the caches, and are copied unless they are few. A small tile waits for B more often, so that fewer of them pay
/// for a copy. Benchmark `gemm`.
fn rests<S: Simd, T>(stride: usize, kc: usize, tiles: usize, skips: bool) -> bool {
    let stride = stride * size_of::<T>();
    let few = if S::TILE_ROWS > 6 { 12 } else { 3 };
    kc * stride <= 512 << 10
        || ((tiles <= few || skips && S::WIDE_ROWS >= 3) && !stride.is_multiple_of(4096))
}

/// The operands, after all checks: C <- act(alpha A^T B + beta C + bias), where A is k x m and B is k x n.
pub(super) struct Product<'a, K: Terms, O> {
    /// The words of k that are summed, from and to: one summation block, or all.
    pub(super) words: (usize, usize),
    pub(super) alpha: K::Sum,
    pub(super) a: Elements<'a, K::Sum>,
    pub(super) b: Elements<'a, K::Sum>,
    /// `None` when C is not to be read.
    pub(super) beta: Option<K::Sum>,
    /// m x n; if turned, n x m.
    pub(super) c: Target<'a, O>,
    pub(super) running: Target<'a, K::Sum>,
    pub(super) bias: Option<Beside<'a, K::Sum>>,
    pub(super) keep: Option<Target<'a, O>>,
    pub(super) relu: bool,
    pub(super) gradient_at: Option<Beside<'a, O>>,
    /// C holds the transpose of the product.
    pub(super) turned: bool,
    /// Gets alpha times the column sums of B, and beta times what it holds. Not if turned.
    pub(super) column_sums: Option<Target<'a, K::Sum>>,
}

impl<'a, K: Terms, O: Copy> Product<'a, K, O> {
    /// What becomes of the sums of one summation block: the first or not, the last or not, of no k at all or not.
    fn finish(&self, first: bool, last: bool, empty: bool) -> Finish<'a, K::Sum, O> {
        let &Self { alpha, beta, c, running, bias, keep, relu, gradient_at, turned, .. } = self;
        Finish {
            alpha,
            beta,
            first,
            last,
            empty,
            c,
            running,
            bias,
            keep,
            relu,
            gradient_at,
            turned,
            unsigned: self.a.is_sparse() || self.b.is_sparse(),
        }
    }

    /// The product of these factors for C, and nothing besides.
    pub(super) fn bare(
        alpha: K::Sum,
        [a, b]: [Elements<'a, K::Sum>; 2],
        beta: Option<K::Sum>,
        c: Target<'a, O>,
        running: Target<'a, K::Sum>,
    ) -> Self {
        Self {
            words: (0, a.depth()),
            alpha,
            a,
            b,
            beta,
            c,
            running,
            bias: None,
            keep: None,
            relu: false,
            gradient_at: None,
            turned: false,
            column_sums: None,
        }
    }

    /// Rows and columns of the tiles' C, and words of k.
    pub(super) fn shape(&self) -> (usize, usize, usize) {
        (self.a.shape().cols, self.b.shape().cols, self.a.depth())
    }

    /// The epilogue of B's column sums, stored to `sums`: alpha and beta alone.
    fn finish_columns(
        &self,
        sums: Target<'a, K::Sum>,
        first: bool,
        last: bool,
        empty: bool,
    ) -> Finish<'a, K::Sum, K::Sum> {
        let Self { alpha, b, beta, .. } = *self;
        Product::<K, K::Sum>::bare(alpha, [b, b], beta, sums, sums).finish(first, last, empty)
    }

    /// C, and all that lies beside it, transposed: the same product, turned.
    pub(super) fn transpose_c(self) -> Self {
        Self {
            c: self.c.transpose(),
            running: self.running.transpose(),
            bias: self.bias.map(Beside::transpose),
            keep: self.keep.map(Target::transpose),
            gradient_at: self.gradient_at.map(Beside::transpose),
            turned: !self.turned,
            ..self
        }
    }

    /// The transposed product: B^T A, with the same bits, since a * b = b * a.
    pub(super) fn turn(self) -> Self {
        Self { a: self.b, b: self.a, turned: !self.turned, ..self }
    }
}

/// One task: the rows and columns of the product that it owns, and its scratch. Without scratch nothing is packed.
pub struct Block<'a, K: Terms, O> {
    pub(super) product: &'a Product<'a, K, O>,
    pub(super) rows: (usize, usize),
    pub(super) cols: (usize, usize),
    /// Sums that were computed before: they are added to C, and nothing is multiplied.
    pub(super) partials: Option<Partials<'a, K::Sum>>,
    pub(super) scratch: &'a mut [K::Sum],
}

/// Partial sums of consecutive summation blocks: for each the rows of C, the column sums of B if
/// they are wanted, and at least a register more.
pub(super) struct Partials<'a, T> {
    /// First word of k.
    pub(super) from: usize,
    pub(super) sums: &'a [T],
    /// Elements per summation block.
    pub(super) len: usize,
}

/// Scratch of one task, in words: a block of B, and copies of A's tiles.
pub(super) const fn task_len<T: Float>(width: usize, depth: usize) -> usize {
    let panel = 2 * super::most_lanes::<T>();
    let depth = if depth < T::KB { depth } else { T::KB };
    let cols = if width < NC { width.next_multiple_of(panel) } else { NC };
    let rows = if width <= NC {
        0
    } else if width < MC {
        width
    } else {
        MC
    };
    LINE / size_of::<T>() + depth * cols + pack::tiles_len(rows, depth)
}

/// Bytes in a cache line, on whose edges packed panels begin.
const LINE: usize = 64;

/// Words of k from which on a tile takes long enough for C to arrive meanwhile.
const PREFETCH_FROM: usize = 64;

/// A run of k, the same for all tiles of one pass.
#[derive(Clone, Copy)]
struct Run {
    p: usize,
    kc: usize,
}

impl<K: Terms, O: Stored<K::Sum>> WithSimd for Block<'_, K, O> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { product, rows, cols, partials, scratch } = self;
        if let Some(partials) = partials {
            return partials.add::<S, K, O>(s, product);
        }
        let (start, end) = product.words;
        let most = (end - start).min(<K::Sum as Lanes>::KB);
        let plan = Plan::new::<S, O>(product, rows, cols, most, !scratch.is_empty());
        let (packed_b, packed_a) = plan.rooms(scratch, most);
        // Copies of A are kept if they serve again, and as many tiles done at a time as there is room for.
        let group = if plan.keeps { packed_a.len() / plan.slot } else { plan.tiles };
        let group = if plan.skips { group.min(SPARSE_TILES) } else { group };

        // One pass for k = 0 too: the epilogue still applies.
        for p in (start..end.max(start + 1)).step_by(<K::Sum as Lanes>::KB) {
            let run = Run { p, kc: <K::Sum as Lanes>::KB.min(end - p) };
            let finish = product.finish(p == start, p + run.kc == end, start == end);
            let finish = Finish { unsigned: finish.unsigned && !plan.skips, ..finish };
            if let (Some(a), true) = (plan.a_in_place, plan.turning) {
                let lanes = <K::Sum as Lanes>::lanes::<S>();
                for j in (cols.0..cols.1).step_by(lanes) {
                    turn::<S, K, O>(
                        s,
                        a.offset(0, rows.0),
                        &product.b,
                        rows,
                        (j, cols.1.min(j + lanes)),
                        &finish,
                        run,
                    );
                }
                continue;
            }
            for first in (0..plan.tiles).step_by(group) {
                let tiles = (first, plan.tiles.min(first + group));
                for j in (cols.0..cols.1).step_by(NC) {
                    let at = Columns { run, tiles, j, nc: NC.min(cols.1 - j) };
                    plan.columns::<S, O>(s, product, &finish, at, packed_b, packed_a);
                }
            }
        }
    }
}

impl<T: Float> Partials<'_, T> {
    /// Adds these sums to all of C, summation blocks ascending.
    #[inline(always)]
    fn add<S: Simd, K: Terms<Sum = T>, O: Stored<T>>(&self, s: S, product: &Product<'_, K, O>) {
        let (rows, cols, depth) = product.shape();
        for (p, sums) in (self.from..depth).step_by(T::KB).zip(self.sums.chunks_exact(self.len)) {
            let (first, last) = (p == 0, p + T::KB >= depth);
            let (c, column_sums) = sums.split_at(rows * cols);
            let finish = product.finish(first, last, false);
            apart(
                s,
                Sums { finish: &finish, sums: Source::packed(c, cols, 1), at: (0, 0), rows, cols },
            );
            if let Some(target) = product.column_sums {
                let finish = product.finish_columns(target, first, last, false);
                let sums = Source::packed(column_sums, cols, 1);
                apart(s, Sums { finish: &finish, sums, at: (0, 0), rows: 1, cols });
            }
        }
    }
}

/// How a task goes about its block: decided once.
struct Plan<'a, K: Terms> {
    rows: (usize, usize),
    cols: (usize, usize),
    /// Tiles on top of each other.
    tiles: usize,
    /// Columns of a panel of B.
    panel: usize,
    /// B, if it has been packed for registers of this width.
    panels: Option<Panels<'a, K::Sum>>,
    /// The factors, if tiles can read them where they stand.
    a_in_place: Option<Source<K::Sum>>,
    b_in_place: Option<Source<K::Sum>>,
    reading: Reading,
    /// Whether columns of A that are 0 are left out of a tile's copy.
    skips: bool,
    /// Whether copies of A's tiles are kept for further columns.
    keeps: bool,
    /// Words of a copied tile of A.
    slot: usize,
    /// Whether there is scratch.
    lent: bool,
    /// The product has few rows, and turns B on the way.
    turning: bool,
}

/// The columns of one pass: words of k, tiles (from, to), columns of B.
#[derive(Clone, Copy)]
struct Columns {
    run: Run,
    tiles: (usize, usize),
    j: usize,
    nc: usize,
}

impl<'a, K: Terms> Plan<'a, K> {
    #[inline(always)]
    fn new<S: Simd, O: Stored<K::Sum>>(
        product: &Product<'a, K, O>,
        rows: (usize, usize),
        cols: (usize, usize),
        most: usize,
        lent: bool,
    ) -> Self {
        let Product { a, b, .. } = product;
        let (height, width) = (rows.1 - rows.0, cols.1 - cols.0);
        let lanes = <K::Sum as Lanes>::lanes::<S>();
        let panels = b.panels().filter(|panels| panels.panel() == 2 * lanes);
        let skips = K::SKIPS && a.is_sparse() && lent;
        let reading = if skips { Reading::Columns } else { Reading::of(a) };
        let a_in_place = a.in_place().filter(|_| reading == Reading::InPlace || !lent);
        let turned = lanes > 1 && b.runs_along() && !b.runs_across();
        let shapes = Shapes::of::<S>();
        Self {
            rows,
            cols,
            tiles: height.div_ceil(shapes.rows(skips)),
            panel: panels
                .map_or_else(|| shapes.panel(lanes, width, skips), |panels| panels.panel()),
            panels,
            a_in_place,
            b_in_place: b.in_place().filter(|_| b.runs_across() || lanes == 1),
            reading,
            skips,
            keeps: skips || reading != Reading::InPlace && width > NC && lent,
            slot: if skips { pack::sparse_tile_len::<S>(most) } else { pack::tile_len::<S>(most) },
            lent,
            turning: turned
                && height <= S::WIDE_ROWS
                && a_in_place.is_some()
                && product.column_sums.is_none(),
        }
    }

    /// The scratch for B's panels and for A's tiles, beginning with the edge of a cache line.
    fn rooms<'s>(
        &self,
        scratch: &'s mut [K::Sum],
        most: usize,
    ) -> (&'s mut [K::Sum], &'s mut [K::Sum]) {
        if !self.lent {
            return (&mut [], scratch);
        }
        let skip = scratch.as_ptr().align_offset(LINE).min(LINE / size_of::<K::Sum>());
        let width = (self.cols.1 - self.cols.0).next_multiple_of(self.panel);
        scratch[skip..].split_at_mut(most * width.min(NC))
    }

    /// The rows of tile `t`: about the same number for all, so that no sliver keeps the pipeline waiting.
    #[inline(always)]
    fn tile(&self, t: usize) -> (usize, usize) {
        let (i0, i1) = self.rows;
        let edge = |t: usize| i0 + ((i1 - i0) * t).div_ceil(self.tiles);
        (edge(t), edge(t + 1))
    }

    /// All tiles of one pass over some columns.
    #[inline(always)]
    fn columns<S: Simd, O: Stored<K::Sum>>(
        &self,
        s: S,
        product: &Product<'_, K, O>,
        finish: &Finish<'_, K::Sum, O>,
        at: Columns,
        packed_b: &mut [K::Sum],
        packed_a: &mut [K::Sum],
    ) {
        let Columns { run, tiles: (t0, t1), j, nc } = at;
        let Run { p, kc } = run;
        let &Self { panel, panels, reading, skips, keeps, lent, .. } = self;
        let lanes = <K::Sum as Lanes>::lanes::<S>();
        let b_in_place = self
            .b_in_place
            .filter(|b| !lent || rests::<S, K::Sum>(b.row_stride, kc, t1 - t0, skips));
        // Whole panels may be read in place. A last panel that is not full never is: its registers would reach past the
        // row.
        let whole = if b_in_place.is_some() { nc - nc % panel } else { 0 };
        if lent && panels.is_none() {
            let packed = &mut packed_b[whole * kc..];
            s.vectorize(PackB {
                b: &product.b,
                p,
                kc,
                j: j + whole,
                nc: nc - whole,
                panel,
                packed,
            });
        }
        // Copies that are kept are made with the first columns.
        let copies = reading != Reading::InPlace && lent && (j == self.cols.0 || !keeps);
        if skips && copies {
            let edge = |t| self.tile(t).0;
            let copies = &mut *packed_a;
            s.vectorize(CopyNonzero {
                a: &product.a,
                tiles: (t0, t1),
                edge,
                p,
                kc,
                slot: self.slot,
                copies,
            });
        }
        for t in t0..t1 {
            let (i0, i1) = self.tile(t);
            let mut words = kc;
            let a = match self.a_in_place {
                Some(a) => Some(a.offset(p, i0)),
                None if lent => {
                    let slot =
                        &mut packed_a[if keeps { (t - t0) * self.slot } else { 0 }..][..self.slot];
                    if skips {
                        let column = sparse_column::<S>();
                        words = slot[kc * column].word() as usize;
                        Some(Source::packed(slot, column, 1))
                    } else {
                        if copies {
                            let mr = i1 - i0;
                            s.vectorize(CopyA {
                                a: &product.a,
                                i: i0,
                                mr,
                                p,
                                kc,
                                reading,
                                copy: &mut *slot,
                            });
                        }
                        Some(reading.source::<S, K::Sum>(slot, kc))
                    }
                }
                None => None,
            };
            let mut jr = 0;
            while jr < nc {
                let in_place = b_in_place.filter(|_| jr < whole);
                let width =
                    Shapes::of::<S>().columns(lanes, i1 - i0, skips, panel, (jr, whole, nc));
                let b = match (panels, in_place) {
                    (Some(panels), _) => {
                        Some(Source::packed(panels.block(p, kc, j + jr), panel, 1))
                    }
                    (None, Some(b)) => Some(b.offset(p, j + jr)),
                    (None, None) if lent => Some(Source::packed(&packed_b[jr * kc..], panel, 1)),
                    (None, None) => None,
                };
                // The first two tiles fetch the two cache lines of each row that the same tile of the next columns will
                // read.
                let line = (LINE / size_of::<K::Sum>()).max(1);
                let ahead = match in_place {
                    Some(b) if t - t0 < 2 => b.place(p, j + NC + jr + (t - t0) * line),
                    _ => b.map_or(core::ptr::null(), |b| b.ptr),
                };
                if copies && t + 1 < t1 {
                    fetch_rows(&product.a, reading, self.tile(t + 1), run, (jr, width, nc));
                }
                let skips = skips.then_some(words);
                let here =
                    Piece { rows: (i0, i1), cols: (j + jr, j + jr + width), a, b, skips, ahead };
                here.compute::<S, K, O>(s, [&product.a, &product.b], finish, run);
                if let (Some(sums), 0) = (product.column_sums, i0) {
                    let Finish { first, last, empty, .. } = *finish;
                    let finish = product.finish_columns(sums, first, last, empty);
                    here.sum_columns::<S, K>(s, &product.b, &finish, run);
                }
                jr += width;
            }
        }
    }
}

/// Computes these columns of a product of few rows, turning B on the way.
#[inline(always)]
fn turn<S: Simd, K: Terms, O: Stored<K::Sum>>(
    s: S,
    a: Source<K::Sum>,
    b: &Elements<'_, K::Sum>,
    (i0, i1): (usize, usize),
    cols: (usize, usize),
    finish: &Finish<'_, K::Sum, O>,
    run: Run,
) {
    let stride = <K::Sum as Lanes>::lanes::<S>();
    let mut buffer = [const { MaybeUninit::<<K::Sum as Lanes>::V<S>>::uninit() }; SUMS];
    let sums: *mut K::Sum = buffer.as_mut_ptr().cast();
    let words = (run.p, run.p + run.kc);
    match i1 - i0 {
        1 => apart(s, Turning::<K, 1> { a, b, cols, words, sums }),
        2 => apart(s, Turning::<K, 2> { a, b, cols, words, sums }),
        3 => apart(s, Turning::<K, 3> { a, b, cols, words, sums }),
        rows => unreachable!("a turning tile of {rows} rows"),
    }
    let sums = Source { ptr: sums.cast_const(), row_stride: stride, col_stride: 1 };
    apart(s, Sums { finish, sums, at: (i0, cols.0), rows: i1 - i0, cols: cols.1 - cols.0 });
}

/// Asks for a share of the next tile's rows of A, `width` of `nc` columns' worth, so that they are near when they are copied.
#[inline(always)]
fn fetch_rows<T: Float>(
    a: &Elements<'_, T>,
    reading: Reading,
    (i0, i1): (usize, usize),
    Run { p, kc }: Run,
    (jr, width, nc): (usize, usize, usize),
) {
    let Some(a) = a.in_place().filter(|_| reading == Reading::Rows) else { return };
    let line = (64 / size_of::<T>()).max(1);
    for i in i0 + (i1 - i0) * jr / nc..i0 + (i1 - i0) * (jr + width) / nc {
        for pr in (0..kc).step_by(line) {
            prefetch::<_, true>(a.place(p + pr, i));
        }
    }
}

/// One tile of the product: its rows and columns, each as (start, end), and its factors as they are to be read.
struct Piece<T> {
    rows: (usize, usize),
    cols: (usize, usize),
    a: Option<Source<T>>,
    b: Option<Source<T>>,
    /// How many columns of a are not left out, where some are.
    skips: Option<usize>,
    /// What to ask for meanwhile, with each row of b as much further on as that row is.
    ahead: *const T,
}

impl<T: Float> Piece<T> {
    /// Computes the piece of the product of these factors.
    #[inline(always)]
    fn compute<S: Simd, K: Terms<Sum = T>, O: Stored<T>>(
        &self,
        s: S,
        factors: [&Elements<'_, T>; 2],
        finish: &Finish<'_, T, O>,
        run: Run,
    ) {
        let Self { rows: (i0, i1), cols: (j0, j1), a, b, skips, ahead } = *self;
        let lanes = T::lanes::<S>();
        let (rows, cols) = (i1 - i0, j1 - j0);
        let registers = cols.div_ceil(lanes);
        let mut buffer = [const { MaybeUninit::<T::V<S>>::uninit() }; SUMS];
        let sums: *mut T = buffer.as_mut_ptr().cast();
        let (Some(a), Some(b)) = (a, b) else {
            // No scratch, and the words do not stand as a tile wants them.
            let [a, b] = factors;
            for i in (i0..i1).step_by(LOOSE_ROWS) {
                for j in (j0..j1).step_by(lanes) {
                    let (rows, cols) = ((i, i1.min(i + LOOSE_ROWS)), (j, j1.min(j + lanes)));
                    let words = (run.p, run.p + run.kc);
                    apart(s, Loose::<K> { a, b, rows, cols, words, sums, stride: lanes });
                    let (rows, cols) = (rows.1 - rows.0, cols.1 - cols.0);
                    let sums = Source { ptr: sums.cast_const(), row_stride: lanes, col_stride: 1 };
                    apart(s, Sums { finish, sums, at: (i, j), rows, cols });
                }
            }
            return;
        };
        if run.kc >= PREFETCH_FROM {
            finish.prefetch(i0, j0, rows, cols);
        }
        let shortcut = finish.shortcut(i0, j0).filter(|_| cols == registers * lanes);
        let (sums, stride) = match shortcut {
            Some(place) => (place, finish.running.row_stride),
            None => (sums, registers * lanes),
        };
        let (kc, skips) = (skips.unwrap_or(run.kc), skips.is_some());
        let tile = Tile { a, b, kc, skips, sums, stride, ahead };
        // SAFETY: the factors hold kc words of these rows and columns, the latter in whole registers. The sums go to the
        // buffer, which has room for the largest tile, or to whole registers of C that belong to this task.
        unsafe { tile.run::<S, K>(s, rows, registers) };
        if shortcut.is_none() {
            let sums = Source { ptr: sums.cast_const(), row_stride: stride, col_stride: 1 };
            apart(s, Sums { finish, sums, at: (i0, j0), rows, cols });
        }
    }

    /// The sums of these columns of B: the product with a row of ones.
    #[inline(always)]
    fn sum_columns<S: Simd, K: Terms<Sum = T>>(
        &self,
        s: S,
        b: &Elements<'_, T>,
        finish: &Finish<'_, T, T>,
        run: Run,
    ) {
        let ones = [K::ONE];
        // A row of `ones` is one word that is read again and again.
        let Ok(ones) = MatRef::strided(&ones, run.p + run.kc, 1, 0, 0) else { return };
        let piece = Self { rows: (0, 1), a: Some(Source::new(ones)), skips: None, ..*self };
        piece.compute::<S, K, T>(s, [&Elements::words(ones), b], finish, run);
    }
}

/// A type with its products compiled here: once, and not again in every crate that multiplies.
pub trait Multiply: Lanes {
    /// Computes `block` with `isa`.
    fn run(isa: Isa, block: Block<'_, Single<Self>, Self>)
    where
        Self: Float;
}
impl Multiply for f32 {
    fn run(isa: Isa, block: Block<'_, Single<Self>, Self>) {
        isa.run(block);
    }
}
impl Multiply for f64 {
    fn run(isa: Isa, block: Block<'_, Single<Self>, Self>) {
        isa.run(block);
    }
}

/// The types in which [`gemm_bf16`](super::gemm_bf16) stores its result: f32 and bf16.
pub trait Bf16Result: Stored<f32> {
    /// Computes `block` with `isa`.
    #[doc(hidden)]
    fn run_pairs(isa: Isa, block: Block<'_, Pairs, Self>);
}
impl Bf16Result for f32 {
    fn run_pairs(isa: Isa, block: Block<'_, Pairs, Self>) {
        isa.run_pairs(block);
    }
}
impl Bf16Result for bf16 {
    fn run_pairs(isa: Isa, block: Block<'_, Pairs, Self>) {
        isa.run_pairs(block);
    }
}
