//! `evenkeel export`.

use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::commands::export;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Run folder
    run: PathBuf,
    /// File format
    #[arg(long)]
    format: export::Format,
    /// File to write [default: RUN/model.onnx or RUN/model.npz]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file
    #[arg(long)]
    force: bool,
}

impl ExportArgs {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { run, format, out, force } = self;
        export::export(&export::Request { run, format, out, force })
    }
}
