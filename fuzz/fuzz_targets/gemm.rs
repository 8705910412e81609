//! Any shapes, strides and values: bit for bit the scalar loop of the contract, on every
//! instruction set; `cargo +nightly fuzz run gemm`.
#![no_main]

use arbitrary::Arbitrary;
use fuzz::bits;
use kernels::gemm::{Epilogue, GemmShape, Operand, gemm, gemm_scratch};
use kernels::{Cpu, Isa, MatMut, MatRef};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Problem {
    m: u8,
    n: u8,
    k: u16,
    a_transposed: bool,
    b_transposed: bool,
    gap: u8,
    alpha: f32,
    beta: f32,
    relu: bool,
    /// B is bytes, scaled by the first value.
    bytes: bool,
    scratch: bool,
    values: Vec<f32>,
}

fuzz_target!(|problem: Problem| {
    let Problem {
        m,
        n,
        k,
        a_transposed,
        b_transposed,
        gap,
        alpha,
        beta,
        relu,
        bytes,
        scratch,
        values,
    } = problem;
    let (m, n, k, gap) =
        (usize::from(m % 48), usize::from(n % 80), usize::from(k % 600), usize::from(gap % 3));
    let value = |i: usize| if values.is_empty() { 1.0 } else { values[i % values.len()] };
    // (length, row stride, column stride) of rows x cols, with `gap` elements between rows
    // (columns, if transposed).
    let layout = |rows: usize, cols: usize, transposed: bool| {
        if transposed {
            (cols * (rows + gap), 1, rows + gap)
        } else {
            (rows * (cols + gap), cols + gap, 1)
        }
    };
    let draw =
        |len: usize, offset: usize| (0..len).map(|i| value(i + offset)).collect::<Vec<f32>>();
    let (a_len, a_row, a_col) = layout(m, k, a_transposed);
    let (b_len, b_row, b_col) = layout(k, n, b_transposed);
    let (a, mut b, c, bias, sums) =
        (draw(a_len, 0), draw(b_len, 1), draw(m * n, 2), draw(n, 3), draw(n, 4));
    let pixels: Vec<u8> = b.iter().map(|x| (x.to_bits() >> 16) as u8).collect();
    if bytes {
        b = pixels.iter().map(|&pixel| f32::from(pixel) * value(0)).collect();
    }

    // The product of `a` and column `j` of B, added to `c`.
    let sum = |a: &dyn Fn(usize) -> f32, j: usize, c: f32| {
        let mut r = (beta != 0.0).then(|| beta * c);
        for block in (0..k).step_by(512) {
            let chain = (block..k.min(block + 512))
                .fold(0.0, |p, q| a(q).mul_add(b[q * b_row + j * b_col], p));
            r = Some(r.map_or(alpha * chain, |r| alpha.mul_add(chain, r)));
        }
        r.unwrap_or(0.0)
    };
    let expected = |i: usize, j: usize| {
        let r = sum(&|q| a[i * a_row + q * a_col], j, c[i * n + j]) + bias[j];
        if relu && r <= 0.0 { 0.0 } else { r }
    };

    let mut scratch =
        vec![f32::NAN; if scratch { gemm_scratch::<f32>(1, GemmShape { m, n, k }) } else { 0 }];
    for isa in Isa::available() {
        let (mut got, mut got_sums) = (c.clone(), sums.clone());
        let epilogue = Epilogue::bias(&bias).column_sums(&mut got_sums);
        let epilogue = if relu { epilogue.relu() } else { epilogue };
        let b_operand: Operand<'_, f32> = if bytes {
            Operand::bytes(
                MatRef::strided(&pixels, k, n, b_row, b_col).expect("inside b"),
                value(0),
            )
        } else {
            MatRef::strided(&b, k, n, b_row, b_col).expect("inside b").into()
        };
        gemm(
            Cpu::serial(isa),
            alpha,
            MatRef::strided(&a, m, k, a_row, a_col).expect("inside a"),
            b_operand,
            beta,
            MatMut::row_major(&mut got, m, n).expect("inside c"),
            epilogue,
            &mut scratch,
        )
        .expect("the shapes agree");
        for j in 0..n {
            assert_eq!(bits(&got_sums[j]), bits(&sum(&|_| 1.0, j, sums[j])), "{isa} sum {j}");
        }
        for i in 0..m {
            for j in 0..n {
                assert_eq!(bits(&got[i * n + j]), bits(&expected(i, j)), "{isa} ({i}, {j})");
            }
        }
    }
});
