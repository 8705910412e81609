//! `evenkeel gradcheck`: compares the gradient of every layer and loss with finite differences.

use kernels::Cpu;

use crate::Error;
use crate::commands::output;
use crate::run::config::Config;
use crate::run::setup;
use crate::verify::gradients::{BOUND, Finding, findings};

/// Options of `gradcheck`.
#[derive(Clone, Debug)]
pub struct Request {
    /// Instruction set.
    pub isa: String,
    /// Print one JSON object per line.
    pub json: bool,
}

/// Checks all gradients, and prints one line for each.
///
/// # Errors
/// [`Error::ChecksFailed`] if a gradient is wrong.
pub fn gradcheck(request: &Request) -> Result<(), Error> {
    let isa = setup::isa(&Config { isa: request.isa.clone(), ..Config::default() })?;
    let (mut failed, mut total) = (0, 0);
    if !request.json {
        output::print(&format!(
            "{:<30} {:>9} {:>15}  worst element",
            "check", "elements", "relative error"
        ))?;
    }
    findings(Cpu::serial(isa), |finding| {
        total += 1;
        failed += usize::from(!finding.holds());
        output::print(&line(finding, request.json)?)
    })?;
    if failed > 0 {
        return Err(Error::ChecksFailed { checks: "gradients", failed, total });
    }
    if request.json {
        return Ok(());
    }
    output::print(&format!("all {total} below {BOUND:e}"))
}

/// Line of the table, or JSON.
pub(crate) fn line(finding: &Finding, json: bool) -> Result<String, Error> {
    if json {
        return serde_json::to_string(finding)
            .map_err(|error| Error::Usage(format!("gradcheck: {error}")));
    }
    let Finding { check, elements, max_rel_error, worst } = finding;
    let verdict = if finding.holds() { "" } else { "  WRONG" };
    Ok(format!("{check:<30} {elements:>9} {max_rel_error:>15.1e}  {worst}{verdict}"))
}
