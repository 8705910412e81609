//! The implementations, each behind the same trait: C = A B in f32 on one or two threads.

mod faer;
mod gemm;
mod matrixmultiply;
mod openblas;
mod ours;

use crate::shape::Shape;

/// A way to multiply matrices.
pub trait Implementation {
    /// Its name in tables and in criterion's ids.
    fn name(&self) -> &'static str;
    /// C = A B for row-major C, on this implementation's threads.
    fn sgemm(&mut self, shape: &Shape, a: &[f32], b: &[f32], c: &mut [f32]);
}

/// All implementations on `threads` threads, ours first. Those that are not on this machine are named on stderr.
pub fn all(threads: usize) -> Vec<Box<dyn Implementation>> {
    let mut all: Vec<Box<dyn Implementation>> = vec![
        Box::new(ours::Ours::new(threads)),
        Box::new(faer::Faer::new(threads)),
        Box::new(gemm::Gemm::new(threads)),
    ];
    match matrixmultiply::MatrixMultiply::new(threads) {
        Ok(peer) => all.push(Box::new(peer)),
        Err(reason) => eprintln!("matrixmultiply: left out ({reason})"),
    }
    match openblas::OpenBlas::new(threads) {
        Ok(peer) => all.push(Box::new(peer)),
        Err(reason) => eprintln!("openblas: missing ({reason})"),
    }
    all
}

/// The operands of `shape`, and room for the product.
pub fn operands(shape: &Shape) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let draw = |stream: u64, len: usize| {
        let stream = kernels::random::Stream::new(1, stream);
        (0..len as u64).map(|i| stream.uniform_f32(i) - 0.5).collect()
    };
    (draw(0, shape.m * shape.k), draw(1, shape.k * shape.n), vec![f32::NAN; shape.m * shape.n])
}

/// Panics unless `c` is near A B in some hundred places.
pub fn check(name: &str, shape: &Shape, a: &[f32], b: &[f32], c: &[f32]) {
    let ((a_row, a_col), (b_row, b_col)) = (shape.a_strides(), shape.b_strides());
    for place in (0..c.len()).step_by(c.len() / 100 + 1) {
        let (i, j) = (place / shape.n, place % shape.n);
        let terms =
            (0..shape.k).map(|p| f64::from(a[i * a_row + p * a_col]) * f64::from(b[p * b_row + j * b_col]));
        let (exact, size) = terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()));
        let error = (f64::from(c[place]) - exact).abs();
        assert!(error <= 1e-5 * size, "{name} at {shape}: element ({i}, {j}) is {}, not {exact}", c[place]);
    }
}
