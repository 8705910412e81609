//! What the benchmarks share: what is measured, the implementations side by side, and how fast the
//! processor could be.
//!
//! *Products.* Every implementation multiplies the same row-major operands, stored plain or
//! transposed, and its result is checked before it is timed. `benches/gemm.rs` is the record
//! (criterion). `src/bin/gemm_ratios.rs` prints a table of ratios from its own alternating runs:
//! trust it on a shared machine.
//!
//! *Other kernels.* `kernel` lists them; `benches/kernels.rs` is the record,
//! `src/bin/kernel_ratios.rs` prints ratios to a copy of the same bytes and to PyTorch.
//!
//! *Models.* `model` trains whole networks and asks them; `src/bin/model_ratios.rs` prints where
//! the time goes, and ratios to frameworks that do the same.

pub mod copy;
pub mod element;
pub mod fused;
pub mod kernel;
pub mod model;
pub mod peak;
pub mod peers;
pub mod shape;
pub mod ways;
