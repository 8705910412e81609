//! `evenkeel gradcheck` and `evenkeel verify`, which take the same flags.

use clap::Args;

use crate::Error;
use crate::commands::{gradcheck, verify};

#[derive(Debug, Args)]
pub(super) struct ProofArgs {
    /// Instruction set to check gradients on: auto, scalar, avx2, avx512 or neon
    #[arg(long, value_name = "NAME", default_value = "auto")]
    isa: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ProofArgs {
    pub(super) fn gradcheck(self) -> Result<(), Error> {
        let Self { isa, json } = self;
        gradcheck::gradcheck(&gradcheck::Request { isa, json })
    }

    pub(super) fn verify(self) -> Result<(), Error> {
        let Self { isa, json } = self;
        verify::verify(&verify::Request { isa, json })
    }
}
