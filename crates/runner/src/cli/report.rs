//! `evenkeel report`.

use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::commands::report;

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Run folders: one, or several to compare
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// File to write [default: RUN/report.html, or comparison.html for several runs]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file
    #[arg(long)]
    force: bool,
    /// New path of the run's data
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
}

impl ReportArgs {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { runs, out, force, data } = self;
        report::report(&report::Request { runs, out, force, data })
    }
}
