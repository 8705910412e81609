//! Statistics and histograms of any numbers: the same bits everywhere, and correct counts.
//! `cargo +nightly fuzz run statistics`.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::{Length, Number, Values, same_everywhere};
use half::bf16;
use kernels::Element;
use kernels::statistics::{Histogram, histogram, statistics};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Problem {
    element: Type,
    len: Length,
    values: Values,
}

#[derive(Debug, Arbitrary)]
enum Type {
    Single,
    Double,
    Half,
}

fuzz_target!(|problem: Problem| match problem.element {
    Type::Single => look::<f32>(&problem),
    Type::Double => look::<f64>(&problem),
    Type::Half => look::<bf16>(&problem),
});

fn look<E: Element + Number>(problem: &Problem) {
    let x = problem.values.take::<E>(0, problem.len.get());
    let exact: Vec<f64> = x.iter().map(|x| Number::to_f64(*x)).collect();
    let count = |is: fn(&&f64) -> bool| exact.iter().filter(is).count() as u64;
    let ((), (counts, sums, extremes)) = same_everywhere(&(), |cpu, ()| {
        let s = statistics(cpu, &x);
        let counts = vec![s.count, s.nan, s.infinite, s.zero];
        Ok((
            counts,
            vec![s.mean, s.absolute_sum, s.squared_deviations, s.subnormal as f64],
            (s.min, s.max),
        ))
    })
    .expect("nothing is refused");
    let expected =
        [count(|_| true), count(|x| x.is_nan()), count(|x| x.is_infinite()), count(|x| **x == 0.0)];
    assert_eq!(counts, expected);
    // The squares of f64 can overflow, as documented; differences of infinities are then NaN.
    assert!(sums[1..].iter().all(|sum| *sum >= 0.0 || size_of::<E>() == 8 && sum.is_nan()));
    let finite = || exact.iter().copied().filter(|x| x.is_finite());
    assert_eq!(
        extremes,
        (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max))
    );

    let ((), (bins, (zero, below, above), wild)) = same_everywhere(&(), |cpu, ()| {
        let h = histogram(cpu, &x);
        Ok((h.bins.to_vec(), (h.zero, h.below, h.above), h.non_finite))
    })
    .expect("nothing is refused");
    assert_eq!([zero, wild], [expected[3], expected[1] + expected[2]]);
    assert_eq!(bins.iter().sum::<u64>() + zero + below + above + wild, expected[0]);
    // The exponents of all normal numbers.
    for (bin, count) in bins.iter().enumerate() {
        let field = (1023 + Histogram::MIN_EXPONENT + bin as i32) as u64;
        let inside = |x: &&f64| x.to_bits() >> 52 & 0x7FF == field;
        assert_eq!(*count, exact.iter().filter(inside).count() as u64);
    }
}
