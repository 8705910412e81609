//! `evenkeel replay`.

use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::cli::config::dtype;
use crate::commands::replay::{Request, replay};
use crate::run::config::Dtype;

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Run folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Step of the run, from 1
    #[arg(long, value_name = "N")]
    step: u64,
    /// Type of the repeated step; the steps before it are those of the run [default: the run's]
    #[arg(long, value_name = "TYPE", value_parser = dtype(&[Dtype::F32, Dtype::F64]))]
    dtype: Option<Dtype>,
    /// New path of the run's data
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// safetensors file for the outputs of every layer, the parameters and the gradients
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file
    #[arg(long, requires = "out")]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ReplayArgs {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { run, step, dtype, data, out, force, json } = self;
        replay(&Request { run, step, dtype, data, out, force, json })
    }
}
