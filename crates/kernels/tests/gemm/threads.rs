//! Threads: neither their number nor the partition of C changes a bit.

use kernels::{Cpu, Executor, Isa};

use crate::matrix::{LAYOUTS, Layout, Matrix};
use crate::oracle::{Case, EPILOGUES, EpilogueKind, TestOperand};
use crate::sample::sample;

/// An executor that spawns threads for each call: the tests need no fast one.
pub(crate) struct Threads(pub(crate) usize);

impl Executor for Threads {
    fn threads(&self) -> usize {
        self.0
    }
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for i in 0..tasks {
                scope.spawn(move || task(i));
            }
        });
    }
}

#[test]
fn threads_change_no_bit() {
    for (m, n, k) in sample([(700, 40, 300), (128, 512, 300), (300, 300, 130), (2000, 10, 600)]) {
        let case = Case::<f32>::new((m, n, k), [Layout::RowMajor; 3], EpilogueKind::BiasRelu, 3)
            .with_outputs(3);
        let one = case.run(Isa::detect(), true);
        for threads in 2..=5 {
            let many = case.run_on(Cpu::new(Isa::detect(), &Threads(threads)), threads, true);
            one.assert_same(&many, || format!("{threads} threads, {}", case.name()));
        }
    }
}

/// Products that are large enough for several tasks, with every output of an epilogue.
#[test]
fn threads_change_no_bit_of_any_epilogue() {
    let mut index = 0;
    for shape in sample([(65, 515, 90), (530, 10, 600), (10, 530, 600), (190, 100, 160)]) {
        for epilogue in sample(EPILOGUES) {
            index += 1;
            let layouts = [LAYOUTS[index % 3], LAYOUTS[index / 2 % 3], LAYOUTS[index / 3 % 3]];
            let mut case = Case::<f32>::new(shape, layouts, epilogue, index as u64).with_outputs(3);
            if index % 4 == 0 {
                let (m, _, k) = shape;
                case.a =
                    TestOperand::Bytes(Matrix::new(m, k, layouts[0], |i| (i * 7) as u8), 0.0625);
            }
            let expected = case.expected();
            for isa in Isa::available().filter(|isa| isa.lanes_f32() > 1) {
                for threads in 1..=4 {
                    for has_scratch in [true, false] {
                        let got =
                            case.run_on(Cpu::new(isa, &Threads(threads)), threads, has_scratch);
                        expected.assert_same(&got, || {
                            format!("{isa}, {threads} threads, {}", case.name())
                        });
                    }
                }
            }
        }
    }
}
