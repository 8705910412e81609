//! `evenkeel eval`.

use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::commands::eval;

#[derive(Debug, Args)]
pub(super) struct EvalArgs {
    /// Run folder
    run: PathBuf,
    /// Set to evaluate [default: test, or all rows of new data]
    #[arg(long, value_name = "SPLIT")]
    split: Option<eval::Split>,
    /// New path of the run's data; or new labelled rows: a table (.csv) with the run's columns, or
    /// NumPy arrays (.npz, or a folder of .npy files)
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl EvalArgs {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { run, split, data, json } = self;
        eval::eval(&eval::Request { run, split, data, json })
    }
}
