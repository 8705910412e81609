//! Partition of C into tasks, one block of rows and columns each. No bit depends on it. Called by
//! `driver`.

use super::blocking::MAX_LANES;

/// Least multiply-adds of a task: one or two microseconds of one core, about what it takes to hand
/// a task to a thread that is awake.
/// Benchmark `gemm`.
const MIN_TASK_WORK: usize = 1 << 17;

/// Columns are assigned in units of this many.
const COL_UNIT: usize = 2 * MAX_LANES;

/// Rows are assigned in units of this many: half a tile, so that no task gets a very small one.
const ROW_UNIT: usize = 8;

/// `down` x `across` blocks of C.
pub(super) struct Grid {
    rows: usize,
    cols: usize,
    down: usize,
    across: usize,
}

impl Grid {
    /// The partition into at most `threads` blocks whose largest block is the smallest. Among
    /// equals, the one with the fewest rows of blocks, since each of them packs B again.
    pub(super) fn new(threads: usize, (rows, cols): (usize, usize), k: usize) -> Self {
        let (row_units, col_units) = (rows.div_ceil(ROW_UNIT), cols.div_ceil(COL_UNIT));
        let work = rows.saturating_mul(cols).saturating_mul(k);
        let most = threads.min(work / MIN_TASK_WORK).max(1);
        let (mut best, mut least) = ((1, 1), usize::MAX);
        for down in 1..=most.min(row_units) {
            let across = (most / down).min(col_units);
            let largest = row_units.div_ceil(down) * col_units.div_ceil(across);
            if largest < least {
                (best, least) = ((down, across), largest);
            }
        }
        Self { rows, cols, down: best.0, across: best.1 }
    }

    pub(super) fn tasks(&self) -> usize {
        self.down * self.across
    }

    /// Rows and columns of block `task`, each as (start, end). The blocks are disjoint.
    pub(super) fn block(&self, task: usize) -> ((usize, usize), (usize, usize)) {
        let part = |len: usize, unit: usize, parts: usize, part: usize| {
            let units = len.div_ceil(unit);
            let edge = |part: usize| (units * part / parts * unit).min(len);
            (edge(part), edge(part + 1))
        };
        (
            part(self.rows, ROW_UNIT, self.down, task / self.across),
            part(self.cols, COL_UNIT, self.across, task % self.across),
        )
    }
}
