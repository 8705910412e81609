//! `evenkeel lr-find`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use nn::Optimizer;

use crate::Error;
use crate::cli::config::RunArgs;
use crate::commands::lr_find;

#[derive(Debug, Args)]
pub(super) struct LrFindArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Examples per step [default: the preset's, 128 for mlp; 256 with --config]
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// Optimizer [default: adam]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Optimizer::NAMES))]
    optimizer: Option<String>,
    /// Learning rate of the first step
    #[arg(long, value_name = "RATE", default_value_t = 1e-6, allow_negative_numbers = true)]
    from: f64,
    /// Learning rate of the last step
    #[arg(long, value_name = "RATE", default_value_t = 10.0, allow_negative_numbers = true)]
    to: f64,
    /// Number of steps, with rates evenly spaced on a logarithmic scale
    #[arg(long, value_name = "N", default_value_t = 200)]
    steps: u32,
    /// HTML file for a plot of the loss over the learning rate
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file
    #[arg(long, requires = "out")]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl LrFindArgs {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { run, batch, optimizer, from, to, steps, out, force, json } = self;
        let mut config = run.config_with(optimizer.as_deref())?;
        config.batch = batch.unwrap_or(config.batch);
        lr_find::lr_find(&lr_find::Request { config, from, to, steps, out, force, json })
    }
}
