//! The tile: MR x NR elements of C, kept in registers while k runs past.
//!
//! ```text
//!              b[p]   b[p]           for p in 0..kc:
//!             +------+------+          two registers of B's panel (NR = 2 registers)
//!   a[0,p] -> | acc  | acc  |          for each row i < MR:
//!   a[1,p] -> | acc  | acc  |            acc[i][..] += a[i,p] * b[p][..]     (fused)
//!     ...     |  ... |  ... |        then the epilogue, and C is written once
//!  MR-1,p ->  | acc  | acc  |
//!             +------+------+
//! ```
//!
//! With 32 registers MR is 14: 28 accumulators, two registers of B, one of A. With 16 it is 6: 12 + 2 + 1.
//! Fourteen rows keep both FMA units busy (their latency needs eight chains) with 16 loads to 28 FMAs.
//!
//! This file and `pack` are the islands where operands are read through pointers: the views have been checked
//! by then, and a bounds check per element would cost more than the arithmetic. Benchmark `gemm`.

use crate::matrix::Shape;
use crate::simd::{Simd, WithSimd};
use crate::{Float, MatMut, MatRef};

/// A matrix that is read at any place inside its checked shape.
pub(super) struct Source<T> {
    ptr: *const T,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl<T> Clone for Source<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Source<T> {}

impl<T: Float> Source<T> {
    pub(super) fn new(m: MatRef<'_, T>) -> Self {
        let Shape { row_stride, col_stride, .. } = m.shape();
        Self { ptr: m.as_ptr(), row_stride, col_stride }
    }

    pub(super) fn transpose(self) -> Self {
        Self { ptr: self.ptr, row_stride: self.col_stride, col_stride: self.row_stride }
    }

    /// Packed elements: one row, or one column, of `stride` of them after the other.
    pub(super) fn packed(packed: &[T], row_stride: usize, col_stride: usize) -> Self {
        Self { ptr: packed.as_ptr(), row_stride, col_stride }
    }

    /// The same matrix from element `(i, j)` on. No place is touched.
    #[inline(always)]
    pub(super) fn offset(self, i: usize, j: usize) -> Self {
        let places = i.wrapping_mul(self.row_stride).wrapping_add(j.wrapping_mul(self.col_stride));
        Self { ptr: self.ptr.wrapping_add(places), ..self }
    }

    /// Element `(i, j)`.
    ///
    /// # Safety
    /// `(i, j)` lies inside the view that this was made from, which is still borrowed.
    #[inline(always)]
    pub(super) unsafe fn get(self, i: usize, j: usize) -> T {
        // SAFETY: the view was checked to hold (i, j), so the place is inside its slice.
        unsafe { *self.ptr.wrapping_add(i * self.row_stride + j * self.col_stride) }
    }

    /// A whole register of neighbours: elements `(i, j)`, `(i, j + 1)`, ...
    ///
    /// # Safety
    /// As for [`get`](Self::get), for each of them, and the column stride is 1.
    #[inline(always)]
    pub(super) unsafe fn whole<S: Simd>(self, i: usize, j: usize) -> T::V<S> {
        let start = self.ptr.wrapping_add(i * self.row_stride + j).cast::<T::V<S>>();
        // SAFETY: the caller vouches for the elements; a register is plain data.
        unsafe { start.read_unaligned() }
    }

    /// Elements `(i, j)`, `(i, j + 1)`, ... `count` of them, in the first lanes.
    ///
    /// # Safety
    /// As for [`get`](Self::get), for each of them.
    #[inline(always)]
    pub(super) unsafe fn row<S: Simd>(self, s: S, i: usize, j: usize, count: usize) -> T::V<S> {
        let start = self.ptr.wrapping_add(i * self.row_stride + j * self.col_stride);
        if self.col_stride == 1 {
            // SAFETY: with a column stride of 1 these elements are neighbours, and all lie inside the view.
            T::load(s, unsafe { core::slice::from_raw_parts(start, count) })
        } else {
            let mut values = T::splat(s, T::ZERO);
            let lanes: &mut [T] =
                pulp::bytemuck::cast_slice_mut::<T::V<S>, T>(core::slice::from_mut(&mut values));
            for (l, lane) in lanes.iter_mut().take(count).enumerate() {
                // SAFETY: the caller vouches for element (i, j + l).
                *lane = unsafe { self.get(i, j + l) };
            }
            values
        }
    }
}

/// The matrix that is written, shared by the tasks: each writes to its own rows and columns alone.
#[derive(Clone, Copy)]
pub(super) struct Target<'a, T> {
    ptr: *mut T,
    pub(super) shape: Shape,
    borrowed: core::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: the tasks of one product own disjoint blocks of rows and columns, and `MatMut` has checked that no two
// elements share a place; so no place is touched by two threads.
unsafe impl<T: Send> Sync for Target<'_, T> {}

impl<'a, T: Float> Target<'a, T> {
    pub(super) fn new<'b: 'a>(m: &'a mut MatMut<'b, T>) -> Self {
        Self { shape: m.shape(), ptr: m.as_mut_ptr(), borrowed: core::marker::PhantomData }
    }

    /// The same matrix from element `(i, j)` on. No place is touched.
    #[inline(always)]
    fn offset(self, i: usize, j: usize) -> Self {
        let places = i * self.shape.row_stride + j * self.shape.col_stride;
        Self { ptr: self.ptr.wrapping_add(places), ..self }
    }

    #[inline(always)]
    fn source(self) -> Source<T> {
        let Shape { row_stride, col_stride, .. } = self.shape;
        Source { ptr: self.ptr, row_stride, col_stride }
    }

    /// Stores the first `count` lanes to `(i, j)`, `(i, j + 1)`, ...
    ///
    /// # Safety
    /// These elements lie inside the view, and belong to the calling task.
    #[inline(always)]
    unsafe fn store<S: Simd>(self, s: S, i: usize, j: usize, count: usize, values: T::V<S>) {
        let Shape { row_stride, col_stride, .. } = self.shape;
        let start = self.ptr.wrapping_add(i * row_stride + j * col_stride);
        if col_stride == 1 {
            // SAFETY: with a column stride of 1 these elements are neighbours; all are inside the view and ours.
            T::store(s, unsafe { core::slice::from_raw_parts_mut(start, count) }, values);
        } else {
            let lanes: &[T] = pulp::bytemuck::cast_slice::<T::V<S>, T>(core::slice::from_ref(&values));
            for (l, &lane) in lanes.iter().take(count).enumerate() {
                // SAFETY: element (i, j + l) is inside the view and ours.
                unsafe { *start.wrapping_add(l * col_stride) = lane };
            }
        }
    }
}

impl<T> Target<'_, T> {
    pub(super) fn transpose(self) -> Self {
        let Shape { rows, cols, row_stride, col_stride } = self.shape;
        Self {
            shape: Shape { rows: cols, cols: rows, row_stride: col_stride, col_stride: row_stride },
            ..self
        }
    }
}

/// What becomes of a partial sum p: the same for all elements of one pass over C.
pub(super) struct Element<T> {
    pub(super) alpha: T,
    /// `None`: C is not read.
    pub(super) beta: Option<T>,
    /// p is that of the first summation block.
    pub(super) first: bool,
    /// p is that of the last one: the epilogue follows.
    pub(super) last: bool,
    /// There is no p at all: k is 0.
    pub(super) empty: bool,
    pub(super) bias: Option<Source<T>>,
    pub(super) relu: bool,
    pub(super) gradient_at: Option<Source<T>>,
}

/// Computes `mr` x `nr` elements of C from `(i, j)` on, where `mr` is at most [`Simd::TILE_ROWS`] and `nr` at most
/// two registers.
///
/// # Safety
/// `a` holds `mr` x `kc` elements; `(i, j)` and the `mr` x `nr` elements from there lie inside `c`, the bias and
/// the gradient's operand, and belong to the calling task.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one place each")]
pub(super) unsafe fn tile<S: Simd, T: Float>(
    s: S,
    mr: usize,
    a: Source<T>,
    b: Source<T>,
    kc: usize,
    c: Target<'_, T>,
    at: (usize, usize),
    nr: usize,
    element: &Element<T>,
) {
    macro_rules! run {
        ($($rows:literal)*) => {
            match (mr, nr <= T::lanes::<S>()) {
                $(
                    ($rows, true) => apart(s, Tile::<T, $rows, 1> { a, b, kc, c, at, nr, element }),
                    ($rows, false) => apart(s, Tile::<T, $rows, 2> { a, b, kc, c, at, nr, element }),
                )*
                _ => unreachable!("a tile of {mr} rows"),
            }
        };
    }
    if const { S::TILE_ROWS == 14 } {
        run!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    } else {
        run!(1 2 3 4 5 6);
    }
}

/// Runs a tile in a function of its own. Inlined into the loops around it, its registers would be shared with what
/// the optimiser hoists out of them, and accumulators would be spilled.
#[inline(never)]
fn apart<S: Simd, Op: WithSimd>(s: S, op: Op) -> Op::Output {
    s.vectorize(op)
}

/// A tile of exactly `MR` rows and `NV` registers. Made by [`tile`] alone, whose safety conditions it relies on.
struct Tile<'a, T, const MR: usize, const NV: usize> {
    a: Source<T>,
    b: Source<T>,
    kc: usize,
    c: Target<'a, T>,
    at: (usize, usize),
    nr: usize,
    element: &'a Element<T>,
}

impl<T: Float, const MR: usize, const NV: usize> WithSimd for Tile<'_, T, MR, NV> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { a, b, kc, c, at: (i, j), nr, element } = self;
        let mut acc = [[T::splat(s, T::ZERO); NV]; MR];
        for p in 0..kc {
            // SAFETY: b has kc rows of NV registers.
            let b: [T::V<S>; NV] = core::array::from_fn(|v| unsafe { b.whole::<S>(p, v * T::lanes::<S>()) });
            each(&mut acc, |i, v, acc| {
                // SAFETY: a has MR rows and kc columns.
                let a = T::splat(s, unsafe { a.get(i, p) });
                T::mul_add(s, a, b[v], acc)
            });
        }
        let contiguous = |source: &Option<Source<T>>| source.is_none_or(|source| source.col_stride == 1);
        let whole = nr == NV * T::lanes::<S>()
            && c.shape.col_stride == 1
            && contiguous(&element.bias)
            && contiguous(&element.gradient_at);
        let finish = Finish {
            acc,
            c: c.offset(i, j),
            bias: element.bias.map(|bias| bias.offset(i, j)),
            gradient_at: element.gradient_at.map(|y| y.offset(i, j)),
            element,
        };
        if whole {
            // SAFETY: c, bias and the gradient's operand hold MR x nr elements from (i, j) on, and those of c belong to
            // this task, by the condition on `tile`; all lie in whole registers of neighbours.
            unsafe { finish.run(s, Whole) }
        } else {
            // SAFETY: likewise, and `Part` covers nr elements of each row, wherever they are.
            unsafe { finish.run(s, Part(nr)) }
        }
    }
}

/// How a row of a tile is read and written.
trait Access: Copy {
    /// Register `v` of row `i`.
    ///
    /// # Safety
    /// `source` holds those elements of the row that this access covers.
    unsafe fn load<S: Simd, T: Float>(self, s: S, source: Source<T>, i: usize, v: usize) -> T::V<S>;
    /// Register `v` of row `i`.
    ///
    /// # Safety
    /// `target` holds those elements of the row that this access covers, and they belong to the calling task.
    unsafe fn store<S: Simd, T: Float>(
        self,
        s: S,
        target: Target<'_, T>,
        i: usize,
        v: usize,
        values: T::V<S>,
    );
}

/// Whole registers of neighbours.
#[derive(Clone, Copy)]
struct Whole;

impl Access for Whole {
    #[inline(always)]
    unsafe fn load<S: Simd, T: Float>(self, _: S, source: Source<T>, i: usize, v: usize) -> T::V<S> {
        // SAFETY: the caller vouches for the elements.
        unsafe { source.whole::<S>(i, v * T::lanes::<S>()) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd, T: Float>(
        self,
        _: S,
        target: Target<'_, T>,
        i: usize,
        v: usize,
        values: T::V<S>,
    ) {
        let start = target.offset(i, v * T::lanes::<S>()).ptr.cast::<T::V<S>>();
        // SAFETY: the caller vouches for the elements, which are neighbours.
        unsafe { start.write_unaligned(values) };
    }
}

/// This many elements of each row, any distance apart.
#[derive(Clone, Copy)]
struct Part(usize);

impl Part {
    /// How many of them are in register `v`.
    #[inline(always)]
    fn count<S: Simd, T: Float>(self, v: usize) -> usize {
        self.0.saturating_sub(v * T::lanes::<S>()).min(T::lanes::<S>())
    }
}

impl Access for Part {
    #[inline(always)]
    unsafe fn load<S: Simd, T: Float>(self, s: S, source: Source<T>, i: usize, v: usize) -> T::V<S> {
        // SAFETY: the caller vouches for the elements.
        unsafe { source.row(s, i, v * T::lanes::<S>(), self.count::<S, T>(v)) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd, T: Float>(
        self,
        s: S,
        target: Target<'_, T>,
        i: usize,
        v: usize,
        values: T::V<S>,
    ) {
        // SAFETY: the caller vouches for the elements.
        unsafe { target.store(s, i, v * T::lanes::<S>(), self.count::<S, T>(v), values) }
    }
}

/// Replaces register `v` of row `i` by `f(i, v, register)`, for all of them.
///
/// Written out row by row: a loop would address the accumulators by a variable, which takes them out of registers.
#[inline(always)]
fn each<V: Copy, const MR: usize, const NV: usize>(
    acc: &mut [[V; NV]; MR],
    mut f: impl FnMut(usize, usize, V) -> V,
) {
    macro_rules! rows {
        ($($i:literal)*) => {
            $(if $i < MR {
                acc[$i][0] = f($i, 0, acc[$i][0]);
                if NV > 1 {
                    acc[$i][1] = f($i, 1, acc[$i][1]);
                }
            })*
        };
    }
    const { assert!(MR <= 14 && 1 <= NV && NV <= 2) };
    rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
}

/// The sums of a tile on their way to C.
struct Finish<'a, S: Simd, T: Float, const MR: usize, const NV: usize> {
    acc: [[T::V<S>; NV]; MR],
    c: Target<'a, T>,
    bias: Option<Source<T>>,
    gradient_at: Option<Source<T>>,
    element: &'a Element<T>,
}

impl<S: Simd, T: Float, const MR: usize, const NV: usize> Finish<'_, S, T, MR, NV> {
    /// One pass over the registers for each thing to be done, so that what is not done costs one test.
    ///
    /// # Safety
    /// `c`, `bias` and `gradient_at` hold MR rows of what `access` covers, and those of `c` belong to the calling
    /// task.
    #[inline(always)]
    unsafe fn run<A: Access>(self, s: S, access: A) {
        let Self { mut acc, c, bias, gradient_at, element } = self;
        // SAFETY: the caller vouches for these elements of c.
        let old = |i, v| unsafe { access.load(s, c.source(), i, v) };
        let (alpha, zero) = (T::splat(s, element.alpha), T::splat(s, T::ZERO));
        match (element.first, element.beta, element.empty) {
            (true, None, false) => each(&mut acc, |_, _, p| T::mul(s, alpha, p)),
            (true, Some(beta), false) => {
                let beta = T::splat(s, beta);
                each(&mut acc, |i, v, p| T::mul_add(s, alpha, p, T::mul(s, beta, old(i, v))));
            }
            (false, _, _) => each(&mut acc, |i, v, p| T::mul_add(s, alpha, p, old(i, v))),
            (true, None, true) => {}
            (true, Some(beta), true) => {
                let beta = T::splat(s, beta);
                each(&mut acc, |i, v, _| T::mul(s, beta, old(i, v)));
            }
        }
        if element.last {
            if let Some(bias) = bias {
                // SAFETY: the caller vouches for these elements of the bias.
                each(&mut acc, |i, v, r| T::add(s, r, unsafe { access.load(s, bias, i, v) }));
            }
            if element.relu {
                each(&mut acc, |_, _, r| T::select(s, T::less_or_equal(s, r, zero), zero, r));
            }
            if let Some(y) = gradient_at {
                each(&mut acc, |i, v, r| {
                    // SAFETY: the caller vouches for these elements of y.
                    let y = unsafe { access.load(s, y, i, v) };
                    T::select(s, T::less_or_equal(s, y, zero), zero, r)
                });
            }
        }
        each(&mut acc, |i, v, r| {
            // SAFETY: the caller vouches for these elements of c.
            unsafe { access.store(s, c, i, v, r) };
            r
        });
    }
}
