//! Long sums of few elements, which are cut into slabs, and their neighbours, which are not.

use half::bf16;
use kernels::gemm::gemm_scratch;
use kernels::{Cpu, Isa};

use crate::bf16::oracle::{Case as PairCase, Store};
use crate::matrix::{LAYOUTS, Layout, Matrix};
use crate::oracle::{AFTER, After, Case, Factor, Scalar};
use crate::threads::Threads;

/// Neighbours of two and of three slabs.
fn depths(block: usize) -> [usize; 4] {
    let slab = 8 * block;
    [2 * slab - 1, 2 * slab, 2 * slab + 1, 3 * slab + 5]
}

fn neighbours_of_slabs<T: Scalar>() {
    let mut turn = 0;
    for k in depths(T::BLOCK) {
        for (m, n) in [(1, 1), (25, 6), (3, 33), (0, 5), (5, 0)] {
            turn += 1;
            let layouts = [LAYOUTS[turn % 3], LAYOUTS[turn / 3 % 3], LAYOUTS[turn / 9 % 3]];
            let mut case = Case::<T>::new((m, n, k), layouts, AFTER[turn % 5], turn as u64).beside(turn / 2);
            if turn % 3 == 0 {
                case.beta = T::ZERO;
            }
            case.check();
        }
    }
}

#[test]
fn f32_sums_in_slabs_of_4096() {
    neighbours_of_slabs::<f32>();
}

#[test]
fn f64_sums_in_slabs_of_2048() {
    neighbours_of_slabs::<f64>();
}

#[test]
fn from_4097_elements_of_c_on_there_are_no_slabs() {
    for (m, n) in [(64, 65), (17, 241), (241, 17)] {
        let layouts = [Layout::ColMajor, Layout::RowMajor, Layout::RowMajor];
        let case = Case::<f32>::new((m, n, 8192), layouts, After::BiasRelu, 5).beside(3);
        let expected = case.expected();
        let got = case.run(Isa::detect(), true);
        expected.assert_same(&got, || case.name());
    }
}

#[test]
fn threads_change_no_bit_of_slabs() {
    for (turn, shape) in [(25, 6, 20_000), (2, 40, 16_385), (1, 1, 50_000)].into_iter().enumerate() {
        for after in AFTER {
            for a in LAYOUTS {
                let layouts = [a, LAYOUTS[turn], LAYOUTS[(turn + 1) % 3]];
                let mut case = Case::<f32>::new(shape, layouts, after, turn as u64).beside(3 - turn);
                if turn == 1 {
                    case.a = Factor::Bytes(Matrix::new(shape.0, shape.2, a, |i| (i * 7) as u8), 0.0625);
                }
                let expected = case.expected();
                for threads in [1, 2, 3, 16] {
                    let got = case.run_on(Cpu::new(Isa::detect(), &Threads(threads)), threads, true);
                    expected.assert_same(&got, || format!("{threads} threads, {}", case.name()));
                }
            }
        }
    }
}

fn slabs_of_pairs<O: Store>() {
    let mut turn = 0;
    for k in depths(1024) {
        for (m, n) in [(1, 1), (3, 17)] {
            turn += 1;
            let layouts = [LAYOUTS[turn % 3], LAYOUTS[turn / 2 % 3], LAYOUTS[turn / 3 % 3]];
            let case = PairCase::<O>::new((m, n, k), layouts, AFTER[turn % 5], turn as u64).beside(turn);
            case.check();
            let expected = case.expected();
            let got = case.run_on(Cpu::new(Isa::detect(), &Threads(3)), 3, true);
            expected.assert_same(&got, || format!("3 threads, {}", case.name()));
        }
    }
}

#[test]
fn f32_results_of_bf16_are_summed_in_slabs_of_8192() {
    slabs_of_pairs::<f32>();
}

#[test]
fn bf16_results_are_never_cut_into_slabs() {
    slabs_of_pairs::<bf16>();
}

/// A network's scratch is that of its largest batch.
#[test]
fn a_part_of_a_batch_needs_no_more_scratch_than_all_of_it() {
    for k in [100, 8191, 8192, 20_000] {
        for n in [1, 10, 33, 1000, 4096, 5000] {
            let mut least = 0;
            for m in 1..=600 {
                let scratch = gemm_scratch::<f32>(1, m, n, k);
                assert!(scratch >= least, "{m} x {n} x {k}: {scratch} after {least}");
                least = scratch;
            }
        }
    }
}
