//! `evenkeel gradcheck`: the gradient of every layer and loss against finite differences, one line each.

use kernels::Cpu;

use crate::Error;
use crate::commands::output;
use crate::run::config::Config;
use crate::run::setup;
use crate::verify::gradients::{BOUND, Finding, findings};

/// What `gradcheck` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Instruction set.
    pub isa: String,
    /// Print one JSON object a line.
    pub json: bool,
}

/// Does it.
///
/// # Errors
/// [`Error::Unproven`] if a gradient is wrong.
pub fn gradcheck(request: &Request) -> Result<(), Error> {
    let isa = setup::isa(&Config { isa: request.isa.clone(), ..Config::default() })?;
    let (mut failed, mut of) = (0, 0);
    if !request.json {
        output::print(&format!(
            "{:<30} {:>9} {:>15}  worst element",
            "check", "elements", "relative error"
        ))?;
    }
    findings(Cpu::serial(isa), |finding| {
        of += 1;
        failed += usize::from(!finding.holds());
        output::print(&line(finding, request.json)?)
    })?;
    if failed > 0 {
        return Err(Error::Unproven { what: "gradients", failed, of });
    }
    if request.json {
        return Ok(());
    }
    output::print(&format!("all {of} below {BOUND:e}"))
}

/// A row of the table.
pub(crate) fn line(finding: &Finding, json: bool) -> Result<String, Error> {
    if json {
        return serde_json::to_string(finding)
            .map_err(|error| Error::Usage(format!("gradcheck: {error}")));
    }
    let Finding { check, elements, max_rel_error, worst } = finding;
    let verdict = if finding.holds() { "" } else { "  WRONG" };
    Ok(format!("{check:<30} {elements:>9} {max_rel_error:>15.1e}  {worst}{verdict}"))
}
