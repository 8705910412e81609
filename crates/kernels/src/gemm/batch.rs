//! Batches of products of the same shape, as in attention: one for each head of each sequence.
//!
//! ```text
//! one thread, or fewer products than threads:  for each i:  C_i <- alpha A_i B_i + beta C_i
//! else, one task per thread:  its share of the products, each on this thread alone
//! ```
//!
//! Called by the attention layer.

use super::arithmetic::Single;
use super::driver::Call;
use super::epilogue::Epilogue;
use super::operand::OperandView;
use super::scratch::{Slots, gemm_scratch};
use super::shape::GemmShape;
use super::view::Target;
use crate::error::check_length;
use crate::{Cpu, Error, Float, MatMut, MatRef};

/// Matrices of the same shape and strides, a fixed distance apart in one slice.
///
/// ```
/// use kernels::gemm::Batch;
/// use kernels::MatRef;
/// // The heads of a sequence: 2 heads of width 3 side by side in each of 4 rows.
/// let heads = Batch::strided(&[0.0_f32; 24], 2, 3, |head| MatRef::strided(head, 4, 3, 6, 1))?;
/// assert_eq!(heads.len(), 2);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T> {
    data: &'a [T],
    count: usize,
    stride: usize,
    first: MatRef<'a, T>,
}

impl<'a, T> Batch<'a, T> {
    /// `count` matrices, `stride` elements of `data` apart. `view` makes a matrix of the elements
    /// from its first on. A stride of 0 repeats one matrix.
    ///
    /// # Errors
    /// The errors of `view`; [`Error::OutOfBounds`] if the last matrix reaches past the end of
    /// `data`.
    pub fn strided(
        data: &'a [T],
        count: usize,
        stride: usize,
        view: impl Fn(&'a [T]) -> Result<MatRef<'a, T>, Error>,
    ) -> Result<Self, Error> {
        let batch = Self { data, count, stride, first: view(data)? };
        batch.item(count.saturating_sub(1))?;
        Ok(batch)
    }

    /// Number of matrices.
    pub fn len(&self) -> usize {
        self.count
    }

    /// `true` if there are no matrices.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch of the transposed matrices.
    pub fn transpose(self) -> Self {
        Self { first: self.first.transpose(), ..self }
    }

    /// Matrix `i`.
    fn item(&self, i: usize) -> Result<MatRef<'a, T>, Error> {
        let start = i.saturating_mul(self.stride).min(self.data.len());
        let shape = self.first.shape();
        MatRef::strided(
            &self.data[start..],
            shape.rows,
            shape.cols,
            shape.row_stride,
            shape.col_stride,
        )
    }
}

/// Matrices of the same shape and strides for writing, a fixed distance apart in one slice. No two
/// of their elements share an address.
#[derive(Debug)]
pub struct BatchMut<'a, T> {
    first: MatMut<'a, T>,
    count: usize,
    stride: usize,
}

impl<'a, T> BatchMut<'a, T> {
    /// `count` matrices of `rows` x `cols` elements, `stride` elements of `data` apart, with these
    /// strides inside each.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if the last matrix reaches past the end of `data`, [`Error::Overlap`]
    /// if two elements, of one matrix or of two, share an address.
    pub fn strided(
        data: &'a mut [T],
        count: usize,
        stride: usize,
        (rows, cols): (usize, usize),
        (row_stride, col_stride): (usize, usize),
    ) -> Result<Self, Error> {
        let last = count.saturating_sub(1).saturating_mul(stride).min(data.len());
        MatMut::strided(&mut data[last..], rows, cols, row_stride, col_stride)?;
        // In the order of their strides, each dimension must step over all elements that the ones
        // before it reach.
        let mut dimensions = [(stride, count), (row_stride, rows), (col_stride, cols)];
        dimensions.sort_unstable();
        let mut reach = 0_usize;
        for (stride, count) in dimensions {
            if count > 1 && stride <= reach && rows > 0 && cols > 0 {
                return Err(Error::Overlap { row_stride, col_stride });
            }
            reach = reach.saturating_add(count.saturating_sub(1).saturating_mul(stride));
        }
        Ok(Self {
            first: MatMut::strided(data, rows, cols, row_stride, col_stride)?,
            count,
            stride,
        })
    }
}

/// C_i <- alpha A_i B_i + beta C_i for each matrix i of three batches, with the bits of as many
/// calls of [`gemm`](super::gemm).
///
/// Threads share whole products where there are enough of them, and otherwise the rows and columns
/// of each. `scratch` is that of one product, [`gemm_scratch`]`(threads, shape)`, or empty.
///
/// # Errors
/// [`Error::Length`] if the numbers of matrices or their shapes do not agree, [`Error::Scratch`] as
/// for [`gemm`](super::gemm). Nothing is changed then.
///
/// ```
/// use kernels::gemm::{Batch, BatchMut, gemm_batch};
/// use kernels::{Cpu, MatRef};
/// let (a, b, mut c) = ([1.0_f32, 2.0, 3.0, 4.0], [10.0_f32, 1.0], [0.0; 4]);
/// // Two products of a 2 x 1 and a 1 x 1 matrix.
/// let a = Batch::strided(&a, 2, 2, |a| MatRef::row_major(a, 2, 1))?;
/// let b = Batch::strided(&b, 2, 1, |b| MatRef::row_major(b, 1, 1))?;
/// let c_batch = BatchMut::strided(&mut c, 2, 2, (2, 1), (1, 1))?;
/// gemm_batch(Cpu::detect(), 1.0, a, b, 0.0, c_batch, &mut [])?;
/// assert_eq!(c, [10.0, 20.0, 3.0, 4.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[inline(never)]
pub fn gemm_batch<T: Float>(
    cpu: Cpu<'_>,
    alpha: T,
    a: Batch<'_, T>,
    b: Batch<'_, T>,
    beta: T,
    mut c: BatchMut<'_, T>,
    scratch: &mut [T],
) -> Result<(), Error> {
    check_length("batch a", c.count, a.count)?;
    check_length("batch b", c.count, b.count)?;
    let shape = GemmShape { m: c.first.rows(), n: c.first.cols(), k: b.first.rows() };
    check_length("rows of a", shape.m, a.first.rows())?;
    check_length("rows of b", a.first.cols(), shape.k)?;
    check_length("columns of b", shape.n, b.first.cols())?;
    let expected = gemm_scratch::<T>(cpu.threads(), shape);
    if scratch.len() < expected && !scratch.is_empty() {
        return Err(Error::Scratch { expected, got: scratch.len() });
    }
    let first = Target::new(&mut c.first);
    let multiply = |cpu: Cpu<'_>, i: usize, scratch: &mut [T]| {
        let operands = [OperandView::dense(a.item(i)?), OperandView::dense(b.item(i)?)];
        // SAFETY: `BatchMut::strided` has checked that the matrices are inside the slice and
        // disjoint, and each `i` is passed once.
        let c = unsafe { first.shift(i * c.stride) };
        let epilogue = Epilogue::NONE;
        let call = Call::<Single<T>, T> { cpu, alpha, operands, beta, c, partial: c, epilogue };
        // SAFETY: `partial` is C, which this call alone accesses.
        unsafe { call.run(gemm_scratch::<T>(cpu.threads(), shape), scratch) }
    };
    let threads = cpu.threads();
    if threads == 1 || c.count < threads {
        return (0..c.count).try_for_each(|i| multiply(cpu, i, scratch));
    }
    let slots = Slots::new(scratch, gemm_scratch::<T>(1, shape));
    let tasks = threads.min(slots.count());
    cpu.for_each(tasks, &|task| {
        // SAFETY: there are at most as many tasks as slots, and `for_each` passes each index once.
        let scratch = unsafe { slots.get(task) };
        let share = c.count * task / tasks..c.count * (task + 1) / tasks;
        let done = share.into_iter().try_for_each(|i| multiply(Cpu::serial(cpu.isa), i, scratch));
        debug_assert!(done.is_ok(), "the shapes were checked");
    });
    Ok(())
}
