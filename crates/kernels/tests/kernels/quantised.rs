//! Compares with 64-bit integers, scalar f32, and the extremes.

use proptest::prelude::{prop_assert_eq, proptest};

use crate::testing::{same_on_every_cpu, takes};
use kernels::gemm::GemmShape;
use kernels::quantised::*;
use kernels::random::Stream;
use kernels::{Cpu, Error};

/// Shape of a small product.
fn shape(m: usize, n: usize, k: usize) -> GemmShape {
    GemmShape { m, n, k }
}

fn bytes(stream: u64, n: usize) -> Vec<i8> {
    (0..n as u64).map(|i| (Stream::new(61, stream).below(i, 256) as i32 - 128) as i8).collect()
}

fn floats(stream: u64, n: usize) -> Vec<f32> {
    (0..n as u64).map(|i| Stream::new(62, stream).uniform_f32(i) - 0.5).collect()
}

fn oracle([m, n, k]: [usize; 3], a: &[i8], b: &[i8]) -> Vec<i64> {
    let element = |i: usize, j: usize| -> i64 {
        (0..k).map(|t| i64::from(a[i * k + t]) * i64::from(b[j * k + t])).sum()
    };
    (0..m * n).map(|at| element(at / n, at % n)).collect()
}

/// The product on every CPU, in a longer slice whose end must not change.
fn product_of(shape @ [m, n, k]: [usize; 3], a: &[i8], b: &[i8]) -> Vec<i64> {
    same_on_every_cpu(|cpu| {
        let mut c = vec![7; m * n + 9];
        gemm_i8(cpu, GemmShape { m, n, k }, a, b, &mut c[3..m * n + 3]).unwrap();
        assert!(c[..3].iter().chain(&c[m * n + 3..]).all(|&c| c == 7), "{shape:?}");
        c[3..m * n + 3].iter().map(|&c| i64::from(c)).collect()
    })
}

#[test]
fn every_remainder_of_k_is_exact() {
    for k in (0..=130).chain([255, 256, 257, 1000]) {
        let shape @ [m, n, _] = [5, 6, k];
        let (a, b) = (bytes(0, m * k + 1), bytes(1, n * k + 1));
        // The second time at the next address.
        for from in 0..2 {
            let (a, b) = (&a[from..][..m * k], &b[from..][..n * k]);
            assert_eq!(product_of(shape, a, b), oracle(shape, a, b), "{shape:?}");
        }
    }
}

#[test]
fn every_remainder_of_rows_and_columns_is_exact() {
    for m in (0..=9).chain([33]) {
        for n in (0..=9).chain([63, 64, 65, 130]) {
            let shape = [m, n, 37];
            let (a, b) = (bytes(2, m * 37), bytes(3, n * 37));
            assert_eq!(product_of(shape, &a, &b), oracle(shape, &a, &b), "{shape:?}");
        }
    }
}

#[test]
fn the_extremes_do_not_overflow() {
    let b = [vec![-128; MAX_K], vec![127; MAX_K]].concat();
    let expected = [MAX_K as i64 * 16_384, MAX_K as i64 * -16_256];
    assert_eq!(expected[0], i64::from(i32::MAX) - 16_383);
    assert_eq!(product_of([1, 2, MAX_K], &b[..MAX_K], &b), expected);
    assert_eq!(product_of([1, 1, MAX_K], &b[MAX_K..], &b[MAX_K..]), [MAX_K as i64 * 16_129]);
}

proptest! {
    #![proptest_config(crate::testing::draws(40))]
    #[test]
    fn products_of_random_shapes_are_exact(m in 0_usize..40, n in 0_usize..90, k in 0_usize..300) {
        let shape = [m, n, k];
        let (a, b) = (bytes(4, m * k), bytes(5, n * k));
        prop_assert_eq!(product_of(shape, &a, &b), oracle(shape, &a, &b));
    }
}

/// The documented epilogue, in scalars.
fn dequantised(sum: i64, scale_a: f32, scale_b: f32, bias: Option<f32>, relu: bool) -> f32 {
    let mut value = sum as f32 * (scale_a * scale_b);
    if let Some(bias) = bias {
        value += bias;
    }
    if relu && value <= 0.0 { 0.0 } else { value }
}

fn rounded(x: f32, scale: f32) -> i8 {
    (x / scale).round_ties_even().clamp(-127.0, 127.0) as i8
}

#[test]
fn the_fused_forms_match_the_scalar_loop() {
    for shape @ [m, n, k] in [[1, 1, 1], [7, 70, 100], [4, 64, 64], [3, 5, 0], [65, 130, 33]] {
        if !takes(m * n) {
            continue;
        }
        let (a, b) = (bytes(6, m * k), bytes(7, n * k));
        let mut scales = floats(8, m + n);
        scales.iter_mut().for_each(|s| *s = s.abs() / 50.0 + 1e-3);
        let mut bias = floats(9, n);
        bias[0] = f32::NAN;
        let sums = oracle(shape, &a, &b);
        for (scale_a, scale_b) in [(&scales[..m], &scales[m..]), (&scales[..1], &scales[m..m + 1])]
        {
            for (bias, relu) in [(None, false), (Some(&bias[..]), true), (Some(&bias[..]), false)] {
                let dequantise = Dequantise { scale_a, scale_b, bias, relu };
                let at = |scales: &[f32], i: usize| scales[i.min(scales.len() - 1)];
                let expected = |at_: usize| {
                    let (i, j) = (at_ / n, at_ % n);
                    let bias = bias.map(|bias| bias[j]);
                    dequantised(sums[at_], at(scale_a, i), at(scale_b, j), bias, relu)
                };
                let expected: Vec<f32> = (0..m * n).map(expected).collect();
                let is_same = |got: &f32, expected: &f32| {
                    got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan()
                };
                same_on_every_cpu(|cpu| {
                    let mut c = vec![7.0; m * n];
                    gemm_i8_dequantised(cpu, GemmShape { m, n, k }, &a, &b, dequantise, &mut c)
                        .unwrap();
                    assert!(
                        c.iter().zip(&expected).all(|(c, e)| is_same(c, e)),
                        "{shape:?} on {cpu:?}"
                    );
                    let mut c = vec![7; m * n];
                    gemm_i8_requantised(
                        cpu,
                        GemmShape { m, n, k },
                        &a,
                        &b,
                        dequantise,
                        0.01,
                        &mut c,
                    )
                    .unwrap();
                    assert!(
                        c.iter().zip(&expected).all(|(&c, &e)| c == rounded(e, 0.01)),
                        "{shape:?}"
                    );
                });
            }
        }
    }
}

#[test]
fn quantising_rounds_to_even_and_saturates() {
    let x = [
        (0.0, 0),
        (-0.0, 0),
        (0.5, 0),
        (1.5, 2),
        (2.5, 2),
        (-0.5, 0),
        (-1.5, -2),
        (-2.5, -2),
        (0.499_999_97, 0),
        (126.5, 126),
        (127.0, 127),
        (127.49, 127),
        (127.5, 127),
        (128.0, 127),
        (-127.5, -127),
        (-128.0, -127),
        (1e30, 127),
        (-1e30, -127),
        (f32::INFINITY, 127),
        (f32::NEG_INFINITY, -127),
        (f32::NAN, 0),
        (1e-40, 0),
    ];
    let (x, expected): (Vec<f32>, Vec<i8>) = x.into_iter().unzip();
    same_on_every_cpu(|cpu| {
        let mut q = vec![9; x.len()];
        quantise(cpu, &x, &[1.0], &mut q).unwrap();
        assert_eq!(q, expected);
    });
    // Every byte survives a round trip, whatever the scale.
    let q: Vec<i8> = (-127..=127).collect();
    for scale in [1.0, 0.1, 3e-39, 1e30, 7.3e-5] {
        let (mut x, mut again) = (vec![0.0; 255], vec![0; 255]);
        dequantise(Cpu::detect(), &q, &[scale], &mut x).unwrap();
        quantise(Cpu::detect(), &x, &[scale], &mut again).unwrap();
        assert_eq!(again, q, "scale {scale}");
    }
}

#[test]
fn long_slices_are_quantised_like_short_ones() {
    // Longer than the 16,384 elements that one task takes.
    let (rows, row) = (3, 16_484);
    let x = floats(10, rows * row);
    let mut scales = [0.0; 3];
    choose_scales(&x, &mut scales).unwrap();
    same_on_every_cpu(|cpu| {
        let (mut q, mut back) = (vec![9; x.len()], vec![9.0; x.len()]);
        quantise(cpu, &x, &scales, &mut q).unwrap();
        dequantise(cpu, &q, &scales, &mut back).unwrap();
        for i in 0..x.len() {
            let scale = scales[i / row];
            assert_eq!(q[i], rounded(x[i], scale));
            assert_eq!(back[i], f32::from(q[i]) * scale);
            assert!((back[i] - x[i]).abs() <= scale * 0.500_01);
        }
        assert!(q.chunks(row).all(|q| q.iter().any(|q| q.abs() == 127)));
    });
}

#[test]
fn scales_are_the_max_norm_over_127() {
    let mut scales = [9.0; 4];
    let x = [1.0, -254.0, 0.0, -0.0, 1e-45, 1e-45, f32::MAX, 1.0];
    choose_scales(&x, &mut scales).unwrap();
    assert_eq!(scales, [2.0, 1.0, 1.0, f32::MAX / 127.0]);
    for (bad, index) in [(f32::NAN, 5), (f32::INFINITY, 7)] {
        let mut x = x;
        x[index] = bad;
        assert_eq!(choose_scales(&x, &mut scales), Err(Error::NonFinite { index }));
    }
    assert_eq!(scales, [2.0, 1.0, 1.0, f32::MAX / 127.0]);
    choose_scales(&[], &mut scales).unwrap();
    assert_eq!(scales, [1.0; 4]);
}

#[test]
fn misuse_is_refused_before_anything_is_written() {
    let cpu = Cpu::detect();
    let (a, b, scale) = ([1_i8; 6], [1_i8; 8], [0.5_f32; 4]);
    let (mut c, mut cf, mut cq) = ([7; 12], [7.0_f32; 12], [7_i8; 12]);
    let length = |operand, expected, got| Err(Error::Length { operand, expected, got });
    let is_parameter = |result: Result<(), Error>, expected: &str| {
        assert!(
            matches!(result, Err(Error::Parameter { name, .. }) if name == expected),
            "{result:?}"
        );
    };
    assert_eq!(gemm_i8(cpu, shape(3, 4, 2), &a[..5], &b, &mut c), length("a", 6, 5));
    assert_eq!(gemm_i8(cpu, shape(3, 4, 2), &a, &b[..7], &mut c), length("b", 8, 7));
    assert_eq!(gemm_i8(cpu, shape(3, 4, 2), &a, &b, &mut c[..11]), length("c", 12, 11));
    assert_eq!(gemm_i8(cpu, shape(usize::MAX, 4, 2), &a, &b, &mut c), length("a", usize::MAX, 6));
    is_parameter(gemm_i8(cpu, shape(1, 1, MAX_K + 1), &a, &b, &mut c), "k");
    let good = Dequantise { scale_a: &scale[..3], scale_b: &scale, bias: None, relu: false };
    for (bad, error) in [
        (Dequantise { scale_a: &scale, ..good }, length("scale_a", 3, 4)),
        (Dequantise { scale_b: &[], ..good }, length("scale_b", 4, 0)),
        (Dequantise { bias: Some(&scale[..3]), ..good }, length("bias", 4, 3)),
    ] {
        assert_eq!(gemm_i8_dequantised(cpu, shape(3, 4, 2), &a, &b, bad, &mut cf), error);
        assert_eq!(gemm_i8_requantised(cpu, shape(3, 4, 2), &a, &b, bad, 1.0, &mut cq), error);
    }
    for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let scales = [1.0, bad, 1.0, 1.0];
        let bad_b = Dequantise { scale_b: &scales, ..good };
        is_parameter(gemm_i8_dequantised(cpu, shape(3, 4, 2), &a, &b, bad_b, &mut cf), "scale_b");
        is_parameter(
            gemm_i8_requantised(cpu, shape(3, 4, 2), &a, &b, good, bad, &mut cq),
            "scale_c",
        );
        is_parameter(quantise(cpu, &[1.0; 12], &[bad], &mut cq), "scales");
        is_parameter(dequantise(cpu, &[1; 12], &[bad], &mut cf), "scales");
    }
    assert_eq!(quantise(cpu, &[1.0; 12], &scale[..1], &mut cq[..11]), length("q", 12, 11));
    assert_eq!(quantise(cpu, &[1.0; 11], &scale, &mut cq[..11]), length("x", 8, 11));
    assert_eq!(quantise(cpu, &[1.0; 11], &[], &mut cq[..11]), length("x", 0, 11));
    assert_eq!((c, cf, cq), ([7; 12], [7.0; 12], [7; 12]));
    // Without rows there is nothing to scale; an empty row needs no scale.
    let none = Dequantise { scale_a: &[], ..good };
    gemm_i8_dequantised(cpu, shape(0, 4, 2), &[], &b, none, &mut []).unwrap();
}
