//! PyTorch in a process of its own, if `EVENKEEL_TORCH_PYTHON` names a Python that has it.
//!
//! `pytorch.py` is the script of that process and documents its requests and responses.

use std::io;
use std::time::Duration;

use half::bf16;

use super::{Implementation, Process};
use crate::shape::Shape;

/// PyTorch.
#[derive(Debug)]
pub struct PyTorch(Process);

impl PyTorch {
    /// Starts a process with `threads` threads. The error is the reason why it is missing.
    pub fn new(threads: usize) -> Result<Self, String> {
        let script = include_str!("pytorch.py");
        Process::start("EVENKEEL_TORCH_PYTHON", script, &[&threads.to_string()]).map(Self)
    }

    /// Runs an operation of `pytorch.py` on `operands`, in rows of `cols`, into `result`.
    pub fn operation(
        &mut self,
        name: &str,
        cols: usize,
        operands: &[Vec<f32>],
        result: &mut [f32],
    ) -> io::Result<()> {
        let lengths: String = operands.iter().map(|x| format!(" {}", x.len())).collect();
        self.0.send(&[format!("operation {name} {cols}{lengths}\n").as_bytes()])?;
        operands.iter().try_for_each(|x| self.0.send(&[&bytes(x, f32::to_le_bytes)]))?;
        self.receive(result, f32::from_le_bytes)
    }

    /// Time of `times` repetitions of the last work, measured in the process.
    pub fn time(&mut self, times: u32) -> io::Result<Duration> {
        self.0.time(times)
    }

    fn product(&mut self, shape: &Shape, a: &[bf16], b: &[bf16], c: &mut [bf16]) -> io::Result<()> {
        let &Shape { m, n, k, a_transposed, b_transposed, .. } = shape;
        let line =
            format!("product {m} {n} {k} {} {}\n", u8::from(a_transposed), u8::from(b_transposed));
        let [a, b] = [a, b].map(|x| bytes(x, bf16::to_le_bytes));
        self.0.send(&[line.as_bytes(), &a, &b])?;
        self.receive(c, bf16::from_le_bytes)
    }

    fn receive<T, const N: usize>(
        &mut self,
        to: &mut [T],
        from_bytes: fn([u8; N]) -> T,
    ) -> io::Result<()> {
        let mut response = vec![0; N * to.len()];
        self.0.receive(&mut response)?;
        for (to, &bytes) in to.iter_mut().zip(response.as_chunks().0) {
            *to = from_bytes(bytes);
        }
        Ok(())
    }
}

fn bytes<T: Copy, const N: usize>(x: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    x.iter().flat_map(|x| to_bytes(*x)).collect()
}

impl Implementation<bf16> for PyTorch {
    fn name(&self) -> &'static str {
        "pytorch"
    }

    fn multiply(&mut self, shape: &Shape, a: &[bf16], b: &[bf16], c: &mut [bf16]) {
        self.product(shape, a, b, c).expect("PyTorch's process responds");
    }

    fn time(&mut self, _: &Shape, _: &[bf16], _: &[bf16], _: &mut [bf16], times: u32) -> Duration {
        Self::time(self, times).expect("PyTorch's process responds")
    }
}
