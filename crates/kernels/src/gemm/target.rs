//! What is written: C, in the type in which it is stored, at any strides.

use half::bf16;

use crate::bf16::{narrowed, widened};
use crate::matrix::Shape;
use crate::simd::{Lanes, Simd};
use crate::{Float, MatMut, MatRef};

/// A type in which results of type `T` are stored.
pub trait Stored<T: Float>: Copy + Send + Sync + 'static {
    /// Whether this is `T` itself.
    const AS_IS: bool;
    /// The target as one of sums, if it is one.
    fn sums(target: Target<'_, Self>) -> Option<Target<'_, T>>;
    /// `count` elements, `stride` apart, in the first lanes; +0 in the others.
    ///
    /// # Safety
    /// They may be read.
    unsafe fn fetch<S: Simd>(s: S, from: *const Self, stride: usize, count: usize) -> T::V<S>;
    /// The first `count` lanes, to places `stride` apart.
    ///
    /// # Safety
    /// They may be written.
    unsafe fn put<S: Simd>(s: S, to: *mut Self, stride: usize, count: usize, values: T::V<S>);
}

macro_rules! stored_as_itself {
    ($float:ident) => {
        impl Stored<$float> for $float {
            const AS_IS: bool = true;
            fn sums(target: Target<'_, Self>) -> Option<Target<'_, Self>> {
                Some(target)
            }
            #[inline(always)]
            unsafe fn fetch<S: Simd>(
                s: S,
                from: *const Self,
                stride: usize,
                count: usize,
            ) -> <$float as Lanes>::V<S> {
                if stride == 1 && count == <$float as Lanes>::lanes::<S>() {
                    // SAFETY: the caller vouches for the elements, which are neighbours.
                    return unsafe { from.cast::<<$float as Lanes>::V<S>>().read_unaligned() };
                }
                if stride == 1 {
                    // SAFETY: likewise.
                    return <$float as Lanes>::load(s, unsafe { core::slice::from_raw_parts(from, count) });
                }
                let mut values = <$float as Lanes>::splat(s, 0.0);
                let lanes: &mut [$float] = pulp::bytemuck::cast_slice_mut::<<$float as Lanes>::V<S>, $float>(
                    core::slice::from_mut(&mut values),
                );
                for (l, lane) in lanes.iter_mut().take(count).enumerate() {
                    // SAFETY: the caller vouches for it.
                    *lane = unsafe { *from.wrapping_add(l * stride) };
                }
                values
            }
            #[inline(always)]
            unsafe fn put<S: Simd>(
                s: S,
                to: *mut Self,
                stride: usize,
                count: usize,
                values: <$float as Lanes>::V<S>,
            ) {
                if stride == 1 && count == <$float as Lanes>::lanes::<S>() {
                    // SAFETY: the caller vouches for the elements, which are neighbours.
                    return unsafe { to.cast::<<$float as Lanes>::V<S>>().write_unaligned(values) };
                }
                if stride == 1 {
                    // SAFETY: likewise.
                    let places = unsafe { core::slice::from_raw_parts_mut(to, count) };
                    return <$float as Lanes>::store(s, places, values);
                }
                let lanes: &[$float] = pulp::bytemuck::cast_slice::<<$float as Lanes>::V<S>, $float>(
                    core::slice::from_ref(&values),
                );
                for (l, &lane) in lanes.iter().take(count).enumerate() {
                    // SAFETY: the caller vouches for it.
                    unsafe { *to.wrapping_add(l * stride) = lane };
                }
            }
        }
    };
}
stored_as_itself!(f32);
stored_as_itself!(f64);

/// The lanes of a register of f32.
#[inline(always)]
fn lanes_mut<S: Simd>(values: &mut <f32 as Lanes>::V<S>) -> &mut [f32] {
    pulp::bytemuck::cast_slice_mut::<<f32 as Lanes>::V<S>, f32>(core::slice::from_mut(values))
}

impl Stored<f32> for bf16 {
    const AS_IS: bool = false;
    fn sums(_: Target<'_, Self>) -> Option<Target<'_, f32>> {
        None
    }
    #[inline(always)]
    unsafe fn fetch<S: Simd>(
        s: S,
        from: *const Self,
        stride: usize,
        count: usize,
    ) -> <f32 as Lanes>::V<S> {
        let mut values = <f32 as Lanes>::splat(s, 0.0);
        let lanes = lanes_mut::<S>(&mut values);
        if stride == 1 && count == lanes.len() {
            // SAFETY: the caller vouches for the elements, which are neighbours.
            let from = unsafe { core::slice::from_raw_parts(from, lanes.len()) };
            for (lane, x) in lanes.iter_mut().zip(from) {
                *lane = widened(*x);
            }
            return values;
        }
        for (l, lane) in lanes.iter_mut().take(count).enumerate() {
            // SAFETY: the caller vouches for it.
            *lane = widened(unsafe { *from.wrapping_add(l * stride) });
        }
        values
    }
    #[inline(always)]
    unsafe fn put<S: Simd>(
        _: S,
        to: *mut Self,
        stride: usize,
        count: usize,
        values: <f32 as Lanes>::V<S>,
    ) {
        let lanes =
            pulp::bytemuck::cast_slice::<<f32 as Lanes>::V<S>, f32>(core::slice::from_ref(&values));
        if stride == 1 && count == lanes.len() {
            // SAFETY: the caller vouches for the elements, which are neighbours.
            let to = unsafe { core::slice::from_raw_parts_mut(to, lanes.len()) };
            for (x, lane) in to.iter_mut().zip(lanes) {
                *x = narrowed(*lane);
            }
            return;
        }
        // All lanes at once, whether they are wanted or not.
        let mut all = [Self::ZERO; crate::simd::MOST_LANES];
        for (x, lane) in all.iter_mut().zip(lanes) {
            *x = narrowed(*lane);
        }
        for (l, x) in all.iter().take(count).enumerate() {
            // SAFETY: the caller vouches for it.
            unsafe { *to.wrapping_add(l * stride) = *x };
        }
    }
}

/// The matrix that is written, shared by the tasks: each writes to its own rows and columns alone.
#[derive(Debug)]
pub struct Target<'a, O> {
    pub(super) ptr: *mut O,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
    borrowed: core::marker::PhantomData<&'a mut [O]>,
}

impl<O> Clone for Target<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<O> Copy for Target<'_, O> {}

// SAFETY: the tasks of one product own disjoint blocks of rows and columns, and `MatMut` has checked that no two
// elements share a place; so no place is touched by two threads.
unsafe impl<O: Send> Sync for Target<'_, O> {}
// SAFETY: likewise.
unsafe impl<O: Send> Send for Target<'_, O> {}

impl<'a, O> Target<'a, O> {
    pub(super) fn new<'b: 'a>(m: &'a mut MatMut<'b, O>) -> Self {
        let Shape { row_stride, col_stride, .. } = m.shape();
        Self { ptr: m.as_mut_ptr(), row_stride, col_stride, borrowed: core::marker::PhantomData }
    }

    /// A row of its own, in a slice.
    pub(super) fn row(row: &'a mut [O]) -> Self {
        Self {
            ptr: row.as_mut_ptr(),
            row_stride: 0,
            col_stride: 1,
            borrowed: core::marker::PhantomData,
        }
    }

    /// Rows of `cols` elements, one after the other.
    pub(super) fn rows(rows: &'a mut [O], cols: usize) -> Self {
        Self { row_stride: cols, ..Self::row(rows) }
    }

    /// The matrix that lies `elements` further on.
    pub(super) fn shift(self, elements: usize) -> Self {
        Self { ptr: self.ptr.wrapping_add(elements), ..self }
    }

    pub(super) fn transpose(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// Where element `(i, j)` is, inside the matrix or not.
    #[inline(always)]
    pub(super) fn place(self, i: usize, j: usize) -> *mut O {
        self.ptr
            .wrapping_add(i.wrapping_mul(self.row_stride))
            .wrapping_add(j.wrapping_mul(self.col_stride))
    }
}

/// A matrix beside C that an epilogue reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside<'a, O> {
    matrix: MatRef<'a, O>,
}

impl<'a, O: Copy> Beside<'a, O> {
    pub(super) fn new(matrix: MatRef<'a, O>) -> Self {
        Self { matrix }
    }

    pub(super) fn transpose(self) -> Self {
        Self { matrix: self.matrix.transpose() }
    }

    /// Whether neighbours in a row are neighbours in memory.
    pub(super) fn runs_across(self) -> bool {
        self.matrix.shape().col_stride == 1
    }

    /// Where element `(i, j)` is, inside the matrix or not, and how far the next in its row is from it.
    #[inline(always)]
    pub(super) fn place(self, i: usize, j: usize) -> (*const O, usize) {
        let Shape { row_stride, col_stride, .. } = self.matrix.shape();
        (self.matrix.as_ptr().wrapping_add(i * row_stride + j * col_stride), col_stride)
    }
}
