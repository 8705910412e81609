//! Bernoulli draws compared with the scalar definition; their frequency.

use half::bf16;

use crate::testing::{same_on_every_cpu, sample, share};
use kernels::random::*;
use kernels::{Cpu, Element, Error, Float};

fn draws_match_the_scalar_definition<E: Element>() {
    let stream = Stream::new(4, 1);
    for n in sample((0..=70).chain([127, 128, 129, 16_383, 16_384, 16_385, 40_001])) {
        same_on_every_cpu(|cpu| {
            let canary = E::from_float(E::Float::from_f64(7.0));
            let mut x = vec![canary; n + 2];
            fill_bernoulli(cpu, stream, 0.3, &mut x[1..=n]).unwrap();
            for (i, x) in (0..).zip(&x[1..=n]) {
                let one = f64::from(stream.bits(i) >> 1) < 0.3 * f64::from(1_u32 << 31);
                assert_eq!(x.to_float().to_f64(), f64::from(u8::from(one)), "{i} of {n}");
            }
            assert_eq!((x[0], x[n + 1]), (canary, canary));
        });
    }
}

#[test]
fn draws_match_the_scalar_definition_for_every_type() {
    draws_match_the_scalar_definition::<f32>();
    draws_match_the_scalar_definition::<f64>();
    draws_match_the_scalar_definition::<bf16>();
}

#[test]
fn the_frequency_of_ones_is_the_probability() {
    let n = share(1_000_000);
    let mut x = vec![0.0_f32; n];
    for (turn, p) in [(0, 0.001), (1, 0.1), (2, 0.5), (3, 0.9), (4, 0.999)] {
        fill_bernoulli(Cpu::detect(), Stream::new(9, turn), p, &mut x).unwrap();
        let ones: f64 = x.iter().map(|&x| f64::from(x)).sum();
        // Five standard deviations.
        assert!(
            (ones - p * n as f64).abs() < 5.0 * (p * (1.0 - p) * n as f64).sqrt(),
            "{p}: {ones}"
        );
    }
    for p in [0.0, 1.0] {
        fill_bernoulli(Cpu::detect(), Stream::new(9, 9), p, &mut x).unwrap();
        assert!(x.iter().all(|&x| f64::from(x) == p));
    }
}

#[test]
fn probabilities_out_of_range_are_refused() {
    let mut x = [7.0_f32; 3];
    for p in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let error = fill_bernoulli(Cpu::detect(), Stream::new(0, 0), p, &mut x).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: "p", .. }), "{error}");
    }
    assert_eq!(x, [7.0; 3]);
}
