//! Asking for a cache line ahead of its use.

/// Asks for the cache line of `place` ahead of its use: in the nearest cache, or, if `FAR`, in the next. Any address will
/// do: nothing is read.
#[inline(always)]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "one of the two is run")]
pub(crate) fn prefetch<T, const FAR: bool>(place: *const T) {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse", not(miri)))]
    // SAFETY: the instruction is there (SSE), and has no effect but on the caches, at any address.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        if FAR {
            _mm_prefetch::<_MM_HINT_T1>(place.cast());
        } else {
            _mm_prefetch::<_MM_HINT_T0>(place.cast());
        }
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: the instruction has no effect but on the caches, at any address.
    unsafe {
        if FAR {
            core::arch::asm!("prfm pldl2keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
        } else {
            core::arch::asm!("prfm pldl1keep, [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
        }
    }
    #[cfg(any(miri, not(any(all(target_arch = "x86_64", target_feature = "sse"), target_arch = "aarch64"))))]
    let _ = place;
}

/// Asks for `x` ahead of its use, in the nearest cache: for what is read next, from a place that no processor can guess, such as the
/// next rows of a shuffled batch.
pub fn prefetch_slice<T>(x: &[T]) {
    x.chunks((64 / size_of::<T>().max(1)).max(1)).for_each(|line| prefetch::<_, false>(line.as_ptr()));
}
