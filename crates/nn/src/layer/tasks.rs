//! Work dealt out to threads, each of which works alone on the rows that it gets. Used by layers whose rows are apart from each other.

use kernels::Cpu;

use crate::Error;

/// Calls `task` with each of `items`, on as many threads; each works alone.
pub(super) fn spread<I: Send>(
    cpu: Cpu<'_>,
    items: impl Iterator<Item = I> + Send,
    task: impl Fn(Cpu<'_>, I) -> Result<(), kernels::Error> + Sync,
) -> Result<(), Error> {
    let mut all = Ok(());
    cpu.in_order(items, |item| task(Cpu::serial(cpu.isa), item), |result| all = all.and(result));
    Ok(all?)
}

/// `parts`, each cut into `count` pieces of `len` elements, the last ones shorter: the first pieces of all, the second ones, and so on.
pub(super) fn deal<T, const N: usize>(
    mut parts: [&mut [T]; N],
    len: usize,
    count: usize,
) -> impl Iterator<Item = [&mut [T]; N]> {
    (0..count).map(move |_| {
        parts.each_mut().map(|part| part.split_off_mut(..len.min(part.len())).unwrap_or_default())
    })
}
