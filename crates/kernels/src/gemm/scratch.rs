//! Scratch of a product: its length, and the slots that tasks share it in.

use core::marker::PhantomData;

use super::arithmetic::{Arithmetic, Pairs};
use super::macrokernel::task_len;
use super::shape::GemmShape;
use super::split_k;
use crate::Float;
use crate::simd::Lanes;

/// Number of elements of scratch that [`gemm`](super::gemm) needs for a product of this shape on
/// an executor of `threads` threads, on any instruction set that is compiled in.
pub const fn gemm_scratch<T: Float>(threads: usize, shape: GemmShape) -> usize {
    let GemmShape { m, n, k } = shape;
    let task = task_len::<T>(if m > n { m } else { n }, k);
    if threads < 2 { task } else { threads * (task + split_k::partials_len::<T>(shape)) }
}

/// Number of f32 of scratch that [`gemm_bf16`](super::gemm_bf16) needs for a product of this shape
/// on an executor of `threads` threads, on any instruction set that is compiled in.
pub const fn gemm_bf16_scratch(threads: usize, shape: GemmShape) -> usize {
    let partial = if shape.k > BF16_BLOCK { shape.m * shape.n } else { 0 };
    partial + gemm_with_scratch::<Pairs>(threads, shape)
}

/// Number of elements of scratch that [`gemm_with`](super::gemm_with) needs.
pub(crate) const fn gemm_with_scratch<K: Arithmetic>(threads: usize, shape: GemmShape) -> usize {
    let k = shape.k.div_ceil(K::K_PER_ELEMENT);
    gemm_scratch::<K::Acc>(threads, GemmShape { k, ..shape })
}

/// Summation block of [`gemm_bf16`](super::gemm_bf16), in values of k.
pub(super) const BF16_BLOCK: usize = Pairs::K_PER_ELEMENT * <f32 as Lanes>::KB;

/// Scratch in slots, one per task; or none.
pub(super) struct Slots<'a, T> {
    start: *mut T,
    /// Elements of a slot.
    len: usize,
    /// Maximum number of tasks. Counted once and not taken from the executor, which might return
    /// another number each time.
    count: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: `get` requires that no two threads have the same slot, and slots are disjoint.
unsafe impl<T: Send> Sync for Slots<'_, T> {}

impl<'a, T> Slots<'a, T> {
    /// Slots of `len` elements, which is not 0; empty ones if there is no scratch.
    pub(super) fn new(scratch: &'a mut [T], len: usize) -> Self {
        let (len, count) =
            if scratch.is_empty() { (0, usize::MAX) } else { (len, scratch.len() / len) };
        Self { start: scratch.as_mut_ptr(), len, count, borrowed: PhantomData }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The slot of `task`.
    ///
    /// # Safety
    /// - `task` is below [`count`](Self::count).
    /// - While the slot is in use, `get` is not called with the same `task`.
    pub(super) unsafe fn get(&self, task: usize) -> &'a mut [T] {
        debug_assert!(task < self.count);
        let slot = self.start.wrapping_add(task * self.len);
        // SAFETY: `new` has counted the slots that fit the scratch, which is borrowed for 'a, and
        // `task` is below that count. The second condition makes the slice unique.
        unsafe { core::slice::from_raw_parts_mut(slot, self.len) }
    }
}
