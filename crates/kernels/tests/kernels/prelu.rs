//! Compares with the scalar loop, bit for bit; finite differences; misuse.

use crate::testing::{bits, centred_difference, same_on_every_cpu, takes};
use kernels::activation::*;
use kernels::random::Stream;
use kernels::{Cpu, Error, Float};

fn draw<T: Float>(stream: u64, n: usize) -> Vec<T> {
    let special = [f64::INFINITY, 0.0, -0.0, 1e-40, -1e-40];
    let stream = Stream::new(3, stream);
    let draw = |i: u64| *special.get(i as usize % 1013).unwrap_or(&(stream.uniform_f64(i) - 0.5));
    (0..n as u64).map(|i| T::from_f64(draw(i))).collect()
}

/// `(y, dx, dslopes)` by the formulas and the order documented at the head of `prelu`.
macro_rules! scalar {
    ($name:ident, $float:ident) => {
        fn $name(x: &[$float], slopes: &[$float], dy: &[$float]) -> [Vec<$float>; 3] {
            let row = if slopes.len() == 1 { 128 } else { slopes.len().max(1) };
            let slope = |i: usize| slopes[i % row % slopes.len()];
            let through = |i: usize, v: $float| if x[i] <= 0.0 { slope(i) * v } else { v };
            let mut total = vec![0.0; row];
            for block in (0..x.len()).step_by(64 * row) {
                let mut sums = vec![0.0; row];
                for i in block..x.len().min(block + 64 * row) {
                    if x[i] <= 0.0 || x[i].is_nan() {
                        sums[i % row] = dy[i].mul_add(x[i], sums[i % row]);
                    }
                }
                total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
            }
            if slopes.len() == 1 {
                while total.len() > 1 {
                    let upper = total.split_off(total.len() / 2);
                    total.iter_mut().zip(upper).for_each(|(lower, upper)| *lower += upper);
                }
            }
            total.truncate(slopes.len());
            [
                (0..x.len()).map(|i| through(i, x[i])).collect(),
                (0..x.len()).map(|i| through(i, dy[i])).collect(),
                total,
            ]
        }
    };
}
scalar!(scalar_f32, f32);
scalar!(scalar_f64, f64);

type Scalar<T> = fn(&[T], &[T], &[T]) -> [Vec<T>; 3];

fn has_the_bits_of_the_scalar_loop<T: Float>(scalar: Scalar<T>) {
    for (rows, channels) in [
        (0, 0),
        (0, 1),
        (0, 3),
        (1, 1),
        (1, 5),
        (2, 16),
        (63, 17),
        (64, 3),
        (65, 33),
        (130, 8),
        (200, 300),
        (3, 20_000),
        (127, 1),
        (128, 1),
        (129, 1),
        (8_191, 1),
        (8_192, 1),
        (8_193, 1),
        (40_000, 1),
    ] {
        let n = rows * channels;
        if !takes(n) {
            continue;
        }
        let (slopes, mut x, dy) = (draw::<T>(0, channels), draw::<T>(1, n), draw::<T>(2, n));
        if let Some(x) = x.get_mut(n / 2) {
            *x = T::NAN;
        }
        let expected = scalar(&x, &slopes, &dy);
        same_on_every_cpu(|cpu| {
            let seven = T::from_u8(7);
            let mut y = vec![seven; n + 2];
            prelu(cpu, &x, &slopes, &mut y[1..=n]).unwrap();
            let mut dx = vec![seven; n + 2];
            dx[1..=n].copy_from_slice(&dy);
            let (mut dslopes, mut scratch) =
                (vec![seven; channels + 2], vec![seven; prelu_scratch(n, channels) + 2]);
            let (end, scratch_end) = (channels + 1, scratch.len() - 1);
            let (dslopes_inside, scratch_inside) =
                (&mut dslopes[1..end], &mut scratch[1..scratch_end]);
            prelu_backward(cpu, &x, &slopes, &mut dx[1..=n], dslopes_inside, scratch_inside)
                .unwrap();
            let got = [&y[1..=n], &dx[1..=n], &dslopes[1..end]].map(bits);
            assert!(
                got == expected.each_ref().map(|x| bits(x)),
                "{rows} rows of {channels} on {cpu:?}"
            );
            let canaries = [
                y[0],
                y[n + 1],
                dx[0],
                dx[n + 1],
                dslopes[0],
                dslopes[end],
                scratch[0],
                scratch[scratch_end],
            ];
            assert_eq!(canaries, [seven; 8]);
        });
    }
}

#[test]
fn every_type_has_the_bits_of_the_scalar_loop() {
    has_the_bits_of_the_scalar_loop(scalar_f32);
    has_the_bits_of_the_scalar_loop(scalar_f64);
}

#[test]
fn gradients_match_finite_differences() {
    let cpu = Cpu::detect();
    let stream = Stream::new(4, 4);
    for channels in [1, 3, 20] {
        let n = 60;
        let draw = |from: u64, n: usize| -> Vec<f64> {
            (from..).take(n).map(|i| stream.uniform_f64(i) - 0.5).collect()
        };
        let x: Vec<f64> = draw(0, n).into_iter().map(|x| x + 0.1_f64.copysign(x)).collect();
        let (slopes, w) = (draw(100, channels), draw(200, n));
        let (mut dx, mut dslopes) = (w.clone(), vec![0.0; channels]);
        let mut scratch = vec![0.0; prelu_scratch(n, channels)];
        prelu_backward(cpu, &x, &slopes, &mut dx, &mut dslopes, &mut scratch).unwrap();
        let loss = |x: &[f64], slopes: &[f64]| -> f64 {
            let mut y = vec![0.0; n];
            prelu(cpu, x, slopes, &mut y).unwrap();
            y.iter().zip(&w).map(|(y, w)| y * w).sum()
        };
        centred_difference(&x, &dx, |x| loss(x, &slopes));
        centred_difference(&slopes, &dslopes, |slopes| loss(&x, slopes));
    }
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let cpu = Cpu::detect();
    let (mut dy, mut dslopes, mut scratch) = ([7.0_f32; 6], [7.0; 3], [7.0; 3]);
    let length = |operand, expected, got| Err(Error::Length { operand, expected, got });
    assert_eq!(prelu(cpu, &[1.0; 7], &[0.5; 3], &mut dy), length("x", 6, 7));
    assert_eq!(prelu(cpu, &[1.0; 2], &[], &mut dy), length("x", 0, 2));
    assert_eq!(prelu(cpu, &[1.0; 3], &[0.5; 3], &mut dy), length("y", 3, 6));
    let mut backward = |x: &[f32], slopes: &[f32], scratch_length: usize| {
        prelu_backward(cpu, x, slopes, &mut dy, &mut dslopes, &mut scratch[..scratch_length])
    };
    assert_eq!(backward(&[1.0; 5], &[0.5; 3], 3), length("x", 3, 5));
    assert_eq!(backward(&[1.0; 9], &[0.5; 3], 3), length("dy", 9, 6));
    assert_eq!(backward(&[1.0; 6], &[0.5; 2], 3), length("dslopes", 2, 3));
    assert_eq!(backward(&[1.0; 6], &[0.5; 3], 2), Err(Error::Scratch { expected: 3, got: 2 }));
    assert_eq!((dy, dslopes, scratch), ([7.0; 6], [7.0; 3], [7.0; 3]));
    assert_eq!(prelu_scratch(usize::MAX, 2), usize::MAX / 128 * 2 + 2);
}
