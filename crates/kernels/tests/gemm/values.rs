//! Values: exact integers, random numbers compared with f64, and non-finite numbers.

use kernels::Isa;
use kernels::random::Stream;
use proptest::prelude::*;

use crate::matrix::{Layout, Matrix};
use crate::oracle::{Case, EPILOGUES, EpilogueKind, Scalar, TestOperand, layouts_of};

#[test]
fn small_integers_are_exact() {
    let integers = |stream: u64| move |i: u64| Stream::new(1, stream).below(i, 17) as f32 - 8.0;
    let layouts = [Layout::RowMajor, Layout::ColMajor, Layout::RowMajor];
    let mut case = Case::<f32>::new((33, 47, 700), layouts, EpilogueKind::Identity, 0);
    (case.alpha, case.beta) = (1.0, 0.0);
    case.a = TestOperand::Dense(Matrix::new(33, 700, Layout::RowMajor, integers(1)));
    case.b = TestOperand::Dense(Matrix::new(700, 47, Layout::ColMajor, integers(2)));
    let got = case.run(Isa::detect(), true);
    for i in 0..33 {
        for j in 0..47 {
            let exact: i64 =
                (0..700).map(|p| case.a.at(i, p) as i64 * case.b.at(p, j) as i64).sum();
            assert_eq!(got.c.at(i, j), exact as f32);
        }
    }
}

/// Random data compared with f64: the bound that the documentation of `gemm` states.
#[test]
fn the_error_stays_below_the_documented_bound() {
    error_stays_below((17, 19, 1500), 512.0 + 3.0);
}

#[test]
fn the_error_of_long_sums_stays_below_the_documented_bound() {
    error_stays_below((3, 5, 50_000), 512.0 + 98.0);
}

/// Checks errors: at most `roundings` units of roundoff times the sum of |a||b|.
fn error_stays_below((m, n, k): (usize, usize, usize), roundings: f64) {
    let mut case = Case::<f32>::new((m, n, k), [Layout::RowMajor; 3], EpilogueKind::Identity, 21);
    (case.alpha, case.beta) = (1.0, 0.0);
    for isa in Isa::available() {
        let got = case.run(isa, true);
        for i in 0..m {
            for j in 0..n {
                let terms = (0..k).map(|p| f64::from(case.a.at(i, p)) * f64::from(case.b.at(p, j)));
                let (exact, size) =
                    terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()));
                let bound = roundings * 0.5 * f64::from(f32::EPSILON) * size;
                let error = (f64::from(got.c.at(i, j)) - exact).abs();
                assert!(error <= bound, "{error} > {bound}");
            }
        }
    }
}

fn specials_flow<T: Scalar>((m, n, k): (usize, usize, usize), choice: usize, seed: u64) {
    let layouts = layouts_of(choice);
    let mut case =
        Case::<T>::new((m, n, k), layouts, EPILOGUES[choice % 5], seed).with_outputs(choice / 5);
    case.alpha = T::from_f64([1.0, 1.25, 0.0][choice / 2 % 3]);
    case.beta = T::from_f64([0.0, 1.0, -0.5][choice / 7 % 3]);
    let draw = |stream: u64| {
        move |i: u64| {
            let s = Stream::new(seed, 10 + stream);
            // About one element in twelve is special.
            T::special(s.below(i, 96), s.uniform_f64(i) - 0.5)
        }
    };
    case.a = TestOperand::Dense(Matrix::new(m, k, layouts[0], draw(0)));
    case.b = TestOperand::Dense(Matrix::new(k, n, layouts[1], draw(1)));
    case.before.c = Matrix::new(m, n, layouts[2], draw(2));
    case.y = Matrix::new(m, n, Layout::RowMajor, draw(3));
    case.bias = (0..n as u64).map(draw(4)).collect();
    case.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// NaN, infinities, both zeros, subnormals and the largest numbers propagate as in the scalar
    /// loop.
    #[test]
    fn specials_flow_as_in_the_oracle(
        m in 1_usize..20, n in 1_usize..40, k in 1_usize..30, choice in 0_usize..1260, seed: u64,
    ) {
        specials_flow::<f32>((m, n, k), choice, seed);
        specials_flow::<f64>((m, n, k), choice, seed);
    }
}
