//! Inside `ThreadPool::enter`, no call of `run` allocates, on any thread. A separate test program,
//! since its allocator counts for the whole process.

use std::alloc::System;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use kernels::Executor;
use runner::machine::thread_pool::ThreadPool;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn run_allocates_nothing() {
    let counter = Region::new(ALLOCATOR);
    drop(std::hint::black_box(Box::new(0)));
    assert!(counter.change().allocations > 0, "the allocator counts");

    for threads in [1, 2, 3] {
        let pool = ThreadPool::new(threads).expect("a pool of a few threads");
        let ran = AtomicUsize::new(0);
        let fork = || {
            pool.run(7, &|_| {
                pool.run(2, &|_| _ = ran.fetch_add(1, Ordering::Relaxed));
            });
        };
        let change = pool.enter(|| {
            // Threads allocate when they start and when they first steal a job.
            (0..1000).for_each(|_| fork());
            thread::sleep(Duration::from_millis(50));
            let counter = Region::new(ALLOCATOR);
            (0..10_000).for_each(|_| fork());
            // One more call, with sleeping threads.
            thread::sleep(Duration::from_millis(5));
            fork();
            counter.change()
        });
        assert_eq!(ran.into_inner(), 11_001 * 14);
        assert_eq!(
            (change.allocations, change.reallocations),
            (0, 0),
            "{threads} threads: {change:?}"
        );
    }
}
