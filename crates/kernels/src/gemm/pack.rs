//! Packing: operands are copied into the order in which a tile reads them.
//!
//! ```text
//! B, kc x nc            packed: panels of `panel` columns, each kc rows long
//! . . . . | . . . . |   p=0: j0 j1 j2 j3   p=1: j0 j1 j2 j3   ...   then the next panel
//! . . . . | . . . . |   columns past nc are filled with 0
//! ```
//!
//! A is read where it stands if its elements along k, or those of a column, are neighbours, and if the distance to
//! the next row (column) is not one at which all of a tile's rows fall into the same few sets of a cache. Else its
//! rows for one tile are copied next to each other, as rows or as columns, whichever are neighbours.

use super::tile::Source;
use crate::Float;
use crate::simd::{Simd, WithSimd};

/// Elements from one k to the next in a copied tile of A, if columns are copied: 14 rows, rounded up to a full cache
/// line of f32.
const COLUMN: usize = 16;

/// Elements that a copied tile of A takes, for `kc` of k: as columns, or as rows that lie a cache line more than `kc`
/// apart, so that they do not fall into the same sets.
pub(super) const fn rows_len(kc: usize) -> usize {
    (kc + COLUMN) * COLUMN
}

/// Whether places this far apart share few sets of a cache: a first-level cache repeats its sets every 4 KiB.
fn collides<T>(stride: usize) -> bool {
    let bytes = stride * size_of::<T>();
    bytes >= 4096 - 256 && !(256..=4096 - 256).contains(&(bytes % 4096))
}

/// Packs `kc` x `nc` elements of B.
pub(super) struct PackB<'a, T> {
    pub(super) source: Source<T>,
    pub(super) kc: usize,
    pub(super) nc: usize,
    pub(super) panel: usize,
    pub(super) packed: &'a mut [T],
}

impl<T: Float> WithSimd for PackB<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { source, kc, nc, panel, packed } = self;
        if kc == 0 {
            return;
        }
        let lanes = T::lanes::<S>();
        for (j, packed) in (0..nc).step_by(panel).zip(packed.chunks_exact_mut(panel * kc)) {
            let nr = panel.min(nc - j);
            if source.col_stride == 1 {
                for (p, row) in packed.chunks_exact_mut(panel).enumerate() {
                    for (v, lane) in (0..panel).step_by(lanes).zip(row.chunks_exact_mut(lanes)) {
                        let count = lanes.min(nr.saturating_sub(v));
                        // SAFETY: `count` elements from (p, j + v) on lie inside B.
                        T::store(s, lane, unsafe { source.row(s, p, j + v, count) });
                    }
                }
            } else {
                // k runs in strips, so that what is read of each column and what is written stay in the cache.
                for p0 in (0..kc).step_by(16) {
                    for c in 0..panel {
                        for p in p0..kc.min(p0 + 16) {
                            packed[p * panel + c] = if c < nr {
                                // SAFETY: c < nr, so (p, j + c) lies inside B.
                                unsafe { source.get(p, j + c) }
                            } else {
                                T::ZERO
                            };
                        }
                    }
                }
            }
        }
    }
}

/// `mr` rows of A for one tile: where they stand, or copied into `copy`, which has [`rows_len`]`(kc)` elements.
#[inline(always)]
pub(super) fn rows<S: Simd, T: Float>(
    s: S,
    source: Source<T>,
    mr: usize,
    kc: usize,
    copy: &mut [T],
) -> Source<T> {
    let Source { row_stride, col_stride, .. } = source;
    if col_stride == 1 {
        if !collides::<T>(row_stride) {
            return source;
        }
        let stride = kc + COLUMN;
        for (i, row) in copy.chunks_exact_mut(stride).take(mr).enumerate() {
            copy_row(s, source.offset(i, 0), &mut row[..kc]);
        }
        return Source::packed(copy, stride, 1);
    }
    if row_stride == 1 {
        if !collides::<T>(col_stride) {
            return source;
        }
        for (p, column) in copy.chunks_exact_mut(COLUMN).take(kc).enumerate() {
            copy_row(s, source.offset(0, p).transpose(), &mut column[..mr]);
        }
    } else {
        for (p, column) in copy.chunks_exact_mut(COLUMN).take(kc).enumerate() {
            for (i, place) in column[..mr].iter_mut().enumerate() {
                // SAFETY: (i, p) lies inside the mr x kc elements of A.
                *place = unsafe { source.get(i, p) };
            }
        }
    }
    Source::packed(copy, 1, COLUMN)
}

/// Copies the first elements of the first row of `source`, which are neighbours, to `row`.
#[inline(always)]
fn copy_row<S: Simd, T: Float>(s: S, source: Source<T>, row: &mut [T]) {
    let lanes = T::lanes::<S>();
    for (v, place) in row.chunks_mut(lanes).enumerate() {
        // SAFETY: the caller gives a row that is inside the source, and `place` is a part of it.
        T::store(s, place, unsafe { source.row(s, 0, v * lanes, place.len()) });
    }
}
