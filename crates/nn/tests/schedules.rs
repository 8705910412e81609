//! Schedules, plateaus and early stopping at epochs with values computed by hand.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kernels::Cpu;
use nn::{EarlyStopping, Monitor, Plateau, Progress, RunLength, Schedule};

const EPOCH: u64 = 10;

fn factors(schedule: &Schedule, steps: u64) -> Vec<f64> {
    schedule.check().unwrap();
    let at =
        |step| schedule.factor(Cpu::detect(), Progress { step, steps, steps_per_epoch: EPOCH });
    (0..steps + 5).map(at).collect()
}

fn near(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-12, "{got}, not {expected}");
}

#[test]
fn decaying_schedules_start_at_one_and_reach_their_end() {
    let falling = [
        Schedule::Cosine { end: 0.1 },
        Schedule::Linear { end: 0.1 },
        Schedule::Polynomial { power: 1.0, end: 0.1 },
    ];
    for schedule in falling {
        let factors = factors(&schedule, 101);
        near(factors[0], 1.0);
        near(factors[50], 0.55);
        near(factors[100], 0.1);
        assert_eq!(factors[100], factors[105]);
        assert!(factors[..101].windows(2).all(|pair| pair[0] > pair[1]), "{schedule:?}");
    }
    assert!(factors(&Schedule::Constant, 7).iter().all(|&factor| factor == 1.0));
    assert_eq!(factors(&Schedule::Linear { end: 0.0 }, 1)[0], 1.0);
}

#[test]
fn step_exponential_and_polynomial_decay() {
    let stepped = factors(&Schedule::Step { every: 2, factor: 0.5 }, 60);
    for (step, expected) in [(0, 1.0), (19, 1.0), (20, 0.5), (39, 0.5), (40, 0.25), (59, 0.25)] {
        near(stepped[step], expected);
    }
    let falling = factors(&Schedule::Exponential { factor: 0.81 }, 30);
    for (step, expected) in [(0, 1.0), (5, 0.9), (10, 0.81), (20, 0.6561)] {
        near(falling[step], expected);
    }
    near(factors(&Schedule::Polynomial { power: 2.0, end: 0.0 }, 101)[50], 0.25);
}

#[test]
fn cosine_restarts_after_each_cycle() {
    let alike = factors(&Schedule::CosineRestarts { epochs: 1.0, growth: 1.0, end: 0.0 }, 40);
    let longer = factors(&Schedule::CosineRestarts { epochs: 1.0, growth: 2.0, end: 0.2 }, 70);
    for step in [0, 10, 20, 30] {
        near(alike[step], 1.0);
        near(alike[step + 5], 0.5);
    }
    for step in [0, 10, 30] {
        near(longer[step], 1.0);
    }
    for step in [5, 20, 50] {
        near(longer[step], 0.6);
    }
}

#[test]
fn warmups_reach_the_full_rate() {
    let cycle = factors(&Schedule::OneCycle { rise: 0.3, start: 0.04, end: 4e-6 }, 101);
    for (step, expected) in
        [(0, 0.04), (15, 0.52), (30, 1.0), (65, (1.0 + 4e-6) / 2.0), (100, 4e-6)]
    {
        near(cycle[step], expected);
    }
    let root = factors(&Schedule::InverseSquareRoot { epochs: 2.5 }, 200);
    for (step, expected) in [(0, 0.04), (12, 0.52), (24, 1.0), (99, 0.5)] {
        near(root[step], expected);
    }
    let then = Box::new(Schedule::Linear { end: 0.0 });
    let warm = factors(&Schedule::Warmup { epochs: 1.0, start: 0.2, then }, 111);
    for (step, expected) in [(0, 0.2), (5, 0.6), (10, 1.0), (60, 0.5), (110, 0.0)] {
        near(warm[step], expected);
    }
}

#[test]
fn a_sequence_runs_one_schedule_after_the_other() {
    let (first, then) =
        (Box::new(Schedule::Linear { end: 0.5 }), Box::new(Schedule::Cosine { end: 0.0 }));
    let both = factors(&Schedule::Sequence { epochs: 1.1, first, then }, 112);
    for (step, expected) in [(0, 1.0), (10, 0.5), (11, 1.0), (61, 0.5), (111, 0.0)] {
        near(both[step], expected);
    }
}

#[test]
fn a_plateau_reduces_the_rate() {
    let plateau = Plateau { factor: 0.5, patience: 1, min_delta: 0.1, least: 0.2 };
    plateau.check().unwrap();
    // 0.95 and 0.91 are within min_delta of 1.0, 0.5 is an improvement.
    let losses = [1.0, 0.95, 0.91, 0.5, 0.5, f64::NAN, 0.5, 0.5, 0.5, 0.5];
    let after = |epochs: usize| plateau.factor(losses[..epochs].iter().copied());
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 6, 8, 10].map(after),
        [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.2, 0.2]
    );
}

#[test]
fn parameters_out_of_range_are_errors() {
    let then = Box::new(Schedule::Cosine { end: 2.0 });
    for schedule in [
        Schedule::Linear { end: f64::NAN },
        Schedule::Step { every: 0, factor: 0.5 },
        Schedule::Exponential { factor: 0.0 },
        Schedule::CosineRestarts { epochs: 1.0, growth: 0.5, end: 0.0 },
        Schedule::Warmup { epochs: 1.0, start: 0.0, then },
    ] {
        assert!(schedule.check().is_err(), "{schedule:?}");
    }
    assert!(Plateau { factor: 1.0, ..Plateau::default() }.check().is_err());
}

/// Epoch after which `rule` stops.
fn stop(rule: EarlyStopping, results: &[f64]) -> Option<usize> {
    rule.check().unwrap();
    (1..=results.len()).find(|&epochs| rule.stops(&results[..epochs]))
}

#[test]
fn early_stopping_waits_for_its_patience() {
    let losses = [1.0, 0.9, 0.95, 0.8, 0.85, 0.82, 0.81, 0.9];
    let rule = EarlyStopping::default();
    assert_eq!(stop(rule, &losses), None);
    assert_eq!(stop(EarlyStopping { patience: 2, ..rule }, &losses), Some(7));
    assert_eq!(stop(EarlyStopping { patience: 0, ..rule }, &losses), Some(3));
    // No loss improves on 1.0 by 0.25; NaN is no improvement.
    assert_eq!(stop(EarlyStopping { patience: 1, min_delta: 0.25, ..rule }, &losses), Some(3));
    assert_eq!(stop(EarlyStopping { patience: 1, ..rule }, &[f64::NAN; 3]), Some(2));
}

#[test]
fn higher_accuracy_is_better() {
    let rule =
        EarlyStopping { monitor: Monitor::ValAccuracy, patience: 1, ..EarlyStopping::default() };
    assert_eq!(stop(rule, &[0.1, 0.5, 0.6, 0.7]), None);
    assert_eq!(stop(rule, &[0.7, 0.6, 0.5, 0.8]), Some(3));
}

#[test]
fn a_moving_average_tolerates_noise() {
    let noisy = [1.0, 0.7, 0.9, 0.6, 0.8, 0.5, 0.7, 0.4];
    let rule = EarlyStopping { patience: 0, ..EarlyStopping::default() };
    assert_eq!(stop(rule, &noisy), Some(3));
    assert_eq!(stop(EarlyStopping { window: 2, ..rule }, &noisy), None);
    assert_eq!(stop(EarlyStopping { window: 4, ..rule }, &noisy), None);
}

/// Positive f64s over the whole range.
const POSITIVE: [f64; 14] =
    [5e-324, 1e-300, 1e-20, 1e-3, 0.07, 0.1, 0.3, 1.0, 2.5, 1e3, 1e18, 1e20, 1e300, f64::MAX];
const FRACTIONS: [f64; 4] = [0.0, 1e-300, 0.3, 1.0];

/// Every schedule over the domain of its parameters; `growing` has those with factors above 1.
fn over_the_domain() -> Vec<Schedule> {
    let mut all = vec![Schedule::Constant];
    for end in FRACTIONS {
        all.extend([Schedule::Cosine { end }, Schedule::Linear { end }]);
        for start in FRACTIONS {
            all.extend(FRACTIONS.map(|rise| Schedule::OneCycle { rise, start, end }));
        }
        for x in POSITIVE {
            all.push(Schedule::Polynomial { power: x, end });
            for growth in [1.0, 1.0 + f64::EPSILON, 1.000_1, 2.0, 1e10, 1e300] {
                all.push(Schedule::CosineRestarts { epochs: x, growth, end });
            }
            let then = Box::new(Schedule::CosineRestarts { epochs: x, growth: 1.5, end });
            all.push(Schedule::Warmup { epochs: x, start: end, then: then.clone() });
            all.push(Schedule::Sequence {
                epochs: x,
                first: Box::new(Schedule::Linear { end }),
                then,
            });
        }
    }
    all.extend(POSITIVE.map(|epochs| Schedule::InverseSquareRoot { epochs }));
    for every in [1, 2, u64::MAX / 2, u64::MAX] {
        all.extend([1e-300, 0.1, 1.0].map(|factor| Schedule::Step { every, factor }));
    }
    all
}

#[test]
fn factors_are_between_zero_and_one_over_the_whole_domain() {
    let cpu = Cpu::detect();
    for schedule in over_the_domain() {
        schedule.check().unwrap();
        for steps_per_epoch in [0, 1, 10, 1 << 40, u64::MAX] {
            for steps in [0, 1, 2, 1000, u64::MAX] {
                for step in [0, 1, 2, 9, 10, 999, 1_000_003, u64::MAX - 1, u64::MAX] {
                    let progress = Progress { step, steps, steps_per_epoch };
                    let factor = schedule.factor(cpu, progress);
                    assert!(
                        (0.0..=1.0).contains(&factor),
                        "{schedule:?} at {progress:?}: {factor}"
                    );
                }
            }
        }
    }
}

#[test]
fn steps_do_not_wrap_around() {
    let schedule = Schedule::Step { every: u64::MAX / 4, factor: 0.5 };
    assert!(factors(&schedule, 100).iter().all(|&factor| factor == 1.0));
}

/// With 10 steps per epoch, a cycle of at most a tenth of an epoch is one step at the full rate.
#[test]
fn cycles_of_one_step_have_the_full_rate() {
    for epochs in [0.1, 0.01, 1e-20] {
        let schedule = Schedule::CosineRestarts { epochs, growth: 1.0, end: 0.0 };
        assert!(factors(&schedule, 100).iter().all(|&factor| factor == 1.0), "{epochs}");
    }
    let three = factors(&Schedule::CosineRestarts { epochs: 0.3, growth: 1.0, end: 0.0 }, 100);
    for (step, factor) in three.iter().enumerate() {
        near(*factor, [1.0, 0.75, 0.25][step % 3]);
    }
}

/// Skipping cycles by the closed form gives the same cycles as walking them.
#[test]
#[expect(clippy::disallowed_methods, reason = "std's cosine is the reference")]
fn skipped_cycles_equal_walked_cycles() {
    let schedule = Schedule::CosineRestarts { epochs: 0.3, growth: 1.01, end: 0.0 };
    let factors = factors(&schedule, 2000);
    let (mut begin, mut length) = (0.0, 3.0);
    for (step, factor) in factors.iter().enumerate() {
        while step as f64 >= begin + length {
            begin += length;
            length *= 1.01;
        }
        let expected = 0.5 * (1.0 + (std::f64::consts::PI * (step as f64 - begin) / length).cos());
        // A step at the boundary of two cycles may belong to either.
        let boundary = (step as f64 - begin) / length < 1e-9;
        assert!(
            boundary || (factor - expected).abs() < 1e-9,
            "step {step}: {factor}, not {expected}"
        );
    }
}

/// Schedules with factors above 1, alone and as parts of others.
fn growing() -> Vec<Schedule> {
    let mut all = Vec::new();
    for factor in [1.0 + f64::EPSILON, 1.1, 2.0, 1e10, 1e300, f64::MAX] {
        let grows = [Schedule::Exponential { factor }, Schedule::Step { every: 3, factor }];
        for schedule in grows.clone() {
            let (epochs, constant) = (1.5, Box::new(Schedule::Constant));
            let warm = Schedule::Warmup { epochs, start: 0.1, then: Box::new(schedule.clone()) };
            let first = Box::new(schedule.clone());
            all.push(Schedule::Sequence { epochs, first: first.clone(), then: constant.clone() });
            all.push(Schedule::Sequence { epochs, first: constant, then: first });
            all.extend([warm, schedule]);
        }
    }
    all
}

#[test]
fn largest_bounds_the_factors_of_a_run() {
    let cpu = Cpu::detect();
    for schedule in over_the_domain().into_iter().step_by(7).chain(growing()) {
        for (steps, steps_per_epoch) in [(1, 1), (30, 10), (1000, 10), (20_000, 1), (u64::MAX, 3)] {
            let largest = schedule.largest(cpu, RunLength { steps, steps_per_epoch });
            assert!(largest >= 1.0, "{schedule:?}: {largest}");
            for step in [0, 1, 14, 15, 16, 29, 500, 19_999, steps / 2, steps - 1] {
                let step = step.min(steps - 1);
                let factor = schedule.factor(cpu, Progress { step, steps, steps_per_epoch });
                let bound = largest * (1.0 + 1e-12);
                assert!(
                    (0.0..=bound).contains(&factor),
                    "{schedule:?}, {step}: {factor}, {largest}"
                );
            }
        }
    }
    let doubling = Schedule::Exponential { factor: 2.0 };
    let run = |steps| RunLength { steps, steps_per_epoch: 10 };
    assert_eq!(doubling.largest(cpu, run(101)), 1024.0);
    assert_eq!(doubling.largest(cpu, run(20_000)), f64::INFINITY);
    let then = Box::new(doubling);
    assert_eq!(Schedule::Warmup { epochs: 2.0, start: 0.0, then }.largest(cpu, run(121)), 1024.0);
}

#[test]
fn phases_longer_than_the_run_are_errors() {
    let run = RunLength { steps: 30, steps_per_epoch: 10 };
    let constant = || Box::new(Schedule::Constant);
    let warm = |epochs| Schedule::Warmup { epochs, start: 0.0, then: constant() };
    assert!(warm(3.0).check_length(run).is_ok());
    assert!(warm(3.1).check_length(run).is_err());
    assert!(Schedule::InverseSquareRoot { epochs: 1e300 }.check_length(run).is_err());
    // The second phase is checked against the rest after the first.
    let both = |then| Schedule::Sequence { epochs: 2.0, first: constant(), then: Box::new(then) };
    assert!(both(warm(1.0)).check_length(run).is_ok());
    let error = both(warm(1.5)).check_length(run).unwrap_err().to_string();
    assert_eq!(error, "`epochs` is 1.5, expected at most what is left of the run's epochs");
    let first = Schedule::Sequence { epochs: 2.0, first: Box::new(warm(2.5)), then: constant() };
    assert!(first.check_length(run).is_err());
}
