//! What becomes of a tile's sums: scaled, added to what C holds, and on the last summation block bias and activation.
//!
//! ```text
//! r = alpha * p   or   alpha * p + beta * c   or, after the first block,   alpha * p + r
//! last block:  r + bias;  kept for backward, if asked for;  activation;  stored to C
//! ```
//!
//! Where the product was computed as its transpose, the tile's rows are C's columns: they are turned in registers first.

use super::operand::Source;
use super::target::{Beside, Stored, Target};
use crate::Float;
use crate::simd::{MOST_LANES, Simd, WithSimd, prefetch};

/// What becomes of a sum p: the same for all elements of one pass over C.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finish<'a, T, O> {
    pub(super) alpha: T,
    /// `None`: C is not read.
    pub(super) beta: Option<T>,
    /// p is that of the first summation block.
    pub(super) first: bool,
    /// p is that of the last one.
    pub(super) last: bool,
    /// There is no p at all: k is 0.
    pub(super) empty: bool,
    pub(super) c: Target<'a, O>,
    /// Where r is kept between two blocks: C itself, if that has the type of r.
    pub(super) running: Target<'a, T>,
    pub(super) bias: Option<Beside<'a, T>>,
    pub(super) keep: Option<Target<'a, O>>,
    pub(super) relu: bool,
    pub(super) gradient_at: Option<Beside<'a, O>>,
    /// The tile's rows are C's columns.
    pub(super) turned: bool,
    /// A p of -0 is +0: a factor is sparse, and the tile has not seen to that.
    pub(super) unsigned: bool,
}

impl<T: Float, O: Stored<T>> Finish<'_, T, O> {
    /// Where the tile may write its sums to at once, if r is p and nothing follows: element `(i, j)` of C.
    #[inline(always)]
    pub(super) fn shortcut(&self, i: usize, j: usize) -> Option<*mut T> {
        let stored = !self.turned && self.running.col_stride == 1 && (!self.last || O::AS_IS);
        (stored && self.is_bare()).then(|| self.running.place(i, j))
    }

    /// Whether r is p, and nothing follows but its being stored.
    #[inline(always)]
    fn is_bare(&self) -> bool {
        let follows =
            self.bias.is_some() || self.keep.is_some() || self.relu || self.gradient_at.is_some();
        !self.unsigned
            && self.first
            && !self.empty
            && self.beta.is_none()
            && self.alpha == T::ONE
            && !(self.last && follows)
    }

    /// Asks for the places of C that a tile at `(i, j)` will write.
    #[inline(always)]
    pub(super) fn prefetch(&self, i: usize, j: usize, rows: usize, cols: usize) {
        let line = (64 / size_of::<T>()).max(1);
        let (i, j, rows, cols) = if self.turned { (j, i, cols, rows) } else { (i, j, rows, cols) };
        if self.running.col_stride != 1 {
            return;
        }
        for i in i..i + rows {
            for j in (j..j + cols).step_by(line) {
                prefetch::<_, false>(self.running.place(i, j));
            }
        }
    }
}

/// The sums of `rows` x `cols` elements from tile coordinates `at` on.
pub(super) struct Sums<'a, T, O> {
    pub(super) finish: &'a Finish<'a, T, O>,
    /// Whole registers in each row.
    pub(super) sums: Source<T>,
    pub(super) at: (usize, usize),
    pub(super) rows: usize,
    pub(super) cols: usize,
}

impl<T: Float, O: Stored<T>> WithSimd for Sums<'_, T, O> {
    type Output = ();

    /// Made by `block` alone, whose tiles lie inside C and belong to its task, with all that goes with C.
    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "sums and their elements of C go together"
    )]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { finish, sums, at: (i, j), rows, cols } = self;
        let lanes = T::lanes::<S>();
        let bare = finish.last && finish.is_bare();
        if !finish.turned && cols.is_multiple_of(lanes) && finish.runs_across() {
            if bare {
                for row in 0..rows {
                    for v in (0..cols).step_by(lanes) {
                        // SAFETY: the row has whole registers, and so has C, of neighbours; they belong to the task.
                        unsafe {
                            O::put(
                                s,
                                finish.c.place(i + row, j + v),
                                1,
                                lanes,
                                sums.whole::<S>(row, v),
                            );
                        }
                    }
                }
                return;
            }
            for row in 0..rows {
                for v in (0..cols).step_by(lanes) {
                    // SAFETY: the row has whole registers, and so has C, of neighbours; they belong to the task.
                    unsafe {
                        finish.store::<S, true>(s, i + row, j + v, lanes, sums.whole::<S>(row, v));
                    };
                }
            }
            return;
        }
        if !finish.turned {
            for row in 0..rows {
                for v in (0..cols).step_by(lanes) {
                    // SAFETY: the row has whole registers; the elements lie inside C and belong to the task.
                    unsafe {
                        let p = sums.whole::<S>(row, v);
                        finish.store::<S, false>(s, i + row, j + v, lanes.min(cols - v), p);
                    }
                }
            }
            return;
        }
        for v in (0..cols).step_by(lanes) {
            for row in (0..rows).step_by(lanes) {
                let here = lanes.min(rows - row);
                let mut block = [T::splat(s, T::ZERO); MOST_LANES];
                for (r, register) in block.iter_mut().enumerate().take(here) {
                    // SAFETY: the row has whole registers.
                    *register = unsafe { sums.whole::<S>(row + r, v) };
                }
                let block = T::transpose(s, block);
                if bare {
                    for (l, &p) in block.iter().enumerate().take(lanes.min(cols - v)) {
                        let place = finish.c.place(j + v + l, i + row);
                        // SAFETY: the elements lie inside C and belong to the task.
                        unsafe { O::put(s, place, finish.c.col_stride, here, p) };
                    }
                    continue;
                }
                for (l, &p) in block.iter().enumerate().take(lanes.min(cols - v)) {
                    // SAFETY: the elements lie inside C and belong to the task.
                    unsafe { finish.store::<S, false>(s, j + v + l, i + row, here, p) };
                }
            }
        }
    }
}

impl<T: Float, O: Stored<T>> Finish<'_, T, O> {
    /// Whether neighbours in a row of C are neighbours in memory, and likewise in all that goes with C.
    fn runs_across(&self) -> bool {
        self.c.col_stride == 1
            && self.running.col_stride == 1
            && self.keep.is_none_or(|z| z.col_stride == 1)
            && self.bias.is_none_or(Beside::runs_across)
            && self.gradient_at.is_none_or(Beside::runs_across)
    }

    /// Makes of sums `p` the `count` elements of C from `(i, j)` on. If `WHOLE`, they fill a register, and neighbours in a row
    /// of C are neighbours in memory, and likewise in all that goes with C.
    ///
    /// # Safety
    /// They lie inside C, what is kept, bias and the gradient's operand, and belong to the calling task.
    #[inline(always)]
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "one condition covers all of these elements"
    )]
    unsafe fn store<S: Simd, const WHOLE: bool>(
        &self,
        s: S,
        i: usize,
        j: usize,
        count: usize,
        p: T::V<S>,
    ) {
        let (alpha, zero) = (T::splat(s, self.alpha), T::splat(s, T::ZERO));
        let (c, running) = (self.c, self.running);
        let stride = |stride: usize| if WHOLE { 1 } else { stride };
        let p = if self.unsigned { T::add(s, p, zero) } else { p };
        let count = if WHOLE { T::lanes::<S>() } else { count };
        // SAFETY: the caller vouches for all of these elements.
        unsafe {
            let mut r = if self.first {
                let old = self.beta.map(|beta| {
                    T::mul(
                        s,
                        T::splat(s, beta),
                        O::fetch(s, c.place(i, j), stride(c.col_stride), count),
                    )
                });
                match (old, self.empty) {
                    (None, false) => T::mul(s, alpha, p),
                    (Some(old), false) => T::mul_add(s, alpha, p, old),
                    (old, true) => old.unwrap_or(zero),
                }
            } else {
                let old = T::fetch(s, running.place(i, j), stride(running.col_stride), count);
                T::mul_add(s, alpha, p, old)
            };
            if !self.last {
                return T::put(s, running.place(i, j), stride(running.col_stride), count, r);
            }
            if let Some(bias) = self.bias {
                let (bias, apart) = bias.place(i, j);
                r = T::add(s, r, T::fetch(s, bias, stride(apart), count));
            }
            if let Some(keep) = self.keep {
                O::put(s, keep.place(i, j), stride(keep.col_stride), count, r);
            }
            if self.relu {
                r = T::select(s, T::less_or_equal(s, r, zero), zero, r);
            }
            if let Some(y) = self.gradient_at {
                let (y, apart) = y.place(i, j);
                let y = O::fetch(s, y, stride(apart), count);
                r = T::select(s, T::less_or_equal(s, y, zero), zero, r);
            }
            O::put(s, c.place(i, j), stride(c.col_stride), count, r);
        }
    }
}
