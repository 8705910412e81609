//! Dimensions of a product.

/// Dimensions of C = A B: A is `[m, k]`, B `[k, n]`, C `[m, n]`.
///
/// ```
/// use kernels::gemm::{GemmShape, gemm_scratch};
/// let len = gemm_scratch::<f32>(1, GemmShape { m: 32, n: 512, k: 784 });
/// # let _ = len;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GemmShape {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
}
