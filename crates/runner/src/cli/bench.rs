//! `evenkeel bench`.

use clap::Args;

use crate::Error;
use crate::commands::bench;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Number of threads [default: one per CPU]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Instruction set: auto, scalar, avx2, avx512 or neon
    #[arg(long, value_name = "NAME", default_value = "auto")]
    isa: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl BenchArgs {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { threads, isa, json } = self;
        bench::bench(&bench::Request { threads, isa, json })
    }
}
