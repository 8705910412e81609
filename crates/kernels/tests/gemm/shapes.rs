//! Shapes: lengths at which a loop begins, ends or has a remainder, and matrices larger than a
//! cache block.

use kernels::Isa;

use crate::matrix::{LAYOUTS, Layout, Matrix};
use crate::oracle::{Case, EPILOGUES, EpilogueKind, Scalar, TestOperand, layouts_of, uniform};
use crate::sample::sample;

/// 0, 1, and the neighbours of registers (4, 8 and 16 lanes), of tiles (6 and 14 rows) and of
/// panels (two registers).
const EDGES: [usize; 18] = [0, 1, 2, 3, 4, 5, 6, 7, 9, 13, 14, 15, 16, 17, 31, 32, 33, 65];

fn every_edge<T: Scalar>() {
    let mut index = 0;
    for m in EDGES {
        for n in EDGES {
            for k in [0, 1, 2, 17] {
                // One combination per triple; over all triples each combination occurs many times.
                index += 1;
                let layouts = layouts_of(index);
                Case::<T>::new((m, n, k), layouts, EPILOGUES[index % 5], index as u64)
                    .with_outputs(index / 5)
                    .check();
            }
        }
    }
}

#[test]
fn f32_has_the_oracles_bits_at_every_edge() {
    every_edge::<f32>();
}

#[test]
fn f64_has_the_oracles_bits_at_every_edge() {
    every_edge::<f64>();
}

/// Neighbours of the width that is packed at a time, and of eight registers, the width of the
/// microkernel for few rows.
fn wide_edges<T: Scalar>() {
    let mut index = 0;
    for wide in [31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257] {
        for narrow in [1, 2, 3, 4, 15] {
            for (m, n) in [(narrow, wide), (wide, narrow)] {
                index += 1;
                let layouts = layouts_of(index);
                let case = Case::<T>::new((m, n, 21), layouts, EPILOGUES[index % 5], index as u64);
                case.with_outputs(index / 2).check();
            }
        }
    }
}

#[test]
fn f32_has_the_oracles_bits_at_the_edges_of_wide_panels() {
    wide_edges::<f32>();
}

#[test]
fn f64_has_the_oracles_bits_at_the_edges_of_wide_panels() {
    wide_edges::<f64>();
}

fn summation_blocks<T: Scalar>() {
    for k in [T::BLOCK - 1, T::BLOCK, T::BLOCK + 1, 2 * T::BLOCK + 3] {
        for (i, &layout) in LAYOUTS.iter().enumerate() {
            for (index, epilogue) in EPILOGUES.into_iter().enumerate() {
                let layouts = [layout, LAYOUTS[(i + 1) % 3], LAYOUTS[(i + 2 + index) % 3]];
                Case::<T>::new((15, 33, k), layouts, epilogue, 7).with_outputs(index + i).check();
            }
        }
    }
}

#[test]
fn f32_sums_in_blocks_of_512() {
    summation_blocks::<f32>();
}

#[test]
fn f64_sums_in_blocks_of_256() {
    summation_blocks::<f64>();
}

/// Products without bias, activation and beta: the microkernel stores its accumulators to C.
#[test]
fn plain_products_have_the_oracles_bits() {
    for k in [0, 1, 40, 600] {
        for (m, n) in [(1, 32), (3, 128), (14, 64), (15, 160), (29, 48)] {
            let mut case =
                Case::<f32>::new((m, n, k), [Layout::RowMajor; 3], EpilogueKind::Identity, 8)
                    .with_outputs(2);
            (case.alpha, case.beta) = (1.0, 0.0);
            case.check();
            case.a = TestOperand::Dense(Matrix::dense(m, k, uniform(9, 0)));
            case.b = TestOperand::Dense(Matrix::dense(k, n, uniform(9, 1)));
            case.check();
        }
    }
}

/// More columns than are packed at a time, more rows than tiles of one pass, B packed and unpacked.
#[test]
fn cache_blocks_change_no_bit() {
    for (index, (m, n, k)) in
        [(9, 300, 40), (300, 9, 40), (150, 260, 70), (20, 513, 600)].into_iter().enumerate()
    {
        for layouts in [
            [Layout::RowMajor; 3],
            [Layout::ColMajor; 3],
            [Layout::RowMajor, Layout::ColMajor, Layout::RowMajor],
            [Layout::ColMajor, Layout::RowMajor, Layout::Strided],
        ] {
            Case::<f32>::new((m, n, k), layouts, EpilogueKind::BiasRelu, 11)
                .with_outputs(index)
                .check();
            Case::<f64>::new((m, n, k), layouts, EpilogueKind::ReluGradient, 12)
                .with_outputs(index + 1)
                .check();
        }
    }
    // Rows of B 4 KiB apart are packed.
    Case::<f32>::new((30, 1022, 520), [Layout::RowMajor; 3], EpilogueKind::Bias, 13)
        .with_outputs(3)
        .check();
}

/// Rows of A a multiple of 4 KiB apart are packed, for more columns than are packed at a time and
/// more rows than are packed at a time.
///
/// The oracle takes too long for all rows: it computes some, and the instruction sets are compared
/// with each other in all of them.
#[test]
fn packed_rows_of_a_change_no_bit() {
    for (m, n, k, a) in sample([
        (2053, 258, 100, Layout::Strided),
        (1037, 270, 1024, Layout::RowMajor),
        (1100, 259, 1024, Layout::ColMajor),
    ]) {
        let layouts = [a, Layout::RowMajor, Layout::RowMajor];
        let mut case = Case::<f32>::new((m, n, k), layouts, EpilogueKind::Bias, 14).with_outputs(3);
        if a == Layout::RowMajor {
            case.a = TestOperand::Dense(Matrix::dense(m, k, uniform(14, 0)));
        }
        let some = || (0..m).filter(|i| i % 61 == 0 || m - i < 3 || i.abs_diff(1024) < 3);
        let expected = case.expected_in(some());
        let isas: Vec<Isa> = Isa::available().filter(|isa| isa.lanes_f32() > 1).collect();
        let mut first = None;
        for isa in isas {
            let got = case.run(isa, true);
            for i in some() {
                for j in 0..n {
                    assert_eq!(
                        got.c.at(i, j),
                        expected.c.at(i, j),
                        "{isa}, {}: ({i}, {j})",
                        case.name()
                    );
                }
            }
            crate::matrix::assert_same(&expected.sums, &got.sums, "the column sums", || {
                case.name()
            });
            let first = first.get_or_insert_with(|| got.clone());
            first.assert_same(&got, || format!("{isa}, {}", case.name()));
        }
    }
}
