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

use super::operand::{Elements, Source};
use crate::Float;
use crate::simd::{MOST_LANES, Simd, WithSimd, prefetch};

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
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "either reads the same words")]
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
        // Row by row, so that what is read lies together.
        let line = (64 / size_of::<T>()).max(1);
        let ahead = b.in_place().filter(|_| b.runs_across());
        for pr in 0..kc {
            if let Some(b) = ahead {
                (0..nc).step_by(line).for_each(|jr| prefetch::<_, true>(b.place(p + pr + AHEAD, j + jr)));
            }
            // Whole panels, then the last, which is filled up.
            let mut place = pr * panel;
            for jr in (0..nc - nc % panel).step_by(panel) {
                for v in (0..panel).step_by(lanes) {
                    // SAFETY: a register of words from (p + pr, j + jr + v) on lies inside B; where it stands, they are
                    // neighbours.
                    let words = unsafe {
                        match ahead {
                            Some(b) => b.whole::<S>(p + pr, j + jr + v),
                            None => b.across(s, p + pr, j + jr + v, lanes),
                        }
                    };
                    write::<S, T>(packed, place + v, words);
                }
                place += panel * kc;
            }
            if !nc.is_multiple_of(panel) {
                let jr = nc - nc % panel;
                for v in (0..panel).step_by(lanes) {
                    let count = lanes.min((nc - jr).saturating_sub(v));
                    // SAFETY: `count` words from (p + pr, j + jr + v) on lie inside B.
                    write::<S, T>(packed, place + v, unsafe { b.across(s, p + pr, j + jr + v, count) });
                }
            }
        }
    }
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

/// Copies the columns of a tile of A that have a word other than 0, of words `p..p + kc` of rows `i..i + mr`, to `copy`, which has
/// [`tile_len`]`(kc)`: as columns, the last word of each being its place in the run. Gives their number.
///
/// What is left out adds 0 times an element of B to each sum.
pub(super) struct CopyNonzero<'a, T> {
    pub(super) a: &'a Elements<'a, T>,
    pub(super) i: usize,
    pub(super) mr: usize,
    pub(super) p: usize,
    pub(super) kc: usize,
    pub(super) copy: &'a mut [T],
}

impl<T: Float> WithSimd for CopyNonzero<'_, T> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> usize {
        let Self { a, i, mr, p, kc, copy } = self;
        let (lanes, width) = (T::lanes::<S>(), column::<S>());
        let mut kept = 0;
        // Notes that the column behind those that are kept is that of word p + r, and keeps it if it is needed.
        let mut note = |copy: &mut [T], r: usize| {
            let column = &mut copy[kept * width..][..width];
            let any = column[..mr].iter().fold(false, |any, &word| any | (word != T::ZERO));
            column[width - 1] = T::from_word(r as u32);
            kept += usize::from(any);
            kept
        };
        let mut at = 0;
        if lanes > 1 && a.runs_along() && !a.runs_across() && mr <= 2 * lanes {
            for pr in (0..kc).step_by(lanes) {
                let words = lanes.min(kc - pr);
                let mut blocks = [[T::splat(s, T::ZERO); MOST_LANES]; 2];
                for row in 0..mr {
                    // SAFETY: `words` words from (p + pr, i + row) on lie inside A.
                    blocks[row / lanes][row % lanes] = unsafe { a.along(s, p + pr, i + row, words) };
                }
                let [low, high] = blocks;
                let blocks = [T::transpose(s, low), if mr > lanes { T::transpose(s, high) } else { high }];
                for r in 0..words {
                    for (v, block) in blocks.iter().enumerate().take(mr.div_ceil(lanes)) {
                        write::<S, T>(copy, at * width + v * lanes, block[r]);
                    }
                    at = note(copy, pr + r);
                }
            }
            return at;
        }
        let cols = a.shape().cols;
        for r in 0..kc {
            for v in (0..mr).step_by(lanes) {
                // Past the tile's rows is no harm, past A's is.
                let count = lanes.min(cols - i - v);
                // SAFETY: the words lie inside A.
                write::<S, T>(copy, at * width + v, unsafe { a.across(s, p + r, i + v, count) });
            }
            at = note(copy, r);
        }
        at
    }
}
