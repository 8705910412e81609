//! Parallel loops over the rows of a batch. Used by layers whose rows are independent.

use kernels::Cpu;

use crate::Error;

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
