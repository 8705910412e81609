//! A product of long sums and few elements: k is cut into slabs, so that threads have something to share, and so that rounding
//! errors grow with a slab and not with all of k.
//!
//! ```text
//! slabs of BLOCKS summation blocks, ascending:  t_s = the sums of slab s, as those of a product of its own
//! t = t_0 + t_1 + ...                           element by element, in ascending order
//! r = beta * c + t                              +0 + t when beta is 0
//! r + bias, activation                          as ever
//! ```
//!
//! The shape alone decides, never the number of threads: it is part of the bit contract. The gradient of a convolution's filters
//! is such a product: few weights, summed over all places of all images of a batch. Called by `multiply`.

use super::block::{Block, Product, task_len};
use super::operand::Elements;
use super::target::{Beside, Stored, Target};
use super::terms::Terms;
use super::{Run, spread};
use crate::simd::Lanes;
use crate::{Cpu, Error, Float, MatRef};

/// C has at most this many elements: with more, its blocks are work enough for the threads that a step of training keeps busy.
const FEW: usize = 4096;

/// Summation blocks to a slab: 4096 k of f32, 2048 of f64, 8192 of bf16. A slab of 25 x 6 sums of f32, the smallest of a
/// common network, is then work for five tasks of the usual size.
const BLOCKS: usize = 8;

/// Words of k in a slab, if a product of this shape, `depth` words deep, is cut into slabs.
pub(super) const fn slab<T: Lanes>(rows: usize, cols: usize, depth: usize) -> Option<usize> {
    let words = BLOCKS * T::KB;
    if rows.saturating_mul(cols) <= FEW && depth >= 2 * words { Some(words) } else { None }
}

/// Sums of one slab: those of C, and the column sums of B; at least those of one row, since column sums can be had without rows.
const fn sums_len(rows: usize, cols: usize) -> usize {
    let (rows, cols) = (if rows == 0 { 1 } else { rows }, if cols == 0 { 1 } else { cols });
    rows * cols + if rows > cols { rows } else { cols }
}

/// Scratch of one task, in words: what its product takes, its sums, and a share of their total. Where k is long, products too large
/// for slabs have room for them too, so that the scratch of a batch will do for a part of it.
pub(super) const fn slot_len<T: Float>(rows: usize, cols: usize, depth: usize) -> usize {
    let width = if rows > cols { rows } else { cols };
    let sums = match (slab::<T>(rows, cols, depth), slab::<T>(0, 0, depth)) {
        (Some(_), _) => 2 * sums_len(rows, cols),
        // No product of FEW elements or less has a longer side.
        (None, Some(_)) => 2 * sums_len(1, FEW),
        (None, None) => 0,
    };
    task_len::<T>(width, depth) + sums
}

/// Computes `product`, `words` of k at a time. The scratch has at least one slot.
pub(super) fn spread_slabs<K: Terms, O: Stored<K::Sum>>(
    cpu: Cpu<'_>,
    product: &Product<'_, K, O>,
    runs: Run<K, O>,
    words: usize,
    scratch: &mut [K::Sum],
) -> Result<(), Error> {
    let (rows, cols, depth) = (product.a.shape().cols, product.b.shape().cols, product.a.depth());
    if rows == 0 || cols == 0 {
        return Ok(());
    }
    let (task, len) = (task_len::<K::Sum>(rows.max(cols), depth), sums_len(rows, cols));
    let (total, slots) = scratch.split_at_mut(len);
    let count = (slots.len() / (task + len)).clamp(1, cpu.threads());
    let (parts, scratch) = slots.split_at_mut(count * len);

    let slabs = depth.div_ceil(words);
    for first in (0..slabs).step_by(count) {
        let group = (first..slabs.min(first + count))
            .zip(parts.chunks_exact_mut(len).zip(scratch.chunks_exact_mut(task)));
        cpu.for_each_item(group, |(slab, (sums, scratch))| {
            let product = product.slab((slab * words, depth.min((slab + 1) * words)), sums);
            (runs.sums)(cpu.isa, Block { product: &product, rows: (0, rows), cols: (0, cols), scratch });
        });
        for (slab, part) in (first..slabs).zip(parts.chunks_exact(len)) {
            if slab == 0 {
                total.copy_from_slice(part);
                continue;
            }
            for (total, part) in total.iter_mut().zip(part) {
                *total += *part;
            }
        }
    }

    let (sums, column_sums) = total.split_at(rows * cols);
    let (down, across) = product.rows_and_columns_of_c();
    product.add(cpu, runs.c, Beside::new(MatRef::row_major(sums, down, across)?));
    if let Some(target) = product.column_sums {
        let ones = [K::ONE];
        let ones = Elements::words(MatRef::strided(&ones, depth, 1, 0, 0)?);
        let sums = Product::<K, K::Sum>::bare(product.alpha, [ones, product.b], product.beta, target, target);
        sums.add(cpu, runs.sums, Beside::new(MatRef::row_major(column_sums, 1, cols)?));
    }
    Ok(())
}

impl<'a, K: Terms, O: Stored<K::Sum>> Product<'a, K, O> {
    /// The product of these words of k alone, into `sums`.
    fn slab<'s>(&self, words: (usize, usize), sums: &'s mut [K::Sum]) -> Product<'s, K, K::Sum>
    where
        'a: 's,
    {
        let (down, across) = self.rows_and_columns_of_c();
        let (sums, column_sums) = sums.split_at_mut(down * across);
        let c = Target::rows(sums, across);
        Product {
            words,
            turned: self.turned,
            column_sums: self.column_sums.map(|_| Target::row(column_sums)),
            ..Product::bare(self.alpha, [self.a, self.b], None, c, c)
        }
    }

    /// What is left to do when the products' sums are there, `t`.
    fn add(&self, cpu: Cpu<'_>, run: super::RunBlock<K, O>, t: Beside<'_, K::Sum>) {
        let &Self { alpha, a, b, beta, c, running, bias, keep, relu, gradient_at, turned, .. } = self;
        let none = Product { words: (0, 0), turned, ..Product::bare(alpha, [a, b], beta, c, running) };
        // One sum at a time is all that a pass over C adds.
        if bias.is_none() {
            let all = Product { bias: Some(t), keep, relu, gradient_at, ..none };
            return spread(cpu, &all, run, &mut []);
        }
        spread(cpu, &Product { bias: Some(t), ..none }, run, &mut []);
        let rest =
            Product { words: (0, 0), turned, ..Product::bare(alpha, [a, b], Some(K::Sum::ONE), c, running) };
        spread(cpu, &Product { bias, keep, relu, gradient_at, ..rest }, run, &mut []);
    }

    /// Of C as it is stored.
    fn rows_and_columns_of_c(&self) -> (usize, usize) {
        let (rows, cols) = (self.a.shape().cols, self.b.shape().cols);
        if self.turned { (cols, rows) } else { (rows, cols) }
    }
}
