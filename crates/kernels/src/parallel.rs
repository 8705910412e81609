//! Parallel regions (fork-join) without a dependency on threads: the caller implements
//! [`Executor`].
//!
//! A kernel splits its work into tasks that write to disjoint memory and passes them to the
//! executor. No bit of the result depends on which thread runs which task. The kernels do not trust
//! the executor: each call of the closure claims the next task from an atomic ticket. So a task
//! runs once even if the executor calls the closure too often, and the kernel runs the remaining
//! tasks itself if it calls too seldom. Where the target has no atomic compare-and-swap, the kernel
//! runs all tasks itself.

#[cfg(target_has_atomic = "ptr")]
use core::cell::UnsafeCell;
#[cfg(target_has_atomic = "ptr")]
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::Isa;

/// Runs the tasks of a parallel region, on threads of its choice.
pub trait Executor: Sync {
    /// Number of threads that may run tasks at the same time: at least 1. Kernels split their work
    /// by it.
    fn threads(&self) -> usize;

    /// Calls `task(i)` once for each `i` in `0..tasks`, in any order, on any threads, and returns
    /// when all calls have returned.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// The serial executor: runs all tasks on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Executor for Serial {
    fn threads(&self) -> usize {
        1
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// An instruction set and an executor. Every kernel takes one as its first argument.
///
/// ```
/// use kernels::{Cpu, Isa};
/// let cpu = Cpu::detect();
/// assert_eq!(cpu.isa, Isa::detect());
/// ```
#[derive(Clone, Copy)]
pub struct Cpu<'a> {
    /// The instruction set.
    pub isa: Isa,
    /// The executor of tasks.
    pub executor: &'a dyn Executor,
}

impl Cpu<'static> {
    /// The fastest instruction set of this machine, on the calling thread. Detection costs
    /// microseconds: store the result.
    pub fn detect() -> Self {
        Self::serial(Isa::detect())
    }

    /// `isa` on the calling thread.
    pub const fn serial(isa: Isa) -> Self {
        Self { isa, executor: &Serial }
    }
}

impl<'a> Cpu<'a> {
    /// `isa` on the threads of `executor`.
    pub const fn new(isa: Isa, executor: &'a dyn Executor) -> Self {
        Self { isa, executor }
    }

    /// The executor's number of threads, at least 1.
    pub fn threads(&self) -> usize {
        self.executor.threads().max(1)
    }

    /// Calls `task` with each index in `0..tasks` exactly once, whatever the executor does.
    ///
    /// "Exactly once" makes it sound for tasks to write through shared pointers to memory that
    /// their index owns.
    pub(crate) fn for_each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if tasks <= 1 || self.threads() == 1 {
            return (0..tasks).for_each(task);
        }
        self.share(tasks, task);
    }

    /// [`Self::for_each`] on the executor's threads.
    #[cfg(target_has_atomic = "ptr")]
    fn share(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let ticket = AtomicUsize::new(0);
        let claim = |_| {
            // Each index is claimed once; past the end there is nothing left to do.
            let mine = ticket.fetch_add(1, Ordering::Relaxed);
            if mine < tasks {
                task(mine);
            }
        };
        self.executor.run(tasks, &claim);
        loop {
            let left = ticket.fetch_add(1, Ordering::Relaxed);
            if left >= tasks {
                return;
            }
            task(left);
        }
    }

    /// [`Self::for_each`] on the calling thread: without an atomic ticket (Cortex-M0), an executor
    /// could run a task twice.
    #[cfg(not(target_has_atomic = "ptr"))]
    fn share(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// A queue of items: each thread takes the next one when it is idle.
#[cfg(target_has_atomic = "ptr")]
struct Queue<Items> {
    items: UnsafeCell<Items>,
    locked: AtomicBool,
}

// SAFETY: `next` alone accesses the items, and only while it holds `locked`: one thread at a time.
// That thread may not be the one that made the queue: hence `Send`.
#[cfg(target_has_atomic = "ptr")]
unsafe impl<Items: Send> Sync for Queue<Items> {}

#[cfg(target_has_atomic = "ptr")]
impl<Items: Iterator> Queue<Items> {
    fn new(items: Items) -> Self {
        Self { items: UnsafeCell::new(items), locked: AtomicBool::new(false) }
    }

    /// The next item. The lock is released even if the iterator panics, so that no other thread
    /// waits for ever.
    fn next(&self) -> Option<Items::Item> {
        while self
            .locked
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            core::hint::spin_loop();
        }
        let _release = Release(&self.locked);
        // SAFETY: this thread has set `locked`, so that no other reference to the items exists.
        unsafe { &mut *self.items.get() }.next()
    }
}

/// Releases the lock when dropped.
#[cfg(target_has_atomic = "ptr")]
struct Release<'a>(&'a AtomicBool);

#[cfg(target_has_atomic = "ptr")]
impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Cpu<'_> {
    /// Calls `task` once with each of `items`, on the executor's threads.
    ///
    /// An item is the memory that one task owns: say, a chunk of a slice for reading and the same
    /// chunk, `&mut`, of a slice for writing, as from `chunks`, `chunks_mut` and `zip`. A single
    /// item, and all items where there is one thread, run on the calling thread.
    pub(crate) fn for_each_item<I: Send>(
        self,
        items: impl Iterator<Item = I> + Send,
        task: impl Fn(I) + Sync,
    ) {
        let threads = items.size_hint().1.unwrap_or(usize::MAX).min(self.threads());
        #[cfg(target_has_atomic = "ptr")]
        if threads > 1 {
            let queue = Queue::new(items.fuse());
            return self.share_queue(threads, &|| queue.next().map(&task).is_some());
        }
        _ = threads;
        items.for_each(task);
    }

    /// Calls `task` on the executor's threads until it returns `false`: the queue is empty.
    ///
    /// However often the executor calls, each item is taken from the queue once, and the calling
    /// thread takes the remaining ones.
    #[cfg(target_has_atomic = "ptr")]
    fn share_queue(self, threads: usize, task: &(dyn Fn() -> bool + Sync)) {
        let work = || while task() {};
        self.executor.run(threads, &|_| work());
        work();
    }
}

/// Number of results that [`Cpu::in_order`] buffers. It bounds their size on the stack (a few KiB):
/// a power of two far above any number of cores that one step of training uses.
const GROUP: usize = 64;

impl Cpu<'_> {
    /// Passes the result of `task` for each of `items` to `take`, in the order of the items: a
    /// reduction whose order does not depend on threads. The tasks run on the executor's threads;
    /// each owns its item.
    ///
    /// ```
    /// use kernels::{Cpu, Error};
    /// let (mut x, mut all) = ([1.0_f32, 2.0, 3.0, 4.0], Ok(()));
    /// Cpu::detect().in_order(
    ///     x.chunks_mut(2),
    ///     |half| {
    ///         half.reverse();
    ///         Ok::<(), Error>(())
    ///     },
    ///     |result| all = all.and(result),
    /// );
    /// assert_eq!((x, all), ([2.0, 1.0, 4.0, 3.0], Ok(())));
    /// ```
    pub fn in_order<I: Send, R: Copy + Send>(
        self,
        items: impl Iterator<Item = I> + Send,
        task: impl Fn(I) -> R + Sync,
        mut take: impl FnMut(R),
    ) {
        if self.threads() == 1 {
            items.for_each(|item| take(task(item)));
        } else {
            self.share_in_order(items.fuse(), task, take);
        }
    }

    /// [`Self::in_order`] on several threads: the results are buffered on this function's stack.
    #[inline(never)]
    fn share_in_order<I: Send, R: Copy + Send>(
        self,
        mut items: impl Iterator<Item = I> + Send,
        task: impl Fn(I) -> R + Sync,
        mut take: impl FnMut(R),
    ) {
        loop {
            let mut results = [None; GROUP];
            // A `zip` advances its left side first: with the items on the left, a full buffer would
            // lose one of them.
            self.for_each_item(results.iter_mut().zip(&mut items), |(result, item)| {
                *result = Some(task(item));
            });
            let last = results[GROUP - 1].is_none();
            results.into_iter().flatten().for_each(&mut take);
            if last {
                return;
            }
        }
    }
}

impl core::fmt::Debug for Cpu<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} on {} thread(s)", self.isa, self.threads())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    /// An executor that breaks its contract: it calls the closure `calls` times, whatever was
    /// asked.
    struct Careless {
        calls: usize,
    }

    impl Executor for Careless {
        fn threads(&self) -> usize {
            4
        }
        fn run(&self, _: usize, task: &(dyn Fn(usize) + Sync)) {
            (0..self.calls).for_each(|_| task(0));
        }
    }

    #[test]
    fn every_item_is_taken_once_under_any_executor() {
        for calls in [0, 1, 7, 200] {
            for items in [0, 1, 2, GROUP - 1, GROUP, GROUP + 1, 3 * GROUP] {
                let mut seen: Vec<usize> = std::vec![0; items];
                Cpu::new(Isa::detect(), &Careless { calls })
                    .for_each_item(seen.iter_mut().enumerate(), |(i, seen)| *seen += i + 1);
                assert!(
                    seen.iter().enumerate().all(|(i, &n)| n == i + 1),
                    "{calls} calls, {items} items"
                );
            }
        }
    }

    #[test]
    fn results_have_the_order_of_their_items() {
        for calls in [0, 1, 200] {
            for items in [0, 1, GROUP - 1, GROUP, GROUP + 1, 3 * GROUP] {
                for executor in [&Careless { calls } as &dyn Executor, &Serial] {
                    let mut seen = Vec::new();
                    Cpu::new(Isa::detect(), executor).in_order(
                        0..items,
                        |i| i + 1,
                        |i| seen.push(i),
                    );
                    assert!(seen.into_iter().eq(1..=items), "{calls} calls, {items} items");
                }
            }
        }
    }

    #[test]
    fn every_task_runs_once_under_any_executor() {
        for calls in [0, 1, 7, 100] {
            for tasks in [0, 1, 2, 7] {
                let seen: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                Cpu::new(Isa::detect(), &Careless { calls })
                    .for_each(tasks, &|i| _ = seen[i].fetch_add(1, Ordering::Relaxed));
                assert!(
                    seen.iter().all(|n| n.load(Ordering::Relaxed) == 1),
                    "{calls} calls, {tasks} tasks"
                );
            }
        }
    }
}
