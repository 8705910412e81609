//! Products of packed operands and of batches: the bits of `gemm` on the plain matrices, on every
//! instruction set.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use half::bf16;
use kernels::gemm::{
    Batch, BatchMut, Epilogue, Packed, PackedBf16, gemm, gemm_batch, gemm_bf16, gemm_bf16_scratch,
    gemm_scratch, packed_bf16_len, packed_len,
};
use kernels::random::Stream;
use kernels::{Cpu, Error, Executor, Float, Isa, MatMut, MatRef};

fn draw<T: Float>(stream: u64, len: usize) -> Vec<T> {
    let stream = Stream::new(5, stream);
    (0..len as u64).map(|i| T::from_f64(stream.uniform_f64(i) - 0.5)).collect()
}

/// `x` as a matrix `[rows, cols]`, row-major or, if `transposed`, column-major.
fn view<T>(x: &[T], rows: usize, cols: usize, transposed: bool) -> MatRef<'_, T> {
    if transposed {
        MatRef::row_major(x, cols, rows).unwrap().transpose()
    } else {
        MatRef::row_major(x, rows, cols).unwrap()
    }
}

fn bits<T: Float>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

/// Executor of scoped threads.
struct Threads(usize);

impl Executor for Threads {
    fn threads(&self) -> usize {
        self.0
    }
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| (0..tasks).for_each(|i| _ = scope.spawn(move || task(i))));
    }
}

fn packed_products<T: Float>() {
    for (m, n, k) in
        [(1, 40, 33), (13, 65, 20), (40, 33, 600), (70, 10, 7), (3, 1, 1), (0, 5, 4), (2, 3, 8200)]
    {
        let (a, b) = (draw::<T>(0, m * k), draw::<T>(1, k * n));
        for turn in 0..4 {
            let (a, b) = (view(&a, m, k, turn & 1 != 0), view(&b, k, n, turn & 2 != 0));
            let mut expected = vec![T::ONE; m * n];
            let (alpha, beta) = (T::from_f64(1.5), T::from_f64(-0.5));
            let c = MatMut::row_major(&mut expected, m, n).unwrap();
            let mut scratch = vec![T::ZERO; gemm_scratch::<T>(1, m, n, k)];
            gemm(Cpu::detect(), alpha, a, b, beta, c, Epilogue::NONE, &mut scratch).unwrap();
            // Packed for one instruction set, multiplied on each: panels of another width are read
            // element by element.
            for (packer, isa) in
                Isa::available().flat_map(|p| Isa::available().map(move |i| (p, i)))
            {
                let mut left = vec![T::NAN; packed_len::<T>(k, m)];
                let mut right = vec![T::NAN; packed_len::<T>(k, n)];
                let left = Packed::left(packer, a, &mut left).unwrap();
                let right = Packed::right(packer, b, &mut right).unwrap();
                for (which, scratch) in
                    [(0, 0), (0, scratch.len()), (1, 0), (1, scratch.len()), (2, scratch.len())]
                {
                    let mut got = vec![T::ONE; m * n];
                    let (mut scratch, c) =
                        (vec![T::NAN; scratch], MatMut::row_major(&mut got, m, n).unwrap());
                    let cpu = Cpu::serial(isa);
                    match which {
                        0 => gemm(cpu, alpha, a, right, beta, c, Epilogue::NONE, &mut scratch),
                        1 => gemm(cpu, alpha, left, b, beta, c, Epilogue::NONE, &mut scratch),
                        _ => gemm(cpu, alpha, left, right, beta, c, Epilogue::NONE, &mut scratch),
                    }
                    .unwrap();
                    assert_eq!(
                        bits(&got),
                        bits(&expected),
                        "{packer} {isa} {m} {n} {k} {turn} {which}"
                    );
                }
            }
        }
    }
}

#[test]
fn packed_operands_of_f32_change_no_bit() {
    packed_products::<f32>();
}

#[test]
fn packed_operands_of_f64_change_no_bit() {
    packed_products::<f64>();
}

#[test]
fn packed_operands_of_bf16_change_no_bit() {
    for (m, n, k) in [(1, 40, 33), (20, 33, 1100), (5, 70, 2)] {
        let narrow = |x: Vec<f32>| x.into_iter().map(bf16::from_f32).collect::<Vec<_>>();
        let (a, b) = (narrow(draw(2, m * k)), narrow(draw(3, k * n)));
        let (a, b) = (view(&a, m, k, false), view(&b, k, n, true));
        let mut scratch = vec![0.0; gemm_bf16_scratch(1, m, n, k)];
        let mut expected = vec![0.0_f32; m * n];
        let c = MatMut::row_major(&mut expected, m, n).unwrap();
        gemm_bf16(Cpu::detect(), 1.0, a, b, 0.0, c, Epilogue::NONE, &mut scratch).unwrap();
        for isa in Isa::available() {
            let (mut left, mut right) =
                (vec![0.0; packed_bf16_len(k, m)], vec![0.0; packed_bf16_len(k, n)]);
            let left = PackedBf16::left(isa, a, &mut left).unwrap();
            let right = PackedBf16::right(isa, b, &mut right).unwrap();
            let (mut one, mut other) = (vec![0.0_f32; m * n], vec![0.0_f32; m * n]);
            let cpu = Cpu::serial(isa);
            let c = MatMut::row_major(&mut one, m, n).unwrap();
            gemm_bf16(cpu, 1.0, a, right, 0.0, c, Epilogue::NONE, &mut scratch).unwrap();
            let c = MatMut::row_major(&mut other, m, n).unwrap();
            gemm_bf16(cpu, 1.0, left, b, 0.0, c, Epilogue::NONE, &mut []).unwrap();
            assert_eq!((bits(&one), bits(&other)), (bits(&expected), bits(&expected)), "{isa}");
        }
    }
}

#[test]
fn short_panels_are_an_error() {
    let len = packed_len::<f32>(3, 5);
    let result = Packed::right(Isa::detect(), view(&[0.0_f32; 15], 3, 5, false), &mut [0.0; 14])
        .unwrap_err();
    assert!(
        matches!(result, Error::Length { operand: "panels", got: 14, expected } if expected <= len)
    );
}

/// Heads of attention, interleaved in rows, with the keys transposed.
#[test]
fn a_batch_has_the_bits_of_its_products() {
    let (count, m, n, k) = (5, 17, 19, 8);
    let (a, b) = (draw::<f32>(0, m * count * k), draw::<f32>(1, n * count * k));
    fn heads(x: &[f32], rows: usize) -> Batch<'_, f32> {
        let (count, k) = (5, 8);
        Batch::strided(x, count, k, |x| MatRef::strided(x, rows, k, count * k, 1)).unwrap()
    }
    let start = draw::<f32>(2, count * m * n);
    let mut expected = start.clone();
    for (i, c) in expected.chunks_mut(m * n).enumerate() {
        let a = MatRef::strided(&a[i * k..], m, k, count * k, 1).unwrap();
        let b = MatRef::strided(&b[i * k..], n, k, count * k, 1).unwrap().transpose();
        let c = MatMut::row_major(c, m, n).unwrap();
        gemm(Cpu::detect(), 0.25, a, b, 2.0, c, Epilogue::NONE, &mut []).unwrap();
    }
    for isa in Isa::available() {
        for threads in [1, 2, 4, 7] {
            for scratch in [0, gemm_scratch::<f32>(threads, m, n, k)] {
                let mut got = start.clone();
                gemm_batch(
                    Cpu::new(isa, &Threads(threads)),
                    0.25,
                    heads(&a, m),
                    heads(&b, n).transpose(),
                    2.0,
                    BatchMut::strided(&mut got, count, m * n, (m, n), (n, 1)).unwrap(),
                    &mut vec![f32::NAN; scratch],
                )
                .unwrap();
                assert_eq!(
                    bits(&got),
                    bits(&expected),
                    "{isa}, {threads} threads, {scratch} of scratch"
                );
            }
        }
    }
}

#[test]
fn a_batch_that_does_not_fit_is_an_error() {
    let mut data = [0.0_f32; 24];
    // Interleaved heads are disjoint; matrices that share elements are not.
    assert!(BatchMut::strided(&mut data, 2, 3, (4, 3), (6, 1)).is_ok());
    assert!(matches!(
        BatchMut::strided(&mut data, 2, 2, (4, 3), (6, 1)),
        Err(Error::Overlap { .. })
    ));
    assert!(matches!(
        BatchMut::strided(&mut data, 2, 0, (2, 2), (2, 1)),
        Err(Error::Overlap { .. })
    ));
    assert!(matches!(
        BatchMut::strided(&mut data, 4, 8, (2, 4), (4, 1)),
        Err(Error::OutOfBounds { .. })
    ));
    let source = [0.0_f32; 24];
    assert!(matches!(
        Batch::strided(&source, 4, 8, |x| MatRef::row_major(x, 2, 4)),
        Err(Error::OutOfBounds { .. })
    ));
    let batch = |count| Batch::strided(&source, count, 4, |x| MatRef::row_major(x, 2, 2)).unwrap();
    let c = BatchMut::strided(&mut data, 3, 4, (2, 2), (2, 1)).unwrap();
    let result = gemm_batch(Cpu::detect(), 1.0, batch(2), batch(3), 0.0, c, &mut []);
    assert_eq!(result, Err(Error::Length { operand: "batch a", expected: 3, got: 2 }));
}

/// An executor that reports one thread more each time.
struct Growing(AtomicUsize);

impl Executor for Growing {
    fn threads(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        Threads(1).run(tasks, task);
    }
}

/// The scratch is divided by its length, whatever number of threads the executor reports.
#[test]
fn an_executor_that_changes_its_mind_reaches_no_foreign_memory() {
    let (m, n, k) = (150, 160, 70);
    let (a, b) = (draw::<f32>(0, m * k), draw::<f32>(1, k * n));
    let (a, b) = (view(&a, m, k, false), view(&b, k, n, true));
    let mut expected = vec![0.0; m * n];
    let c = MatMut::row_major(&mut expected, m, n).unwrap();
    gemm(Cpu::detect(), 1.0, a, b, 0.0, c, Epilogue::NONE, &mut []).unwrap();
    for first in 0..3 {
        let executor = Growing(AtomicUsize::new(first));
        let cpu = Cpu::new(Isa::detect(), &executor);
        let mut scratch = vec![0.0; gemm_scratch::<f32>(first + 1, m, n, k)];
        let mut got = vec![0.0; m * n];
        let c = MatMut::row_major(&mut got, m, n).unwrap();
        gemm(cpu, 1.0, a, b, 0.0, c, Epilogue::NONE, &mut scratch).unwrap();
        assert_eq!(bits(&got), bits(&expected));

        let (x, y) = (draw::<f32>(2, 40 * 64), draw::<f32>(3, 40 * 64));
        let batch = |x| Batch::strided(x, 40, 64, |x| MatRef::row_major(x, 8, 8)).unwrap();
        let mut z = vec![0.0; 40 * 64];
        let c = BatchMut::strided(&mut z, 40, 64, (8, 8), (8, 1)).unwrap();
        let mut scratch = vec![0.0; gemm_scratch::<f32>(first + 6, 8, 8, 8)];
        gemm_batch(cpu, 1.0, batch(&x), batch(&y), 0.0, c, &mut scratch).unwrap();
    }
}
