//! What the threads can do at most, all at once: multiply-adds, nothing else.

use std::time::Duration;

use kernels::{Executor, Isa, peak};
use runner::machine::thread_pool::ThreadPool;
use runner::machine::timing::repeat;

use crate::element::Element;

/// Rounds that count as one call: tens of microseconds.
const ROUNDS: u64 = 4096;

/// The fastest instruction for products of a type, on an instruction set, kept running by all threads.
#[derive(Debug)]
pub struct Peak {
    isa: Isa,
    pool: ThreadPool,
    /// The chains, and how many operations these rounds of them are on one thread.
    chains: fn(Isa, u64) -> u64,
    name: &'static str,
}

impl Peak {
    /// That of `T`'s products. Where `isa` has no instruction for pairs of bf16, it is that of f32.
    pub fn new<T: Element>(threads: usize, isa: Isa) -> Self {
        let pairs: fn(Isa, u64) -> u64 =
            |isa, rounds| peak::pair_chains(isa, rounds).unwrap_or_default();
        let has_pairs = T::NAME == "bf16" && pairs(isa, 1) > 0;
        let (chains, name) =
            if has_pairs { (pairs, "bf16 peak") } else { (peak::fma_chains as _, "FMA peak") };
        Self {
            isa,
            pool: ThreadPool::new(threads).expect("so many threads can be had"),
            chains,
            name,
        }
    }

    /// Which instruction it is.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Additions and multiplications of one call, of all threads together.
    pub fn flop(&self) -> f64 {
        (self.chains)(self.isa, ROUNDS) as f64 * self.pool.threads() as f64
    }

    /// How long `times` calls take, on all threads together.
    pub fn time(&self, times: u32) -> Duration {
        let rounds = u64::from(times) * ROUNDS;
        repeat(1, || self.pool.run(self.pool.threads(), &|_| _ = (self.chains)(self.isa, rounds)))
    }
}
