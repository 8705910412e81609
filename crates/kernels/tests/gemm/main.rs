//! Matrix products compared with their oracles, the scalar loops of the bit contract: bits, not
//! tolerances, on every instruction set of this machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bf16;
mod bytes;
mod epilogues;
mod errors;
mod matrix;
mod oracle;
mod sample;
mod shapes;
mod sparse;
mod split_k;
mod threads;
mod values;
