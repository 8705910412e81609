//! `evenkeel diagnose` and `evenkeel explain`.

use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::cli::config::RunArgs;
use crate::commands::diagnose::{Request, Subject, diagnose};
use crate::commands::explain::explain;
use crate::commands::suite;
use crate::commands::suite::Work;

#[derive(Debug, Args)]
pub(super) struct DiagnoseArgs {
    /// Run folder: diagnose what its training recorded
    #[arg(value_name = "RUN", conflicts_with_all = ["config", "preset", "record", "dataset"])]
    run_folder: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
    /// Record of a training in another program: see `evenkeel recorder`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "preset", "cure"])]
    record: Option<PathBuf>,
    /// Try the cures on the network and its data, and print the one that works
    #[arg(long)]
    cure: bool,
    /// Time for the trials, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60.0,
        requires = "cure",
        allow_negative_numbers = true
    )]
    budget: f64,
    /// Fail with exit code 4 at findings of these rules, or of at least this severity (warning,
    /// critical)
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    fail_on: Vec<String>,
    /// Do not check these rules
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    ignore: Vec<String>,
    /// File for the cured configuration
    #[arg(long, value_name = "FILE", requires = "cure")]
    out: Option<PathBuf>,
    /// HTML file for the diagnosis, with charts of layers and losses
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// File for the record of what was measured: --record judges it again. With --suite, a folder
    #[arg(long, value_name = "FILE")]
    save_record: Option<PathBuf>,
    /// Replace these files
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Score the diagnosis on a folder of cases with known faults: those whose names have --only in
    /// them
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["config", "preset", "record", "run_folder"]
    )]
    suite: Option<PathBuf>,
    /// Part of the cases' names
    #[arg(long, value_name = "TEXT", requires = "suite", default_value = "")]
    only: String,
    /// Measure the harm of new cases, in a file beside each
    #[arg(long, requires = "suite")]
    measure: bool,
}

impl DiagnoseArgs {
    pub(super) fn run(self) -> Result<(), Error> {
        let Self { run_folder, run, record, cure, budget, fail_on, ignore, .. } = self;
        let Self { out, html, save_record, force, json, suite, only, measure, .. } = self;
        if !(0.0..=1e6).contains(&budget) {
            return Err(Error::Usage(format!(
                "budget: expected 0 to 1,000,000 seconds, got {budget} (flag --budget)"
            )));
        }
        if let Some(folder) = suite {
            let work = match (measure, cure) {
                (true, _) => Work::Measure,
                (false, true) => Work::Score(budget),
                (false, false) => Work::Score(0.0),
            };
            return suite::suite(&folder, &only, work, save_record.as_deref(), json);
        }
        let subject = match (run_folder, record) {
            (Some(folder), _) => Subject::Run { folder, data: run.moved_data() },
            (None, Some(file)) => Subject::Record(file),
            (None, None) => Subject::Config(Box::new(run.config()?)),
        };
        diagnose(&Request {
            subject,
            cure,
            budget,
            fail_on,
            ignore,
            out,
            html,
            save_record,
            force,
            json,
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Name of a rule, such as vanishing-gradient; all rules are listed without it
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Print the text of every rule
    #[arg(long, conflicts_with = "id")]
    all: bool,
}

impl ExplainArgs {
    pub(super) fn run(self) -> Result<(), Error> {
        explain(self.id.as_deref(), self.all)
    }
}
