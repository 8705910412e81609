//! Panels of an operand that was packed before the product.
//!
//! ```text
//! for each KB elements of k:  for each panel of two registers' columns:  kc rows of the panel
//! ```
//!
//! `packed` writes them, the macrokernel reads them as the B panels of its LOOP 3.

use super::chain::Exponents;
use crate::Float;
use crate::matrix::Shape;

/// The packed panels of an operand of `depth` elements along k and `width` columns, or of its
/// transpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panels<'a, T> {
    elements: &'a [T],
    depth: usize,
    /// Extent along k: `depth`, or for pairs up to twice that.
    k: usize,
    width: usize,
    panel: usize,
    transposed: bool,
    /// Of pairs of bf16.
    exponents: Exponents,
}

impl<'a, T: Float> Panels<'a, T> {
    /// `elements` that are packed in panels of `panel` columns.
    pub(super) fn new(
        elements: &'a [T],
        depth: usize,
        k: usize,
        width: usize,
        panel: usize,
        exponents: Exponents,
    ) -> Self {
        Self { elements, depth, k, width, panel, transposed: false, exponents }
    }

    /// Exponents of the pairs, [`Exponents::UNKNOWN`] of other elements.
    pub(super) fn exponents(&self) -> Exponents {
        self.exponents
    }

    pub(super) fn transpose(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    /// Shape of the operand before packing: `[k, width]` or its transpose. Its strides are
    /// `usize::MAX`, so that neither rows nor columns count as contiguous.
    pub(super) fn shape(&self) -> Shape {
        let (rows, cols) =
            if self.transposed { (self.width, self.k) } else { (self.k, self.width) };
        Shape { rows, cols, row_stride: usize::MAX, col_stride: usize::MAX }
    }

    /// Number of elements along k.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Columns of a panel.
    pub(super) fn panel(&self) -> usize {
        self.panel
    }

    /// Rows `p..p + kc` of the panel that begins at column `j`, and of the panels after it. A
    /// summation block begins at `p`.
    #[inline(always)]
    pub(super) fn block(&self, p: usize, kc: usize, j: usize) -> &'a [T] {
        &self.elements[p * self.width.next_multiple_of(self.panel) + j * kc..]
    }

    /// Element `(p, j)`.
    pub(super) fn get(&self, p: usize, j: usize) -> T {
        let start = p - p % T::KB;
        let block = self.block(start, T::KB.min(self.depth - start), j - j % self.panel);
        block[(p - start) * self.panel + j % self.panel]
    }
}
