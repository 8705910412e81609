//! `evenkeel verify`: one table of all checks on this machine.
//!
//! ```text
//! gradients    every layer and loss, compared with finite differences
//! functions    errors in ULP, for every 4099th f32 and the hard cases of f64
//! clipping     gradients on which other implementations fail
//! hashes       fixed problems on each instruction set: the same hash on every machine
//! ```

use kernels::{Cpu, Isa};
use serde::Serialize;

use crate::Error;
use crate::commands::{gradcheck, output};
use crate::run::config::Config;
use crate::run::setup;
use crate::verify::{clipping, golden, gradients, ulp};

/// Options of `verify`.
#[derive(Clone, Debug)]
pub struct Request {
    /// Instruction set of the gradients and functions.
    pub isa: String,
    /// Print JSON.
    pub json: bool,
}

/// Results of all checks: output of `verify --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// Version of the program.
    pub version: &'static str,
    /// Instruction set of gradients and functions.
    pub isa: &'static str,
    /// Instruction sets of this machine.
    pub isas: Vec<&'static str>,
    /// Gradients, compared with finite differences.
    pub gradients: Vec<gradients::Finding>,
    /// Errors of functions in ULP.
    pub functions: Vec<ulp::Row>,
    /// Clips of non-finite and large gradients.
    pub clipping: Vec<clipping::Case>,
    /// Golden hashes.
    pub hashes: Vec<golden::Hash>,
    /// `true` if all checks hold.
    pub holds: bool,
}

/// Runs all checks, and prints the table.
///
/// # Errors
/// [`Error::ChecksFailed`] if a check fails.
pub fn verify(request: &Request) -> Result<(), Error> {
    let config = Config { isa: request.isa.clone(), ..Config::default() };
    let (isa, pool) = (setup::isa(&config)?, setup::pool(&config)?);
    let cpu = Cpu::new(isa, &pool);
    let text = !request.json;
    let say = |line: &str| if text { output::print(line) } else { Ok(()) };

    say("gradients, compared with finite differences in f64: check, elements, relative error, \
         worst element")?;
    let mut findings = Vec::new();
    gradients::findings(Cpu::serial(isa), |finding| {
        say(&gradcheck::line(finding, false)?)?;
        findings.push(finding.clone());
        Ok(())
    })?;

    say("\nfunctions: maximum error in ULP")?;
    say(ulp::HEADER)?;
    let mut functions = Vec::new();
    for function in &ulp::FUNCTIONS {
        let single = pool.enter(|| function.single(cpu, ulp::Extent::Sampled));
        for row in [single, function.double(cpu)] {
            say(&row.to_string())?;
            functions.push(row);
        }
    }

    say("\nclipping to a norm of 5")?;
    let clipping = clipping::cases(cpu);
    clipping.iter().try_for_each(|case| say(&case.to_string()))?;

    say("\nhashes: the same on every machine")?;
    let hashes = golden::hashes();
    hashes.iter().try_for_each(|hash| say(&hash.to_string()))?;

    let verdicts = (findings.iter().map(gradients::Finding::holds))
        .chain(functions.iter().map(ulp::Row::holds))
        .chain(clipping.iter().map(|case| case.holds))
        .chain(hashes.iter().map(golden::Hash::holds));
    let (failed, total) =
        verdicts.fold((0, 0), |(failed, total), holds| (failed + usize::from(!holds), total + 1));
    if request.json {
        let verification = Verification {
            version: env!("CARGO_PKG_VERSION"),
            isa: isa.name(),
            isas: Isa::available().map(Isa::name).collect(),
            gradients: findings,
            functions,
            clipping,
            hashes,
            holds: failed == 0,
        };
        let json = serde_json::to_string_pretty(&verification);
        output::print(&json.map_err(|error| Error::Usage(format!("verification: {error}")))?)?;
    }
    if failed > 0 {
        return Err(Error::ChecksFailed { checks: "checks", failed, total });
    }
    say(&format!("\nall {total} checks hold"))
}
