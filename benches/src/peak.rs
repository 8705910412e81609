//! Peak of all threads together: multiply-adds alone.

use std::time::Duration;

use kernels::{Executor, Isa, peak};
use runner::machine::thread_pool::ThreadPool;
use runner::machine::timing::repeat;

use crate::element::Element;

/// Rounds per call: tens of microseconds.
const ROUNDS: u64 = 4096;

/// The fastest instruction of an instruction set for products of a type, on all threads.
#[derive(Debug)]
pub struct Peak {
    isa: Isa,
    pool: ThreadPool,
    /// Runs this many rounds on one thread and returns the number of operations.
    chains: fn(Isa, u64) -> u64,
    name: &'static str,
}

impl Peak {
    /// Peak for products of `T`: that of f32 if `isa` has no instruction for pairs of bf16.
    pub fn new<T: Element>(threads: usize, isa: Isa) -> Self {
        let pairs: fn(Isa, u64) -> u64 =
            |isa, rounds| peak::pair_chains(isa, rounds).unwrap_or_default();
        let has_pairs = T::NAME == "bf16" && pairs(isa, 1) > 0;
        let (chains, name) =
            if has_pairs { (pairs, "bf16 peak") } else { (peak::fma_chains as _, "FMA peak") };
        Self {
            isa,
            pool: ThreadPool::new(threads).expect("a pool of that many threads"),
            chains,
            name,
        }
    }

    /// Name of the peak: bf16 or FMA.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Additions and multiplications of one call, on all threads together.
    pub fn flop(&self) -> f64 {
        (self.chains)(self.isa, ROUNDS) as f64 * self.pool.threads() as f64
    }

    /// Time of `times` calls, on all threads together.
    pub fn time(&self, times: u32) -> Duration {
        let rounds = u64::from(times) * ROUNDS;
        repeat(1, || self.pool.run(self.pool.threads(), &|_| _ = (self.chains)(self.isa, rounds)))
    }
}
