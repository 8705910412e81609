//! Benchmarks: shapes, our implementations and the peers', and the peak of the processor.
//!
//! *Products.* Every implementation multiplies the same row-major operands, plain or transposed;
//! its result is checked before it is timed. `benches/gemm.rs` is the record (criterion).
//! `src/bin/gemm_ratios.rs` prints a table of ratios from alternating runs, which are reliable on a
//! shared machine.
//!
//! *Other kernels.* `kernel` lists them. `benches/kernels.rs` is the record;
//! `src/bin/kernel_ratios.rs` prints ratios to a copy of the same bytes and to PyTorch.
//!
//! *Models.* `model` trains whole networks and predicts with them. `src/bin/model_ratios.rs` prints
//! the time of each part of a step, and ratios to frameworks.

pub mod copy;
pub mod element;
pub mod fused;
pub mod kernel;
pub mod model;
pub mod peak;
pub mod peers;
pub mod shape;
pub mod winograd;
