//! `evenkeel report`.

use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::report::command as report;

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Run folders: one, or several to compare
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// File to write [default: RUN/report.html; of several runs comparison.html]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file
    #[arg(long)]
    force: bool,
    /// Folder with the data, where they are no longer where the run found them
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl ReportArgs {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { runs, out, force, data } = self;
        report::report(&report::Request { runs, out, force, data })
    }
}
