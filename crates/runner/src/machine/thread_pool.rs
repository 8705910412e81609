//! The threads that kernels run their tasks on: a fork-join pool that stays awake while there is work.
//!
//! A training step of a small network takes a tenth of a millisecond and forks several times, so that a fork has
//! to cost about a microsecond. A sleeping thread is far from that: to wake it takes tens. The pool therefore
//! keeps its threads looking for work for a while after the last they found, and only then lets them sleep:
//!
//! ```text
//! each thread:  loop { a job in rayon's queues?  run it
//!                      none for LINGER?          sleep until the next fork or guest }
//! run(tasks):   join( wake sleepers; claim tasks until none is left; wait for those that others claimed,
//!                     the same claiming, for whoever is free to take it )
//! ```
//!
//! Tasks are claimed one by one from a counter. A thread that comes late, because it slept or because another
//! program has its core, finds fewer tasks left; if none comes, the caller runs them all.
//!
//! Lending a closure that lives on the caller's stack to a thread that outlives the call cannot be written in
//! safe Rust, so the lending is rayon's `join`. It allocates nothing, is proven by wide use, and `rayon-core`
//! brings three small crates. Rayon alone is not enough, since its threads go to sleep after some ten microseconds.
//! Measured side by side on two cores, for two tasks of 20 µs after 50 µs of serial work: rayon's `join` from
//! inside its pool took 1.2 to 1.7 times as long as this pool, from outside 1.3 times, paralight (which allocates)
//! 1.5 to 1.8 times, a scope of fresh threads 2.3 times. chili offers its work too rarely (every 100 µs) for any
//! of it to be shared. spindle and fork_union are as fast as this pool or faster by a tenth: the first builds on
//! rayon with a barrier of its own, a process-wide limit for spinning and thirteen more crates, the second is C++, must
//! be borrowed mutably, and keeps a core busy for as long as it lives.
//!
//! Called by whatever builds a [`kernels::Cpu`]: the training loop, and the commands that evaluate or measure.

use std::fmt;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use kernels::{Executor, Serial};
use rayon_core::{ThreadPoolBuilder, Yield};

/// How long a thread looks for work before it sleeps. Longer than the serial stretches of a training step (the
/// gathering of a batch takes tens of microseconds), short enough that an idle pool costs nothing.
const LINGER: Duration = Duration::from_micros(200);

/// How often a thread looks for work between two readings of the clock: some ten microseconds' worth.
const LOOKS_PER_READING: u32 = 32;

/// How often the caller checks for the last tasks to end before it also offers its core to others: some ten
/// microseconds' worth, after which a claimant has likely lost its core.
const CHECKS_BEFORE_YIELDING: u32 = 512;

/// A pool of threads, on which kernels run their tasks.
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
/// # Ok::<(), runner::pool::ThreadPoolError>(())
/// ```
#[derive(Debug)]
pub struct ThreadPool {
    /// None for a pool of one thread, which is the caller's.
    team: Option<Team>,
}

impl ThreadPool {
    /// The largest number of threads a pool takes; more is taken for a slip.
    pub const MAX_THREADS: usize = 1024;

    /// A pool in which up to `threads` threads run tasks at the same time. One thread is the caller's own: nothing
    /// is spawned.
    ///
    /// # Errors
    /// If `threads` is 0 or above [`MAX_THREADS`](Self::MAX_THREADS), or if the system grants no more threads.
    pub fn new(threads: usize) -> Result<Self, ThreadPoolError> {
        match threads {
            0 => Err(ThreadPoolError::NoThreads),
            1 => Ok(Self { team: None }),
            2..=Self::MAX_THREADS => Ok(Self { team: Some(Team::new(threads)?) }),
            _ => Err(ThreadPoolError::TooManyThreads { got: threads }),
        }
    }

    /// Runs `program` on a thread of the pool and returns its result; a panic in it reaches the caller.
    ///
    /// A program that forks often belongs in here. [`run`](Executor::run) from elsewhere gives the same results,
    /// but each call then waits for a thread of the pool to take it over, which costs tens of microseconds and now
    /// and then an allocation. Meant for one program at a time: a program that waits for its tasks may have to sit
    /// through another that entered meanwhile.
    pub fn enter<R: Send>(&self, program: impl FnOnce() -> R + Send) -> R {
        match &self.team {
            Some(team) => team.enter(program),
            None => program(),
        }
    }
}

/// Within [`ThreadPool::enter`], a call allocates nothing and the caller takes part.
impl Executor for ThreadPool {
    fn threads(&self) -> usize {
        self.team.as_ref().map_or(1, |team| team.roster.seats.len())
    }

    /// Calls `task(i)` once for each `i` in `0..tasks`, and returns when all calls have returned.
    ///
    /// A task may itself call `run`. Tasks must not wait for one another: they may all run on one thread.
    ///
    /// # Panics
    /// If a task panics: with that panic, and not before every thread has left this call's tasks. The other tasks
    /// run nevertheless, unless more than one panics.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        match &self.team {
            Some(team) if tasks > 1 => team.run(tasks, task),
            _ => Serial.run(tasks, task),
        }
    }
}

/// Why there is no pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThreadPoolError {
    /// Zero threads were asked for.
    NoThreads,
    /// More than [`ThreadPool::MAX_THREADS`] threads were asked for.
    TooManyThreads {
        /// The number asked for.
        got: usize,
    },
    /// The system refused to start the threads.
    Refused {
        /// The number asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}

impl fmt::Display for ThreadPoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = ThreadPool::MAX_THREADS;
        match self {
            Self::NoThreads => {
                write!(
                    f,
                    "threads: expected 1 to {most}, got 0; use 1 to work on the calling thread alone"
                )
            }
            Self::TooManyThreads { got } => {
                write!(
                    f,
                    "threads: expected 1 to {most}, got {got}; more threads than cores gain nothing"
                )
            }
            Self::Refused { threads, reason } => {
                write!(f, "threads: the system refused to start {threads} ({reason}); use fewer")
            }
        }
    }
}

impl std::error::Error for ThreadPoolError {}

/// The threads of a pool of two or more.
#[derive(Debug)]
struct Team {
    threads: rayon_core::ThreadPool,
    roster: Arc<Roster>,
}

impl Team {
    fn new(threads: usize) -> Result<Self, ThreadPoolError> {
        let roster = Arc::new(Roster::new(threads));
        let threads = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("evenkeel-{index}"))
            .build()
            .map_err(|error| ThreadPoolError::Refused { threads, reason: error.to_string() })?;
        let residence = Arc::clone(&roster);
        threads.spawn_broadcast(move |context| residence.reside(context.index()));
        Ok(Self { threads, roster })
    }

    fn enter<R: Send>(&self, program: impl FnOnce() -> R + Send) -> R {
        if self.threads.current_thread_index().is_some() {
            return program();
        }
        self.roster.guests.fetch_add(1, Ordering::SeqCst);
        self.roster.wake(self.roster.seats.len());
        self.threads.install(|| {
            self.roster.guests.fetch_sub(1, Ordering::SeqCst);
            program()
        })
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let helpers = self.roster.seats.len().min(tasks) - 1;
        let region =
            Region { tasks, task, claimed: AtomicUsize::new(0), ended: AtomicUsize::new(0) };
        self.enter(|| {
            rayon_core::join(
                || {
                    self.roster.wake(helpers);
                    region.work();
                    region.wait();
                },
                || region.help(helpers),
            );
        });
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.roster.closed.store(true, Ordering::SeqCst);
        self.roster.wake(self.roster.seats.len());
    }
}

/// One call of [`ThreadPool::run`](Executor::run): its tasks, and how far they are.
struct Region<'a> {
    tasks: usize,
    task: &'a (dyn Fn(usize) + Sync),
    /// Tasks below this number have been claimed; beyond `tasks` once a thread has found none left.
    claimed: AtomicUsize,
    /// How many tasks have returned or panicked.
    ended: AtomicUsize,
}

impl Region<'_> {
    /// Runs tasks until none is left to claim.
    fn work(&self) {
        loop {
            let mine = self.claimed.fetch_add(1, Ordering::Relaxed);
            if mine >= self.tasks {
                return;
            }
            let _ending = Ending(&self.ended);
            (self.task)(mine);
        }
    }

    /// [`work`](Self::work) on up to `helpers` threads, as rayon finds them free.
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

    /// Returns when every task has ended. All are claimed by now, so that none waits for this thread.
    ///
    /// `join` would wait as well, but goes to sleep over it as soon as the shares are uneven.
    fn wait(&self) {
        let mut checks = 0;
        while self.ended.load(Ordering::Acquire) < self.tasks {
            if checks < CHECKS_BEFORE_YIELDING {
                checks += 1;
                spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

/// Counts a task as ended when dropped: also if it panics.
struct Ending<'a>(&'a AtomicUsize);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Who of the team is asleep, and what there is to stay awake for.
#[derive(Debug)]
struct Roster {
    seats: Box<[Seat]>,
    /// Programs that wait to be let in.
    guests: AtomicUsize,
    /// The pool is being dropped.
    closed: AtomicBool,
}

/// One thread of the team.
#[derive(Debug, Default)]
struct Seat {
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
}

impl Roster {
    fn new(threads: usize) -> Self {
        Self {
            seats: (0..threads).map(|_| Seat::default()).collect(),
            guests: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// The life of thread `index`: runs whatever turns up in rayon's queues until the pool closes.
    fn reside(&self, index: usize) {
        let seat = &self.seats[index];
        seat.thread.get_or_init(thread::current);
        while !self.closed.load(Ordering::SeqCst) {
            self.look();
            self.sleep(seat);
        }
    }

    /// Runs jobs until none has turned up for [`LINGER`]. Offers the core to other programs between looks.
    fn look(&self) {
        let mut idle_since = Instant::now();
        let mut looks = 0;
        while !self.closed.load(Ordering::Relaxed) {
            if rayon_core::yield_now() == Some(Yield::Executed) {
                (idle_since, looks) = (Instant::now(), 0);
                continue;
            }
            thread::yield_now();
            looks += 1;
            if looks % LOOKS_PER_READING == 0 && idle_since.elapsed() > LINGER {
                return;
            }
        }
    }

    /// Sleeps until [`wake`](Self::wake) calls, unless there turns out to be something to do.
    fn sleep(&self, seat: &Seat) {
        // First the flag, then the last look; `wake` has the job queued first, then reads the flag. With a
        // sequentially consistent fence between the two on either side, one of them sees the other.
        seat.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let expected =
            self.guests.load(Ordering::Relaxed) > 0 || self.closed.load(Ordering::Relaxed);
        if expected || rayon_core::yield_now() == Some(Yield::Executed) {
            seat.asleep.store(false, Ordering::Relaxed);
            return;
        }
        while seat.asleep.load(Ordering::Acquire) {
            thread::park();
        }
    }

    /// Wakes up to `count` threads. Costs one fence and one read a thread if none sleeps.
    fn wake(&self, count: usize) {
        fence(Ordering::SeqCst);
        self.seats
            .iter()
            .filter(|seat| {
                seat.asleep.load(Ordering::Relaxed) && seat.asleep.swap(false, Ordering::AcqRel)
            })
            .filter_map(|seat| seat.thread.get())
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

    /// Long enough for any machine; only a failing test waits for it.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn pool(threads: usize) -> ThreadPool {
        ThreadPool::new(threads).expect("a pool of a few threads")
    }

    fn eventually(condition: impl Fn() -> bool) -> bool {
        let start = Instant::now();
        while !condition() {
            if start.elapsed() > PATIENCE {
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

    fn everyone_sleeps(pool: &ThreadPool) -> bool {
        let asleep = |seat: &Seat| seat.asleep.load(Ordering::Relaxed);
        pool.team.as_ref().is_some_and(|team| team.roster.seats.iter().all(asleep))
    }

    /// How often each task ran.
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
        assert!(pool.team.is_none(), "nothing is spawned");
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
    fn several_guests_are_served() {
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
    fn tasks_are_shared_also_after_sleep() {
        let pool = pool(3);
        for _ in 0..3 {
            assert!(eventually(|| everyone_sleeps(&pool)), "an idle pool goes to sleep");
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

    /// Calls that come just as the threads fall asleep: a wake-up that got lost would leave a guest waiting.
    #[test]
    fn no_call_is_slept_through() {
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
                .expect_err("the panic arrives");
                assert_eq!(panic.downcast_ref(), Some(&"task failed"));
                assert_eq!(counts(&pool, 7), [1; 7]);
            }
            let panic = catch_unwind(AssertUnwindSafe(|| {
                pool.enter(|| std::panic::resume_unwind(Box::new("program failed")));
            }))
            .expect_err("the panic arrives");
            assert_eq!(panic.downcast_ref(), Some(&"program failed"));
            assert_eq!(counts(&pool, 7), [1; 7]);
        }
    }

    /// The promise in `run`'s "Panics": one panic, on whichever thread, stops no other task.
    #[test]
    fn one_panic_stops_no_other_task() {
        let pool = pool(2);
        for on_caller in [true, false] {
            // True once a task has run on the thread in question, and panicked there.
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
        assert!(eventually(|| everyone_sleeps(&asleep)));
        for pool in [asleep, pool(3)] {
            let roster = Arc::downgrade(&pool.team.as_ref().expect("three threads").roster);
            drop(pool);
            assert!(eventually(|| roster.upgrade().is_none()), "every thread has left its seat");
        }
    }

    #[test]
    fn impossible_numbers_are_errors() {
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
