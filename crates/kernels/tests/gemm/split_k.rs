//! Long sums: k is split among threads where C is small, and no bit depends on it.

use half::bf16;
use kernels::gemm::{Epilogue, GemmShape, gemm, gemm_scratch};
use kernels::{Cpu, Isa, MatMut, MatRef};

use crate::bf16::oracle::{Case as PairCase, Store};
use crate::matrix::{LAYOUTS, Layout, Matrix, assert_same};
use crate::oracle::{Case, EPILOGUES, EpilogueKind, Scalar, TestOperand, layouts_of, uniform};
use crate::sample::{interval, sample};
use crate::threads::Threads;

/// Lengths around the shortest k that is split, and one that ends within a summation block.
fn depths(block: usize) -> [usize; 4] {
    [16 * block - 1, 16 * block, 16 * block + 1, 24 * block + 5]
}

fn long_sums<T: Scalar>() {
    let mut index = 0;
    for k in sample(depths(T::BLOCK)) {
        for (m, n) in sample([(25, 6), (1, 1), (3, 33), (0, 5), (5, 0)]) {
            index += 1;
            let layouts = layouts_of(index);
            let mut case = Case::<T>::new((m, n, k), layouts, EPILOGUES[index % 5], index as u64)
                .with_outputs(index / 2);
            if index % 3 == 0 {
                case.beta = T::ZERO;
            }
            case.check();
            on_threads(&case, &[2, 3]);
        }
    }
}

/// Compares every instruction set, on these numbers of threads, to the oracle.
fn on_threads<T: Scalar>(case: &Case<T>, numbers: &[usize]) {
    let expected = case.expected();
    for isa in Isa::available() {
        for &threads in numbers {
            let got = case.run_on(Cpu::new(isa, &Threads(threads)), threads, true);
            expected.assert_same(&got, || format!("{isa}, {threads} threads, {}", case.name()));
        }
    }
}

#[test]
fn long_sums_of_f32_have_the_documented_order() {
    long_sums::<f32>();
}

#[test]
fn long_sums_of_f64_have_the_documented_order() {
    long_sums::<f64>();
}

#[test]
fn a_c_too_large_to_split_has_the_documented_order() {
    for (m, n) in sample([(64, 65), (17, 241), (241, 17)]) {
        let layouts = [Layout::ColMajor, Layout::RowMajor, Layout::RowMajor];
        let case =
            Case::<f32>::new((m, n, 8192), layouts, EpilogueKind::BiasRelu, 5).with_outputs(3);
        let expected = case.expected();
        let got = case.run(Isa::detect(), true);
        expected.assert_same(&got, || case.name());
    }
}

#[test]
fn threads_change_no_bit_of_long_sums() {
    let shapes = [(25, 6, 20_000), (2, 40, 16_385), (1, 1, 50_000)];
    for (index, shape) in sample(shapes.into_iter().enumerate()) {
        for epilogue in sample(EPILOGUES) {
            for a in sample(LAYOUTS) {
                let layouts = [a, LAYOUTS[index], LAYOUTS[(index + 1) % 3]];
                let mut case = Case::<f32>::new(shape, layouts, epilogue, index as u64)
                    .with_outputs(3 - index);
                if index == 1 {
                    case.a = TestOperand::Bytes(
                        Matrix::new(shape.0, shape.2, a, |i| (i * 7) as u8),
                        0.0625,
                    );
                }
                let expected = case.expected();
                for threads in [1, 2, 3, 16] {
                    let got =
                        case.run_on(Cpu::new(Isa::detect(), &Threads(threads)), threads, true);
                    expected.assert_same(&got, || format!("{threads} threads, {}", case.name()));
                }
            }
        }
    }
}

/// A sum that underflows in every summation block: with a sparse operand, -0 becomes +0.
#[test]
fn sparse_operands_may_be_split() {
    let k = 8200;
    for layout in LAYOUTS {
        let mut case =
            Case::<f32>::new((3, 5, k), [layout; 3], EpilogueKind::Bias, 1).with_outputs(2);
        case.beta = 0.0;
        case.bias.fill(-0.0);
        case.a = TestOperand::Sparse(Matrix::new(3, k, layout, |_| -1e-40));
        case.b = TestOperand::Dense(Matrix::new(k, 5, layout, |_| 1e-20));
        for isa in Isa::available() {
            for threads in [1, 2] {
                let got = case.run_on(Cpu::new(isa, &Threads(threads)), threads, true);
                for i in 0..3 {
                    for j in 0..5 {
                        let c = got.c.at(i, j);
                        assert_eq!(c.to_bits(), 0, "{c} on {isa}, {threads} threads, {layout:?}");
                    }
                }
            }
        }
    }
}

/// Batch invariance of the dense layer of the preset `lenet`, whose k is 9216.
#[test]
fn a_row_does_not_depend_on_the_number_of_rows() {
    const ROWS: usize = 64;
    const K: usize = 9216;
    // Fewer units on an emulated processor.
    let n = if interval() == 1 { 128 } else { 10 };
    let (a, b) =
        (Matrix::dense(ROWS, K, uniform::<f32>(1, 0)), Matrix::dense(n, K, uniform::<f32>(1, 1)));
    let stored = Matrix::dense(K, n, |i| b.at(i as usize % n, i as usize / n % K));
    for (b, transposed) in [(b.view().transpose(), true), (stored.view(), false)] {
        let mut first: Option<Vec<f32>> = None;
        for rows in [ROWS, 33, 32, 7, 2, 1] {
            for threads in [1, 2] {
                let mut scratch =
                    vec![f32::NAN; gemm_scratch::<f32>(threads, GemmShape { m: rows, n, k: K })];
                let mut c = vec![f32::NAN; rows * n];
                gemm(
                    Cpu::new(Isa::detect(), &Threads(threads)),
                    1.0,
                    MatRef::row_major(&a.data, rows, K).unwrap(),
                    b,
                    0.0,
                    MatMut::row_major(&mut c, rows, n).unwrap(),
                    Epilogue::NONE,
                    &mut scratch,
                )
                .unwrap();
                let all = first.get_or_insert_with(|| c.clone());
                let case = || format!("{rows} rows, {threads} threads, transposed: {transposed}");
                assert_same(&all[..rows * n], &c, "C", case);
            }
        }
    }
}

fn long_sums_of_pairs<O: Store>() {
    let mut index = 0;
    for k in sample(depths(1024)) {
        for (m, n) in sample([(1, 1), (3, 17)]) {
            index += 1;
            let layouts = [LAYOUTS[index % 3], LAYOUTS[index / 2 % 3], LAYOUTS[index / 3 % 3]];
            let case = PairCase::<O>::new((m, n, k), layouts, EPILOGUES[index % 5], index as u64)
                .with_outputs(index);
            case.check();
            let expected = case.expected();
            let got = case.run_on(Cpu::new(Isa::detect(), &Threads(3)), 3, true);
            expected.assert_same(&got, || format!("3 threads, {}", case.name()));
        }
    }
}

#[test]
fn long_sums_of_bf16_to_f32_have_the_documented_order() {
    long_sums_of_pairs::<f32>();
}

#[test]
fn long_sums_of_bf16_to_bf16_have_the_documented_order() {
    long_sums_of_pairs::<bf16>();
}

/// A network allocates the scratch of its largest batch.
#[test]
fn a_part_of_a_batch_needs_no_more_scratch_than_all_of_it() {
    for threads in [1, 3] {
        for k in [100, 8191, 8192, 20_000] {
            for n in [1, 10, 33, 1000, 4096, 5000] {
                let mut least = 0;
                for m in 1..=600 {
                    let scratch = gemm_scratch::<f32>(threads, GemmShape { m, n, k });
                    assert!(scratch >= least, "{m} x {n} x {k}: {scratch} after {least}");
                    least = scratch;
                }
            }
        }
    }
}
