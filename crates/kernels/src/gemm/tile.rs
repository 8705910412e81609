//! The tile: MR x NR sums, kept in registers while k runs past.
//!
//! ```text
//!              b[p]   b[p]           for p in 0..kc:
//!             +------+------+          NV registers of B's row p
//!   a[p,0] -> | acc  | acc  |          for each row i < MR:
//!   a[p,1] -> | acc  | acc  |            acc[i][..] += a[p,i] * b[p][..]     (fused)
//!     ...     |  ... |  ... |        then the sums are written once
//!  a[p,MR-1]->| acc  | acc  |
//!             +------+------+
//! ```
//!
//! With 32 registers MR is up to 14 and NV 2: 28 accumulators, two registers of B, one of A. With 16, MR is up to 6: 12, 2
//! and 1. Fourteen rows keep both FMA units busy (their latency needs eight chains) with 16 loads to 28 FMAs. Where C has
//! three rows or fewer, B is read once and nothing is used twice: then NV is 8, so that long runs of B's rows are read.
//!
//! This file, `operand`, `target` and `pack` are the islands where matrices are read and written through pointers: the views
//! have been checked by then, and a bounds check per element would cost more than the arithmetic. Benchmark `gemm`.

use super::operand::{Elements, Source};
use super::terms::Terms;
use crate::Float;
use crate::simd::{Lanes, MOST_LANES, Simd, WithSimd, prefetch};

/// Registers of B in a row of a wide tile.
pub(super) const WIDE: usize = 8;
/// Rows of a tile that leaves out columns of a sparse operand, where there are wide tiles of as many rows.
const SPARSE_ROWS: usize = 3;
/// Registers that the sums of any tile take.
pub(super) const SUMS: usize = 28;
/// Rows of a tile that reads words as it finds them.
pub(super) const LOOSE_ROWS: usize = 4;

/// The register tiles that are compiled for an instruction set, and the choice among them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shapes {
    /// [`Simd::TILE_ROWS`].
    pub(super) tile_rows: usize,
    /// [`Simd::WIDE_ROWS`].
    pub(super) wide_rows: usize,
}

impl Shapes {
    /// The shapes of instruction set `S`.
    pub(super) const fn of<S: Simd>() -> Self {
        Self { tile_rows: S::TILE_ROWS, wide_rows: S::WIDE_ROWS }
    }

    /// The most rows of a tile with one or two registers to a row; `skips`: of a sparse operand.
    ///
    /// A sparse tile leaves out columns of A that are 0 in all of its rows: the fewer rows, the more columns. With one row or
    /// two, a tile would wait for B. Benchmark `gemm`.
    pub(super) const fn rows(self, skips: bool) -> usize {
        if skips && self.wide_rows >= SPARSE_ROWS { SPARSE_ROWS } else { self.tile_rows }
    }

    /// The most rows of a tile with [`WIDE`] registers to a row. A sparse operand has such tiles only where all of its tiles
    /// can be wide.
    pub(super) const fn wide_rows(self, skips: bool) -> usize {
        if skips && self.wide_rows < SPARSE_ROWS { 0 } else { self.wide_rows }
    }

    /// `true` if there is a tile of `mr` rows and `nv` registers to a row.
    pub(super) const fn has(self, mr: usize, nv: usize, skips: bool) -> bool {
        let most = match nv {
            1 | 2 => self.rows(skips),
            WIDE => self.wide_rows(skips),
            _ => 0,
        };
        0 < mr && mr <= most
    }

    /// Columns of a packed panel of B, where a task has `width` columns and a register `lanes`.
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

    /// Columns of the tile of `rows` rows that begins with column `j` of `end`; whole panels up to column `whole` are read
    /// unpacked.
    #[inline(always)]
    pub(super) const fn columns(
        self,
        lanes: usize,
        rows: usize,
        skips: bool,
        panel: usize,
        (j, whole, end): (usize, usize, usize),
    ) -> usize {
        if rows <= self.wide_rows(skips) && j + WIDE * lanes <= whole {
            WIDE * lanes
        } else if end - j < panel {
            end - j
        } else {
            panel
        }
    }
}

/// The operands of one tile: `kc` words of `mr` columns of a, and of `nv` registers of b.
pub(super) struct Tile<T> {
    pub(super) a: Source<T>,
    pub(super) b: Source<T>,
    pub(super) kc: usize,
    /// Whether the columns of a stand for rows of b that their last word says, and not for `kc` in order.
    pub(super) skips: bool,
    /// Where the sums go: rows `stride` apart.
    pub(super) sums: *mut T,
    pub(super) stride: usize,
    /// A place to ask for with each row of b, as far apart as those.
    pub(super) ahead: *const T,
}

impl<T: Float> Tile<T> {
    /// Computes `mr` x `nv` registers of accumulators: a shape that [`Shapes::has`], which all that [`Shapes`] chooses are.
    ///
    /// # Safety
    /// `a` holds `kc` x `mr` words, `b` `kc` rows of `nv` whole registers, `sums` `mr` such rows, which
    /// are the caller's to write. If it skips, `a` is what [`CopyNonzero`](super::pack::CopyNonzero) leaves, and `b` has the
    /// rows that the columns of `a` name.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd, K: Terms<Sum = T>>(self, s: S, mr: usize, nv: usize) {
        // Only the tiles that `Shapes` names are compiled.
        macro_rules! tile {
            ($rows:literal, $registers:expr, $skips:literal) => {
                if const { Shapes::of::<S>().has($rows, $registers, $skips) } {
                    apart(s, Chains::<K, $rows, { $registers }, $skips>(self));
                } else {
                    debug_assert!(false, "no tile of {mr} rows and {nv} registers");
                }
            };
        }
        macro_rules! run {
            ($skips:literal: $($rows:literal)*, wide: $($wide:literal)*) => {
                match (mr, nv) {
                    $(
                        ($rows, 1) => tile!($rows, 1, $skips),
                        ($rows, 2) => tile!($rows, 2, $skips),
                    )*
                    $(($wide, WIDE) => tile!($wide, WIDE, $skips),)*
                    _ => debug_assert!(false, "no tile of {mr} rows and {nv} registers"),
                }
            };
        }
        if K::SKIPS && self.skips {
            run!(true: 1 2 3 4 5 6, wide: 1 2 3);
        } else {
            run!(false: 1 2 3 4 5 6 7 8 9 10 11 12 13 14, wide: 1 2 3);
        }
    }
}

/// Runs a tile in a function of its own. Inlined into the loops around it, its registers would be shared with what
/// the optimiser hoists out of them, and accumulators would be spilled.
#[inline(never)]
pub(super) fn apart<S: Simd, Op: WithSimd>(s: S, op: Op) -> Op::Output {
    s.vectorize(op)
}

/// A tile of exactly `MR` rows and `NV` registers, which goes by the rows of b that the columns of a name if it `SKIPS` others. Made
/// by [`Tile::run`] alone, whose safety conditions it relies on.
struct Chains<K: Terms, const MR: usize, const NV: usize, const SKIPS: bool>(Tile<K::Sum>);

impl<K: Terms, const MR: usize, const NV: usize, const SKIPS: bool> WithSimd
    for Chains<K, MR, NV, SKIPS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Tile { a, b, kc, sums, stride, ahead, .. } = self.0;
        let lanes = <K::Sum as Lanes>::lanes::<S>();
        let zero = <K::Sum as Lanes>::splat(s, <K::Sum as Float>::ZERO);
        let mut acc = [[zero; NV]; MR];
        for p in 0..kc {
            // With one register to a row, loads are what a tile waits for.
            if NV > 1 && !SKIPS {
                prefetch::<_, false>(ahead.wrapping_add(p * b.row_stride));
            }
            let at = if SKIPS {
                // SAFETY: a has kc columns, the last word of each being the number of a row.
                unsafe { a.get(p, a.row_stride - 1) }.word() as usize
            } else {
                p
            };
            let mut row = [zero; NV];
            for (v, register) in row.iter_mut().enumerate() {
                // SAFETY: b has kc rows of NV registers, or those that the columns of a name.
                *register = unsafe { b.whole::<S>(at, v * lanes) };
            }
            for (i, acc) in acc.iter_mut().enumerate() {
                // SAFETY: a has kc rows and MR columns.
                let a = <K::Sum as Lanes>::splat(s, unsafe { a.get(p, i) });
                for (acc, b) in acc.iter_mut().zip(row) {
                    *acc = K::mul_add(s, a, b, *acc);
                }
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            for (v, &acc) in acc.iter().enumerate() {
                let place =
                    sums.wrapping_add(i * stride + v * lanes).cast::<<K::Sum as Lanes>::V<S>>();
                // What is left out may have been +0, which takes the sign of a sum of -0.
                let acc = if SKIPS { <K::Sum as Lanes>::add(s, acc, zero) } else { acc };
                // SAFETY: `sums` has MR rows of NV registers, and is ours.
                unsafe { place.write_unaligned(acc) };
            }
        }
    }
}

/// A tile of `MR` rows and one register that turns B on the way, whose words along k are neighbours: for few rows, where a
/// turned copy would be read once or twice. The chains of one block wait for one another while the next block is turned.
pub(super) struct Turning<'a, K: Terms, const MR: usize> {
    /// Both from the tile's first word on.
    pub(super) a: Source<K::Sum>,
    pub(super) b: &'a Elements<'a, K::Sum>,
    pub(super) cols: (usize, usize),
    pub(super) words: (usize, usize),
    /// Gets a register for each row.
    pub(super) sums: *mut K::Sum,
}

impl<K: Terms, const MR: usize> WithSimd for Turning<'_, K, MR> {
    type Output = ();

    /// Made by `block` alone, which keeps `cols` and `words` inside the factors and lends `sums`.
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { a, b, cols: (j0, j1), words: (p0, p1), sums } = self;
        let lanes = <K::Sum as Lanes>::lanes::<S>();
        let zero = <K::Sum as Lanes>::splat(s, <K::Sum as Float>::ZERO);
        let mut acc = [zero; MR];
        let columns = j1 - j0;
        let in_place = b.in_place().map(Source::transpose).filter(|_| columns == lanes);
        for p in (p0..p1).step_by(lanes) {
            let words = lanes.min(p1 - p);
            match in_place {
                Some(columns) if words == lanes => {
                    let mut block = [zero; MOST_LANES];
                    for (column, register) in block.iter_mut().enumerate().take(lanes) {
                        // SAFETY: a register of words from (p, j0 + column) on lies inside b.
                        *register = unsafe { columns.whole::<S>(j0 + column, p) };
                    }
                    let block = <K::Sum as Lanes>::transpose(s, block);
                    for (r, row) in block.iter().enumerate().take(lanes) {
                        for (i, acc) in acc.iter_mut().enumerate() {
                            // SAFETY: a holds word p + r of MR columns.
                            let a = <K::Sum as Lanes>::splat(s, unsafe { a.get(p + r, i) });
                            *acc = K::mul_add(s, a, *row, *acc);
                        }
                    }
                }
                _ => {
                    let mut block = [zero; MOST_LANES];
                    for (column, register) in block.iter_mut().enumerate().take(columns) {
                        // SAFETY: so many words from (p, j0 + column) on lie inside b.
                        *register = unsafe { b.along(s, p, j0 + column, words) };
                    }
                    let block = <K::Sum as Lanes>::transpose(s, block);
                    for (r, row) in block.iter().enumerate().take(words) {
                        for (i, acc) in acc.iter_mut().enumerate() {
                            // SAFETY: likewise.
                            let a = <K::Sum as Lanes>::splat(s, unsafe { a.get(p + r, i) });
                            *acc = K::mul_add(s, a, *row, *acc);
                        }
                    }
                }
            }
        }
        for (row, acc) in acc.iter().enumerate() {
            let place = sums.wrapping_add(row * lanes).cast::<<K::Sum as Lanes>::V<S>>();
            // SAFETY: `sums` has a register for each row, and is ours.
            unsafe { place.write_unaligned(*acc) };
        }
    }
}

/// A tile of up to [`LOOSE_ROWS`] rows and one register that reads words as it finds them: for a caller without scratch,
/// where there is no room for a packed copy.
pub(super) struct Loose<'a, K: Terms> {
    /// Both from the tile's first word on.
    pub(super) a: &'a Elements<'a, K::Sum>,
    pub(super) b: &'a Elements<'a, K::Sum>,
    pub(super) rows: (usize, usize),
    pub(super) cols: (usize, usize),
    pub(super) words: (usize, usize),
    pub(super) sums: *mut K::Sum,
    pub(super) stride: usize,
}

impl<K: Terms> WithSimd for Loose<'_, K> {
    type Output = ();

    /// Made by `block` alone, which keeps `rows`, `cols` and `words` inside the factors and lends `sums`.
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { a, b, rows: (i0, i1), cols: (j0, j1), words: (p0, p1), sums, stride } = self;
        let mut acc = [<K::Sum as Lanes>::splat(s, <K::Sum as Float>::ZERO); LOOSE_ROWS];
        for p in p0..p1 {
            // SAFETY: the words lie inside b.
            let row = unsafe { b.across(s, p, j0, j1 - j0) };
            for (acc, i) in acc.iter_mut().zip(i0..i1) {
                // SAFETY: the word lies inside a.
                let a = <K::Sum as Lanes>::splat(s, unsafe { a.word(p, i) });
                *acc = K::mul_add(s, a, row, *acc);
            }
        }
        for (row, acc) in acc.iter().take(i1 - i0).enumerate() {
            let place = sums.wrapping_add(row * stride).cast::<<K::Sum as Lanes>::V<S>>();
            // SAFETY: `sums` has a register for each row, and is ours.
            unsafe { place.write_unaligned(*acc) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every tile that a block can be cut into exists, whatever the instruction set has registers and lanes for.
    #[test]
    fn every_tile_that_is_chosen_exists() {
        for (tile_rows, wide_rows) in [(4, 1), (6, 1), (14, 3)] {
            let shapes = Shapes { tile_rows, wide_rows };
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

    /// Cuts a block as `block` does, with B packed here, packed before (`2 * lanes` columns to a panel) and unpacked.
    fn check_block(shapes: Shapes, skips: bool, lanes: usize, height: usize, width: usize) {
        let tiles = height.div_ceil(shapes.rows(skips));
        let nc = width.min(super::super::block::NC);
        for panel in [shapes.panel(lanes, width, skips), 2 * lanes] {
            for whole in [0, nc - nc % panel] {
                for rows in [height / tiles, height.div_ceil(tiles)] {
                    let mut j = 0;
                    while j < nc {
                        let columns = shapes.columns(lanes, rows, skips, panel, (j, whole, nc));
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
