//! The crate `gemm`.

use gemm::Parallelism;

use super::Implementation;
use crate::shape::Shape;

/// gemm.
pub(super) struct Gemm(Parallelism);

impl Gemm {
    pub(super) fn new(threads: usize) -> Self {
        Self(if threads == 1 { Parallelism::None } else { Parallelism::Rayon(threads) })
    }
}

impl Implementation<f32> for Gemm {
    fn name(&self) -> &'static str {
        "gemm"
    }

    fn multiply(&mut self, shape: &Shape, a: &[f32], b: &[f32], c: &mut [f32]) {
        let &Shape { m, n, k, .. } = shape;
        let ((a_row, a_col), (b_row, b_col)) = (shape.a_strides(), shape.b_strides());
        assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n);
        let stride = |s: usize| s as isize;
        // SAFETY: the pointers and strides describe m x k, k x n and m x n elements of slices of
        // just that length.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                stride(n),
                false,
                a.as_ptr(),
                stride(a_col),
                stride(a_row),
                b.as_ptr(),
                stride(b_col),
                stride(b_row),
                0.0,
                1.0,
                false,
                false,
                false,
                self.0,
            );
        }
    }
}
