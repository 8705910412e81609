//! Splits buffers into consecutive parts, and into chunks for parallel tasks. Used by layers that
//! save or borrow several buffers.

use kernels::Cpu;

use crate::Error;

/// The first parts of `x`, of these lengths.
pub(super) fn split<T, const N: usize>(mut x: &[T], lengths: [usize; N]) -> [&[T]; N] {
    lengths.map(|len| {
        let (part, rest) = x.split_at(len);
        x = rest;
        part
    })
}

/// The first parts of `x`, of these lengths.
pub(super) fn split_mut<T, const N: usize>(x: &mut [T], lengths: [usize; N]) -> [&mut [T]; N] {
    split_mut_rest(x, lengths).0
}

/// The first parts of `x`, of these lengths, and what is left.
pub(super) fn split_mut_rest<T, const N: usize>(
    mut x: &mut [T],
    lengths: [usize; N],
) -> ([&mut [T]; N], &mut [T]) {
    let parts = lengths.map(|len| {
        let (part, rest) = core::mem::take(&mut x).split_at_mut(len);
        x = rest;
        part
    });
    (parts, x)
}

/// Calls `task` with each of `items` in parallel; each task runs on one thread.
pub(super) fn for_each<I: Send>(
    cpu: Cpu<'_>,
    items: impl Iterator<Item = I> + Send,
    task: impl Fn(Cpu<'_>, I) -> Result<(), kernels::Error> + Sync,
) -> Result<(), Error> {
    let mut all = Ok(());
    cpu.in_order(items, |item| task(Cpu::serial(cpu.isa), item), |result| all = all.and(result));
    Ok(all?)
}

/// Splits each of `parts` into `count` chunks of `len` elements, the last ones shorter: the first
/// chunks of all parts, the second ones, and so on.
pub(super) fn split_tasks<T, const N: usize>(
    mut parts: [&mut [T]; N],
    len: usize,
    count: usize,
) -> impl Iterator<Item = [&mut [T]; N]> {
    (0..count).map(move |_| {
        parts.each_mut().map(|part| part.split_off_mut(..len.min(part.len())).unwrap_or_default())
    })
}
