//! SIMD kernels for training networks, without std and without a heap.
#![no_std]

pub mod activation;
pub mod adam;
pub mod clip;
pub mod cross_entropy;
mod decay;
mod elementwise;
mod error;
pub mod gemm;
mod isa;
pub mod math;
mod matrix;
pub mod norm;
mod parallel;
pub mod random;
mod settle;
pub mod sgd;
mod simd;
#[cfg(test)]
mod testing;

pub use decay::Decay;
pub use error::Error;
pub use isa::{Isa, IsaError, NAMES as ISA_NAMES};
pub use matrix::{MatMut, MatRef};
pub use parallel::{Cpu, Executor, Serial};
pub use simd::Float;
