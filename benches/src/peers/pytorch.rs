//! PyTorch, if `EVENKEEL_TORCH_PYTHON` names a Python that has it: in a process of its own, which works on request.
//!
//! `pytorch.py` is that process, and says what is written to it and what it answers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use half::bf16;

use super::Implementation;
use crate::shape::Shape;

const VARIABLE: &str = "EVENKEEL_TORCH_PYTHON";

/// PyTorch.
#[derive(Debug)]
pub struct PyTorch {
    process: Child,
    /// None when it is to end.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl PyTorch {
    /// Its process, with so many threads, or why there is none.
    pub fn new(threads: usize) -> Result<Self, String> {
        let python = std::env::var_os(VARIABLE).ok_or(format!("{VARIABLE} names no Python that has it"))?;
        let mut process = Command::new(&python)
            .args(["-c", include_str!("pytorch.py"), &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", python.display()))?;
        let requests = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut peer = Self { process, requests, answers };
        match peer.line() {
            Ok(line) if line == "ready" => Ok(peer),
            _ => Err(format!("{} does not start PyTorch", python.display())),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let requests = self.requests.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        parts.iter().try_for_each(|part| requests.write_all(part))?;
        requests.flush()
    }

    /// Does an operation of `pytorch.py` on `operands`, in rows of `cols`; `result` becomes what came of it.
    pub fn operation(
        &mut self,
        name: &str,
        cols: usize,
        operands: &[Vec<f32>],
        result: &mut [f32],
    ) -> io::Result<()> {
        let lengths: String = operands.iter().map(|x| format!(" {}", x.len())).collect();
        self.send(&[format!("operation {name} {cols}{lengths}\n").as_bytes()])?;
        operands.iter().try_for_each(|x| self.send(&[&bytes(x, f32::to_le_bytes)]))?;
        self.receive(result, f32::from_le_bytes)
    }

    /// How long the last work takes `times` times, in its process alone.
    pub fn time(&mut self, times: u32) -> io::Result<Duration> {
        self.send(&[format!("time {times}\n").as_bytes()])?;
        self.line()?.parse().map(Duration::from_secs_f64).map_err(io::Error::other)
    }

    fn product(&mut self, shape: &Shape, a: &[bf16], b: &[bf16], c: &mut [bf16]) -> io::Result<()> {
        let &Shape { m, n, k, a_transposed, b_transposed, .. } = shape;
        let line = format!("product {m} {n} {k} {} {}\n", u8::from(a_transposed), u8::from(b_transposed));
        let [a, b] = [a, b].map(|x| bytes(x, bf16::to_le_bytes));
        self.send(&[line.as_bytes(), &a, &b])?;
        self.receive(c, bf16::from_le_bytes)
    }

    fn receive<T, const N: usize>(&mut self, to: &mut [T], from_bytes: fn([u8; N]) -> T) -> io::Result<()> {
        let mut answer = vec![0; N * to.len()];
        self.answers.read_exact(&mut answer)?;
        for (to, &bytes) in to.iter_mut().zip(answer.as_chunks().0) {
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
        self.product(shape, a, b, c).expect("PyTorch's process answers");
    }

    fn time(&mut self, _: &Shape, _: &[bf16], _: &[bf16], _: &mut [bf16], times: u32) -> Duration {
        Self::time(self, times).expect("PyTorch's process answers")
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        // Without requests the process ends by itself.
        self.requests = None;
        let _ = self.process.wait();
    }
}
