//! Prefetch instructions.

/// Prefetches the cache line of `address` into L1, or into L2 if `FAR`. Any address is allowed:
/// nothing is read.
#[inline(always)]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "one of the two is run")]
pub(crate) fn prefetch<T, const FAR: bool>(address: *const T) {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse", not(miri)))]
    // SAFETY: the `cfg` above requires SSE. A prefetch does not access memory, whatever the
    // address.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        if FAR {
            _mm_prefetch::<_MM_HINT_T1>(address.cast());
        } else {
            _mm_prefetch::<_MM_HINT_T0>(address.cast());
        }
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: every AArch64 has the instruction. It does not access memory, whatever the address.
    unsafe {
        if FAR {
            core::arch::asm!(
                "prfm pldl2keep, [{}]",
                in(reg) address,
                options(nostack, preserves_flags, readonly)
            );
        } else {
            core::arch::asm!(
                "prfm pldl1keep, [{}]",
                in(reg) address,
                options(nostack, preserves_flags, readonly)
            );
        }
    }
    #[cfg(any(
        miri,
        not(any(all(target_arch = "x86_64", target_feature = "sse"), target_arch = "aarch64"))
    ))]
    let _ = address;
}

/// Prefetches `x` into L1: for data that is read next from an address that the hardware cannot
/// predict, such as the next rows of a shuffled batch.
pub fn prefetch_slice<T>(x: &[T]) {
    x.chunks((64 / size_of::<T>().max(1)).max(1))
        .for_each(|line| prefetch::<_, false>(line.as_ptr()));
}
