//! Timing on a machine that others use too: in turn, many times, and the least of each.
//!
//! Called by `evenkeel bench` and by the benchmarks.

use std::time::{Duration, Instant};

/// What is timed: does its work as often as it is told, and says how long that took.
pub type Work<'a> = Box<dyn FnMut(u32) -> Duration + 'a>;

/// How long `times` calls of `call` take.
pub fn repeat(times: u32, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..times).for_each(|_| call());
    start.elapsed()
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Each work is done often enough to fill this time when its turn comes, and at least once.
    pub slice: Duration,
    /// How many turns each gets.
    pub rounds: u32,
    /// No round begins after this time, but for the first; and a work that takes longer is done once alone.
    pub most: Duration,
}

/// The least seconds of doing each of `works` once. Interruptions only ever add time, so the least is the nearest to the
/// truth; and what slows the machine down for a while slows them all.
pub fn minima(works: &mut [Work<'_>], patience: Patience) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; works.len()];
    let often: Vec<u32> = works
        .iter_mut()
        .zip(&mut least)
        .map(|(work, least)| {
            let first = work(1);
            if first >= patience.most {
                // So slow that once is enough.
                *least = first.as_secs_f64();
                return 0;
            }
            let once = if first < patience.slice { work(1) } else { first };
            (patience.slice.as_secs_f64() / once.as_secs_f64().max(1e-9)).clamp(1.0, 1e6) as u32
        })
        .collect();
    // From here on, so that a slow work's first call takes no turns from the others.
    let start = Instant::now();
    for round in 0..patience.rounds.max(1) {
        if round > 0 && start.elapsed() > patience.most {
            break;
        }
        for ((work, &often), least) in
            works.iter_mut().zip(&often).zip(&mut least).filter(|((_, often), _)| **often > 0)
        {
            *least = least.min(work(often).as_secs_f64() / f64::from(often));
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_its_turns_and_the_least_counts() {
        let mut turns = 0_u32;
        let mut works: Vec<Work<'_>> = vec![
            Box::new(|times| {
                turns += 1;
                // Slower every time: the first of the rounds is the least.
                Duration::from_millis(u64::from(times * turns))
            }),
            Box::new(|times| Duration::from_millis(7) * times),
        ];
        let patience = Patience { slice: Duration::from_millis(7), rounds: 4, most: Duration::MAX };
        let least = minima(&mut works, patience);
        drop(works);
        assert_eq!(turns, 6);
        assert!((least[0] - 0.003).abs() < 1e-12 && (least[1] - 0.007).abs() < 1e-12, "{least:?}");
    }

    #[test]
    fn without_time_each_is_done_once() {
        let patience = Patience { slice: Duration::ZERO, rounds: 1000, most: Duration::ZERO };
        let mut calls = 0;
        minima(&mut [Box::new(|times| repeat(times, || calls += 1))], patience);
        assert_eq!(calls, 1);
    }
}
