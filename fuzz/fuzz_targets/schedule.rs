//! Learning rate schedules over the domain of their parameters and steps: finite, in range, the
//! same bits everywhere, and within `largest`. An endless loop is a timeout.
//! `cargo +nightly fuzz run schedule`.
#![no_main]

use arbitrary::Arbitrary;
use kernels::{Cpu, Isa};
use libfuzzer_sys::fuzz_target;
use nn::{Plateau, Progress, RunLength, Schedule};

#[derive(Debug, Arbitrary)]
struct Problem {
    schedule: Kind,
    steps: Count,
    steps_per_epoch: Count,
    step: Count,
    plateau: [Number; 3],
    patience: u8,
    losses: Vec<f64>,
}

#[derive(Debug, Arbitrary)]
enum Kind {
    Constant,
    Step { every: Count, factor: Number },
    Exponential { factor: Number },
    Polynomial { power: Number, end: Number },
    Cosine { end: Number },
    CosineRestarts { epochs: Number, growth: Number, end: Number },
    Linear { end: Number },
    OneCycle { rise: Number, start: Number, end: Number },
    InverseSquareRoot { epochs: Number },
    Warmup { epochs: Number, start: Number, then: Box<Kind> },
    Sequence { epochs: Number, first: Box<Kind>, then: Box<Kind> },
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Count {
    Few(u8),
    Many(u16),
    Any(u64),
}

impl Count {
    fn get(self) -> u64 {
        match self {
            Self::Few(count) => count.into(),
            Self::Many(count) => count.into(),
            Self::Any(count) => count,
        }
    }
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Number {
    /// In units of 1/65535, 0 and 1 included.
    Share(u16),
    /// In units of 1/100.
    Hundredths(u16),
    /// `1 + 2^-exponent`.
    AboveOne(u8),
    /// `2^exponent`.
    Power(i16),
    Any(f64),
}

impl Number {
    fn get(self) -> f64 {
        match self {
            Self::Share(x) => f64::from(x) / 65535.0,
            Self::Hundredths(x) => f64::from(x) / 100.0,
            Self::AboveOne(exponent) => 1.0 + f64::powi(0.5, i32::from(exponent % 53)),
            Self::Power(exponent) => f64::powi(2.0, i32::from(exponent % 1024)),
            Self::Any(x) => x,
        }
    }
}

impl Kind {
    fn schedule(&self) -> Schedule {
        let boxed = |kind: &Self| Box::new(kind.schedule());
        match self {
            Self::Constant => Schedule::Constant,
            Self::Step { every, factor } => {
                Schedule::Step { every: every.get(), factor: factor.get() }
            }
            Self::Exponential { factor } => Schedule::Exponential { factor: factor.get() },
            Self::Polynomial { power, end } => {
                Schedule::Polynomial { power: power.get(), end: end.get() }
            }
            Self::Cosine { end } => Schedule::Cosine { end: end.get() },
            Self::CosineRestarts { epochs, growth, end } => Schedule::CosineRestarts {
                epochs: epochs.get(),
                growth: growth.get(),
                end: end.get(),
            },
            Self::Linear { end } => Schedule::Linear { end: end.get() },
            Self::OneCycle { rise, start, end } => {
                Schedule::OneCycle { rise: rise.get(), start: start.get(), end: end.get() }
            }
            Self::InverseSquareRoot { epochs } => {
                Schedule::InverseSquareRoot { epochs: epochs.get() }
            }
            Self::Warmup { epochs, start, then } => {
                Schedule::Warmup { epochs: epochs.get(), start: start.get(), then: boxed(then) }
            }
            Self::Sequence { epochs, first, then } => {
                Schedule::Sequence { epochs: epochs.get(), first: boxed(first), then: boxed(then) }
            }
        }
    }
}

/// `true` if a part multiplies by more than 1.
fn grows(schedule: &Schedule) -> bool {
    match schedule {
        Schedule::Step { factor, .. } | Schedule::Exponential { factor } => *factor > 1.0,
        Schedule::Warmup { then, .. } => grows(then),
        Schedule::Sequence { first, then, .. } => grows(first) || grows(then),
        _ => false,
    }
}

fuzz_target!(|problem: Problem| {
    let schedule = problem.schedule.schedule();
    if schedule.check().is_ok() {
        let [steps, steps_per_epoch, step] =
            [problem.steps, problem.steps_per_epoch, problem.step].map(Count::get);
        factors(&schedule, steps, steps_per_epoch, step);
        lengths(&schedule, steps, steps_per_epoch);
    }

    let [factor, min_delta, least] = problem.plateau.map(Number::get);
    let plateau = Plateau { factor, patience: problem.patience.into(), min_delta, least };
    if plateau.check().is_ok() {
        let after = |epochs: usize| plateau.factor(problem.losses[..epochs].iter().copied());
        let factors: Vec<_> = (0..=problem.losses.len().min(64)).map(after).collect();
        assert!(factors.iter().all(|factor| (least..=1.0).contains(factor)), "{factors:?}");
        assert!(factors.is_sorted_by(|before, after| before >= after), "{factors:?}");
    }
});

/// Checks the factor at `step`, at the ends of the run, and in a short run at every step.
fn factors(schedule: &Schedule, steps: u64, steps_per_epoch: u64, step: u64) {
    let cpu = Cpu::detect();
    let factor = |step| schedule.factor(cpu, Progress { step, steps, steps_per_epoch });
    let largest = schedule.largest(cpu, RunLength { steps, steps_per_epoch });
    // The power is rounded: it may be next to the bound of the last step.
    let bound = if largest > 1.0 { largest * (1.0 + 1e-12) } else { 1.0 };
    assert!(largest >= 1.0 && (largest == 1.0 || grows(schedule)), "{largest}");

    let last = steps.saturating_sub(1);
    let all = if steps <= 300 { 0..steps } else { 0..0 };
    for step in [0, step.min(last), last / 2, last].into_iter().chain(all.clone()) {
        let x = factor(step);
        assert!((0.0..=bound).contains(&x), "{schedule:?} at {step}: {x}, largest {largest}");
    }
    if !all.is_empty() {
        // The bound is the least one: some step has it, unless that is 1.
        let most = all.map(factor).fold(1.0, f64::max);
        assert!(most >= largest * (1.0 - 1e-12), "{schedule:?}: {most}, not {largest}");
    }
    // Past the end, a growing schedule continues to grow.
    let x = factor(last.saturating_add(step));
    assert!(x >= 0.0 && (x <= 1.0 || grows(schedule)), "{schedule:?} past the end: {x}");

    let progress = Progress { step, steps, steps_per_epoch };
    let bits = Isa::available().map(|isa| schedule.factor(Cpu::serial(isa), progress).to_bits());
    assert!(bits.is_sorted_by(|one, other| one == other), "{schedule:?} at {progress:?}");
}

/// Checks that a schedule that fits a run fits a longer one, in which it is no lower.
fn lengths(schedule: &Schedule, steps: u64, steps_per_epoch: u64) {
    let cpu = Cpu::detect();
    let run = |steps| RunLength { steps, steps_per_epoch };
    if schedule.check_length(run(steps)).is_err() {
        return;
    }
    let more = steps.saturating_add(steps / 2 + 1);
    assert!(schedule.check_length(run(more)).is_ok(), "{schedule:?}: {steps}, {more}");
    let [short, long] = [steps, more].map(|steps| schedule.largest(cpu, run(steps)));
    assert!(long >= short * (1.0 - 1e-12), "{schedule:?}: {short} of {steps}, {long} of {more}");
    // A rise that ends within the run reaches the full rate.
    if let Schedule::Warmup { epochs, start, .. } = schedule {
        let then = Box::new(Schedule::Constant);
        let rise = Schedule::Warmup { epochs: *epochs, start: *start, then };
        let end = Progress { step: steps, steps: more, steps_per_epoch };
        assert_eq!(rise.factor(cpu, end), 1.0, "{schedule:?}: {steps}");
    }
}
