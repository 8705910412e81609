//! `kernels`, on the runner's pool.

use std::sync::Arc;
use std::time::Duration;

use half::bf16;
use kernels::gemm::{Epilogue, GemmShape, gemm, gemm_bf16, gemm_bf16_scratch, gemm_scratch};
use kernels::{Cpu, Isa, MatMut, MatRef};
use runner::machine::thread_pool::ThreadPool;

use super::Implementation;
use crate::shape::Shape;
use runner::machine::timing::repeat;

/// Our products.
pub struct Ours {
    isa: Isa,
    pool: Arc<ThreadPool>,
    threads: usize,
    scratch: Vec<f32>,
}

impl Ours {
    /// Products on `threads` threads with instruction set `isa`.
    pub fn new(threads: usize, isa: Isa) -> Self {
        let pool = ThreadPool::new(threads).expect("a pool of that many threads");
        Self { isa, pool: Arc::new(pool), threads, scratch: Vec::new() }
    }

    /// The product of f32 with an epilogue.
    pub fn fused(
        &mut self,
        shape: &Shape,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
        epilogue: Epilogue<'_, f32>,
    ) {
        let &Shape { m, n, k, .. } = shape;
        let (a, b, c) = (shape.a(a), shape.b(b), MatMut::row_major(c, m, n));
        let (cpu, scratch) =
            self.with_scratch(gemm_scratch::<f32>(self.threads, GemmShape { m, n, k }));
        gemm(cpu, 1.0, a, b, 0.0, c.expect("it is m x n"), epilogue, scratch)
            .expect("the shapes agree");
    }

    fn with_scratch(&mut self, len: usize) -> (Cpu<'_>, &mut [f32]) {
        if self.scratch.len() < len {
            self.scratch.resize(len, 0.0);
        }
        (Cpu::new(self.isa, &*self.pool), &mut self.scratch)
    }
}

impl Implementation<f32> for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn multiply(&mut self, shape: &Shape, a: &[f32], b: &[f32], c: &mut [f32]) {
        self.fused(shape, a, b, c, Epilogue::NONE);
    }

    /// From within the pool, as a training loop multiplies.
    fn time(&mut self, shape: &Shape, a: &[f32], b: &[f32], c: &mut [f32], times: u32) -> Duration {
        let pool = Arc::clone(&self.pool);
        pool.enter(|| repeat(times, || self.multiply(shape, a, b, c)))
    }
}

impl Implementation<bf16> for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn multiply(&mut self, shape: &Shape, a: &[bf16], b: &[bf16], c: &mut [bf16]) {
        let &Shape { m, n, k, .. } = shape;
        let (a, b, c): (MatRef<'_, bf16>, _, _) =
            (shape.a(a), shape.b(b), MatMut::row_major(c, m, n));
        let (cpu, scratch) =
            self.with_scratch(gemm_bf16_scratch(self.threads, GemmShape { m, n, k }));
        gemm_bf16(cpu, 1.0, a, b, 0.0, c.expect("it is m x n"), Epilogue::NONE, scratch)
            .expect("the shapes agree");
    }

    /// From within the pool, as a training loop multiplies.
    fn time(
        &mut self,
        shape: &Shape,
        a: &[bf16],
        b: &[bf16],
        c: &mut [bf16],
        times: u32,
    ) -> Duration {
        let pool = Arc::clone(&self.pool);
        pool.enter(|| repeat(times, || self.multiply(shape, a, b, c)))
    }
}
