//! faer's matrix product.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::Implementation;
use crate::shape::Shape;

/// faer.
pub(super) struct Faer(Par);

impl Faer {
    pub(super) fn new(threads: usize) -> Self {
        Self(if threads == 1 { Par::Seq } else { Par::rayon(threads) })
    }
}

impl Implementation<f32> for Faer {
    fn name(&self) -> &'static str {
        "faer"
    }

    fn multiply(&mut self, shape: &Shape, a: &[f32], b: &[f32], c: &mut [f32]) {
        let &Shape { m, n, k, .. } = shape;
        let matrix = |x, rows, cols, transposed: bool| {
            if transposed {
                MatRef::from_row_major_slice(x, cols, rows).transpose()
            } else {
                MatRef::from_row_major_slice(x, rows, cols)
            }
        };
        let (a, b) = (matrix(a, m, k, shape.a_transposed), matrix(b, k, n, shape.b_transposed));
        matmul(MatMut::from_row_major_slice_mut(c, m, n), Accum::Replace, a, b, 1.0, self.0);
    }
}
