//! Sparse operands: the product has the bits of the product of the same dense matrix.

use kernels::gemm::{
    Bf16Operand, Epilogue, GemmShape, Operand, gemm, gemm_bf16, gemm_bf16_scratch, gemm_scratch,
};
use kernels::{Cpu, Isa, MatMut, MatRef};

use crate::matrix::{LAYOUTS, Layout, Matrix, assert_same};
use crate::oracle::{Scalar, TestOperand, every_layout, uniform};
use crate::sample::sample;

/// A matrix with zeros of either sign, in runs along rows and along columns of the buffer; one
/// element in three is not 0.
fn runs_of_zeros<T: Scalar>(rows: usize, cols: usize, layout: Layout, seed: u64) -> TestOperand<T> {
    let (across, number) = ((cols + 2) as u64, uniform::<T>(seed, 20));
    let draw = |i: u64| match (i / across / 5 + i % across / 7) % 3 {
        0 => number(i),
        1 => T::from_f64(0.0),
        _ => T::from_f64(-0.0),
    };
    TestOperand::Sparse(Matrix::new(rows, cols, layout, draw))
}

#[test]
fn skipped_zeros_change_no_bit_of_f32() {
    every_layout(runs_of_zeros::<f32>);
}

#[test]
fn skipped_zeros_change_no_bit_of_f64() {
    every_layout(runs_of_zeros::<f64>);
}

/// Pairs of bf16 are skipped where both values are 0.
#[test]
fn skipped_zeros_change_no_bit_of_bf16() {
    for (m, n, k) in sample([
        (29, 256, 130),
        (1, 1, 1),
        (5, 130, 31),
        (7, 33, 64),
        (40, 300, 1100),
        (100, 16, 90),
    ]) {
        for layout in sample(LAYOUTS) {
            let TestOperand::Sparse(a) = runs_of_zeros::<f32>(m, k, layout, 5) else {
                unreachable!()
            };
            let b = Matrix::dense(k, n, uniform::<f32>(6, 20));
            for isa in Isa::available() {
                let mut scratch = vec![f32::NAN; gemm_bf16_scratch(1, GemmShape { m, n, k })];
                let mut multiply = |a: Bf16Operand<'_>| {
                    let mut c = Matrix::dense(m, n, |_| 0.5_f32);
                    let b = Bf16Operand::rounded(b.view());
                    let (cpu, c_view) = (Cpu::serial(isa), c.view_mut());
                    gemm_bf16(cpu, 1.0, a, b, 0.0, c_view, Epilogue::NONE, &mut scratch).unwrap();
                    c
                };
                let (expected, got) = (
                    multiply(Bf16Operand::rounded(a.view())),
                    multiply(Bf16Operand::sparse(a.view())),
                );
                let case = || format!("{m} x {k} by {k} x {n}, {layout:?}, {isa}");
                assert_same(&expected.data, &got.data, "C", case);
            }
        }
    }
}

fn product(isa: Isa, a: &[f32], k: usize, b: &[f32], scratch: bool) -> Vec<f32> {
    let (m, n) = (a.len() / k, b.len() / k);
    let mut c = vec![f32::NAN; m * n];
    let mut scratch =
        vec![f32::NAN; if scratch { gemm_scratch::<f32>(1, GemmShape { m, n, k }) } else { 0 }];
    gemm(
        Cpu::serial(isa),
        1.0,
        Operand::sparse(MatRef::row_major(a, m, k).unwrap()),
        MatRef::row_major(b, k, n).unwrap(),
        0.0,
        MatMut::row_major(&mut c, m, n).unwrap(),
        Epilogue::NONE,
        &mut scratch,
    )
    .unwrap();
    c
}

/// A product that underflows to -0 stays -0 if no term is added to it. A zero term, which may be
/// skipped or not, makes it +0. So a sparse product has +0 in any case.
#[test]
fn a_sum_that_underflows_has_no_sign() {
    let (mut a, mut b) = (vec![0.0_f32; 20 * 40], vec![1.0_f32; 40 * 40]);
    for row in a.chunks_exact_mut(40) {
        row[3] = -1e-30;
    }
    b[3 * 40..][..40].fill(1e-30);
    for isa in Isa::available() {
        for scratch in [false, true] {
            let c = product(isa, &a, 40, &b, scratch);
            assert!(c.iter().all(|c| c.to_bits() == 0), "{isa} {scratch}");
        }
    }
}

#[test]
fn nan_is_not_skipped() {
    let (mut a, b) = (vec![0.0_f32; 20 * 40], vec![1.0_f32; 40 * 40]);
    a[5 * 40 + 7] = f32::NAN;
    for isa in Isa::available() {
        let c = product(isa, &a, 40, &b, true);
        assert!(c.iter().enumerate().all(|(i, c)| c.is_nan() == (i / 40 == 5)), "{isa}");
    }
}
