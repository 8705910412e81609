//! Matrix products of a network: their precision, and whether zeros are skipped.

use kernels::gemm::{
    Bf16Operand, Epilogue, GemmShape, Operand, Packed, PackedBf16, gemm, gemm_bf16,
    gemm_bf16_scratch, gemm_scratch, packed_bf16_len, packed_len,
};
use kernels::{Cpu, Isa, MatMut, MatRef};

/// Options of a network's matrix products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compute {
    /// Precision of their operands.
    pub precision: Precision,
    /// `true` if most inputs of the network are 0, such as the pixels of digits. The first dense
    /// layer then skips some of them ([`Operand::sparse`]) if it computes in f32. Outputs keep
    /// their bits, but for the sign of a 0 that underflowed.
    pub sparse_inputs: bool,
}

/// Type that the operands of products are rounded to. Accumulators, parameters and everything else
/// keep the type that the network computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// No rounding.
    #[default]
    Full,
    /// bf16, for a network that computes in f32; no rounding in f64, so that gradients are checked
    /// without it.
    ///
    /// Activations, gradients and weights of dense, convolutional and recurrent layers, attention
    /// and transformer blocks are rounded while they are packed for a product. They stay f32 in
    /// memory, so that small optimizer steps are not lost. Filters of one channel or of at most 16
    /// weights are not rounded, nor are the products between the matrices of an attention head.
    /// bf16 has the exponent range of f32: losses need no scaling.
    Bf16,
}

/// A type with matrix products in either precision.
pub trait Product: kernels::Float {
    /// C = A B + beta C, then the epilogue. A is sparse if `compute.sparse_inputs`.
    ///
    /// # Errors
    /// As for [`gemm`].
    fn product(
        compute: Compute,
        cpu: Cpu<'_>,
        operands: [MatRef<'_, Self>; 2],
        beta: Self,
        c: MatMut<'_, Self>,
        epilogue: Epilogue<'_, Self>,
        scratch: &mut [Self],
    ) -> Result<(), kernels::Error>;

    /// Elements of scratch for the product of `[m, k]` and `[k, n]`.
    fn product_scratch(precision: Precision, threads: usize, m: usize, n: usize, k: usize)
    -> usize;

    /// A right operand that is packed once for several products, in either precision.
    type Packed<'a>: Copy + Send + Sync;

    /// Packs `b`, `[k, n]`, for products on `isa`, into the first [`packed_len`](Self::packed_len)
    /// elements of `panels`.
    ///
    /// # Errors
    /// As for [`Packed::right`].
    fn pack<'a>(
        precision: Precision,
        isa: Isa,
        b: MatRef<'a, Self>,
        panels: &'a mut [Self],
    ) -> Result<Self::Packed<'a>, kernels::Error>;

    /// Elements of a packed `[k, n]` operand.
    fn packed_len(precision: Precision, k: usize, n: usize) -> usize;

    /// [`product`](Self::product) with a packed right operand: the same bits.
    ///
    /// # Errors
    /// As for [`gemm`].
    fn packed_product(
        cpu: Cpu<'_>,
        a: MatRef<'_, Self>,
        b: Self::Packed<'_>,
        beta: Self,
        c: MatMut<'_, Self>,
        epilogue: Epilogue<'_, Self>,
        scratch: &mut [Self],
    ) -> Result<(), kernels::Error>;
}

/// A packed f32 operand, in the precision of its products.
#[derive(Clone, Copy, Debug)]
pub enum PackedF32<'a> {
    /// Unrounded.
    Full(Packed<'a, f32>),
    /// Rounded to bf16.
    Bf16(PackedBf16<'a>),
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
            Precision::Full => gemm(cpu, 1.0, operand(compute, a), b, beta, c, epilogue, scratch),
            Precision::Bf16 => {
                let a = if compute.sparse_inputs {
                    Bf16Operand::sparse(a)
                } else {
                    Bf16Operand::rounded(a)
                };
                gemm_bf16(cpu, 1.0, a, Bf16Operand::rounded(b), beta, c, epilogue, scratch)
            }
        }
    }

    fn product_scratch(
        precision: Precision,
        threads: usize,
        m: usize,
        n: usize,
        k: usize,
    ) -> usize {
        match precision {
            Precision::Full => gemm_scratch::<f32>(threads, GemmShape { m, n, k }),
            Precision::Bf16 => gemm_bf16_scratch(threads, GemmShape { m, n, k }),
        }
    }

    type Packed<'a> = PackedF32<'a>;

    fn pack<'a>(
        precision: Precision,
        isa: Isa,
        b: MatRef<'a, f32>,
        panels: &'a mut [f32],
    ) -> Result<PackedF32<'a>, kernels::Error> {
        match precision {
            Precision::Full => Packed::right(isa, b, panels).map(PackedF32::Full),
            Precision::Bf16 => {
                PackedBf16::right(isa, Bf16Operand::rounded(b), panels).map(PackedF32::Bf16)
            }
        }
    }

    fn packed_len(precision: Precision, k: usize, n: usize) -> usize {
        match precision {
            Precision::Full => packed_len::<f32>(k, n),
            Precision::Bf16 => packed_bf16_len(k, n),
        }
    }

    fn packed_product(
        cpu: Cpu<'_>,
        a: MatRef<'_, f32>,
        b: PackedF32<'_>,
        beta: f32,
        c: MatMut<'_, f32>,
        epilogue: Epilogue<'_, f32>,
        scratch: &mut [f32],
    ) -> Result<(), kernels::Error> {
        match b {
            PackedF32::Full(b) => gemm(cpu, 1.0, a, b, beta, c, epilogue, scratch),
            PackedF32::Bf16(b) => {
                gemm_bf16(cpu, 1.0, Bf16Operand::rounded(a), b, beta, c, epilogue, scratch)
            }
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
        gemm(cpu, 1.0, operand(compute, a), b, beta, c, epilogue, scratch)
    }

    fn product_scratch(_: Precision, threads: usize, m: usize, n: usize, k: usize) -> usize {
        gemm_scratch::<f64>(threads, GemmShape { m, n, k })
    }

    type Packed<'a> = Packed<'a, f64>;

    fn pack<'a>(
        _: Precision,
        isa: Isa,
        b: MatRef<'a, f64>,
        panels: &'a mut [f64],
    ) -> Result<Packed<'a, f64>, kernels::Error> {
        Packed::right(isa, b, panels)
    }

    fn packed_len(_: Precision, k: usize, n: usize) -> usize {
        packed_len::<f64>(k, n)
    }

    fn packed_product(
        cpu: Cpu<'_>,
        a: MatRef<'_, f64>,
        b: Packed<'_, f64>,
        beta: f64,
        c: MatMut<'_, f64>,
        epilogue: Epilogue<'_, f64>,
        scratch: &mut [f64],
    ) -> Result<(), kernels::Error> {
        gemm(cpu, 1.0, a, b, beta, c, epilogue, scratch)
    }
}

fn operand<T>(compute: Compute, matrix: MatRef<'_, T>) -> Operand<'_, T> {
    if compute.sparse_inputs { Operand::sparse(matrix) } else { matrix.into() }
}
