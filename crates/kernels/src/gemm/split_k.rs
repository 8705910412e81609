//! Split-K: a long product with a small C shares the summation blocks of k among the threads.
//!
//! ```text
//! for each group of summation blocks, ascending:
//!   p_b = the chain of terms of block b               -- in parallel, some blocks per task
//!   for each block b of the group, ascending:
//!     r = fma(alpha, p_b, r)                          -- `finish`, as for every product
//!   after the last block:  bias, activation
//! ```
//!
//! These are the operations of a product that is not split, in the same order: splitting changes no
//! bit, so it may depend on C's shape and on the number of threads. Called by `spread`.

use super::block::{Block, Partials, Product, task_len};
use super::target::{Stored, Target};
use super::terms::Terms;
use super::{Run, most_lanes};
use crate::simd::Lanes;
use crate::{Cpu, Float};

/// Largest C that is split, in elements. The register tiles of a larger C are work enough for the
/// threads that a training step keeps busy.
const MAX_C: usize = 4096;

/// Shortest k that is split, in summation blocks.
const MIN_BLOCKS: usize = 16;

/// Summation blocks per task: with the smallest C of a common network, 25 x 6 elements of f32, they
/// are twice the work that is worth a task.
const TASK_BLOCKS: usize = 4;

/// Number of tasks that `product` is split into on `threads` threads; 1 if it is not split.
pub(super) fn tasks<K: Terms, O: Copy>(
    product: &Product<'_, K, O>,
    threads: usize,
    scratch: usize,
) -> usize {
    let (rows, cols, depth) = product.shape();
    if threads < 2 || rows * cols > MAX_C || depth < MIN_BLOCKS * <K::Sum as Lanes>::KB {
        return 1;
    }
    let task =
        task_len::<K::Sum>(rows.max(cols), depth) + TASK_BLOCKS * partial_len::<K::Sum>(rows, cols);
    threads.min(scratch / task).max(1)
}

/// Scratch for the partial sums of a task, in elements. It grows with C until C is too large to
/// split, and stays there: the scratch of a batch then suffices for a part of it.
pub(super) const fn partials_len<T: Float>(rows: usize, cols: usize, depth: usize) -> usize {
    if depth < MIN_BLOCKS * T::KB { 0 } else { TASK_BLOCKS * partial_len::<T>(rows, cols) }
}

/// Elements of the partial sums of a summation block: those of C and the column sums of B, and a
/// register more, since rows are read in whole registers. C may have no rows and column sums
/// nevertheless.
const fn partial_len<T: Float>(rows: usize, cols: usize) -> usize {
    let (long, short) = if rows > cols { (rows, cols) } else { (cols, rows) };
    let c = long.saturating_mul(if short == 0 { 1 } else { short });
    let c = if c < MAX_C { c } else { MAX_C };
    let column_sums = if long < MAX_C { long } else { MAX_C };
    c + column_sums + most_lanes::<T>()
}

/// Computes `product` in groups of `tasks` tasks, with scratch for each of them.
pub(super) fn split<K: Terms, O: Stored<K::Sum>>(
    cpu: Cpu<'_>,
    product: &Product<'_, K, O>,
    runs: Run<K, O>,
    tasks: usize,
    scratch: &mut [K::Sum],
) {
    let (rows, cols, depth) = product.shape();
    let (rows, cols, kb) = ((0, rows), (0, cols), <K::Sum as Lanes>::KB);
    let len = partial_len::<K::Sum>(rows.1, cols.1);
    let task_len = task_len::<K::Sum>(rows.1.max(cols.1), depth);
    let (partials, scratch) = scratch.split_at_mut(tasks * TASK_BLOCKS * len);

    let blocks = depth.div_ceil(kb);
    for start in (0..blocks).step_by(tasks * TASK_BLOCKS) {
        let group = (blocks - start).min(tasks * TASK_BLOCKS);
        let partials = &mut partials[..group * len];
        let mut left = &mut *partials;
        let items = scratch.chunks_exact_mut(task_len).take(tasks).enumerate().map_while(
            |(task, scratch)| {
                let own = start + group * task / tasks..start + group * (task + 1) / tasks;
                let partials = left.split_off_mut(..own.len() * len)?;
                Some((own, partials, scratch))
            },
        );
        cpu.for_each_item(items, |(own, partials, scratch)| {
            for (block, sums) in own.zip(partials.chunks_exact_mut(len)) {
                let words = (block * kb, depth.min((block + 1) * kb));
                let product = product.partial(words, sums);
                (runs.sums)(
                    cpu.isa,
                    Block { product: &product, rows, cols, partials: None, scratch },
                );
            }
        });
        let partials = Some(Partials { from: start * kb, sums: partials, len });
        (runs.c)(cpu.isa, Block { product, rows, cols, partials, scratch: &mut [] });
    }
}

impl<'a, K: Terms, O: Stored<K::Sum>> Product<'a, K, O> {
    /// The product of one summation block, `words` of k, stored to `sums` without an epilogue.
    fn partial<'s>(&self, words: (usize, usize), sums: &'s mut [K::Sum]) -> Product<'s, K, K::Sum>
    where
        'a: 's,
    {
        let (rows, cols, _) = self.shape();
        let (c, column_sums) = sums.split_at_mut(rows * cols);
        let c = Target::rows(c, cols);
        Product {
            words,
            column_sums: self.column_sums.map(|_| Target::row(column_sums)),
            ..Product::bare(K::Sum::ONE, [self.a, self.b], None, c, c)
        }
    }
}
