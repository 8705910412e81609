//! Timing on a shared machine: several workloads in alternating rounds, and the minimum of each.
//!
//! Called by `evenkeel bench` and by the benchmarks.

use std::time::{Duration, Instant};

/// Workload: runs the given number of times and returns the elapsed time.
pub type Work<'a> = Box<dyn FnMut(u32) -> Duration + 'a>;

/// Returns the time of `times` calls of `call`.
pub fn repeat(times: u32, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..times).for_each(|_| call());
    start.elapsed()
}

/// Time limits of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Time per round of each workload, which runs at least once.
    pub slice: Duration,
    /// Number of rounds.
    pub rounds: u32,
    /// Time after which no further round begins. A workload that takes longer runs only once.
    pub most: Duration,
}

/// Returns the minimum time of a single run of each of `works`, in seconds. Interruptions only add
/// time, so the minimum is the best estimate. Alternating rounds spread slow periods of the machine
/// over all workloads.
pub fn minima(works: &mut [Work<'_>], patience: Patience) -> Vec<f64> {
    let mut minima = vec![f64::INFINITY; works.len()];
    let runs: Vec<u32> = works
        .iter_mut()
        .zip(&mut minima)
        .map(|(work, minimum)| {
            let first = work(1);
            if first >= patience.most {
                // So slow that a single run is enough.
                *minimum = first.as_secs_f64();
                return 0;
            }
            let once = if first < patience.slice { work(1) } else { first };
            (patience.slice.as_secs_f64() / once.as_secs_f64().max(1e-9)).clamp(1.0, 1e6) as u32
        })
        .collect();
    // Starts after the first calls, so that a slow one takes no rounds from the others.
    let start = Instant::now();
    for round in 0..patience.rounds.max(1) {
        if round > 0 && start.elapsed() > patience.most {
            break;
        }
        for ((work, &runs), minimum) in
            works.iter_mut().zip(&runs).zip(&mut minima).filter(|((_, runs), _)| **runs > 0)
        {
            *minimum = minimum.min(work(runs).as_secs_f64() / f64::from(runs));
        }
    }
    minima
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_workload_has_its_rounds_and_its_minimum() {
        let mut calls = 0_u32;
        let mut works: Vec<Work<'_>> = vec![
            Box::new(|times| {
                calls += 1;
                // Slower every time: the minimum is that of the first round.
                Duration::from_millis(u64::from(times * calls))
            }),
            Box::new(|times| Duration::from_millis(7) * times),
        ];
        let patience = Patience { slice: Duration::from_millis(7), rounds: 4, most: Duration::MAX };
        let minima = minima(&mut works, patience);
        drop(works);
        assert_eq!(calls, 6);
        assert!((minima[0] - 0.003).abs() < 1e-12, "{minima:?}");
        assert!((minima[1] - 0.007).abs() < 1e-12, "{minima:?}");
    }

    #[test]
    fn without_time_each_workload_runs_once() {
        let patience = Patience { slice: Duration::ZERO, rounds: 1000, most: Duration::ZERO };
        let mut calls = 0;
        minima(&mut [Box::new(|times| repeat(times, || calls += 1))], patience);
        assert_eq!(calls, 1);
    }
}
