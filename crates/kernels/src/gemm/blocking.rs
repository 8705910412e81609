//! Block sizes of the five loops, and the register tiles that are compiled.
//!
//! The summation block KB is part of the bit contract: [`Lanes::KB`](crate::simd::Lanes::KB). No
//! bit depends on any other size.

use crate::simd::Simd;

/// NC: columns of B that are packed at a time. 512 x 256 f32 are 512 KiB, half of an L2 of 1 MiB.
/// Benchmark `gemm`.
pub(super) const NC: usize = 256;

/// MC: rows of A whose packed panels are reused for more columns of B than [`NC`]. 1024 x 512 f32
/// are 2 MiB of a last-level cache, read once per [`NC`] columns. Benchmark `gemm`.
pub(super) const MC: usize = 1024;

/// Tiles of a sparse operand per pass over B. With three rows each, their panels fit L2 next to
/// B's.
pub(super) const SPARSE_TILES: usize = 32;

/// NR of the wide microkernel, in registers of B.
pub(super) const WIDE: usize = 8;

/// MR of the microkernel of a sparse operand, where the wide microkernel has as many rows.
const SPARSE_ROWS: usize = 3;

/// Bytes per cache line. Packed panels begin on a line.
pub(super) const LINE: usize = 64;

/// Widest register that is compiled in, in f32 lanes.
pub(super) const MAX_LANES: usize = if cfg!(target_arch = "x86_64") {
    16
} else if cfg!(target_arch = "aarch64") {
    4
} else {
    1
};

/// Widest register that is compiled in, in lanes of `T`.
pub(super) const fn max_lanes<T>() -> usize {
    (MAX_LANES * size_of::<f32>()).div_ceil(size_of::<T>())
}

/// Elements of `T` per cache line, at least 1.
pub(super) const fn line_len<T>() -> usize {
    let len = LINE / size_of::<T>();
    if len > 0 { len } else { 1 }
}

/// `true` if B is read unpacked by `tiles` tiles: `kc` rows, `stride` elements apart.
///
/// That is where the rows fit half of L2, or too few tiles would reuse a packed copy. Rows a
/// multiple of 4 KiB apart share few cache sets: they are packed unless they are few. A small tile
/// waits for B more often, so that fewer tiles pay for packing. Benchmark `gemm`.
pub(super) fn reads_b_unpacked<S: Simd, T>(
    stride: usize,
    kc: usize,
    tiles: usize,
    skips: bool,
) -> bool {
    let stride = stride * size_of::<T>();
    let few = if S::TILE_ROWS > 6 { 12 } else { 3 };
    kc * stride <= 512 << 10
        || ((tiles <= few || skips && S::WIDE_ROWS >= 3) && !stride.is_multiple_of(4096))
}

/// The microkernels that are compiled for an instruction set, and the choice among them.
///
/// `skips` means the microkernels of a sparse operand, which skip its zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct TileShapes {
    /// [`Simd::TILE_ROWS`].
    pub(super) tile_rows: usize,
    /// [`Simd::WIDE_ROWS`].
    pub(super) wide_rows: usize,
}

impl TileShapes {
    /// The shapes of instruction set `S`.
    pub(super) const fn of<S: Simd>() -> Self {
        Self { tile_rows: S::TILE_ROWS, wide_rows: S::WIDE_ROWS }
    }

    /// Largest MR of a microkernel with an NR of one or two registers.
    ///
    /// A sparse tile skips columns of A that are 0 in all of its rows: the fewer rows, the more
    /// columns. With one row or two, a tile would wait for B. Benchmark `gemm`.
    pub(super) const fn rows(self, skips: bool) -> usize {
        if skips && self.wide_rows >= SPARSE_ROWS { SPARSE_ROWS } else { self.tile_rows }
    }

    /// Largest MR of a microkernel with an NR of [`WIDE`] registers. A sparse operand uses it only
    /// where all of its tiles can be wide.
    const fn wide_rows(self, skips: bool) -> usize {
        if skips && self.wide_rows < SPARSE_ROWS { 0 } else { self.wide_rows }
    }

    /// `true` if there is a microkernel of `mr` rows and `nv` registers per row.
    pub(super) const fn has(self, mr: usize, nv: usize, skips: bool) -> bool {
        let most = match nv {
            1 | 2 => self.rows(skips),
            WIDE => self.wide_rows(skips),
            _ => 0,
        };
        0 < mr && mr <= most
    }

    /// Columns of a packed panel of B for a task of `width` columns, with registers of `lanes`.
    pub(super) const fn panel(self, lanes: usize, width: usize, skips: bool) -> usize {
        if width <= lanes {
            lanes
        } else if skips
            && self.wide_rows(skips) >= self.rows(skips)
            && width.is_multiple_of(WIDE * lanes)
        {
            WIDE * lanes
        } else {
            2 * lanes
        }
    }

    /// `panel`, one of the widths that [`panel`](Self::panel) returns, as a choice among constants:
    /// the compiler then unrolls loops over the registers of a panel.
    #[inline(always)]
    pub(super) const fn constant_panel(self, lanes: usize, panel: usize) -> usize {
        debug_assert!(panel == lanes || panel == 2 * lanes || panel == WIDE * lanes);
        if panel == lanes {
            lanes
        } else if self.wide_rows(true) < self.rows(true) || panel == 2 * lanes {
            2 * lanes
        } else {
            WIDE * lanes
        }
    }

    /// Columns of the tile of `rows` rows that begins at column `j` of `end`. Columns up to
    /// `unpacked` are read unpacked, in whole panels.
    #[inline(always)]
    pub(super) const fn columns(
        self,
        lanes: usize,
        rows: usize,
        skips: bool,
        panel: usize,
        (j, unpacked, end): (usize, usize, usize),
    ) -> usize {
        if rows <= self.wide_rows(skips) && j + WIDE * lanes <= unpacked {
            WIDE * lanes
        } else if end - j < panel {
            end - j
        } else {
            panel
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every tile that a block can be cut into has a microkernel, for any number of registers and
    /// lanes.
    #[test]
    fn every_tile_that_is_chosen_has_a_microkernel() {
        for (tile_rows, wide_rows) in [(4, 1), (6, 1), (14, 3)] {
            let shapes = TileShapes { tile_rows, wide_rows };
            for skips in [false, true] {
                for lanes in [1, 2, 4, 8, 16] {
                    for height in 1..=40 {
                        for width in 1..=300 {
                            check_block(shapes, skips, lanes, height, width);
                        }
                    }
                }
            }
        }
    }

    /// Cuts a block as the macrokernel does, with B packed by the product, packed beforehand
    /// (`2 * lanes` columns per panel), and unpacked.
    fn check_block(shapes: TileShapes, skips: bool, lanes: usize, height: usize, width: usize) {
        let tiles = height.div_ceil(shapes.rows(skips));
        let nc = width.min(NC);
        for panel in [shapes.panel(lanes, width, skips), 2 * lanes] {
            for unpacked in [0, nc - nc % panel] {
                for rows in [height / tiles, height.div_ceil(tiles)] {
                    let mut j = 0;
                    while j < nc {
                        let columns = shapes.columns(lanes, rows, skips, panel, (j, unpacked, nc));
                        let nv = columns.div_ceil(lanes);
                        assert!(
                            shapes.has(rows, nv, skips),
                            "{shapes:?} {skips} {lanes} {rows} x {nv}"
                        );
                        j += columns;
                    }
                }
            }
        }
    }
}
