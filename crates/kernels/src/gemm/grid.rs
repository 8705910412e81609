//! How a product is cut into tasks, one block of rows and columns of C each. No bit depends on the cut.

use super::MAX_LANES;

/// A task is worth another thread from this many multiply-adds on: one or two microseconds of one core, what it takes to hand
/// the task to a thread that is awake.
/// Benchmark `gemm`.
const TASK_WORK: usize = 1 << 17;

/// How C is cut into tasks: `down` x `across` blocks of whole tiles and panels.
pub(super) struct Grid {
    rows: usize,
    cols: usize,
    down: usize,
    across: usize,
}

/// Columns are dealt out in units of this many.
const PANEL: usize = 2 * MAX_LANES;
/// Rows are dealt out in units of this many: half a tile, so that no task gets a sliver.
const STRIP: usize = 8;

impl Grid {
    /// The cut into at most `threads` blocks whose largest is the smallest; among equals the one with the fewest rows of blocks, since
    /// each of those packs B again.
    pub(super) fn new(threads: usize, (rows, cols): (usize, usize), k: usize) -> Self {
        let (strips, panels) = (rows.div_ceil(STRIP), cols.div_ceil(PANEL));
        let work = rows.saturating_mul(cols).saturating_mul(k);
        let most = threads.min(work / TASK_WORK).max(1);
        let (mut best, mut least) = ((1, 1), usize::MAX);
        for down in 1..=most.min(strips) {
            let across = (most / down).min(panels);
            let largest = strips.div_ceil(down) * panels.div_ceil(across);
            if largest < least {
                (best, least) = ((down, across), largest);
            }
        }
        Self { rows, cols, down: best.0, across: best.1 }
    }

    pub(super) fn tasks(&self) -> usize {
        self.down * self.across
    }

    /// Rows and columns of block `task`, each as (start, end).
    pub(super) fn block(&self, task: usize) -> ((usize, usize), (usize, usize)) {
        let cut = |len: usize, unit: usize, parts: usize, part: usize| {
            let units = len.div_ceil(unit);
            let edge = |part: usize| (units * part / parts * unit).min(len);
            (edge(part), edge(part + 1))
        };
        (
            cut(self.rows, STRIP, self.down, task / self.across),
            cut(self.cols, PANEL, self.across, task % self.across),
        )
    }
}
