//! `evenkeel dump`.

use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::cli::config::{RunArgs, dtype};
use crate::commands::dump;
use crate::run::config::Dtype;

#[derive(Debug, Args)]
pub(super) struct DumpArgs {
    /// Run folder [default: none, for the initial parameters of --config or --preset]
    #[arg(conflicts_with_all = ["config", "preset", "dataset", "data", "label", "target", "seed"])]
    run: Option<PathBuf>,
    #[command(flatten)]
    initial: RunArgs,
    /// Number of examples
    #[arg(long, value_name = "N", default_value_t = 8)]
    samples: usize,
    /// Type to compute in: f32 or f64 [default: the run's]
    #[arg(long, value_name = "TYPE", value_parser = dtype(&[Dtype::F32, Dtype::F64]))]
    dtype: Option<Dtype>,
    /// Number of threads; the result does not depend on it [default: the run's, or one per CPU]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Instruction set: auto, scalar, avx2, avx512 or neon; the result does not depend on it
    /// [default: the run's, or auto]
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// Mode of layers that behave differently in training, such as batch normalisation
    #[arg(long, default_value = "eval")]
    mode: dump::Mode,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl DumpArgs {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { run, initial, samples, dtype, threads, isa, mode, out } = self;
        let source = match run {
            Some(run) => dump::Source::Run(run),
            None => dump::Source::Initial(Box::new(initial.config()?)),
        };
        dump::dump(&dump::Request { source, samples, dtype, isa, threads, mode, out })
    }
}
