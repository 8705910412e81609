//! Findings of the doctor in a run: the opening of its report.

use std::fmt;

use doctor::{Severity, Verdict};

use crate::report::page::{Escaped, capitalised};

/// Findings that are shown.
const SHOWN: usize = 4;

/// Findings of a run, the most severe first; nothing if it is healthy.
pub(super) struct Findings<'a> {
    /// The verdict.
    pub(super) verdict: &'a Verdict,
    /// Path of the run.
    pub(super) run: &'a str,
}

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, run } = self;
        let severe = verdict.findings.iter().filter(|finding| finding.severity > Severity::Info);
        for finding in severe.take(SHOWN) {
            let cures = finding.cures.iter().take(3).map(|cure| cure.text());
            writeln!(
                f,
                "<p class=\"notice\"><b>{}: {}.</b> {} Cures: {}.</p>",
                capitalised(finding.severity.name()),
                Escaped(&finding.id),
                Escaped(&finding.message),
                Escaped(&cures.collect::<Vec<_>>().join("; "))
            )?;
        }
        if !verdict.is_healthy() {
            let command = format!("evenkeel diagnose {run} --cure");
            writeln!(
                f,
                "<p class=\"lead\">The cures are tried by <code>{}</code>.</p>",
                Escaped(&command)
            )?;
        }
        Ok(())
    }
}
