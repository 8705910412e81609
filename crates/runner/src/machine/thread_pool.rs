//! Fork-join thread pool for kernels. Its threads spin for a while before they sleep.
//!
//! A training step of a small network takes a tenth of a millisecond and has several parallel
//! regions, so that the overhead of one has to be about a microsecond. Waking a sleeping thread
//! takes tens of microseconds. Threads therefore spin for a while after their last job:
//!
//! ```text
//! each thread:  loop { a job in rayon's queues?  run it
//!                      none for SPIN_TIME?       sleep until the next region or entering caller }
//! run(tasks):   join( wake sleepers; claim tasks until none is left; wait for tasks of others,
//!                     on up to `helpers` other threads: claim tasks until none is left )
//! ```
//!
//! Tasks are claimed one by one from a counter. A thread that arrives late, because it slept or
//! lost its core to another program, finds fewer tasks left. If none arrives, the caller runs all
//! tasks.
//!
//! Lending a closure on the caller's stack to a thread that outlives the call takes unsafe code.
//! This pool uses rayon's `join` for it, which allocates nothing and is proven by wide use;
//! `rayon-core` brings three small crates. Rayon alone is not enough, since its threads sleep after
//! some ten microseconds.
//!
//! Measured on two cores, two tasks of 20 µs after 50 µs of serial work, relative to this pool:
//!
//! | pool | time | remarks |
//! |---|---|---|
//! | rayon's `join`, inside its pool | 1.2 to 1.7 | |
//! | rayon's `join`, from outside | 1.3 | |
//! | paralight | 1.5 to 1.8 | allocates |
//! | scoped threads, started each time | 2.3 | |
//! | chili | | offers work every 100 µs: too rarely to share any |
//! | spindle | 0.9 to 1 | rayon with a barrier, a process-wide spin limit, 13 more crates |
//! | fork_union | 0.9 to 1 | C++; is borrowed mutably; keeps a core busy while it lives |
//!
//! Used wherever a [`kernels::Cpu`] is created: by the training loop, and by the commands that
//! evaluate or measure.

use std::fmt;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use kernels::{Executor, Serial};
use rayon_core::{ThreadPoolBuilder, Yield};

/// Time that a thread spins before it sleeps. Longer than the serial parts of a training step
/// (gathering a batch takes tens of microseconds), short enough that an idle pool costs nothing.
const SPIN_TIME: Duration = Duration::from_micros(200);

/// Polls for work between two reads of the clock: some ten microseconds.
const POLLS_PER_CLOCK_READ: u32 = 32;

/// Polls for the end of the last tasks before the caller yields its core: some ten microseconds,
/// after which the thread that claimed a task has probably lost its core.
const POLLS_BEFORE_YIELD: u32 = 512;

/// Pool of threads on which kernels run their tasks.
///
/// ```
/// use kernels::{Cpu, Isa};
/// use runner::machine::thread_pool::ThreadPool;
///
/// let pool = ThreadPool::new(2)?;
/// let largest = pool.enter(|| {
///     let cpu = Cpu::new(Isa::detect(), &pool);
///     // Train with `cpu` here.
///     cpu.executor.threads()
/// });
/// assert_eq!(largest, 2);
/// # Ok::<(), runner::machine::thread_pool::ThreadPoolError>(())
/// ```
#[derive(Debug)]
pub struct ThreadPool {
    /// `None` for a pool of one thread, the caller's.
    inner: Option<Inner>,
}

impl ThreadPool {
    /// Largest number of threads of a pool; a larger number is taken for a mistake.
    pub const MAX_THREADS: usize = 1024;

    /// Creates a pool in which up to `threads` threads run tasks concurrently. With one thread,
    /// tasks run on the caller's, and none is spawned.
    ///
    /// # Errors
    /// If `threads` is 0 or above [`MAX_THREADS`](Self::MAX_THREADS), or the system refuses to
    /// start threads.
    pub fn new(threads: usize) -> Result<Self, ThreadPoolError> {
        match threads {
            0 => Err(ThreadPoolError::NoThreads),
            1 => Ok(Self { inner: None }),
            2..=Self::MAX_THREADS => Ok(Self { inner: Some(Inner::new(threads)?) }),
            _ => Err(ThreadPoolError::TooManyThreads { got: threads }),
        }
    }

    /// Runs `program` on a thread of the pool and returns its result; a panic in it reaches the
    /// caller.
    ///
    /// A program with many parallel regions should run inside. [`run`](Executor::run) from outside
    /// gives the same results, but each call waits until a thread of the pool takes it over: tens
    /// of microseconds and, now and then, an allocation. A pool is meant for one program at a time:
    /// a program that waits for its tasks may have to run another one that has entered.
    pub fn enter<R: Send>(&self, program: impl FnOnce() -> R + Send) -> R {
        match &self.inner {
            Some(inner) => inner.enter(program),
            None => program(),
        }
    }
}

/// Inside [`ThreadPool::enter`], a call allocates nothing, and the caller runs tasks too.
impl Executor for ThreadPool {
    fn threads(&self) -> usize {
        self.inner.as_ref().map_or(1, |inner| inner.shared.workers.len())
    }

    /// Calls `task(i)` once for each `i` in `0..tasks`, and returns when all calls have returned.
    ///
    /// A task may call `run`. Tasks must not wait for one another: all may run on the same thread.
    ///
    /// # Panics
    /// If a task panics: with that panic, after every thread has finished its tasks of this call.
    /// The other tasks run nevertheless, unless more than one panics.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        match &self.inner {
            Some(inner) if tasks > 1 => inner.run(tasks, task),
            _ => Serial.run(tasks, task),
        }
    }
}

/// Failure to create a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThreadPoolError {
    /// The requested number of threads is zero.
    NoThreads,
    /// The requested number of threads is above [`ThreadPool::MAX_THREADS`].
    TooManyThreads {
        /// Requested number of threads.
        got: usize,
    },
    /// The system refused to start the threads.
    Refused {
        /// Requested number of threads.
        threads: usize,
        /// Error of the system.
        reason: String,
    },
}

impl fmt::Display for ThreadPoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = ThreadPool::MAX_THREADS;
        match self {
            Self::NoThreads => {
                write!(
                    f,
                    "threads: expected 1 to {max}, got 0; use 1 to work on the calling thread alone"
                )
            }
            Self::TooManyThreads { got } => {
                write!(
                    f,
                    "threads: expected 1 to {max}, got {got}; more threads than cores gain nothing"
                )
            }
            Self::Refused { threads, reason } => {
                write!(f, "threads: the system refused to start {threads} ({reason}); use fewer")
            }
        }
    }
}

impl std::error::Error for ThreadPoolError {}

/// Threads of a pool of two or more.
#[derive(Debug)]
struct Inner {
    threads: rayon_core::ThreadPool,
    shared: Arc<Shared>,
}

impl Inner {
    fn new(threads: usize) -> Result<Self, ThreadPoolError> {
        let shared = Arc::new(Shared::new(threads));
        let threads = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("evenkeel-{index}"))
            .build()
            .map_err(|error| ThreadPoolError::Refused { threads, reason: error.to_string() })?;
        let state = Arc::clone(&shared);
        threads.spawn_broadcast(move |context| state.run_worker(context.index()));
        Ok(Self { threads, shared })
    }

    fn enter<R: Send>(&self, program: impl FnOnce() -> R + Send) -> R {
        if self.threads.current_thread_index().is_some() {
            return program();
        }
        self.shared.entering.fetch_add(1, Ordering::SeqCst);
        self.shared.wake(self.shared.workers.len());
        self.threads.install(|| {
            self.shared.entering.fetch_sub(1, Ordering::SeqCst);
            program()
        })
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let helpers = self.shared.workers.len().min(tasks) - 1;
        let region =
            Region { tasks, task, claimed: AtomicUsize::new(0), ended: AtomicUsize::new(0) };
        self.enter(|| {
            rayon_core::join(
                || {
                    self.shared.wake(helpers);
                    region.work();
                    region.wait();
                },
                || region.help(helpers),
            );
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.wake(self.shared.workers.len());
    }
}

/// Parallel region: one call of [`ThreadPool::run`](Executor::run), with its progress.
struct Region<'a> {
    tasks: usize,
    task: &'a (dyn Fn(usize) + Sync),
    /// Number of claimed tasks; above `tasks` once a thread has found none left.
    claimed: AtomicUsize,
    /// Number of tasks that have returned or panicked.
    ended: AtomicUsize,
}

impl Region<'_> {
    /// Runs tasks until none is left to claim.
    fn work(&self) {
        loop {
            let index = self.claimed.fetch_add(1, Ordering::Relaxed);
            if index >= self.tasks {
                return;
            }
            let _ending = Ending(&self.ended);
            (self.task)(index);
        }
    }

    /// Calls [`work`](Self::work) on up to `helpers` threads, those that rayon finds idle.
    fn help(&self, helpers: usize) {
        if self.claimed.load(Ordering::Relaxed) >= self.tasks {
            return;
        }
        if helpers <= 1 {
            return self.work();
        }
        let half = helpers / 2;
        rayon_core::join(|| self.help(half), || self.help(helpers - half));
    }

    /// Waits until every task has ended. All are claimed by now, so none needs this thread.
    ///
    /// `join` would wait too, but its thread sleeps as soon as the load is uneven.
    fn wait(&self) {
        let mut polls = 0;
        while self.ended.load(Ordering::Acquire) < self.tasks {
            if polls < POLLS_BEFORE_YIELD {
                polls += 1;
                spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

/// Counts a task as ended when dropped, even if the task panics.
struct Ending<'a>(&'a AtomicUsize);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// State shared by the threads of a pool.
#[derive(Debug)]
struct Shared {
    workers: Box<[Worker]>,
    /// Number of callers that wait for a thread to enter.
    entering: AtomicUsize,
    /// `true` once the pool is being dropped.
    closed: AtomicBool,
}

/// One thread of the pool.
#[derive(Debug, Default)]
struct Worker {
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
}

impl Shared {
    fn new(threads: usize) -> Self {
        Self {
            workers: (0..threads).map(|_| Worker::default()).collect(),
            entering: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Main loop of thread `index`: runs jobs from rayon's queues until the pool closes.
    fn run_worker(&self, index: usize) {
        let worker = &self.workers[index];
        worker.thread.get_or_init(thread::current);
        while !self.closed.load(Ordering::SeqCst) {
            self.spin();
            self.sleep(worker);
        }
    }

    /// Runs jobs until there has been none for [`SPIN_TIME`]. Yields the core between polls.
    fn spin(&self) {
        let mut idle_since = Instant::now();
        let mut polls = 0;
        while !self.closed.load(Ordering::Relaxed) {
            if rayon_core::yield_now() == Some(Yield::Executed) {
                (idle_since, polls) = (Instant::now(), 0);
                continue;
            }
            thread::yield_now();
            polls += 1;
            if polls % POLLS_PER_CLOCK_READ == 0 && idle_since.elapsed() > SPIN_TIME {
                return;
            }
        }
    }

    /// Sleeps until [`wake`](Self::wake) is called, unless a last poll finds work.
    fn sleep(&self, worker: &Worker) {
        // This thread sets the flag, then polls; the caller of `wake` queues its job, then reads
        // the flag. With a sequentially consistent fence between the two on either side, at least
        // one thread sees the other's write.
        worker.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let needed =
            self.entering.load(Ordering::Relaxed) > 0 || self.closed.load(Ordering::Relaxed);
        if needed || rayon_core::yield_now() == Some(Yield::Executed) {
            worker.asleep.store(false, Ordering::Relaxed);
            return;
        }
        while worker.asleep.load(Ordering::Acquire) {
            thread::park();
        }
    }

    /// Wakes up to `count` threads. Costs one fence, and one read per thread, if none sleeps.
    fn wake(&self, count: usize) {
        fence(Ordering::SeqCst);
        self.workers
            .iter()
            .filter(|worker| {
                worker.asleep.load(Ordering::Relaxed) && worker.asleep.swap(false, Ordering::AcqRel)
            })
            .filter_map(|worker| worker.thread.get())
            .take(count)
            .for_each(Thread::unpark);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;

    use super::*;

    /// Timeout of [`eventually`]: only a failing test reaches it.
    const TIMEOUT: Duration = Duration::from_secs(20);

    fn pool(threads: usize) -> ThreadPool {
        ThreadPool::new(threads).expect("a pool of a few threads")
    }

    fn eventually(condition: impl Fn() -> bool) -> bool {
        let start = Instant::now();
        while !condition() {
            if start.elapsed() > TIMEOUT {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn busy(time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            spin_loop();
        }
    }

    fn all_threads_sleep(pool: &ThreadPool) -> bool {
        let asleep = |worker: &Worker| worker.asleep.load(Ordering::Relaxed);
        pool.inner.as_ref().is_some_and(|inner| inner.shared.workers.iter().all(asleep))
    }

    /// Runs `tasks` tasks and returns how often each ran.
    fn counts(pool: &ThreadPool, tasks: usize) -> Vec<usize> {
        let runs: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(tasks, &|i| _ = runs[i].fetch_add(1, Ordering::Relaxed));
        runs.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_task_runs_once() {
        for threads in [1, 2, 3, 4, 7] {
            let pool = pool(threads);
            assert_eq!(pool.threads(), threads);
            for tasks in [0, 1, 2, 7, 1000] {
                let once = vec![1; tasks];
                for _ in 0..20 {
                    assert_eq!(
                        counts(&pool, tasks),
                        once,
                        "{tasks} tasks on {threads} threads, from outside"
                    );
                    let inside = pool.enter(|| counts(&pool, tasks));
                    assert_eq!(inside, once, "{tasks} tasks on {threads} threads, from inside");
                }
            }
        }
    }

    #[test]
    fn one_thread_is_the_callers() {
        let pool = pool(1);
        let caller = thread::current().id();
        assert_eq!(pool.enter(|| thread::current().id()), caller);
        pool.run(3, &|_| assert_eq!(thread::current().id(), caller));
        assert!(pool.inner.is_none(), "nothing is spawned");
    }

    #[test]
    fn nested_use_ends() {
        for threads in [2, 3] {
            let pool = pool(threads);
            let leaves = AtomicUsize::new(0);
            pool.run(5, &|_| {
                pool.run(5, &|_| {
                    pool.enter(|| pool.run(5, &|_| _ = leaves.fetch_add(1, Ordering::Relaxed)));
                });
            });
            assert_eq!(leaves.into_inner(), 125);
        }
    }

    #[test]
    fn several_callers_can_enter() {
        let pool = pool(2);
        thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        assert_eq!(pool.enter(|| counts(&pool, 7)), [1; 7]);
                        assert_eq!(counts(&pool, 7), [1; 7]);
                    }
                });
            }
        });
    }

    #[test]
    fn sleeping_threads_are_woken_for_tasks() {
        let pool = pool(3);
        for _ in 0..3 {
            assert!(eventually(|| all_threads_sleep(&pool)), "an idle pool goes to sleep");
            let shared = || {
                let threads = Mutex::new(HashSet::new());
                let count = || threads.lock().expect("no task panics").len();
                pool.run(3, &|_| {
                    threads.lock().expect("no task panics").insert(thread::current().id());
                    // Other programs may keep a thread from its core for a while.
                    let start = Instant::now();
                    while count() < 3 && start.elapsed() < Duration::from_millis(500) {
                        busy(Duration::from_micros(50));
                    }
                });
                threads.into_inner().expect("no task panics").len() == 3
            };
            assert!(pool.enter(|| eventually(shared)), "three threads run three tasks");
        }
    }

    /// Calls `run` just as the threads fall asleep: a lost wake-up would block the caller.
    #[test]
    fn no_wake_up_is_lost() {
        let pool = pool(2);
        for pause in 0..400 {
            busy(Duration::from_micros(pause));
            assert_eq!(counts(&pool, 2), [1; 2]);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_survives() {
        for threads in [1, 2, 3] {
            let pool = pool(threads);
            for failing in [0, 1, 6] {
                let panic = catch_unwind(AssertUnwindSafe(|| {
                    pool.run(7, &|i| {
                        busy(Duration::from_micros(20));
                        // Without the message that a panic hook prints.
                        if i == failing {
                            std::panic::resume_unwind(Box::new("task failed"));
                        }
                    });
                }))
                .expect_err("the caller panics");
                assert_eq!(panic.downcast_ref(), Some(&"task failed"));
                assert_eq!(counts(&pool, 7), [1; 7]);
            }
            let panic = catch_unwind(AssertUnwindSafe(|| {
                pool.enter(|| std::panic::resume_unwind(Box::new("program failed")));
            }))
            .expect_err("the caller panics");
            assert_eq!(panic.downcast_ref(), Some(&"program failed"));
            assert_eq!(counts(&pool, 7), [1; 7]);
        }
    }

    /// Checks the documentation of `run`: one panic, on any thread, stops no other task.
    #[test]
    fn one_panic_stops_no_other_task() {
        let pool = pool(2);
        for on_caller in [true, false] {
            // Returns `true` if a task ran, and panicked, on the chosen thread.
            let panicked = || {
                let caller = thread::current().id();
                let (runs, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    pool.run(20, &|_| {
                        runs.fetch_add(1, Ordering::Relaxed);
                        busy(Duration::from_micros(50));
                        let here = (thread::current().id() == caller) == on_caller;
                        if here && !failed.swap(true, Ordering::Relaxed) {
                            std::panic::resume_unwind(Box::new("task failed"));
                        }
                    });
                }));
                assert_eq!(caught.is_err(), failed.into_inner());
                assert_eq!(runs.into_inner(), 20, "panic on the caller: {on_caller}");
                caught.is_err()
            };
            assert!(pool.enter(|| eventually(panicked)), "a task runs on either thread");
        }
    }

    #[test]
    fn threads_end_with_the_pool() {
        let asleep = pool(3);
        assert!(eventually(|| all_threads_sleep(&asleep)));
        for pool in [asleep, pool(3)] {
            let shared = Arc::downgrade(&pool.inner.as_ref().expect("three threads").shared);
            drop(pool);
            assert!(eventually(|| shared.upgrade().is_none()), "every thread has ended");
        }
    }

    #[test]
    fn invalid_numbers_of_threads_are_errors() {
        let none = ThreadPool::new(0).expect_err("no thread");
        assert_eq!(none, ThreadPoolError::NoThreads);
        assert_eq!(
            none.to_string(),
            "threads: expected 1 to 1024, got 0; use 1 to work on the calling thread alone"
        );
        let got = ThreadPool::MAX_THREADS + 1;
        assert_eq!(
            ThreadPool::new(got).expect_err("too many"),
            ThreadPoolError::TooManyThreads { got }
        );
    }
}
