//! Views of matrices in slices: any strides, checked once, when the view is made.
//!
//! Element `(i, j)` of a view is at index `i * row_stride + j * col_stride` of its slice. A
//! transpose exchanges the two strides and costs nothing.

use crate::Error;

/// A matrix for reading.
///
/// ```
/// use kernels::MatRef;
/// let m = MatRef::row_major(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3)?;
/// assert_eq!(m.get(1, 0), Some(4.0));
/// assert_eq!(m.transpose().get(1, 0), Some(2.0));
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a, T> {
    data: &'a [T],
    shape: Shape,
}

/// A matrix for writing: no two of its elements share an address.
#[derive(Debug)]
pub struct MatMut<'a, T> {
    data: &'a mut [T],
    shape: Shape,
}

/// Rows, columns and strides, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

impl Shape {
    pub(crate) fn transpose(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }

    /// Checks the length of the slice: at least the offset of the last element plus one.
    fn check(self, len: usize) -> Result<(), Error> {
        if self.rows == 0 || self.cols == 0 {
            return Ok(());
        }
        let expected = (self.rows - 1)
            .checked_mul(self.row_stride)
            .zip((self.cols - 1).checked_mul(self.col_stride))
            .and_then(|(down, across)| down.checked_add(across)?.checked_add(1))
            .unwrap_or(usize::MAX);
        if expected <= len { Ok(()) } else { Err(Error::OutOfBounds { expected, got: len }) }
    }

    /// Refuses strides with which two elements could share an address. One of the dimensions must
    /// step over the whole extent of the other.
    fn check_disjoint(self) -> Result<(), Error> {
        let steps_over = |outer: usize, inner: usize, inner_count: usize| {
            inner > 0 && outer > (inner_count - 1) * inner
        };
        let Self { rows, cols, row_stride, col_stride } = self;
        let disjoint = match (rows, cols) {
            (0, _) | (_, 0) | (1, 1) => true,
            (1, _) => col_stride > 0,
            (_, 1) => row_stride > 0,
            _ => {
                steps_over(row_stride, col_stride, cols) || steps_over(col_stride, row_stride, rows)
            }
        };
        if disjoint { Ok(()) } else { Err(Error::Overlap { row_stride, col_stride }) }
    }

    fn offset(self, row: usize, col: usize) -> Option<usize> {
        (row < self.rows && col < self.cols).then(|| row * self.row_stride + col * self.col_stride)
    }
}

impl<'a, T> MatRef<'a, T> {
    /// A view of `rows` x `cols` elements of `data` with the given strides, in elements. A stride
    /// of 0 repeats a row or a column.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if the last element lies past the end of `data`.
    pub fn strided(
        data: &'a [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self, Error> {
        let shape = Shape { rows, cols, row_stride, col_stride };
        shape.check(data.len())?;
        Ok(Self { data, shape })
    }

    /// A view of the first `rows * cols` elements of `data`, row-major.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if `data` is shorter.
    pub fn row_major(data: &'a [T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::strided(data, rows, cols, cols, 1)
    }

    /// The transposed view of the same elements.
    pub fn transpose(self) -> Self {
        Self { data: self.data, shape: self.shape.transpose() }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.shape.cols
    }

    /// Element `(row, col)`, or `None` outside the matrix.
    pub fn get(&self, row: usize, col: usize) -> Option<T>
    where
        T: Copy,
    {
        Some(self.data[self.shape.offset(row, col)?])
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn as_ptr(&self) -> *const T {
        self.data.as_ptr()
    }

    /// `true` if `count` elements from element `(row, col)` on are inside the slice, whether they
    /// belong to the matrix or not.
    #[inline(always)]
    pub(crate) fn has_behind(&self, row: usize, col: usize, count: usize) -> bool {
        row * self.shape.row_stride + col * self.shape.col_stride + count <= self.data.len()
    }
}

impl<'a, T> MatMut<'a, T> {
    /// A view of `rows` x `cols` elements of `data` with the given strides, in elements.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if the last element lies past the end of `data`; [`Error::Overlap`]
    /// if two elements share an address.
    pub fn strided(
        data: &'a mut [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self, Error> {
        let shape = Shape { rows, cols, row_stride, col_stride };
        shape.check(data.len())?;
        shape.check_disjoint()?;
        Ok(Self { data, shape })
    }

    /// A view of the first `rows * cols` elements of `data`, row-major.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if `data` is shorter.
    pub fn row_major(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self, Error> {
        Self::strided(data, rows, cols, cols, 1)
    }

    /// The transposed view of the same elements.
    pub fn transpose(self) -> Self {
        Self { data: self.data, shape: self.shape.transpose() }
    }

    /// The same matrix, for reading.
    pub fn as_ref(&self) -> MatRef<'_, T> {
        MatRef { data: self.data, shape: self.shape }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.shape.cols
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.data.as_mut_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_element_must_be_inside_the_slice() {
        let data = [0.0_f32; 12];
        assert!(MatRef::strided(&data, 3, 4, 4, 1).is_ok());
        assert!(MatRef::strided(&data, 2, 2, 7, 4).is_ok());
        assert_eq!(
            MatRef::strided(&data, 2, 2, 8, 4).unwrap_err(),
            Error::OutOfBounds { expected: 13, got: 12 }
        );
        assert!(MatRef::strided(&data, 0, 100, 1, 1).is_ok());
        assert_eq!(
            MatRef::strided(&data, usize::MAX, 2, usize::MAX, 1).unwrap_err(),
            Error::OutOfBounds { expected: usize::MAX, got: 12 }
        );
    }

    #[test]
    fn a_matrix_for_writing_must_not_overlap_itself() {
        let mut data = [0.0_f32; 12];
        for (rows, cols, row_stride, col_stride, fits) in [
            (3, 4, 4, 1, true),
            (3, 4, 1, 3, true),
            (2, 2, 1, 1, false),
            (2, 4, 3, 1, false),
            (1, 4, 0, 1, true),
            (4, 1, 0, 1, false),
            (4, 1, 3, 0, true),
            (2, 2, 0, 1, false),
        ] {
            let view = MatMut::strided(&mut data, rows, cols, row_stride, col_stride);
            assert_eq!(view.is_ok(), fits, "{rows} x {cols}, strides {row_stride}, {col_stride}");
        }
    }
}
