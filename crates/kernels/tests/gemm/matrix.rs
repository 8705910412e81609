//! Matrices with any strides, in buffers that reveal writes outside the matrix, and the comparison
//! of bits.

use std::fmt::Display;

use half::bf16;
use kernels::{MatMut, MatRef};

/// Order of a matrix in its buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Layout {
    RowMajor,
    ColMajor,
    /// Gaps between columns and between rows.
    Strided,
}
pub(crate) const LAYOUTS: [Layout; 3] = [Layout::RowMajor, Layout::ColMajor, Layout::Strided];

/// A matrix with any strides, in a buffer with unused elements before, between and after its own.
#[derive(Clone)]
pub(crate) struct Matrix<T> {
    pub(crate) data: Vec<T>,
    start: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) layout: Layout,
    strides: (usize, usize),
}

impl<T: Copy> Matrix<T> {
    /// A matrix whose buffer has `fill(index)` at each index, gaps included.
    pub(crate) fn new(rows: usize, cols: usize, layout: Layout, fill: impl Fn(u64) -> T) -> Self {
        let (start, strides) = match layout {
            Layout::RowMajor => (3, (cols + 2, 1)),
            Layout::ColMajor => (1, (1, rows + 5)),
            Layout::Strided => (2, (2 * cols + 3, 2)),
        };
        Self::with_strides(rows, cols, layout, start, strides, fill)
    }

    /// A row-major matrix without gaps.
    pub(crate) fn dense(rows: usize, cols: usize, fill: impl Fn(u64) -> T) -> Self {
        Self::with_strides(rows, cols, Layout::RowMajor, 0, (cols, 1), fill)
    }

    fn with_strides(
        rows: usize,
        cols: usize,
        layout: Layout,
        start: usize,
        strides: (usize, usize),
        fill: impl Fn(u64) -> T,
    ) -> Self {
        let len = start + rows * strides.0 + cols * strides.1 + 8;
        Self { data: (0..len as u64).map(fill).collect(), start, rows, cols, layout, strides }
    }

    pub(crate) fn view(&self) -> MatRef<'_, T> {
        MatRef::strided(
            &self.data[self.start..],
            self.rows,
            self.cols,
            self.strides.0,
            self.strides.1,
        )
        .unwrap()
    }

    pub(crate) fn view_mut(&mut self) -> MatMut<'_, T> {
        let (rows, cols) = (self.rows, self.cols);
        MatMut::strided(&mut self.data[self.start..], rows, cols, self.strides.0, self.strides.1)
            .unwrap()
    }

    pub(crate) fn at(&self, i: usize, j: usize) -> T {
        assert!(i < self.rows && j < self.cols);
        self.data[self.start + i * self.strides.0 + j * self.strides.1]
    }

    pub(crate) fn set(&mut self, i: usize, j: usize, x: T) {
        assert!(i < self.rows && j < self.cols);
        self.data[self.start + i * self.strides.0 + j * self.strides.1] = x;
    }
}

/// A number that is compared by its bits.
pub(crate) trait Bits: Copy + Display {
    /// Bits; the same for all NaNs.
    fn bits(self) -> u64;
}

macro_rules! bits {
    ($($float:ident)*) => {
        $(impl Bits for $float {
            fn bits(self) -> u64 {
                if self.is_nan() { u64::MAX } else { u64::from(self.to_bits()) }
            }
        })*
    };
}
bits!(f32 f64 bf16);

/// Compares whole buffers, so that a write outside a matrix is found as well.
pub(crate) fn assert_same<T: Bits>(
    expected: &[T],
    got: &[T],
    name: &str,
    case: impl Fn() -> String,
) {
    assert_eq!(expected.len(), got.len());
    for (i, (e, g)) in expected.iter().zip(got).enumerate() {
        assert!(
            e.bits() == g.bits(),
            "{}: element {i} of the buffer of {name} is {g}, expected {e}",
            case()
        );
    }
}
