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
//! | [`activation`], [`dropout`] | activations with their gradients: ReLU and its kin, GELU, SiLU, sigmoid, tanh, ...; dropout, its mask drawn where it is used |
//! | [`softmax`], [`argmax`] | softmax and log-softmax of rows, with their gradients; the class that a row answers |
//! | [`loss`] | losses from logits, each with its gradient: softmax and binary cross-entropy, hinge, squared, absolute, Huber |
//! | [`normalisation`] | batch, layer, RMS and group normalisation with their gradients |
//! | [`convolution`], [`pooling`] | two-dimensional convolution, its gradients, im2col and col2im; maxima and means over windows, of channels-last images |
//! | [`recurrent`] | a step of LSTM and of GRU, all their gates in one pass, and its gradient |
//! | [`norm`], [`vector`] | sums and norms that cannot overflow, of slices, tensors and output units; scaling, adding, dot products |
//! | [`clip`], [`spectral`] | clipping that refuses what is not finite, alone or in a chain; the spectral norm |
//! | [`statistics`] | what a tensor's numbers look like: counts of what is not finite, moments, a histogram of magnitudes |
//! | [`optimizer`] | the steps of SGD, Adam, their kin, LARS, LAMB and Muon, one pass each; moments also in bf16 |
//! | [`mod@bf16`] | conversion to bf16 and back, to nearest or at random |
//! | [`quantised`] | matrix products of integers of 8 bits, exact or scaled, and quantisation |
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
//! what pulp lacks: the instruction for pairs of bf16, masked reads and writes, and prefetching.
#![no_std]

pub mod activation;
pub mod argmax;
pub mod bf16;
mod channels;
pub mod clip;
pub mod convolution;
pub mod dropout;
mod element;
mod elementwise;
mod error;
pub mod gemm;
#[cfg(not(any(test, target_os = "none", target_os = "unknown")))]
mod instances;
mod isa;
pub mod loss;
pub mod math;
mod matrix;
pub mod norm;
pub mod normalisation;
pub mod optimizer;
mod parallel;
pub mod peak;
pub mod pooling;
pub mod quantised;
pub mod random;
pub mod recurrent;
mod row;
mod simd;
pub mod softmax;
pub mod spectral;
pub mod statistics;
pub mod vector;
mod window;

pub use element::Element;
pub use error::Error;
#[cfg(not(any(test, target_os = "none", target_os = "unknown")))]
#[doc(hidden)]
pub use instances::instances;
pub use isa::{Isa, IsaError, NAMES as ISA_NAMES};
pub use matrix::{MatMut, MatRef};
pub use parallel::{Cpu, Executor, Serial};
pub use simd::{Float, prefetch_slice};
pub use window::Window;
