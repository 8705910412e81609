//! PyTorch, if `EVENKEEL_TORCH_PYTHON` names a Python that has it: in a process of its own, which multiplies on request.
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
pub(super) struct PyTorch {
    process: Child,
    /// None when it is to end.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl PyTorch {
    /// The process, or why there is none.
    pub(super) fn new(threads: usize) -> Result<Self, String> {
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

    fn product(&mut self, shape: &Shape, a: &[bf16], b: &[bf16], c: &mut [bf16]) -> io::Result<()> {
        let &Shape { m, n, k, a_transposed, b_transposed, .. } = shape;
        let line = format!("product {m} {n} {k} {} {}\n", u8::from(a_transposed), u8::from(b_transposed));
        self.send(&[line.as_bytes(), &bytes(a), &bytes(b)])?;
        let mut answer = vec![0; 2 * c.len()];
        self.answers.read_exact(&mut answer)?;
        for (c, &bytes) in c.iter_mut().zip(answer.as_chunks().0) {
            *c = bf16::from_le_bytes(bytes);
        }
        Ok(())
    }

    fn seconds(&mut self, times: u32) -> io::Result<f64> {
        self.send(&[format!("time {times}\n").as_bytes()])?;
        self.line()?.parse().map_err(io::Error::other)
    }
}

fn bytes(x: &[bf16]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}

impl Implementation<bf16> for PyTorch {
    fn name(&self) -> &'static str {
        "pytorch"
    }

    fn multiply(&mut self, shape: &Shape, a: &[bf16], b: &[bf16], c: &mut [bf16]) {
        self.product(shape, a, b, c).expect("PyTorch's process answers");
    }

    fn time(&mut self, _: &Shape, _: &[bf16], _: &[bf16], _: &mut [bf16], times: u32) -> Duration {
        Duration::from_secs_f64(self.seconds(times).expect("PyTorch's process answers"))
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        // Without requests the process ends by itself.
        self.requests = None;
        let _ = self.process.wait();
    }
}
