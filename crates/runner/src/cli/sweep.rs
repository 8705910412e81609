//! `evenkeel sweep`.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use crate::Error;
use crate::cli::config::RunArgs;
use crate::commands::sweep;
use crate::machine::signal::Signals;

#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// Keys and their values: KEY=A,B,C, or with --random KEY=log(LOW,HIGH) or
    /// KEY=uniform(LOW,HIGH)
    #[arg(required = true, value_name = "KEY=VALUES")]
    choices: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    /// Run N trials with random values, instead of the whole grid
    #[arg(long, value_name = "N")]
    random: Option<usize>,
    /// Folder of the sweep, which holds a run folder for each trial
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// No progress on stderr
    #[arg(long)]
    quiet: bool,
}

impl SweepArgs {
    pub(super) fn run(self, started: Instant) -> Result<(), Error> {
        let Self { choices, run, random, out, json, quiet } = self;
        let (config, recipe) = (run.config()?, run.is_recipe());
        let request = sweep::Request { config, recipe, choices, random, out, json, quiet };
        sweep::sweep(&request, started, &Signals::catch()?)
    }
}
