//! A peer in a process of its own: a Python script that serves requests.
//!
//! Requests and responses are a line, followed by bytes if the line announces them. On `time N`,
//! every script repeats its last work N times and responds with the seconds.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A running script.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// `None` once the process is to end.
    requests: Option<ChildStdin>,
    responses: BufReader<ChildStdout>,
}

impl Process {
    /// Starts `script` with these arguments in the Python that the environment variable names, and
    /// waits until it is ready. The error is the reason why it is missing.
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
        let responses = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut process = Self { child, requests, responses };
        match process.line() {
            Ok(line) if line == "ready" => Ok(process),
            _ => Err(format!("{} does not start it", python.display())),
        }
    }

    /// Reads the next line of a response.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.responses.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Sends a request, in parts.
    pub fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let requests = self.requests.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        parts.iter().try_for_each(|part| requests.write_all(part))?;
        requests.flush()
    }

    /// Reads the bytes of a response.
    pub fn receive(&mut self, to: &mut [u8]) -> io::Result<()> {
        self.responses.read_exact(to)
    }

    /// Time of `times` repetitions of the last work, measured in the process.
    pub fn time(&mut self, times: u32) -> io::Result<Duration> {
        self.send(&[format!("time {times}\n").as_bytes()])?;
        self.line()?.parse().map(Duration::from_secs_f64).map_err(io::Error::other)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process ends when its standard input closes.
        self.requests = None;
        let _ = self.child.wait();
    }
}
