//! What the benchmarks share: the shapes, the implementations side by side, and how fast the processor could be.
//!
//! Every implementation multiplies the same row-major operands, stored plain or transposed, and its answer is checked
//! before it is timed. `benches/gemm.rs` is the record (criterion); `src/bin/gemm_ratios.rs` prints a table of ratios
//! from its own alternating runs, which is what to believe on a shared machine. `src/bin/gemm_once.rs` is for counting
//! instructions.

pub mod element;
pub mod fused;
pub mod peak;
pub mod peers;
pub mod shape;
