//! Pointers that the optimiser knows nothing about.

/// `pointer`, hidden from the optimiser: what is read through it is read again, although the same
/// elements are in registers already.
#[inline(always)]
#[cfg_attr(
    all(target_arch = "x86_64", not(miri)),
    expect(clippy::pointers_in_nomem_asm_block, reason = "nothing is read or written")
)]
pub(crate) fn opaque<T>(pointer: *const T) -> *const T {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let mut hidden = pointer;
        // SAFETY: the assembly has no instruction.
        unsafe {
            core::arch::asm!(
                "/* {0} */",
                inout(reg) hidden,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        hidden
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    pointer
}
