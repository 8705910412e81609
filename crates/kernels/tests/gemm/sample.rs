//! Sampling of test cases on emulated processors, where each case takes long.

use std::cell::Cell;
use std::sync::OnceLock;

/// Returns `true` if this case is checked: every case, or with `EVENKEEL_SAMPLE=N` one in N of each test.
pub(crate) fn takes_case() -> bool {
    static EVERY: OnceLock<usize> = OnceLock::new();
    thread_local!(static CASES: Cell<usize> = const { Cell::new(0) });
    let every = *EVERY.get_or_init(|| match std::env::var("EVENKEEL_SAMPLE") {
        Err(_) => 1,
        Ok(n) => {
            n.parse().ok().filter(|&n| n > 0).expect("EVENKEEL_SAMPLE is a number of at least 1")
        }
    });
    // A test runs on a thread of its own.
    CASES.replace(CASES.get() + 1).is_multiple_of(every)
}
