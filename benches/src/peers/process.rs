//! A peer in a process of its own: a Python script that works on request.
//!
//! A request is a line, and bytes if the line says so; so is an answer. Every script answers `time N` by doing its work N times, and
//! with the seconds that took.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// None when it is to end.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// `script` with these arguments in the Python that the environment variable names, once it says that it is ready; or why there is
    /// none.
    pub fn start(variable: &str, script: &str, arguments: &[&str]) -> Result<Self, String> {
        let python =
            std::env::var_os(variable).ok_or(format!("{variable} names no Python that has it"))?;
        let mut child = Command::new(&python)
            .args(["-c", script])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", python.display()))?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut process = Self { child, requests, answers };
        match process.line() {
            Ok(line) if line == "ready" => Ok(process),
            _ => Err(format!("{} does not start it", python.display())),
        }
    }

    /// The next line of an answer.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Sends a request, in parts.
    pub fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let requests = self.requests.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        parts.iter().try_for_each(|part| requests.write_all(part))?;
        requests.flush()
    }

    /// The bytes of an answer.
    pub fn receive(&mut self, to: &mut [u8]) -> io::Result<()> {
        self.answers.read_exact(to)
    }

    /// How long the last work takes `times` times, in the process alone.
    pub fn time(&mut self, times: u32) -> io::Result<Duration> {
        self.send(&[format!("time {times}\n").as_bytes()])?;
        self.line()?.parse().map(Duration::from_secs_f64).map_err(io::Error::other)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without requests the process ends by itself.
        self.requests = None;
        let _ = self.child.wait();
    }
}
