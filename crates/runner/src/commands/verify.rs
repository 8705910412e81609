//! `evenkeel verify`: what can be checked on the machine at hand, in one table: that gradients are right, functions exact, clips
//! safe, and the bits those of every other machine.
//!
//! ```text
//! gradients    every layer and loss against finite differences
//! functions    units in the last place, every 4099th f32 and the hard cases of f64
//! clipping     the gradients on which others fail
//! hashes       fixed problems on each instruction set: the same number on every machine
//! ```

use kernels::{Cpu, Isa};
use serde::Serialize;

use crate::Error;
use crate::commands::{gradcheck, output};
use crate::run::config::Config;
use crate::run::setup;
use crate::verify::{clipping, golden, gradients, ulp};

/// What `verify` is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Instruction set of the gradients and functions.
    pub isa: String,
    /// Print JSON.
    pub json: bool,
}

/// All that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// The program's version.
    pub version: &'static str,
    /// The instruction set of gradients and functions.
    pub isa: &'static str,
    /// Instruction sets that this machine has.
    pub isas: Vec<&'static str>,
    /// Gradients.
    pub gradients: Vec<gradients::Finding>,
    /// Functions.
    pub functions: Vec<ulp::Row>,
    /// Clips.
    pub clipping: Vec<clipping::Case>,
    /// Hashes.
    pub hashes: Vec<golden::Hash>,
    /// Whether all is as it must be.
    pub holds: bool,
}

/// Does it.
///
/// # Errors
/// [`Error::Unproven`] if anything is not as it must be.
pub fn verify(request: &Request) -> Result<(), Error> {
    let config = Config { isa: request.isa.clone(), ..Config::default() };
    let (isa, pool) = (setup::isa(&config)?, setup::pool(&config)?);
    let cpu = Cpu::new(isa, &pool);
    let text = !request.json;
    let say = |line: &str| if text { output::print(line) } else { Ok(()) };

    say(
        "gradients against finite differences in f64: check, elements, relative error, worst element",
    )?;
    let mut found = Vec::new();
    gradients::findings(Cpu::serial(isa), |finding| {
        say(&gradcheck::line(finding, false)?)?;
        found.push(finding.clone());
        Ok(())
    })?;

    say("\nfunctions: the greatest error in units in the last place")?;
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

    let verdicts = (found.iter().map(gradients::Finding::holds))
        .chain(functions.iter().map(ulp::Row::holds))
        .chain(clipping.iter().map(|case| case.holds))
        .chain(hashes.iter().map(golden::Hash::holds));
    let (failed, of) =
        verdicts.fold((0, 0), |(failed, of), holds| (failed + usize::from(!holds), of + 1));
    if request.json {
        let verification = Verification {
            version: env!("CARGO_PKG_VERSION"),
            isa: isa.name(),
            isas: Isa::available().map(Isa::name).collect(),
            gradients: found,
            functions,
            clipping,
            hashes,
            holds: failed == 0,
        };
        let json = serde_json::to_string_pretty(&verification);
        output::print(&json.map_err(|error| Error::Usage(format!("verification: {error}")))?)?;
    }
    if failed > 0 {
        return Err(Error::Unproven { what: "checks", failed, of });
    }
    say(&format!("\nall {of} checks hold"))
}
