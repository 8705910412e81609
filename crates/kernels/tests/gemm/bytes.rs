//! Operands of bytes: the product has the bits of the product of the converted matrix.

use kernels::Isa;
use kernels::random::Stream;

use crate::matrix::{Layout, Matrix};
use crate::oracle::{Case, EPILOGUES, Scalar, TestOperand, every_layout};

fn bytes<T: Scalar>(rows: usize, cols: usize, layout: Layout, seed: u64) -> TestOperand<T> {
    let draw = |i| Stream::new(seed, 20).below(i, 256) as u8;
    TestOperand::Bytes(Matrix::new(rows, cols, layout, draw), T::from_f64(1.0 / 255.0))
}

#[test]
fn bytes_have_the_bits_of_the_converted_f32() {
    every_layout(bytes::<f32>);
}

#[test]
fn bytes_have_the_bits_of_the_converted_f64() {
    every_layout(bytes::<f64>);
}

/// Every byte, one per row.
#[test]
fn each_byte_is_rounded_once() {
    let scale = 1.0_f32 / 255.0;
    let mut case = Case::<f32>::new((256, 1, 1), [Layout::RowMajor; 3], EPILOGUES[0], 3);
    (case.alpha, case.beta) = (1.0, 0.0);
    case.a = TestOperand::Bytes(Matrix::dense(256, 1, |i| i as u8), scale);
    case.b = TestOperand::Dense(Matrix::dense(1, 1, |_| 1.0));
    for isa in Isa::available() {
        let got = case.run(isa, true);
        for byte in 0..=255_u8 {
            let expected = (f64::from(byte) * f64::from(scale)) as f32;
            assert_eq!(got.c.at(usize::from(byte), 0).to_bits(), expected.to_bits());
        }
    }
}
