//! Sampling of test cases on emulated processors, where each case takes long.

use std::cell::Cell;
use std::sync::OnceLock;

/// Interval of the sampled cases, `EVENKEEL_SAMPLE=N`: one in N. 1 takes all.
pub(crate) fn interval() -> usize {
    static INTERVAL: OnceLock<usize> = OnceLock::new();
    *INTERVAL.get_or_init(|| match std::env::var("EVENKEEL_SAMPLE") {
        Err(_) => 1,
        Ok(n) => {
            n.parse().ok().filter(|&n| n > 0).expect("EVENKEEL_SAMPLE is a number of at least 1")
        }
    })
}

/// Returns all `cases`, or one in N of them, from the first on: for cases that are not checked by
/// `Case::check`, which samples by itself.
pub(crate) fn sample<C>(cases: impl IntoIterator<Item = C>) -> impl Iterator<Item = C> {
    cases.into_iter().step_by(interval())
}

/// Returns `true` if this case is checked: one in [`interval`] of each test, from the first on.
pub(crate) fn takes_case() -> bool {
    thread_local!(static CASES: Cell<usize> = const { Cell::new(0) });
    // A test runs on a thread of its own.
    CASES.replace(CASES.get() + 1).is_multiple_of(interval())
}
