//! Operands of a product: matrices in the form in which the caller has them.
//!
//! Both operands are seen as `[k, width]`, where the width runs along C's rows or columns: B is
//! such a matrix, and so is the transpose of A. The microkernel multiplies **elements**: an f32 or
//! f64 each, or a pair of bf16 that are neighbours in k. An operand in another form is converted
//! while it is packed; `load` has the conversions.

use half::bf16;

use super::arithmetic::Arithmetic;
use super::panels::Panels;
use super::view::Source;
use crate::matrix::Shape;
use crate::{Float, MatRef};

/// One operand of a matrix product.
///
/// ```
/// use kernels::gemm::Operand;
/// use kernels::MatRef;
/// // Two rows of three pixels, 0 to 255, as numbers from 0 to 1.
/// let pixels = MatRef::row_major(&[0, 51, 255, 255, 102, 0], 2, 3)?;
/// let pixels = Operand::bytes(pixels, 1.0_f32 / 255.0);
/// # let _ = pixels;
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a, T>(pub(super) OperandView<'a, T>);

impl<'a, T> Operand<'a, T> {
    /// Bytes, each times `scale`, rounded once.
    ///
    /// The product has the bits that it has for the converted matrix, which is never stored.
    pub const fn bytes(matrix: MatRef<'a, u8>, scale: T) -> Self {
        Self(OperandView::Bytes(matrix, scale))
    }

    /// Numbers of which most are 0, in runs along rows or columns, as in images.
    ///
    /// Where there is scratch, an f32 product skips some of the zeros; its time falls about as much
    /// as the number of terms. The product is that of the same dense matrix, to the bit, with two
    /// exceptions that make it independent of which zeros are skipped:
    ///
    /// - A NaN or an infinity of the other operand may count as 0 where this operand is 0.
    /// - An element of one summation block that would be -0 is +0.
    pub const fn sparse(matrix: MatRef<'a, T>) -> Self {
        Self(OperandView::Plain(matrix, Sparsity::Sparse))
    }
}

impl<'a, T> From<MatRef<'a, T>> for Operand<'a, T> {
    fn from(matrix: MatRef<'a, T>) -> Self {
        Self(OperandView::dense(matrix))
    }
}

/// One operand of a bf16 product: a matrix of bf16, one that is rounded to bf16, or a packed one.
#[derive(Clone, Copy, Debug)]
pub struct Bf16Operand<'a>(pub(super) OperandView<'a, f32>);

impl<'a> Bf16Operand<'a> {
    /// Numbers of f32, each rounded to bf16: to nearest, ties to even, a subnormal to a zero of its
    /// sign.
    ///
    /// The product has the bits that it has for the rounded matrix, which is never stored.
    pub const fn rounded(matrix: MatRef<'a, f32>) -> Self {
        Self(OperandView::Rounded(matrix, Sparsity::Dense))
    }

    /// [`rounded`](Self::rounded) numbers of which most are 0: pairs of zeros are skipped as by
    /// [`Operand::sparse`].
    pub const fn sparse(matrix: MatRef<'a, f32>) -> Self {
        Self(OperandView::Rounded(matrix, Sparsity::Sparse))
    }
}

impl<'a> From<MatRef<'a, bf16>> for Bf16Operand<'a> {
    fn from(matrix: MatRef<'a, bf16>) -> Self {
        Self(OperandView::Bf16(matrix))
    }
}

/// Share of an operand's elements that are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sparsity {
    Dense,
    /// With enough zeros that skipping them pays for finding them.
    Sparse,
}

/// An operand in its form in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OperandView<'a, T> {
    /// Elements that need no conversion.
    Plain(MatRef<'a, T>, Sparsity),
    /// Bytes to convert, and their scale.
    Bytes(MatRef<'a, u8>, T),
    /// Values of bf16 to pair along k. The pair at the end of an odd k has +0 as its odd value.
    Bf16(MatRef<'a, bf16>),
    /// Values of f32 to round to bf16, and to pair as [`Bf16`](Self::Bf16).
    Rounded(MatRef<'a, f32>, Sparsity),
    /// Elements that are packed already.
    Packed(Panels<'a, T>),
}

impl<'a, T> OperandView<'a, T> {
    /// A dense matrix of elements.
    pub(super) const fn dense(matrix: MatRef<'a, T>) -> Self {
        Self::Plain(matrix, Sparsity::Dense)
    }
}

impl<'a, T: Float> OperandView<'a, T> {
    /// A dense matrix, rounded to bf16 if `K` is the arithmetic of pairs.
    pub(super) fn of<K: Arithmetic<Acc = T>>(matrix: MatRef<'a, T>) -> Self {
        match K::to_round(matrix) {
            Some(matrix) => Self::Rounded(matrix, Sparsity::Dense),
            None => Self::dense(matrix),
        }
    }

    pub(super) fn transpose(self) -> Self {
        match self {
            Self::Plain(matrix, sparsity) => Self::Plain(matrix.transpose(), sparsity),
            Self::Bytes(matrix, scale) => Self::Bytes(matrix.transpose(), scale),
            Self::Bf16(matrix) => Self::Bf16(matrix.transpose()),
            Self::Rounded(matrix, sparsity) => Self::Rounded(matrix.transpose(), sparsity),
            Self::Packed(panels) => Self::Packed(panels.transpose()),
        }
    }

    /// Shape and strides of the matrix, before its values are paired.
    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Plain(matrix, _) => matrix.shape(),
            Self::Bytes(matrix, _) => matrix.shape(),
            Self::Bf16(matrix) => matrix.shape(),
            Self::Rounded(matrix, _) => matrix.shape(),
            Self::Packed(panels) => panels.shape(),
        }
    }

    /// Number of columns.
    pub(super) fn width(&self) -> usize {
        self.shape().cols
    }

    /// Number of elements along k.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::Plain(..) | Self::Bytes(..) => self.shape().rows,
            Self::Bf16(_) | Self::Rounded(..) => self.shape().rows.div_ceil(2),
            Self::Packed(panels) => panels.depth(),
        }
    }

    /// `true` if values are paired while they are packed.
    pub(super) fn has_pairs(&self) -> bool {
        matches!(self, Self::Bf16(_) | Self::Rounded(..))
    }

    /// `true` if zeros are skipped.
    pub(super) fn is_sparse(&self) -> bool {
        matches!(self, Self::Plain(_, Sparsity::Sparse) | Self::Rounded(_, Sparsity::Sparse))
    }

    /// The panels of a packed operand.
    pub(super) fn panels(&self) -> Option<Panels<'a, T>> {
        match self {
            Self::Packed(panels) => Some(*panels),
            _ => None,
        }
    }

    /// The elements in memory, if they need no conversion.
    pub(super) fn unpacked(&self) -> Option<Source<T>> {
        match self {
            Self::Plain(matrix, _) => Some(Source::new(*matrix)),
            Self::Bytes(..) | Self::Bf16(_) | Self::Rounded(..) | Self::Packed(_) => None,
        }
    }

    /// `true` if the elements of a row are contiguous.
    pub(super) fn has_contiguous_rows(&self) -> bool {
        self.shape().col_stride == 1
    }

    /// `true` if the elements of a column, which are neighbours in k, are contiguous.
    pub(super) fn has_contiguous_columns(&self) -> bool {
        self.shape().row_stride == 1
    }

    /// `true` if packing transposes registers of `lanes` lanes: k is contiguous, the columns are
    /// not.
    pub(super) fn needs_transpose(&self, lanes: usize) -> bool {
        lanes > 1 && self.has_contiguous_columns() && !self.has_contiguous_rows()
    }
}
