//! Test support of all kernels: every executor and instruction set, and the comparison of bits.

use proptest::prelude::ProptestConfig;

use kernels::{Cpu, Executor, Float, Isa};

/// An executor with real threads, spawned for each run.
pub(crate) struct Threads(pub(crate) usize);

impl Executor for Threads {
    fn threads(&self) -> usize {
        self.0
    }
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let Self(threads) = *self;
        std::thread::scope(|scope| {
            for first in 0..threads {
                scope.spawn(move || (first..tasks).step_by(threads).for_each(task));
            }
        });
    }
}

/// Interval of the sampled cases, `EVENKEEL_SAMPLE=N`: one in N. 1 takes all.
fn interval() -> usize {
    let n = std::env::var("EVENKEEL_SAMPLE");
    n.map_or(1, |n| n.parse().ok().filter(|&n| n > 0).expect("EVENKEEL_SAMPLE is at least 1"))
}

/// Returns all `cases`, or one in N of them, beginning with the first.
pub(crate) fn sample<C>(cases: impl IntoIterator<Item = C>) -> impl Iterator<Item = C> {
    cases.into_iter().step_by(interval())
}

/// `true` if operands of `len` elements are tested: any, or at most 1000 where cases are sampled.
pub(crate) fn takes(len: usize) -> bool {
    len <= 1000 || interval() == 1
}

/// One in N of `cases` random cases that a loop draws, at least one.
pub(crate) fn share(cases: usize) -> usize {
    cases.div_ceil(interval())
}

/// Number of random cases to draw of `cases`: at least one.
pub(crate) fn draws(cases: u32) -> ProptestConfig {
    ProptestConfig::with_cases((cases / interval() as u32).max(1))
}

/// Every instruction set of this machine, on one thread and on three. The first is the reference.
pub(crate) fn cpus() -> impl Iterator<Item = Cpu<'static>> {
    Isa::available().flat_map(|isa| [Cpu::serial(isa), Cpu::new(isa, &Threads(3))])
}

/// The bits of `x`, with one value for all NaN, for comparisons.
pub(crate) fn bits<T: Float>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| if x.to_f64().is_nan() { u64::MAX } else { x.to_f64().to_bits() }).collect()
}

/// Asserts that every instruction set and number of threads gives the same bits; returns them.
pub(crate) fn same_on_every_cpu<R: PartialEq + core::fmt::Debug>(
    mut run: impl FnMut(Cpu<'_>) -> R,
) -> R {
    let mut cpus = cpus();
    let first = cpus.next().map(&mut run).expect("`scalar` is always there");
    for cpu in cpus {
        assert!(run(cpu) == first, "{cpu:?} differs from {:?}", Isa::available().next());
    }
    first
}

/// Asserts that `gradient` is the gradient of `loss` at `x`, by central differences of fourth
/// order: the error `|a - n| / max(|a|, |n|, 1e-3 max|a|)` stays below 1e-7.
pub(crate) fn centred_difference(x: &[f64], gradient: &[f64], mut loss: impl FnMut(&[f64]) -> f64) {
    let largest = gradient.iter().fold(0.0_f64, |m, g| m.max(g.abs()));
    let step = 1e-3;
    let mut moved = x.to_vec();
    for (i, &analytic) in sample(gradient.iter().enumerate()) {
        let mut at = |offset: f64| {
            moved[i] = x[i] + offset * step;
            let value = loss(&moved);
            moved[i] = x[i];
            value
        };
        let numeric = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * step);
        let error =
            (analytic - numeric).abs() / analytic.abs().max(numeric.abs()).max(1e-3 * largest);
        assert!(error < 1e-7, "element {i}: {analytic} against {numeric}, error {error:e}");
    }
}
