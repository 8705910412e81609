//! Split-K: a long product with a small C shares the summation blocks of k among the threads.
//!
//! ```text
//! for each group of summation blocks, ascending:
//!   p_b = accumulators of block b                     -- in parallel, some blocks per task
//!   for each block b of the group, ascending:
//!     r = fma(alpha, p_b, r)                          -- `epilogue`, as for every product
//!   after the last block:  bias, activation
//! ```
//!
//! These are the operations of a product that is not split, in the same order: splitting changes no
//! bit, so it may depend on C's shape and on the number of threads. Called by `driver`.

use super::arithmetic::Arithmetic;
use super::blocking::max_lanes;
use super::macrokernel::{Partials, Task, task_len};
use super::output::OutputType;
use super::product::Product;
use super::shape::GemmShape;
use super::view::Target;
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
pub(super) fn tasks<K: Arithmetic, O: Copy>(
    product: &Product<'_, K, O>,
    threads: usize,
    scratch: usize,
) -> usize {
    let GemmShape { m, n, k } = product.shape();
    if threads < 2 || m * n > MAX_C || k < MIN_BLOCKS * <K::Acc as Lanes>::KB {
        return 1;
    }
    let task = task_len::<K::Acc>(m.max(n), k) + TASK_BLOCKS * partial_len::<K::Acc>(m, n);
    threads.min(scratch / task).max(1)
}

/// Scratch for the partial sums of a task, in elements. It grows with C until C is too large to
/// split, and stays there: the scratch of a batch then suffices for a part of it.
pub(super) const fn partials_len<T: Float>(shape: GemmShape) -> usize {
    let GemmShape { m, n, k } = shape;
    if k < MIN_BLOCKS * T::KB { 0 } else { TASK_BLOCKS * partial_len::<T>(m, n) }
}

/// Elements of the partial sums of a summation block: those of C and the column sums of B, and a
/// register more, since rows are read in whole registers. C may have no rows and column sums
/// nevertheless.
const fn partial_len<T: Float>(rows: usize, cols: usize) -> usize {
    let (long, short) = if rows > cols { (rows, cols) } else { (cols, rows) };
    let c = long.saturating_mul(if short == 0 { 1 } else { short });
    let c = if c < MAX_C { c } else { MAX_C };
    let column_sums = if long < MAX_C { long } else { MAX_C };
    c + column_sums + max_lanes::<T>()
}

/// Computes `product` in groups of `tasks` tasks, with scratch for each of them.
pub(super) fn split<K: Arithmetic, O: OutputType<K::Acc>>(
    cpu: Cpu<'_>,
    product: &Product<'_, K, O>,
    tasks: usize,
    scratch: &mut [K::Acc],
) {
    let GemmShape { m, n, k } = product.shape();
    let kb = <K::Acc as Lanes>::KB;
    let len = partial_len::<K::Acc>(m, n);
    let task_len = task_len::<K::Acc>(m.max(n), k);
    let (partials, scratch) = scratch.split_at_mut(tasks * TASK_BLOCKS * len);

    let blocks = k.div_ceil(kb);
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
                let k_range = (block * kb, k.min((block + 1) * kb));
                let product = product.summation_block(k_range, sums);
                // SAFETY: the ranges are those of the product, whose C this task alone has.
                K::run(cpu.isa, unsafe { Task::new(&product, (0, m), (0, n), scratch) });
            }
        });
        let partials = Partials { from: start * kb, sums: partials, len };
        // SAFETY: `for_each_item` has returned, so that no other task is running.
        K::run(cpu.isa, unsafe { Task::add(product, partials) });
    }
}

impl<'a, K: Arithmetic, O: OutputType<K::Acc>> Product<'a, K, O> {
    /// The product of one summation block, elements `k_range` of k, stored to `sums` without an
    /// epilogue.
    fn summation_block<'s>(
        &self,
        k_range: (usize, usize),
        sums: &'s mut [K::Acc],
    ) -> Product<'s, K, K::Acc>
    where
        'a: 's,
    {
        let GemmShape { m, n, .. } = self.shape();
        let (c, column_sums) = sums.split_at_mut(m * n);
        let c = Target::row_major(c, n);
        let column_sums = self.column_sums.map(|_| Target::row(column_sums));
        // SAFETY: the operands are those of a product. `c` has `m * n` elements, `column_sums` at
        // least `n`, by `partial_len`; both are borrowed from `sums`.
        let product = unsafe { Product::new(K::Acc::ONE, [self.a, self.b], None, c, c) };
        Product { k_range, column_sums, ..product }
    }
}
