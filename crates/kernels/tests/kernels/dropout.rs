//! Dropout compared with its documented scalar loop; the bits of split batches.

use half::bf16;

use crate::testing::{same_on_every_cpu, sample};
use kernels::dropout::*;
use kernels::random::Stream;
use kernels::random::fill_bernoulli;
use kernels::{Cpu, Element, Error, Float};

const STREAM: Stream = Stream::new(6, 2);

/// Values of every kind, by index.
fn element<E: Element>(i: u64) -> E {
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e-40, -1e-40];
    let uniform = Stream::new(7, 7).uniform_f64(i) - 0.5;
    E::from_float(E::Float::from_f64(*special.get(i as usize % 20).unwrap_or(&uniform)))
}

/// Bits for comparisons: one value for all NaN, two for the zeros.
fn bits<E: Element>(x: &[E]) -> Vec<u64> {
    let bits = |x: f64| if x.is_nan() { u64::MAX } else { x.to_bits() };
    x.iter().map(|x| bits(x.to_float().to_f64())).collect()
}

fn matches_the_scalar_loop<E: Element>() {
    for p in [0.0, 0.1, 0.5, 1.0] {
        for (offset, n) in sample((0..9).chain([1 << 33, u64::MAX - 40_000]).flat_map(|offset| {
            [0, 1, 3, 7, 8, 9, 17, 124, 127, 128, 129, 300, 16_383, 16_385, 40_000]
                .map(|n| (offset, n))
        })) {
            let x: Vec<E> = (0..n).map(element).collect();
            let threshold = (p * f64::from(1_u32 << 31)).round() as u32;
            let scale = E::Float::from_f64(1.0 / (1.0 - p));
            let expected: Vec<E> = (0..)
                .zip(&x)
                .map(|(i, &x)| {
                    if STREAM.bits(offset + i) >> 1 < threshold {
                        return E::default();
                    }
                    let mut y = x.to_float();
                    y *= scale;
                    E::from_float(y)
                })
                .collect();
            let dropout = Dropout { p, stream: STREAM };
            same_on_every_cpu(|cpu| {
                // Unaligned, with a canary on either side.
                let canary = E::from_float(E::Float::from_f64(7.0));
                let mut y = vec![canary; n as usize + 2];
                let inside = 1..n as usize + 1;
                dropout.forward(cpu, offset, &x, &mut y[inside.clone()]).unwrap();
                assert_eq!(bits(&y[inside.clone()]), bits(&expected), "{p} from {offset}");
                y[inside.clone()].copy_from_slice(&x);
                dropout.backward(cpu, offset, &mut y[inside.clone()]).unwrap();
                assert_eq!(bits(&y[inside]), bits(&expected), "{p} from {offset}, in place");
                assert_eq!((y[0], y[n as usize + 1]), (canary, canary));
            });
        }
    }
}

#[test]
fn every_element_matches_the_scalar_loop() {
    matches_the_scalar_loop::<f32>();
    matches_the_scalar_loop::<f64>();
    matches_the_scalar_loop::<bf16>();
}

#[test]
fn a_split_batch_has_the_bits_of_the_whole() {
    let dropout = Dropout { p: 0.3, stream: STREAM };
    let whole: Vec<f32> = (0..1000).map(|i| i as f32 + 1.0).collect();
    for cut in [1, 2, 3, 4, 131, 997] {
        let (mut one, mut two) = (whole.clone(), whole.clone());
        dropout.forward_in_place(Cpu::detect(), 5, &mut one).unwrap();
        for (offset, part) in (5..).step_by(cut).zip(two.chunks_mut(cut)) {
            dropout.forward_in_place(Cpu::detect(), offset, part).unwrap();
        }
        assert_eq!(one, two);
    }
}

#[test]
fn the_mask_is_that_of_fill_bernoulli() {
    let (mut ones, mut y) = ([0.0_f64; 500], [1.0_f64; 500]);
    fill_bernoulli(Cpu::detect(), STREAM, 0.75, &mut ones).unwrap();
    Dropout { p: 0.75, stream: STREAM }.forward_in_place(Cpu::detect(), 0, &mut y).unwrap();
    assert!(ones.iter().zip(&y).all(|(one, y)| *y == 4.0 * (1.0 - one)));
    assert!(ones.contains(&0.0) && ones.contains(&1.0));
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let (cpu, x, mut y) = (Cpu::detect(), [1.0_f32; 3], [7.0_f32; 3]);
    let good = Dropout { p: 0.5, stream: STREAM };
    let length = Err(Error::Length { operand: "x", expected: 3, got: 2 });
    assert_eq!(good.forward(cpu, 0, &x[..2], &mut y), length);
    for p in [-0.5, 1.5, f64::NAN] {
        let bad = Dropout { p, ..good };
        let error = bad.forward(cpu, 0, &x, &mut y).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: "p", .. }), "{error}");
        assert!(bad.check().is_err() && bad.backward(cpu, 0, &mut y).is_err());
    }
    let error = good.forward_in_place(cpu, u64::MAX - 2, &mut y).unwrap_err();
    assert!(matches!(error, Error::Parameter { name: "offset", .. }), "{error}");
    assert_eq!(y, [7.0; 3]);
    good.forward_in_place(cpu, u64::MAX - 3, &mut y).unwrap();
    good.forward::<f32>(cpu, u64::MAX, &[], &mut []).unwrap();
}
