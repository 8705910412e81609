//! Packing: operands are copied into the order in which a tile reads them.
//!
//! ```text
//! B, kc x nc            packed: panels of `panel` columns, each kc rows long
//! . . . . | . . . . |   p=0: j0 j1 j2 j3   p=1: j0 j1 j2 j3   ...   then the next panel
//! . . . . | . . . . |   columns past nc are filled with 0
//! ```
//!
//! A is read where it stands when its elements along k, or those of a column, are neighbours. Else it is packed, one
//! tile's rows at a time: [`ROWS_STRIDE`] elements for each k.

use super::tile::Source;
use crate::Float;
use crate::simd::{Simd, WithSimd};

/// Elements from one k to the next in a packed tile of A: 14 rows, rounded up to a full cache line of f32.
pub(super) const ROWS_STRIDE: usize = 16;

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

/// `mr` rows of A for one tile: where they stand if k runs through neighbours, else packed into `packed`.
#[inline(always)]
pub(super) fn rows<T: Float>(source: Source<T>, mr: usize, kc: usize, packed: &mut [T]) -> Source<T> {
    if source.col_stride == 1 || source.row_stride == 1 {
        return source;
    }
    for (p, row) in packed.chunks_exact_mut(ROWS_STRIDE).take(kc).enumerate() {
        for (i, place) in row.iter_mut().take(mr).enumerate() {
            // SAFETY: (i, p) lies inside the mr x kc elements of A.
            *place = unsafe { source.get(i, p) };
        }
    }
    Source::packed(packed, 1, ROWS_STRIDE)
}
