//! Golden hashes: fixed problems on each instruction set of this machine. By the bit contract, they
//! are the same on every machine.

use std::fmt;

use kernels::{Cpu, Isa, golden};
use serde::Serialize;

/// Hash of one kind of problem on one instruction set.
#[derive(Clone, Debug, Serialize)]
pub struct Hash {
    /// Name of the instruction set.
    pub isa: &'static str,
    /// Kind of problem, and type.
    pub problem: String,
    /// Hash on this machine, or the error.
    pub found: String,
    /// Hash on every other machine.
    pub expected: String,
}

impl Hash {
    /// `true` if this machine computes the same bits.
    pub fn holds(&self) -> bool {
        self.found == self.expected
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { isa, problem, found, expected } = self;
        write!(f, "{isa:<8} {problem:<24} {found}")?;
        if self.holds() { Ok(()) } else { write!(f, "  WRONG, expected {expected}") }
    }
}

/// Computes all hashes.
pub fn hashes() -> Vec<Hash> {
    let mut all = Vec::new();
    for isa in Isa::available() {
        let cpu = Cpu::serial(isa);
        let types = [
            ("f32", golden::hashes::<f32>(cpu), golden::F32),
            ("f64", golden::hashes::<f64>(cpu), golden::F64),
        ];
        for (element, found, expected) in types {
            for (name, expected) in expected.named() {
                let found = found.and_then(|found| {
                    let hash = found.named().into_iter().find(|(other, _)| *other == name);
                    hash.map(|(_, hash)| hash).ok_or(kernels::Error::NonFinite { index: 0 })
                });
                all.push(Hash::new(isa, format!("{name}, {element}"), found, expected));
            }
        }
        let bf16 = golden::bf16_products(cpu);
        all.push(Hash::new(isa, "products, bf16".into(), bf16, golden::BF16));
    }
    all
}

impl Hash {
    fn new(isa: Isa, problem: String, found: Result<u64, kernels::Error>, expected: u64) -> Self {
        let found = found.map_or_else(|error| error.to_string(), |hash| format!("{hash:016x}"));
        Self { isa: isa.name(), problem, found, expected: format!("{expected:016x}") }
    }
}
