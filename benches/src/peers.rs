//! Implementations of products, behind one trait: C = A B in f32 or bf16 on some threads.

mod faer;
mod frameworks;
mod gemm;
mod matrixmultiply;
mod openblas;
mod ours;
mod process;
mod pytorch;

use std::time::Duration;

use half::bf16;
use kernels::Isa;
use runner::machine::timing::repeat;

use crate::element::Element;
use crate::shape::Shape;
pub use frameworks::{Framework, Frameworks, Training};
pub use ours::Ours;
pub use process::Process;
pub use pytorch::PyTorch;

/// An implementation of products of matrices of `T`.
pub trait Implementation<T> {
    /// Name in tables and in criterion's ids.
    fn name(&self) -> &'static str;
    /// Computes C = A B for row-major C, on this implementation's threads. Accumulators of bf16
    /// products are f32; C is rounded at the end.
    fn multiply(&mut self, shape: &Shape, a: &[T], b: &[T], c: &mut [T]);
    /// Time of `times` repetitions of the last product. An implementation in another process has
    /// the operands from [`multiply`](Self::multiply), so that their transfer does not count.
    fn time(&mut self, shape: &Shape, a: &[T], b: &[T], c: &mut [T], times: u32) -> Duration {
        repeat(times, || self.multiply(shape, a, b, c))
    }
}

/// A type that implementations multiply.
pub trait Multiplied: Element {
    /// All implementations on `threads` threads, ours first, on `isa`. Reports those that this
    /// machine lacks on stderr.
    fn implementations(threads: usize, isa: Isa) -> Vec<Box<dyn Implementation<Self>>>;
}

impl Multiplied for f32 {
    fn implementations(threads: usize, isa: Isa) -> Vec<Box<dyn Implementation<f32>>> {
        let mut all: Vec<Box<dyn Implementation<f32>>> = vec![
            Box::new(Ours::new(threads, isa)),
            Box::new(faer::Faer::new(threads)),
            Box::new(gemm::Gemm::new(threads)),
        ];
        match matrixmultiply::MatrixMultiply::new(threads) {
            Ok(peer) => all.push(Box::new(peer)),
            Err(reason) => eprintln!("matrixmultiply: skipped ({reason})"),
        }
        match openblas::OpenBlas::new(threads) {
            Ok(peer) => all.push(Box::new(peer)),
            Err(reason) => eprintln!("openblas: missing ({reason})"),
        }
        all
    }
}

/// No peer in Rust multiplies bf16.
impl Multiplied for bf16 {
    fn implementations(threads: usize, isa: Isa) -> Vec<Box<dyn Implementation<bf16>>> {
        let mut all: Vec<Box<dyn Implementation<bf16>>> = vec![Box::new(Ours::new(threads, isa))];
        match PyTorch::new(threads) {
            Ok(peer) => all.push(Box::new(peer)),
            Err(reason) => eprintln!("pytorch: missing ({reason})"),
        }
        all
    }
}

/// The operands of `shape`, and a buffer for the product.
pub fn operands<T: Element>(shape: &Shape) -> (Vec<T>, Vec<T>, Vec<T>) {
    let draw = |stream: u64, len: usize| {
        let stream = kernels::random::Stream::new(1, stream);
        (0..len as u64).map(|i| T::from_f32(stream.uniform_f32(i) - 0.5)).collect()
    };
    (
        draw(0, shape.m * shape.k),
        draw(1, shape.k * shape.n),
        vec![T::from_f32(f32::NAN); shape.m * shape.n],
    )
}

/// Multiplies once. Panics unless C is near A B in some hundred sampled elements.
pub fn check<T: Element>(
    peer: &mut (impl Implementation<T> + ?Sized),
    shape: &Shape,
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    peer.multiply(shape, a, b, c);
    let ((a_row, a_col), (b_row, b_col)) = (shape.a_strides(), shape.b_strides());
    for index in (0..c.len()).step_by(c.len() / 100 + 1) {
        let (i, j) = (index / shape.n, index % shape.n);
        let terms = (0..shape.k)
            .map(|p| a[i * a_row + p * a_col].to_f64() * b[p * b_row + j * b_col].to_f64());
        let (exact, size) = terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()));
        let (name, got) = (peer.name(), c[index].to_f64());
        let bound = 1e-5 * size + T::ROUNDOFF * exact.abs();
        assert!(
            (got - exact).abs() <= bound,
            "{name} at {shape}: element ({i}, {j}) is {got}, not {exact}"
        );
    }
}
