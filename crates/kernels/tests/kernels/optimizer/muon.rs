//! Muon and its Newton-Schulz iteration: orthogonality, bits, errors.

use super::draw;
use crate::testing::{bits, same_on_every_cpu};
use kernels::optimizer::*;
use kernels::{Cpu, Error, Float};

/// The smaller of x x^T and x^T x, and its number of rows.
fn gram(x: &[f64], [rows, cols]: [usize; 2]) -> (Vec<f64>, usize) {
    let (short, long) = (rows.min(cols), rows.max(cols));
    let at = |i: usize, k: usize| if rows > cols { x[k * cols + i] } else { x[i * cols + k] };
    let dot = |i, j| (0..long).map(|k| at(i, k) * at(j, k)).sum();
    ((0..short * short).map(|ij| dot(ij / short, ij % short)).collect(), short)
}

#[test]
fn many_iterations_without_overshoot_are_orthogonal() {
    // 15/8, -10/8, 3/8 converge to 1.
    let iteration = NewtonSchulz {
        coefficients: [1.875, -1.25, 0.375],
        iterations: 30,
        ..NewtonSchulz::default()
    };
    for shape in [[1, 1], [1, 7], [7, 1], [5, 8], [8, 5], [20, 33]] {
        let [rows, cols] = shape;
        let x = draw::<f64>(3, rows * cols);
        let (mut y, mut scratch) =
            (x.clone(), vec![f64::NAN; orthogonalise_scratch::<f64>(1, shape)]);
        orthogonalise(Cpu::detect(), iteration, &x, shape, &mut y, &mut scratch).unwrap();
        let (gram, short) = gram(&y, shape);
        for (ij, g) in gram.iter().enumerate() {
            let expected = if ij / short == ij % short { 1.0 } else { 0.0 };
            assert!((g - expected).abs() < 1e-12, "{shape:?}, {ij}: {g}");
        }
    }
}

#[test]
fn the_default_iteration_brings_singular_values_near_one() {
    let shape = [16, 48];
    let x = draw::<f64>(4, 16 * 48);
    let (mut y, mut scratch) =
        (vec![0.0; x.len()], vec![0.0; orthogonalise_scratch::<f64>(1, shape)]);
    orthogonalise(Cpu::detect(), NewtonSchulz::default(), &x, shape, &mut y, &mut scratch).unwrap();
    let (gram, short) = gram(&y, shape);
    // The trace is the sum of the squares of all 16 singular values. Gershgorin's discs, which
    // would bound each of them, are too wide here.
    let trace: f64 = (0..short).map(|i| gram[i * short + i]).sum();
    assert!((16.0 * 0.68 * 0.68..16.0 * 1.14 * 1.14).contains(&trace), "{trace}");
}

fn orthogonalised<T: Float>(cpu: Cpu<'_>, x: &[T], shape: [usize; 2], iterations: u32) -> Vec<T> {
    let scratch = orthogonalise_scratch::<T>(3, shape);
    let (mut y, mut scratch) = (vec![T::NAN; x.len()], vec![T::NAN; scratch]);
    let iteration = NewtonSchulz { iterations, ..NewtonSchulz::default() };
    orthogonalise(cpu, iteration, x, shape, &mut y, &mut scratch).unwrap();
    y
}

#[test]
fn orthogonalising_is_the_same_on_every_cpu_for_a_transpose_and_for_any_scale() {
    for (shape, iterations) in
        [([0, 3], 5), ([3, 0], 5), ([1, 1], 4), ([33, 70], 5), ([70, 33], 2), ([9, 9], 0)]
    {
        let [rows, cols] = shape;
        let x = draw::<f32>(5, rows * cols);
        let y = same_on_every_cpu(|cpu| orthogonalised(cpu, &x, shape, iterations));
        let transposed = |x: &[f32]| -> Vec<f32> {
            (0..x.len()).map(|i| x[i % rows * cols + i / rows]).collect()
        };
        let of_transpose = orthogonalised(Cpu::detect(), &transposed(&x), [cols, rows], iterations);
        // The norm of the transpose is summed in another order, and rounded before it divides.
        assert!(transposed(&y).iter().zip(of_transpose).all(|(a, b)| (a - b).abs() < 1e-5));
        let huge: Vec<f32> = x.iter().map(|x| x * 2.0_f32.powi(100)).collect();
        assert_eq!(bits(&orthogonalised(Cpu::detect(), &huge, shape, iterations)), bits(&y));
    }
    let zeros = orthogonalised(Cpu::detect(), &[0.0_f64; 6], [2, 3], 5);
    assert_eq!(zeros, [0.0; 6]);
    for bad in [f32::NAN, f32::INFINITY] {
        let y = orthogonalised(Cpu::detect(), &[1.0, bad, 2.0, 3.0], [2, 2], 5);
        assert!(y.iter().all(|y| y.is_nan()));
    }
}

#[test]
fn muon_has_the_same_bits_on_every_cpu() {
    let shape = [40, 24];
    let n = 960;
    same_on_every_cpu(|cpu| {
        let (mut params, mut m) = (draw::<f32>(0, n), vec![0.0; n]);
        let mut scratch = vec![f32::NAN; Muon::scratch::<f32>(3, shape)];
        for t in 1..=3 {
            let step = Step { scale: 0.5, ..Step::new(t, 0.02) };
            Muon::default()
                .step(cpu, step, &mut params, &draw(t, n), shape, &mut m, &mut scratch)
                .unwrap();
        }
        (bits(&params), bits(&m))
    });
}

#[test]
fn misuse_of_muon_is_refused() {
    let cpu = Cpu::detect();
    let need = Muon::scratch::<f32>(1, [2, 3]);
    let run = |muon: Muon, shape, grads: usize, m: usize, scratch: usize| {
        let (mut p, mut m, mut scratch) = (vec![1.0_f32; 6], vec![1.0; m], vec![0.0; scratch]);
        let result = muon.step(
            cpu,
            Step::new(1, 0.1),
            &mut p,
            &vec![1.0; grads],
            shape,
            &mut m,
            &mut scratch,
        );
        assert!(p.iter().chain(&m).all(|x| *x == 1.0));
        result.unwrap_err()
    };
    let good = Muon::default();
    let length = |operand, expected, got| Error::Length { operand, expected, got };
    assert_eq!(run(good, [2, 4], 6, 6, need), length("params", 8, 6));
    assert_eq!(run(good, [usize::MAX, 3], 6, 6, need), length("params", usize::MAX, 6));
    assert_eq!(run(good, [2, 3], 5, 6, need), length("grads", 6, 5));
    assert_eq!(run(good, [2, 3], 6, 7, need), length("momentum_buffer", 6, 7));
    assert_eq!(run(good, [2, 3], 6, 6, need - 1), Error::Scratch { expected: need, got: need - 1 });
    let bad = |newton_schulz| Muon { newton_schulz, ..good };
    let iteration = NewtonSchulz::default();
    for (expected, muon) in [
        ("momentum", Muon { momentum: 1.0, ..good }),
        ("decoupled", Muon { decay: -1.0, ..good }),
        ("epsilon", bad(NewtonSchulz { epsilon: 0.0, ..iteration })),
        ("b", bad(NewtonSchulz { coefficients: [1.0, f64::NAN, 1.0], ..iteration })),
    ] {
        let error = run(muon, [2, 3], 6, 6, need);
        assert!(matches!(error, Error::Parameter { name, .. } if name == expected));
    }
    let mut y = [1.0_f32; 6];
    let mut refused = |x: usize, scratch| {
        orthogonalise(cpu, iteration, &vec![1.0; x], [2, 3], &mut y, &mut vec![0.0; scratch])
            .unwrap_err()
    };
    let need = orthogonalise_scratch::<f32>(1, [2, 3]);
    assert_eq!(refused(5, need), length("x", 6, 5));
    assert_eq!(refused(6, need - 1), Error::Scratch { expected: need, got: need - 1 });
    assert_eq!(y, [1.0; 6]);
}
