//! A product without scratch, on threads of your own.
//!
//! The kernels start no threads: an [`Executor`] of the caller's runs their tasks. This one starts
//! threads for every product, which is fine for large products; a program with many small ones
//! reuses its threads. Neither scratch nor threads change a bit of the result, as the end of this
//! example checks.
//!
//! `cargo run --release -p evenkeel-kernels --example no_scratch`

use std::thread;

use kernels::gemm::{Epilogue, GemmShape, gemm, gemm_scratch};
use kernels::{Cpu, Error, Executor, Isa, MatMut, MatRef};

/// Number of threads of the standard library, started for each parallel region.
struct Threads(usize);

impl Executor for Threads {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // Thread t runs tasks t, t + threads, ... The scope joins all of its threads.
        thread::scope(|scope| {
            for first in 0..self.0.min(tasks) {
                scope.spawn(move || (first..tasks).step_by(self.0).for_each(task));
            }
        });
    }
}

fn main() -> Result<(), Error> {
    const N: usize = 300;
    let a: Vec<f32> = (0..N * N).map(|i| (i % 17) as f32 / 16.0 - 0.5).collect();
    let b: Vec<f32> = (0..N * N).map(|i| (i % 13) as f32 / 8.0 - 0.75).collect();
    let product = |cpu: Cpu<'_>, scratch: &mut [f32]| -> Result<Vec<f32>, Error> {
        let mut c = vec![0.0; N * N];
        let (a, b) = (MatRef::row_major(&a, N, N)?, MatRef::row_major(&b, N, N)?);
        gemm(cpu, 1.0, a, b, 0.0, MatMut::row_major(&mut c, N, N)?, Epilogue::NONE, scratch)?;
        Ok(c)
    };

    // Without scratch, operands are read unpacked: less memory, but slower where the layout of
    // their rows does not suit the microkernel.
    let threads = Threads(thread::available_parallelism().map_or(1, usize::from));
    let lean = product(Cpu::new(Isa::detect(), &threads), &mut [])?;
    // On the calling thread, with scratch.
    let usual = product(
        Cpu::detect(),
        &mut vec![0.0; gemm_scratch::<f32>(1, GemmShape { m: N, n: N, k: N })],
    )?;

    let same = lean.iter().zip(&usual).all(|(x, y)| x.to_bits() == y.to_bits());
    println!("{} thread(s) and no scratch, or one and scratch: the same bits: {same}", threads.0);
    assert!(same);
    Ok(())
}
