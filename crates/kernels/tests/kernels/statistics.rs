use half::bf16;
use proptest::prelude::*;

use crate::testing::{same_on_every_cpu, takes};
use kernels::random::Stream;
use kernels::statistics::*;
use kernels::{Cpu, Element, Float};

const LENGTHS: [usize; 12] = [0, 1, 15, 16, 17, 33, 511, 513, 16_383, 16_384, 16_385, 40_000];

fn elements<E: Element>(x: impl IntoIterator<Item = f64>) -> Vec<E> {
    x.into_iter().map(|x| E::from_float(E::Float::from_f64(x))).collect()
}

fn draw<E: Element>(n: usize) -> Vec<E> {
    elements((0..n as u64).map(|i| Stream::new(20, 0).uniform_f64(i) - 0.4))
}

/// Scatters special values over `x`.
fn sprinkle<E: Element>(x: &mut [E]) {
    let tiny = E::Float::MIN_POSITIVE.to_f64() / 4.0;
    let specials = [0.0, -0.0, f64::NAN, f64::INFINITY, -f64::INFINITY, tiny, -tiny];
    for (i, special) in elements::<E>(specials).into_iter().enumerate() {
        x.iter_mut().skip(5 + 3 * i).step_by(1013 + i).for_each(|x| *x = special);
    }
}

/// The documented order, in scalars.
fn of_chunk(x: &[f64], smallest: f64) -> Statistics {
    let finite = || x.iter().copied().enumerate().filter(|(_, x)| x.is_finite());
    let count = |is: fn(f64) -> bool| x.iter().filter(|x| is(**x)).count() as u64;
    let mut found = Statistics {
        count: x.len() as u64,
        nan: count(f64::is_nan),
        infinite: count(f64::is_infinite),
        subnormal: x.iter().filter(|x| **x != 0.0 && x.abs() < smallest).count() as u64,
        zero: count(|x| x == 0.0),
        min: finite().map(|(_, x)| x).fold(f64::INFINITY, f64::min) + 0.0,
        max: finite().map(|(_, x)| x).fold(f64::NEG_INFINITY, f64::max) + 0.0,
        ..Statistics::default()
    };
    let n = finite().count() as f64;
    if let Some((_, pivot)) = finite().next() {
        let mut lanes = [[0.0; 16]; 3];
        for (i, x) in finite() {
            for (lane, term) in
                lanes.iter_mut().zip([x - pivot, (x - pivot) * (x - pivot), x.abs()])
            {
                lane[i % 16] += term;
            }
        }
        for lane in &mut lanes {
            for half in [8, 4, 2, 1] {
                (0..half).for_each(|l| lane[l] += lane[l + half]);
            }
        }
        let mean = lanes[0][0] / n;
        found.mean = pivot + mean;
        found.squared_deviations = f64::max(lanes[1][0] - lanes[0][0] * mean, 0.0);
        found.absolute_sum = lanes[2][0];
    }
    found
}

fn in_the_documented_order<E: Element>() {
    for n in LENGTHS.into_iter().filter(|&n| takes(n)) {
        for special in [false, true] {
            let mut x = draw::<E>(n);
            if special {
                sprinkle(&mut x);
            }
            let values: Vec<f64> = x.iter().map(|x| x.to_float().to_f64()).collect();
            let expected = values
                .chunks(16_384)
                .map(|x| of_chunk(x, E::Float::MIN_POSITIVE.to_f64()))
                .fold(Statistics::default(), |all, chunk| all.merge(&chunk));
            assert_eq!(same_on_every_cpu(|cpu| statistics(cpu, &x)), expected, "{n} elements");
            assert_eq!(expected.count, n as u64);
        }
    }
}

#[test]
fn in_the_documented_order_f32() {
    in_the_documented_order::<f32>();
}

#[test]
fn in_the_documented_order_f64() {
    in_the_documented_order::<f64>();
}

#[test]
fn in_the_documented_order_bf16() {
    in_the_documented_order::<bf16>();
}

#[test]
fn alignment_changes_nothing() {
    let x = draw::<f32>(1003);
    let mut moved = vec![0.0; 1010];
    for offset in 0..7 {
        moved[offset..][..1003].copy_from_slice(&x);
        assert_eq!(
            statistics(Cpu::detect(), &moved[offset..][..1003]),
            statistics(Cpu::detect(), &x)
        );
    }
}

#[test]
fn non_finite_elements_are_counted_and_excluded() {
    for bad in [
        [f32::NAN; 3],
        [f32::INFINITY; 3],
        [f32::NEG_INFINITY; 3],
        [f32::NAN, f32::INFINITY, f32::NAN],
    ] {
        let nan = bad.iter().filter(|x| x.is_nan()).count() as u64;
        let x = [bad[0], -1.0, bad[1], 3.0, bad[2]];
        let found = statistics(Cpu::detect(), &x);
        assert_eq!((found.count, found.nan, found.infinite, found.finite()), (5, nan, 3 - nan, 2));
        assert_eq!((found.min, found.max, found.mean, found.variance()), (-1.0, 3.0, 1.0, 4.0));
        assert_eq!(
            (found.absolute_mean(), found.root_mean_square(Cpu::detect())),
            (2.0, 5.0_f64.sqrt())
        );
        let none = statistics(Cpu::detect(), &bad);
        assert_eq!(
            (none.finite(), none.mean, none.variance(), none.absolute_mean()),
            (0, 0.0, 0.0, 0.0)
        );
        assert_eq!((none.min, none.max), (f64::INFINITY, f64::NEG_INFINITY));
    }
    assert_eq!(statistics::<f32>(Cpu::detect(), &[]), Statistics::default());
    let zeros = statistics(Cpu::detect(), &[-0.0_f32; 100]);
    assert_eq!(
        (zeros.zero, zeros.subnormal, zeros.min.to_bits(), zeros.max.to_bits()),
        (100, 0, 0, 0)
    );
}

#[test]
fn a_mean_far_from_zero_costs_the_variance_no_digits() {
    // The deviations are exactly those of integers from -50 to 50.
    for (n, offset) in [(101 * 400, 0.0), (101 * 400, 1e9), (101 * 160, -1e15)] {
        let x: Vec<f64> = (0..n).map(|i| offset + f64::from(i * 37 % 101 - 50)).collect();
        let found = statistics(Cpu::detect(), &x);
        assert!((found.variance() / 850.0 - 1.0).abs() < 1e-12, "{offset}: {}", found.variance());
        assert!((found.mean - offset).abs() <= 1e-12 + offset.abs() * 1e-15);
    }
    let n = 101 * 400;
    // One outlier as the pivot of all others.
    let mut x = vec![1e8_f64; 1];
    x.extend((0..n).map(|i| f64::from(i * 37 % 101 - 50)));
    let found = statistics(Cpu::detect(), &x);
    let (count, outlier) = (x.len() as f64, 1e8);
    let exact = (850.0 * f64::from(n) + outlier * outlier * (1.0 - 1.0 / count)) / count;
    // The documented bound: 1028 additions per lane, and a cancellation of 2^14.
    assert!((found.variance() / exact - 1.0).abs() < 1028.0 * 16_384.0 * f64::EPSILON / 2.0);
}

#[test]
fn sums_of_f32_stay_in_range() {
    let found = statistics(Cpu::detect(), &[f32::MAX; 1000]);
    assert_eq!((found.mean, found.variance()), (f64::from(f32::MAX), 0.0));
    let tiny = f64::from(f32::from_bits(1));
    let found = statistics(Cpu::detect(), &[f32::from_bits(1), -f32::from_bits(1)]);
    assert_eq!(
        (found.subnormal, found.mean, found.variance(), found.absolute_mean()),
        (2, 0.0, tiny * tiny, tiny)
    );
}

proptest! {
    #![proptest_config(crate::testing::draws(256))]

    #[test]
    fn merging_equals_the_statistics_of_both(
        x in prop::collection::vec(-1e3..1e3_f64, 0..60),
        at in 0..60_usize,
    ) {
        let (first, second) = x.split_at(at.min(x.len()));
        let cpu = Cpu::detect();
        let merged = statistics(cpu, first).merge(&statistics(cpu, second));
        let all = statistics(cpu, &x);
        let near = |a: f64, b: f64, size: f64| (a - b).abs() <= 1e-12 * size;
        prop_assert_eq!((all.count, all.min, all.max), (merged.count, merged.min, merged.max));
        prop_assert!(near(all.mean, merged.mean, 1e3));
        prop_assert!(near(all.variance(), merged.variance(), 1e6));
        prop_assert!(near(all.absolute_mean(), merged.absolute_mean(), 1e3));
        let n = x.len().max(1) as f64;
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
        prop_assert!(near(all.mean, mean, 1e3) && near(all.variance(), variance, 1e6));
    }
}

/// The histogram by comparisons.
fn counted(x: &[f64]) -> Histogram {
    let mut found = Histogram::default();
    for x in x.iter().map(|x| x.abs()) {
        let start = |bin: usize| {
            f64::from_bits(((1023 + i64::from(Histogram::MIN_EXPONENT) + bin as i64) as u64) << 52)
        };
        if !x.is_finite() {
            found.non_finite += 1;
        } else if x == 0.0 {
            found.zero += 1;
        } else if x < start(0) {
            found.below += 1;
        } else {
            match (0..Histogram::BINS).find(|bin| x < start(bin + 1)) {
                Some(bin) => found.bins[bin] += 1,
                None => found.above += 1,
            }
        }
    }
    found
}

fn histograms_count_by_powers_of_two<E: Element>() {
    // All exponents of f32, with numbers just below, at and above each power.
    let mut x: Vec<E> = elements((-160..=127).flat_map(|e: i32| {
        let power = f64::from_bits(((1023 + e) as u64) << 52);
        [power * 0.99, power, -power * 1.01]
    }));
    x.extend(draw::<E>(20_000));
    sprinkle(&mut x[900..]);
    for n in LENGTHS.into_iter().chain([x.len()]).filter(|&n| takes(n)) {
        let x = &x[..n.min(x.len())];
        let values: Vec<f64> = x.iter().map(|x| x.to_float().to_f64()).collect();
        let expected = counted(&values);
        assert_eq!(same_on_every_cpu(|cpu| histogram(cpu, x)), expected);
        let (first, second) = x.split_at(x.len() / 3);
        let cpu = Cpu::detect();
        assert_eq!(histogram(cpu, first).merge(&histogram(cpu, second)), expected);
    }
}

#[test]
fn histograms_count_by_powers_of_two_in_every_type() {
    histograms_count_by_powers_of_two::<f32>();
    histograms_count_by_powers_of_two::<f64>();
    histograms_count_by_powers_of_two::<bf16>();
}
