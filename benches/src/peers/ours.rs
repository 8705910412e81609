//! `kernels`, on the runner's pool.

use kernels::gemm::{Epilogue, gemm, gemm_scratch};
use kernels::{Cpu, Isa, MatMut, MatRef};
use runner::pool::Pool;

use super::Implementation;
use crate::shape::Shape;

/// Our own.
pub(super) struct Ours {
    isa: Isa,
    pool: Pool,
    threads: usize,
    scratch: Vec<f32>,
}

impl Ours {
    pub(super) fn new(threads: usize) -> Self {
        let pool = Pool::new(threads).expect("one or two threads can be had");
        Self { isa: Isa::detect(), pool, threads, scratch: Vec::new() }
    }
}

impl Implementation for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn sgemm(&mut self, shape: &Shape, a: &[f32], b: &[f32], c: &mut [f32]) {
        let &Shape { m, n, k, .. } = shape;
        let ((a_row, a_col), (b_row, b_col)) = (shape.a_strides(), shape.b_strides());
        let need = gemm_scratch::<f32>(self.threads, m, n, k);
        if self.scratch.len() < need {
            self.scratch.resize(need, 0.0);
        }
        let mut product = || {
            gemm(
                Cpu::new(self.isa, &self.pool),
                1.0,
                MatRef::strided(a, m, k, a_row, a_col)?,
                MatRef::strided(b, k, n, b_row, b_col)?,
                0.0,
                MatMut::row_major(c, m, n)?,
                Epilogue::NONE,
                &mut self.scratch,
            )
        };
        product().expect("the shapes agree");
    }
}
