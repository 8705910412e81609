//! Kernels for training networks, without std and without a heap: the same bits on every instruction set.
//!
//! Every kernel takes a [`Cpu`] first: an instruction set that this machine has, and what runs tasks (the calling thread, or
//! an [`Executor`] of yours). All memory is the caller's, scratch included.
//!
//! A dense layer with ReLU, `y = relu(x W + b)`, for two rows of three inputs and two outputs:
//!
//! ```
//! use kernels::gemm::{Epilogue, gemm, gemm_scratch};
//! use kernels::{Cpu, MatMut, MatRef};
//!
//! let cpu = Cpu::detect(); // asks the processor: once is enough
//! let x = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
//! let (w, b) = ([1.0, -1.0, 0.5, -0.5, 0.25, -0.25], [0.5, 1.0]);
//! let mut y = [0.0; 4];
//! let mut scratch = [0.0; gemm_scratch::<f32>(1, 2, 2, 3)];
//! let (x, w) = (MatRef::row_major(&x, 2, 3)?, MatRef::row_major(&w, 3, 2)?);
//! gemm(cpu, 1.0, x, w, 0.0, MatMut::row_major(&mut y, 2, 2)?, Epilogue::bias(&b).relu(), &mut scratch)?;
//! assert_eq!(y, [3.25, 0.0, 8.5, 0.0]);
//! # Ok::<(), kernels::Error>(())
//! ```
//!
//! | module | computes |
//! |---|---|
//! | [`gemm`] | matrix products of f32, f64, bf16 and bytes, fused with bias, activation and the activation's gradient; packed factors, batches |
//! | [`activation`] | activations with their gradients: ReLU and its kin, ELU, GELU, SiLU, mish, sigmoid, tanh, softplus, ... |
//! | [`dropout`] | dropout, its mask drawn where it is used |
//! | [`cross_entropy`] | softmax cross-entropy from logits with its gradient; softmax; argmax |
//! | [`norm`], [`clip`] | sums, Euclidean norms that cannot overflow, clipping that refuses what is not finite |
//! | [`sgd`], [`adam`] | optimizer steps, one pass each |
//! | [`random`] | counter-based random numbers |
//! | [`math`] | exp, ln and their kin near 0, tanh, sigmoid, softplus, erf, powers, roots, sin and cos of pi x |
//! | [`peak`] | nothing: how fast a thread could be at most, for benchmarks |
//!
//! **Bits.** Results depend on the operands alone: not on the instruction set ([`Isa`]), the number of
//! threads, the alignment or the cut into blocks. Each module states its order of operations; `docs/NUMERICS.md` has the
//! whole contract and its exceptions. Targets without a hardware fused multiply-add compute it in software, slowly.
//!
//! **Errors.** Misuse is an [`Error`], returned before anything is written. NaN and infinities are data and flow through.
//!
//! **Unsafe** code is in three places: the choice of an instruction set (`isa`), the handing out of disjoint work to
//! threads (`parallel`, and the blocks of `gemm`), and the reading and writing of checked matrix views in `gemm`'s tiles. `simd` adds
//! two instructions that pulp lacks: the one for pairs of bf16, and prefetching.
#![no_std]

pub mod activation;
pub mod adam;
pub mod clip;
pub mod cross_entropy;
mod decay;
pub mod dropout;
mod element;
mod elementwise;
mod error;
pub mod gemm;
mod isa;
pub mod math;
mod matrix;
pub mod norm;
mod parallel;
pub mod peak;
pub mod random;
mod settle;
pub mod sgd;
mod simd;
#[cfg(test)]
mod testing;

pub use decay::Decay;
pub use element::Element;
pub use error::Error;
pub use isa::{Isa, IsaError, NAMES as ISA_NAMES};
pub use matrix::{MatMut, MatRef};
pub use parallel::{Cpu, Executor, Serial};
pub use simd::Float;
