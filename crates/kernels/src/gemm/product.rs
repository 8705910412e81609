//! A checked product: operands, C and the epilogue, as all tasks see them.
//!
//! Made by `driver` and `split_k`; read by the macrokernel.

use super::arithmetic::Arithmetic;
use super::epilogue::{BlockEpilogue, BlockPosition};
use super::operand::OperandView;
use super::shape::GemmShape;
use super::view::{Source, Target};
use crate::MatRef;
use crate::simd::Lanes;

/// C <- act(alpha A^T B + beta C + bias), where `a` is `[k, m]` and `b` is `[k, n]`.
pub(super) struct Product<'a, K: Arithmetic, O> {
    /// Elements of k that are multiplied, from and to: one summation block, or all.
    pub(super) k_range: (usize, usize),
    pub(super) alpha: K::Acc,
    pub(super) a: OperandView<'a, K::Acc>,
    pub(super) b: OperandView<'a, K::Acc>,
    /// `None`: C is not read.
    pub(super) beta: Option<K::Acc>,
    /// `[m, n]`; if transposed, `[n, m]`. So are all other operands of the epilogue.
    pub(super) c: Target<'a, O>,
    /// Storage of the accumulators between two summation blocks.
    pub(super) partial: Target<'a, K::Acc>,
    pub(super) bias: Option<MatRef<'a, K::Acc>>,
    /// The elements before the activation, saved for backward.
    pub(super) z: Option<Target<'a, O>>,
    pub(super) relu: bool,
    /// Output of the ReLU whose gradient is applied.
    pub(super) y: Option<MatRef<'a, O>>,
    /// C holds the transpose of the product.
    pub(super) transposed: bool,
    /// Receives alpha times the column sums of B, plus beta times its old values. Not if
    /// transposed.
    pub(super) column_sums: Option<Target<'a, K::Acc>>,
}

impl<'a, K: Arithmetic, O: Copy> Product<'a, K, O> {
    /// The product of these operands without bias, activation and further outputs.
    ///
    /// # Safety
    /// - `a` and `b` have the same depth.
    /// - C has at least the rows of `a`'s width and the columns of `b`'s width.
    /// - So does `partial`, unless k fits one summation block or C is empty.
    /// - Nothing but the tasks of this product accesses C and `partial` while they run.
    /// - Bias, `z`, `y` and the column sums, which the caller may add, have C's shape, too.
    pub(super) unsafe fn new(
        alpha: K::Acc,
        [a, b]: [OperandView<'a, K::Acc>; 2],
        beta: Option<K::Acc>,
        c: Target<'a, O>,
        partial: Target<'a, K::Acc>,
    ) -> Self {
        let depth = a.depth();
        debug_assert!(b.depth() == depth);
        debug_assert!(c.rows() >= a.width() && c.cols() >= b.width());
        debug_assert!(
            depth <= <K::Acc as Lanes>::KB
                || a.width() * b.width() == 0
                || partial.rows() >= a.width() && partial.cols() >= b.width()
        );
        Self {
            k_range: (0, depth),
            alpha,
            a,
            b,
            beta,
            c,
            partial,
            bias: None,
            z: None,
            relu: false,
            y: None,
            transposed: false,
            column_sums: None,
        }
    }

    /// Rows and columns of the tiles' C, and k in elements.
    pub(super) fn shape(&self) -> GemmShape {
        GemmShape { m: self.a.width(), n: self.b.width(), k: self.a.depth() }
    }

    /// The epilogue of a summation block.
    pub(super) fn epilogue(&self, block: BlockPosition) -> BlockEpilogue<'a, K::Acc, O> {
        BlockEpilogue {
            alpha: self.alpha,
            beta: self.beta,
            block,
            c: self.c,
            partial: self.partial,
            bias: self.bias.map(Source::new),
            z: self.z,
            relu: self.relu,
            y: self.y.map(Source::new),
            transposed: self.transposed,
            clears_negative_zero: self.a.is_sparse() || self.b.is_sparse(),
        }
    }

    /// The epilogue of B's column sums, stored to `sums`: alpha and beta alone.
    pub(super) fn column_epilogue(
        &self,
        sums: Target<'a, K::Acc>,
        block: BlockPosition,
    ) -> BlockEpilogue<'a, K::Acc, K::Acc> {
        BlockEpilogue {
            alpha: self.alpha,
            beta: self.beta,
            block,
            c: sums,
            partial: sums,
            bias: None,
            z: None,
            relu: false,
            y: None,
            transposed: false,
            clears_negative_zero: self.b.is_sparse(),
        }
    }

    /// The same product with C, and all other operands of the epilogue, transposed.
    pub(super) fn transpose_output(self) -> Self {
        Self {
            c: self.c.transpose(),
            partial: self.partial.transpose(),
            bias: self.bias.map(MatRef::transpose),
            z: self.z.map(Target::transpose),
            y: self.y.map(MatRef::transpose),
            transposed: !self.transposed,
            ..self
        }
    }

    /// The transposed product B^T A, with the same bits, since a * b = b * a.
    pub(super) fn swap_operands(self) -> Self {
        Self { a: self.b, b: self.a, transposed: !self.transposed, ..self }
    }
}
