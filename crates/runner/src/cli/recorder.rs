//! `evenkeel recorder`.

use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::commands::recorder;

#[derive(Debug, Args)]
pub(super) struct RecorderArgs {
    /// Framework of the program
    framework: recorder::Framework,
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file
    #[arg(long, requires = "out")]
    force: bool,
}

impl RecorderArgs {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { framework, out, force } = self;
        recorder::recorder(&recorder::Request { framework, out, force })
    }
}
