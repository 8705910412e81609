//! Timing on a machine that others use too: in turn, many times, and the least of each.

use std::time::{Duration, Instant};

/// The least seconds per call of each of `calls`, over `rounds` rounds in which each is called in turn, often enough to
/// fill `slice`. Interruptions only ever add time, so the least is the nearest to the truth.
pub fn minima(calls: &mut [Box<dyn FnMut() + '_>], rounds: usize, slice: Duration) -> Vec<f64> {
    let often: Vec<u32> = calls
        .iter_mut()
        .map(|call| {
            call();
            let start = Instant::now();
            call();
            let once = start.elapsed().as_secs_f64().max(1e-9);
            (slice.as_secs_f64() / once).clamp(1.0, 1e6) as u32
        })
        .collect();
    let mut least = vec![f64::INFINITY; calls.len()];
    for _ in 0..rounds {
        for ((call, &often), least) in calls.iter_mut().zip(&often).zip(&mut least) {
            let start = Instant::now();
            for _ in 0..often {
                call();
            }
            *least = least.min(start.elapsed().as_secs_f64() / f64::from(often));
        }
    }
    least
}
