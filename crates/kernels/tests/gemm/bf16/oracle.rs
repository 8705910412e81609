//! The oracle of bf16 products: the scalar loop over pairs of k.

use core::marker::PhantomData;

use half::bf16;
use kernels::gemm::{Bf16Result, Epilogue, GemmShape, gemm_bf16, gemm_bf16_scratch};
use kernels::{Cpu, Error, MatMut};

use super::exact::step;
use crate::matrix::{Layout, Matrix};
use crate::oracle::{Output, Problem, ProblemCase};

/// Values of k in a summation block.
const BLOCK: usize = 1024;

/// Products of bf16 with a result of type `O`.
pub(crate) struct Pairs<O>(PhantomData<O>);

/// A case of bf16 with a result of type `O`.
pub(crate) type Case<O> = ProblemCase<Pairs<O>>;

/// A type of results.
pub(crate) trait Store: Bf16Result + Output<f32> {}
impl Store for f32 {}
impl Store for bf16 {}

impl Output<f32> for bf16 {
    fn load(self) -> f32 {
        self.to_f32()
    }
    fn store(x: f32) -> Self {
        Self::from_f32(x)
    }
}

/// Uniform numbers from -1 to 1, rounded from f64.
pub(crate) fn uniform(seed: u64, stream: u64) -> impl Fn(u64) -> bf16 {
    move |i| bf16::from_f64(crate::oracle::uniform::<f64>(seed, stream)(i))
}

impl<O: Store> Problem for Pairs<O> {
    type Acc = f32;
    type Out = O;
    type Operand = Matrix<bf16>;
    type Element = bf16;
    const ONE: bf16 = bf16::ONE;
    fn operand(rows: usize, cols: usize, layout: Layout, seed: u64, stream: u64) -> Matrix<bf16> {
        Matrix::new(rows, cols, layout, uniform(seed, stream))
    }
    fn layout(operand: &Matrix<bf16>) -> Layout {
        operand.layout
    }
    fn at(operand: &Matrix<bf16>, i: usize, j: usize) -> bf16 {
        operand.at(i, j)
    }
    fn sum(alpha: f32, beta: f32, a: &[bf16], b: &[bf16], c: f32) -> f32 {
        let mut r = (beta != 0.0).then_some(beta * c);
        for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
            let mut p = 0.0;
            for (a, b) in a.chunks(2).zip(b.chunks(2)) {
                // Where k is odd, the last pair's odd values are +0.
                let odd = |pair: &[bf16]| pair.get(1).copied().unwrap_or(bf16::ZERO);
                p = step(odd(a), odd(b), p);
                p = step(a[0], b[0], p);
            }
            r = Some(r.map_or(alpha * p, |r| alpha.mul_add(p, r)));
        }
        r.unwrap_or(0.0)
    }
    fn scratch(threads: usize, shape: GemmShape) -> usize {
        gemm_bf16_scratch(threads, shape)
    }
    /// Between two summation blocks the accumulators are stored in C, if C is f32 or empty;
    /// otherwise in the scratch.
    fn needs_scratch(shape: GemmShape) -> bool {
        size_of::<O>() < size_of::<f32>() && shape.k > BLOCK && shape.m * shape.n > 0
    }
    fn gemm(
        cpu: Cpu<'_>,
        alpha: f32,
        a: &Matrix<bf16>,
        b: &Matrix<bf16>,
        beta: f32,
        c: MatMut<'_, O>,
        epilogue: Epilogue<'_, f32, O>,
        scratch: &mut [f32],
    ) -> Result<(), Error> {
        gemm_bf16(cpu, alpha, a.view(), b.view(), beta, c, epilogue, scratch)
    }
}
