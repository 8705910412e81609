//! How the products of a network are computed: in which precision, and whether zeros are left out.

use kernels::gemm::{Bf16Operand, Epilogue, Operand, gemm, gemm_bf16, gemm_bf16_scratch, gemm_scratch};
use kernels::{Cpu, MatMut, MatRef};

/// How the products of a network are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compute {
    /// The precision of their factors.
    pub precision: Precision,
    /// Whether most inputs of the network are 0, as most pixels of a digit are: a first dense layer that computes in f32 then leaves out
    /// some of them ([`Operand::sparse`]). That changes its speed, and no bit but the sign of a 0 that underflowed.
    pub sparse_inputs: bool,
}

/// What the factors of products are rounded to. Sums, parameters and everything else keep the type that a network computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Nothing.
    #[default]
    Full,
    /// bf16, in a network that computes in f32; in f64 nothing: gradients are checked without rounding. Activations, gradients and
    /// weights of dense, convolutional and recurrent layers, attention and transformer blocks are rounded while they are packed for a
    /// product, and stay f32 in memory, so that the optimizer's small steps are not lost. Filters of one channel or of at most 16
    /// weights, and the products of attention's heads with one another, are not rounded. bf16 has the exponents of f32: losses need no scaling.
    Bf16,
}

/// A type whose matrices are multiplied in either precision.
pub trait Product: kernels::Float {
    /// C = A B + beta C, and what the epilogue says; A is sparse if `compute` says so of inputs.
    ///
    /// # Errors
    /// As for [`gemm`].
    fn product(
        compute: Compute,
        cpu: Cpu<'_>,
        factors: [MatRef<'_, Self>; 2],
        beta: Self,
        c: MatMut<'_, Self>,
        epilogue: Epilogue<'_, Self>,
        scratch: &mut [Self],
    ) -> Result<(), kernels::Error>;

    /// Elements of scratch that the product of m x k and k x n takes.
    fn product_scratch(precision: Precision, threads: usize, m: usize, n: usize, k: usize) -> usize;
}

impl Product for f32 {
    fn product(
        compute: Compute,
        cpu: Cpu<'_>,
        [a, b]: [MatRef<'_, f32>; 2],
        beta: f32,
        c: MatMut<'_, f32>,
        epilogue: Epilogue<'_, f32>,
        scratch: &mut [f32],
    ) -> Result<(), kernels::Error> {
        match compute.precision {
            Precision::Full => gemm(cpu, 1.0, factor(compute, a), b, beta, c, epilogue, scratch),
            Precision::Bf16 => {
                let a = if compute.sparse_inputs { Bf16Operand::sparse(a) } else { Bf16Operand::rounded(a) };
                gemm_bf16(cpu, 1.0, a, Bf16Operand::rounded(b), beta, c, epilogue, scratch)
            }
        }
    }

    fn product_scratch(precision: Precision, threads: usize, m: usize, n: usize, k: usize) -> usize {
        match precision {
            Precision::Full => gemm_scratch::<f32>(threads, m, n, k),
            Precision::Bf16 => gemm_bf16_scratch(threads, m, n, k),
        }
    }
}

impl Product for f64 {
    fn product(
        compute: Compute,
        cpu: Cpu<'_>,
        [a, b]: [MatRef<'_, f64>; 2],
        beta: f64,
        c: MatMut<'_, f64>,
        epilogue: Epilogue<'_, f64>,
        scratch: &mut [f64],
    ) -> Result<(), kernels::Error> {
        gemm(cpu, 1.0, factor(compute, a), b, beta, c, epilogue, scratch)
    }

    fn product_scratch(_: Precision, threads: usize, m: usize, n: usize, k: usize) -> usize {
        gemm_scratch::<f64>(threads, m, n, k)
    }
}

fn factor<T>(compute: Compute, matrix: MatRef<'_, T>) -> Operand<'_, T> {
    if compute.sparse_inputs { Operand::sparse(matrix) } else { matrix.into() }
}
