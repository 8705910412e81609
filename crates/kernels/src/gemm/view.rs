//! Matrices as a pointer and two strides: [`Source`] for reading, [`Target`] for writing.
//!
//! The loops address operands unpacked, packed panels, accumulators and C in the same way. A bounds
//! check per element would cost more than the arithmetic (benchmark `gemm`): safe functions here
//! compute addresses, unsafe ones access memory. Used by most files of this folder.

use core::marker::PhantomData;

use crate::matrix::Shape;
use crate::simd::{Simd, opaque};
use crate::{Float, MatMut, MatRef};

/// Elements for reading: of an operand unpacked, of packed panels, or accumulators.
#[derive(Debug)]
pub(super) struct Source<T> {
    pub(super) ptr: *const T,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl<T> Clone for Source<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Source<T> {}

impl<T: Copy> Source<T> {
    #[inline(always)]
    pub(super) fn new(matrix: MatRef<'_, T>) -> Self {
        let Shape { row_stride, col_stride, .. } = matrix.shape();
        Self { ptr: matrix.as_ptr(), row_stride, col_stride }
    }

    /// The same elements, which the optimiser takes for others: they are loaded again.
    #[inline(always)]
    pub(super) fn opaque(self) -> Self {
        Self { ptr: opaque(self.ptr), ..self }
    }

    /// Packed elements with the given strides.
    #[inline(always)]
    pub(super) fn packed(packed: &[T], row_stride: usize, col_stride: usize) -> Self {
        Self { ptr: packed.as_ptr(), row_stride, col_stride }
    }

    /// Row-major accumulators, `row_stride` apart.
    #[inline(always)]
    pub(super) fn accumulators(acc: *const T, row_stride: usize) -> Self {
        Self { ptr: acc, row_stride, col_stride: 1 }
    }

    /// The transposed view.
    #[inline(always)]
    pub(super) fn transpose(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// The same matrix from element `(i, j)` on. Nothing is read.
    #[inline(always)]
    pub(super) fn offset(self, i: usize, j: usize) -> Self {
        Self { ptr: self.pointer(i, j), ..self }
    }

    /// Address of element `(i, j)`, inside the matrix or not.
    #[inline(always)]
    pub(super) fn pointer(self, i: usize, j: usize) -> *const T {
        self.ptr.wrapping_add(
            i.wrapping_mul(self.row_stride).wrapping_add(j.wrapping_mul(self.col_stride)),
        )
    }

    /// Element `(i, j)`.
    ///
    /// # Safety
    /// - `(i, j)` is inside the memory that this was made from.
    /// - That memory is still borrowed, and initialised there.
    #[inline(always)]
    pub(super) unsafe fn get(self, i: usize, j: usize) -> T {
        // SAFETY: by the first condition the address is inside the memory, by the second it may be
        // read.
        unsafe { *self.ptr.wrapping_add(i * self.row_stride + j * self.col_stride) }
    }

    /// Elements `(i, j)`, `(i, j + 1)`, ...: `count` of them.
    ///
    /// # Safety
    /// - The conditions of [`get`](Self::get) hold for each of them.
    /// - The column stride is 1, or `count` is at most 1.
    #[inline(always)]
    pub(super) unsafe fn contiguous<'a>(self, i: usize, j: usize, count: usize) -> &'a [T] {
        debug_assert!(self.col_stride == 1 || count <= 1);
        // SAFETY: by the second condition the elements are contiguous, by the first all of them may
        // be read.
        unsafe { core::slice::from_raw_parts(self.pointer(i, j), count) }
    }
}

impl<T: Float> Source<T> {
    /// A register of elements `(i, j)`, `(i, j + 1)`, ...
    ///
    /// # Safety
    /// - The conditions of [`get`](Source::get) hold for each of them.
    /// - The column stride is 1, or the register has one lane.
    #[inline(always)]
    pub(super) unsafe fn register<S: Simd>(self, i: usize, j: usize) -> T::V<S> {
        debug_assert!(self.col_stride == 1 || T::lanes::<S>() == 1);
        let start = if T::lanes::<S>() == 1 {
            self.pointer(i, j)
        } else {
            self.ptr.wrapping_add(i * self.row_stride + j)
        };
        // SAFETY: by the second condition the elements are contiguous, by the first all of them may
        // be read. A register is plain data, which `read_unaligned` reads at any address.
        unsafe { start.cast::<T::V<S>>().read_unaligned() }
    }
}

/// A matrix for writing, shared by tasks: each writes its own rows and columns alone.
#[derive(Debug)]
pub struct Target<'a, O> {
    ptr: *mut O,
    shape: Shape,
    borrowed: PhantomData<&'a mut [O]>,
}

impl<O> Clone for Target<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<O> Copy for Target<'_, O> {}

// SAFETY: `MatMut` has checked that no two elements share an address, and `Task::new` requires that
// no other task writes its rows and columns: no two threads access the same element.
unsafe impl<O: Send> Sync for Target<'_, O> {}
// SAFETY: a `Target` stands for a `&mut [O]`, which is `Send` if `O` is.
unsafe impl<O: Send> Send for Target<'_, O> {}

impl<'a, O> Target<'a, O> {
    pub(super) fn new<'b: 'a>(matrix: &'a mut MatMut<'b, O>) -> Self {
        Self { shape: matrix.shape(), ptr: matrix.as_mut_ptr(), borrowed: PhantomData }
    }

    /// One row.
    pub(super) fn row(row: &'a mut [O]) -> Self {
        let shape = Shape { rows: 1, cols: row.len(), row_stride: 0, col_stride: 1 };
        Self { shape, ptr: row.as_mut_ptr(), borrowed: PhantomData }
    }

    /// Row-major elements, `cols` per row.
    pub(super) fn row_major(data: &'a mut [O], cols: usize) -> Self {
        let rows = data.len().checked_div(cols).unwrap_or(0);
        let shape = Shape { rows, cols, row_stride: cols, col_stride: 1 };
        Self { shape, ptr: data.as_mut_ptr(), borrowed: PhantomData }
    }

    /// The matrix of the same shape whose first element is `elements` further on.
    ///
    /// # Safety
    /// - All of its elements are inside the slice that this one was made from.
    /// - While it is in use, nothing else accesses them.
    pub(super) unsafe fn shift(self, elements: usize) -> Self {
        Self { ptr: self.ptr.wrapping_add(elements), ..self }
    }

    pub(super) fn transpose(self) -> Self {
        Self { shape: self.shape.transpose(), ..self }
    }

    pub(super) fn rows(&self) -> usize {
        self.shape.rows
    }

    pub(super) fn cols(&self) -> usize {
        self.shape.cols
    }

    pub(super) fn row_stride(&self) -> usize {
        self.shape.row_stride
    }

    pub(super) fn col_stride(&self) -> usize {
        self.shape.col_stride
    }

    /// Address of element `(i, j)`, inside the matrix or not.
    #[inline(always)]
    pub(super) fn pointer(self, i: usize, j: usize) -> *mut O {
        self.ptr
            .wrapping_add(i.wrapping_mul(self.shape.row_stride))
            .wrapping_add(j.wrapping_mul(self.shape.col_stride))
    }
}
