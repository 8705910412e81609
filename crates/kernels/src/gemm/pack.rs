//! Packing: words are copied into the order in which a tile reads them.
//!
//! ```text
//! B, kc x nc            packed: panels of `panel` columns, each kc rows long
//! . . . . | . . . . |   p=0: j0 j1 j2 j3   p=1: j0 j1 j2 j3   ...   then the next panel
//! . . . . | . . . . |   columns past nc are filled with 0
//! ```
//!
//! A is read where it stands if its words along k, or those of a column, are neighbours, and if the distance to
//! the next row (column) is not one at which all of a tile's rows fall into the same few sets of a cache. Else its
//! rows for one tile are copied next to each other, as rows or as columns, whichever are neighbours.

use super::operand::{Elements, Source, words_across};
use super::tile::Shapes;
use crate::simd::{MOST_LANES, Simd, WithSimd, prefetch};
use crate::{Float, MatRef};
use pulp::bytemuck;

/// Words between the rows of a copied tile of A: a cache line of f32, so that they do not fall into the same sets.
const GAP: usize = 16;
const _: () = assert!(GAP >= MOST_LANES, "a register that ends a row stays in the gap behind it");

/// Words from one k to the next in a tile of A that is copied as columns.
pub(super) const fn column<S: Simd>() -> usize {
    S::TILE_ROWS.next_power_of_two()
}

/// Words that a copied tile of A takes, as rows or as columns.
pub(super) const fn tile_len<S: Simd>(kc: usize) -> usize {
    (kc + GAP) * column::<S>()
}

/// No fewer words than the copied tiles of `rows` rows of A take, and no fewer than one tile does: tiles have up to 14 rows and
/// take 16, or up to 6 and take 8.
pub(super) const fn tiles_len(rows: usize, kc: usize) -> usize {
    (kc + GAP) * (rows + rows.div_ceil(3) + 16)
}

/// Whether places this far apart share few sets of a cache: a first-level cache repeats its sets every 4 KiB.
fn collides<T>(stride: usize) -> bool {
    let bytes = stride * size_of::<T>();
    bytes >= 4096 - 256 && !(256..=4096 - 256).contains(&(bytes % 4096))
}

/// Packs words `p..p + kc` of columns `j..j + nc` of B.
pub(super) struct PackB<'a, T> {
    pub(super) b: &'a Elements<'a, T>,
    pub(super) p: usize,
    pub(super) kc: usize,
    pub(super) j: usize,
    pub(super) nc: usize,
    pub(super) panel: usize,
    pub(super) packed: &'a mut [T],
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
        let turn = lanes > 1 && b.runs_along() && !b.runs_across();
        if turn {
            for (jr, packed) in (0..nc).step_by(panel).zip(packed.chunks_exact_mut(panel * kc)) {
                for v in (0..panel).step_by(lanes) {
                    let columns = (nc - jr).saturating_sub(v).min(lanes);
                    turn_columns(s, b, (p, kc), (j + jr + v, columns), panel, &mut packed[v..]);
                }
            }
            return;
        }
        // A way for each: what it is is asked once, not at each register.
        match *b {
            Elements::Words(words, _) if b.runs_across() => {
                let ahead = move |pr| ask(words, p + pr + AHEAD, (j, nc));
                // SAFETY: `count` words from (p + pr, j + jr) on lie inside B, as neighbours.
                let across =
                    move |pr, jr, count| unsafe { words_across(s, words, p + pr, j + jr, count) };
                pack_rows::<S, T>(packed, (kc, nc, panel), ahead, across);
            }
            Elements::Rounded(matrix, zeros) if b.runs_across() => {
                let ahead = move |pr| {
                    (0..2).for_each(|half| ask(matrix, 2 * (p + pr + AHEAD / 2) + half, (j, nc)));
                };
                let pairs = Elements::<T>::Rounded(matrix, zeros);
                pack_rows::<S, T>(
                    packed,
                    (kc, nc, panel),
                    ahead,
                    // Inline, or it may become a function without the instruction set.
                    // SAFETY: `count` words from (p + pr, j + jr) on lie inside B.
                    #[inline(always)]
                    |pr, jr, count| unsafe { pairs.across(s, p + pr, j + jr, count) },
                );
            }
            _ => pack_rows::<S, T>(
                packed,
                (kc, nc, panel),
                |_| (),
                // Likewise.
                // SAFETY: `count` words from (p + pr, j + jr) on lie inside B.
                #[inline(always)]
                |pr, jr, count| unsafe { b.across(s, p + pr, j + jr, count) },
            ),
        }
    }
}

/// Packs B row by row, so that what is read lies together: whole panels, then the last, which is filled up. `ahead` is called
/// before each row; `words` reads so many from a row and a column on.
#[inline(always)]
fn pack_rows<S: Simd, T: Float>(
    packed: &mut [T],
    (kc, nc, panel): (usize, usize, usize),
    ahead: impl Fn(usize),
    words: impl Fn(usize, usize, usize) -> T::V<S>,
) {
    let lanes = T::lanes::<S>();
    let whole = nc - nc % panel;
    for pr in 0..kc {
        ahead(pr);
        let mut place = pr * panel;
        for jr in (0..whole).step_by(panel) {
            for v in (0..panel).step_by(lanes) {
                write::<S, T>(packed, place + v, words(pr, jr + v, lanes));
            }
            place += panel * kc;
        }
        if whole < nc {
            for v in (0..panel).step_by(lanes) {
                let count = lanes.min((nc - whole).saturating_sub(v));
                write::<S, T>(packed, place + v, words(pr, whole + v, count));
            }
        }
    }
}

/// Asks memory for elements `j..j + nc` of a row.
#[inline(always)]
fn ask<E: Copy>(matrix: MatRef<'_, E>, row: usize, (j, nc): (usize, usize)) {
    let source = Source::new(matrix);
    (0..nc)
        .step_by((64 / size_of::<E>()).max(1))
        .for_each(|jr| prefetch::<_, true>(source.place(row, j + jr)));
}

/// Rows of B between the one that is packed and the one that is asked for: each may lie in a page of its own, whose address
/// takes hundreds of cycles to find. Benchmark `gemm`.
const AHEAD: usize = 16;

/// Packs one register's columns of B, whose words along k are neighbours: block by block, transposed in registers.
#[inline(always)]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "either reads the same words")]
fn turn_columns<S: Simd, T: Float>(
    s: S,
    b: &Elements<'_, T>,
    (p, kc): (usize, usize),
    (j, columns): (usize, usize),
    panel: usize,
    packed: &mut [T],
) {
    let lanes = T::lanes::<S>();
    let whole = if columns == lanes { kc - kc % lanes } else { 0 };
    // Its columns, as rows.
    let in_place = b.in_place().map(Source::transpose);
    for pr in (0..whole).step_by(lanes) {
        let mut block = [T::splat(s, T::ZERO); MOST_LANES];
        for (column, register) in block.iter_mut().enumerate().take(lanes) {
            // SAFETY: a register of words from (p + pr, j + column) on lies inside B.
            *register = unsafe {
                match in_place {
                    Some(columns) => columns.whole::<S>(j + column, p + pr),
                    None => b.along(s, p + pr, j + column, lanes),
                }
            };
        }
        let block = T::transpose(s, block);
        let packed = &mut packed[pr * panel..][..(lanes - 1) * panel + lanes];
        for (row, register) in block.iter().enumerate().take(lanes) {
            write::<S, T>(packed, row * panel, *register);
        }
    }
    for pr in (whole..kc).step_by(lanes) {
        let rows = lanes.min(kc - pr);
        let mut block = [T::splat(s, T::ZERO); MOST_LANES];
        for (column, register) in block.iter_mut().enumerate().take(columns) {
            // SAFETY: `rows` words from (p + pr, j + column) on lie inside B.
            *register = unsafe { b.along(s, p + pr, j + column, rows) };
        }
        let block = T::transpose(s, block);
        for (row, register) in block.into_iter().enumerate().take(rows) {
            write::<S, T>(packed, (pr + row) * panel, register);
        }
    }
}

/// Writes a whole register from `place` on.
#[inline(always)]
fn write<S: Simd, T: Float>(packed: &mut [T], place: usize, register: T::V<S>) {
    let (registers, _) = T::split_mut::<S>(&mut packed[place..][..T::lanes::<S>()]);
    registers[0] = register;
}

/// How the rows of A for one tile are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    InPlace,
    /// From a copy in which words along k are neighbours.
    Rows,
    /// From a copy in which the words of a column are neighbours.
    Columns,
}

impl Reading {
    pub(super) fn of<T: Float>(a: &Elements<'_, T>) -> Self {
        let shape = a.shape();
        let in_place = a.in_place().is_some();
        if a.runs_along() {
            if in_place && !collides::<T>(shape.col_stride) { Self::InPlace } else { Self::Rows }
        } else if a.runs_across() && in_place && !collides::<T>(shape.row_stride) {
            Self::InPlace
        } else {
            Self::Columns
        }
    }

    /// The copy of a tile, as its reader sees it.
    #[inline(always)]
    pub(super) fn source<S: Simd, T: Float>(self, copy: &[T], kc: usize) -> Source<T> {
        match self {
            Self::Rows => Source::packed(copy, 1, kc + GAP),
            Self::InPlace | Self::Columns => Source::packed(copy, column::<S>(), 1),
        }
    }
}

/// Copies words `p..p + kc` of rows `i..i + mr` of A, as `reading` says, to `copy`, which has [`tile_len`]`(kc)`.
pub(super) struct CopyA<'a, T> {
    pub(super) a: &'a Elements<'a, T>,
    pub(super) i: usize,
    pub(super) mr: usize,
    pub(super) p: usize,
    pub(super) kc: usize,
    pub(super) reading: Reading,
    pub(super) copy: &'a mut [T],
}

impl<T: Float> WithSimd for CopyA<'_, T> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "either reads the same words")]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { a, i, mr, p, kc, reading, copy } = self;
        let lanes = T::lanes::<S>();
        if reading == Reading::Rows {
            let in_place = a.in_place().map(Source::transpose);
            for (i, row) in (i..i + mr).zip(copy.chunks_exact_mut(kc + GAP)) {
                for pr in (0..kc).step_by(lanes) {
                    // A register may reach into the gap behind the row.
                    let count = lanes.min(kc - pr);
                    // SAFETY: the words lie inside the tile's kc words of row i; if they fill a register, they are neighbours.
                    let words = unsafe {
                        match in_place {
                            Some(rows) if count == lanes => rows.whole::<S>(i, p + pr),
                            _ => a.along(s, p + pr, i, count),
                        }
                    };
                    write::<S, T>(row, pr, words);
                }
            }
            return;
        }
        let width = a.shape().cols;
        for (p, column) in (p..p + kc).zip(copy.chunks_exact_mut(column::<S>())) {
            for v in (0..mr).step_by(lanes) {
                // Past the tile's rows is no harm, past A's is.
                let count = lanes.min(width - i - v);
                // SAFETY: the words lie inside A.
                write::<S, T>(column, v, unsafe { a.across(s, p, i + v, count) });
            }
        }
    }
}

/// Elements from one column of a tile that skips columns to the next: its rows, and the place of the column in the run of k.
pub(super) const fn sparse_column<S: Simd>() -> usize {
    (Shapes::of::<S>().rows(true) + 1).next_power_of_two()
}

/// Words that such a tile takes.
pub(super) const fn sparse_tile_len<S: Simd>(kc: usize) -> usize {
    (kc + GAP) * sparse_column::<S>()
}

/// Copies the columns of tiles of A that have a word other than 0, of words `p..p + kc`, to `copies`, `slot` words to a tile, which are
/// at least `kc` and a gap times [`sparse_column`]: column by column, the last word of each being its place in the run; behind the
/// last that there can be, their number.
///
/// What is left out adds 0 times an element of B to each sum.
pub(super) struct CopyNonzero<'a, T, E> {
    pub(super) a: &'a Elements<'a, T>,
    /// From and to.
    pub(super) tiles: (usize, usize),
    /// The first row of a tile.
    pub(super) edge: E,
    pub(super) p: usize,
    pub(super) kc: usize,
    pub(super) slot: usize,
    pub(super) copies: &'a mut [T],
}

impl<T: Float, E: Fn(usize) -> usize> WithSimd for CopyNonzero<'_, T, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { a, tiles: (t0, t1), edge, p, kc, slot, copies } = self;
        let (lanes, rows, width) =
            (T::lanes::<S>(), Shapes::of::<S>().rows(true), sparse_column::<S>());
        // As many tiles as a register has rows for are read at once.
        let together = (lanes / rows).max(1);
        for first in (t0..t1).step_by(together) {
            let last = t1.min(first + together);
            let (i0, i1) = (edge(first), edge(last));
            let across = a.runs_across() && i1 - i0 <= lanes;
            let mut kept = [0; MOST_LANES];
            for pr in (0..kc).step_by(lanes) {
                let words = lanes.min(kc - pr);
                let mut block = [T::splat(s, T::ZERO); MOST_LANES];
                if across {
                    for (r, register) in block.iter_mut().enumerate().take(words) {
                        // SAFETY: the words of these rows lie inside A.
                        *register = unsafe { a.across(s, p + pr + r, i0, i1 - i0) };
                    }
                } else {
                    for (row, register) in block.iter_mut().enumerate().take(i1 - i0) {
                        // SAFETY: so many words from (p + pr, i0 + row) on lie inside A.
                        *register = unsafe { a.along(s, p + pr, i0 + row, words) };
                    }
                }
                let block = bytemuck::cast_slice::<T::V<S>, T>(&block);
                for (tile, kept) in (first..last).zip(&mut kept) {
                    let (from, to) = (edge(tile) - i0, edge(tile + 1) - i0);
                    let copy = &mut copies[(tile - t0) * slot..][..slot];
                    let strides = if across { (1, lanes) } else { (lanes, 1) };
                    let tile = Gathered { block, strides, row: from, words, pr };
                    // The number of rows is known to the compiler for all but a few tiles.
                    *kept = if to - from == rows {
                        tile.keep(rows, width, *kept, copy)
                    } else {
                        tile.keep(to - from, width, *kept, copy)
                    };
                }
            }
            for (tile, kept) in (first..last).zip(kept) {
                copies[(tile - t0) * slot + kc * width] = T::from_word(kept as u32);
            }
        }
    }
}

/// Some columns of a tile of A, in a block that has been read.
struct Gathered<'a, T> {
    block: &'a [T],
    /// From row to row, and from column to column.
    strides: (usize, usize),
    /// The first row of the tile.
    row: usize,
    words: usize,
    /// The place of the first column.
    pr: usize,
}

impl<T: Float> Gathered<'_, T> {
    /// Adds those with a word other than 0 to the `kept` in `copy`; gives how many there are then.
    #[inline(always)]
    fn keep(&self, rows: usize, width: usize, mut kept: usize, copy: &mut [T]) -> usize {
        let (down, across) = self.strides;
        for r in 0..self.words {
            let column = &mut copy[kept * width..][..width];
            let mut any = 0;
            for (row, word) in column.iter_mut().enumerate().take(rows) {
                *word = self.block[(self.row + row) * down + r * across];
                any |= word.word();
            }
            column[width - 1] = T::from_word((self.pr + r) as u32);
            // Written anyway, and over again unless it counts: cheaper than a branch that nobody can foresee.
            kept += usize::from(any != 0);
        }
        kept
    }
}
