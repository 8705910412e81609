//! Epilogues: C that is not read, elements saved before the activation, column sums.

use kernels::Isa;

use crate::matrix::{LAYOUTS, Layout};
use crate::oracle::{Case, EPILOGUES, EpilogueKind, Scalar};

#[test]
fn beta_zero_never_reads_what_it_overwrites() {
    for epilogue in EPILOGUES {
        for layout in LAYOUTS {
            let layouts = [Layout::RowMajor, Layout::RowMajor, layout];
            let mut case = Case::<f32>::new((20, 37, 9), layouts, epilogue, 5).with_outputs(3);
            case.beta = 0.0;
            case.before.c.data.fill(f32::NAN);
            case.before.z.data.fill(f32::NAN);
            case.before.sums.fill(f32::NAN);
            case.check();
            let got = case.run(Isa::detect(), true);
            assert!(
                (0..20)
                    .all(|i| (0..37).all(|j| !got.c.at(i, j).is_nan() && !got.z.at(i, j).is_nan()))
            );
            assert!(got.sums[3..40].iter().all(|sum| !sum.is_nan()));
        }
    }
}

/// Operands and C in all layouts, for shapes that are computed straight and transposed, over one
/// block of k and more.
fn every_layout<T: Scalar>(shapes: &[(usize, usize, usize)]) {
    let mut index = 0;
    for &shape in shapes {
        for a in LAYOUTS {
            for b in LAYOUTS {
                for c in LAYOUTS {
                    index += 1;
                    let mut case =
                        Case::<T>::new(shape, [a, b, c], EPILOGUES[index % 5], index as u64)
                            .with_outputs(3);
                    (case.alpha, case.beta) = [(1.0, 0.0), (1.25, -0.75), (-0.5, 0.0), (1.0, 1.0)]
                        .map(|(alpha, beta)| (T::from_f64(alpha), T::from_f64(beta)))[index % 4];
                    case.check();
                }
            }
        }
    }
}

#[test]
fn column_sums_and_saved_elements_of_f32_have_the_oracles_bits() {
    every_layout::<f32>(&[(17, 37, 30), (37, 17, 600), (130, 10, 90), (10, 130, 90)]);
}

#[test]
fn column_sums_and_saved_elements_of_f64_have_the_oracles_bits() {
    every_layout::<f64>(&[(17, 21, 30), (21, 9, 300), (70, 6, 90), (6, 70, 90)]);
}

/// The gradient of a dense layer's weights: dW = X^T dY has few columns, and X is in memory as its
/// transpose.
#[test]
fn column_sums_have_the_oracles_bits_when_the_product_is_transposed() {
    for k in [64, 520] {
        for (a, c) in [
            (Layout::ColMajor, Layout::RowMajor),
            (Layout::ColMajor, Layout::ColMajor),
            (Layout::RowMajor, Layout::RowMajor),
        ] {
            for epilogue in [EpilogueKind::Identity, EpilogueKind::ReluGradient] {
                for beta in [0.0, 1.0] {
                    let mut case =
                        Case::<f32>::new((512, 10, k), [a, Layout::RowMajor, c], epilogue, 31)
                            .with_outputs(3);
                    (case.alpha, case.beta) = (0.5, beta);
                    case.check();
                }
            }
        }
    }
}

#[test]
fn saved_elements_are_those_of_no_activation() {
    for isa in Isa::available() {
        let case = |epilogue| {
            Case::<f64>::new((23, 29, 31), [Layout::RowMajor; 3], epilogue, 17).with_outputs(1)
        };
        let linear = case(EpilogueKind::Bias).run(isa, true);
        let rectified = case(EpilogueKind::BiasRelu).run(isa, true);
        for i in 0..23 {
            for j in 0..29 {
                assert_eq!(rectified.z.at(i, j), linear.c.at(i, j));
                assert_eq!(rectified.c.at(i, j), linear.c.at(i, j).max(0.0));
            }
        }
    }
}

/// The sums depend on B alone, which has columns even if A has no rows.
#[test]
fn column_sums_have_the_oracles_bits_where_c_has_no_rows() {
    for layout in LAYOUTS {
        for k in [0, 1, 40] {
            Case::<f32>::new((0, 37, k), [layout; 3], EpilogueKind::Identity, 18)
                .with_outputs(2)
                .check();
        }
    }
}
