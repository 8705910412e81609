//! Factors of bytes: the product has the bits that it has for the converted matrix.

use kernels::Isa;
use kernels::random::Stream;

use crate::matrix::{LAYOUTS, Layout, Matrix};
use crate::oracle::{AFTER, Case, Factor, Scalar};

fn bytes<T: Scalar>(rows: usize, cols: usize, layout: Layout, seed: u64) -> Factor<T> {
    let draw = |i| Stream::new(seed, 20).below(i, 256) as u8;
    Factor::Bytes(Matrix::new(rows, cols, layout, draw), T::from_f64(1.0 / 255.0))
}

/// As a, as b and as both, in every layout.
fn every_layout<T: Scalar>() {
    let mut turn = 0;
    for (m, n, k) in [(1, 1, 1), (15, 33, 20), (3, 257, 19), (70, 9, 40), (33, 17, T::BLOCK + 5)] {
        for a in LAYOUTS {
            for b in LAYOUTS {
                for which in 1..=3 {
                    turn += 1;
                    let layouts = [a, b, LAYOUTS[turn % 3]];
                    let mut case =
                        Case::<T>::new((m, n, k), layouts, AFTER[turn % 5], turn as u64).beside(turn / 2);
                    if which & 1 != 0 {
                        case.a = bytes(m, k, a, 1);
                    }
                    if which & 2 != 0 {
                        case.b = bytes(k, n, b, 2);
                    }
                    case.check();
                }
            }
        }
    }
}

#[test]
fn bytes_have_the_bits_of_the_converted_f32() {
    every_layout::<f32>();
}

#[test]
fn bytes_have_the_bits_of_the_converted_f64() {
    every_layout::<f64>();
}

/// Every byte, one to a product.
#[test]
fn each_byte_is_rounded_once() {
    let scale = 1.0_f32 / 255.0;
    let mut case = Case::<f32>::new((256, 1, 1), [Layout::RowMajor; 3], AFTER[0], 3);
    (case.alpha, case.beta) = (1.0, 0.0);
    case.a = Factor::Bytes(Matrix::dense(256, 1, |i| i as u8), scale);
    case.b = Factor::Numbers(Matrix::dense(1, 1, |_| 1.0));
    for isa in Isa::available() {
        let got = case.run(isa, true);
        for byte in 0..=255_u8 {
            let expected = (f64::from(byte) * f64::from(scale)) as f32;
            assert_eq!(got.c.at(usize::from(byte), 0).to_bits(), expected.to_bits());
        }
    }
}
