//! The crate `matrixmultiply`.

use std::sync::OnceLock;

use super::Implementation;
use crate::shape::Shape;

/// matrixmultiply.
pub(super) struct MatrixMultiply;

impl MatrixMultiply {
    /// The crate on `threads` threads. It reads their number once, at its first product; a later
    /// change is an error.
    pub(super) fn new(threads: usize) -> Result<Self, String> {
        static THREADS: OnceLock<usize> = OnceLock::new();
        let first = *THREADS.get_or_init(|| {
            // SAFETY: called before any thread of this program reads the environment.
            unsafe { std::env::set_var("MATMUL_NUM_THREADS", threads.to_string()) };
            threads
        });
        if first == threads {
            Ok(Self)
        } else {
            Err(format!("this process has it on {first} thread(s)"))
        }
    }
}

impl Implementation<f32> for MatrixMultiply {
    fn name(&self) -> &'static str {
        "matrixmultiply"
    }

    fn multiply(&mut self, shape: &Shape, a: &[f32], b: &[f32], c: &mut [f32]) {
        let &Shape { m, n, k, .. } = shape;
        let ((a_row, a_col), (b_row, b_col)) = (shape.a_strides(), shape.b_strides());
        assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n);
        let stride = |s: usize| s as isize;
        // SAFETY: by the assertion above, the slices have the m x k, k x n and m x n elements that
        // the strides describe.
        unsafe {
            matrixmultiply::sgemm(
                m,
                k,
                n,
                1.0,
                a.as_ptr(),
                stride(a_row),
                stride(a_col),
                b.as_ptr(),
                stride(b_row),
                stride(b_col),
                0.0,
                c.as_mut_ptr(),
                stride(n),
                1,
            );
        }
    }
}
