//! The `evenkeel` program: calls the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    runner::cli::main(Instant::now())
}
