//! Kernels for training networks, without std and without a heap: the same bits on every
//! instruction set.
//!
//! Every kernel takes a [`Cpu`] first: an instruction set of this machine, and an executor of tasks
//! (the calling thread, or an [`Executor`] of the caller). All memory is the caller's, including
//! scratch.
//!
//! A dense layer with ReLU, `y = relu(x W + b)`, for two rows of three inputs and two outputs:
//!
//! ```
//! use kernels::gemm::{Epilogue, GemmShape, gemm, gemm_scratch};
//! use kernels::{Cpu, MatMut, MatRef};
//!
//! let cpu = Cpu::detect(); // asks the processor: call it once
//! let x = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
//! let (w, b) = ([1.0, -1.0, 0.5, -0.5, 0.25, -0.25], [0.5, 1.0]);
//! let mut y = [0.0; 4];
//! let mut scratch = [0.0; gemm_scratch::<f32>(1, GemmShape { m: 2, n: 2, k: 3 })];
//! let (x, w) = (MatRef::row_major(&x, 2, 3)?, MatRef::row_major(&w, 3, 2)?);
//! let y_view = MatMut::row_major(&mut y, 2, 2)?;
//! gemm(cpu, 1.0, x, w, 0.0, y_view, Epilogue::bias(&b).relu(), &mut scratch)?;
//! assert_eq!(y, [3.25, 0.0, 8.5, 0.0]);
//! # Ok::<(), kernels::Error>(())
//! ```
//!
//! | module | computes |
//! |---|---|
//! | [`gemm`] | matrix products of f32, f64, bf16 and bytes, with fused epilogues |
//! | [`activation`], [`dropout`] | ReLU, GELU, sigmoid, tanh, ...; dropout without a stored mask |
//! | [`softmax`], [`argmax`] | softmax and log-softmax of rows; the class of the maximum |
//! | [`loss`] | cross-entropy, hinge, squared, absolute and Huber loss, from logits |
//! | [`normalisation`] | batch, layer, RMS and group normalisation |
//! | [`convolution`], [`pooling`] | 2D convolution, im2col, col2im; max and average pooling |
//! | [`recurrent`] | a step of LSTM and of GRU, all gates in one pass |
//! | [`norm`], [`vector`] | sums and norms that cannot overflow; scaling, axpy, dot products |
//! | [`clip`], [`spectral`] | clipping that refuses non-finite gradients; the spectral norm |
//! | [`statistics`] | counts of non-finite elements, moments, a histogram of magnitudes |
//! | [`optimizer`] | steps of SGD, Adam, their variants, LARS, LAMB and Muon, one pass each |
//! | [`mod@bf16`] | conversion to and from bf16, to nearest or stochastic |
//! | [`quantised`] | matrix products of 8-bit integers, exact or scaled, and quantisation |
//! | [`random`] | counter-based random numbers |
//! | [`math`] | exp, ln, tanh, sigmoid, softplus, erf, powers, roots, sin and cos of pi x |
//! | [`peak`] | the peak rate of one thread, for benchmarks |
//!
//! Each forward function has its gradient next to it.
//!
//! **Bits.** Results depend on the operands alone: not on the instruction set ([`Isa`]), the number
//! of threads, the alignment or the blocking. Each module states its order of operations;
//! `docs/NUMERICS.md` has the whole contract and its exceptions. Targets without a hardware fused
//! multiply-add compute it in software, slowly.
//!
//! **Errors.** Misuse is an [`Error`], returned before anything is written. NaN and infinities are
//! data and propagate.
//!
//! **Unsafe** code is in these modules alone. Each block names the check that makes it sound.
//!
//! | module | unsafe operations |
//! |---|---|
//! | `isa` | makes the token of a detected instruction set; XGETBV |
//! | `simd::token` | masked loads and stores |
//! | `simd::avx512_bf16` | instructions on pairs of bf16 |
//! | `simd::one_lane` | scalar FMA as inline assembly |
//! | `simd::prefetch` | prefetch instructions |
//! | `parallel` | the queue of items that threads share, behind a lock |
//! | `gemm::{view, output, load, pack}` | elements of checked matrix views, through pointers |
//! | `gemm::{microkernel, epilogue, tile, macrokernel}` | panels, accumulators and tiles of C |
//! | `gemm`, `gemm::{product, driver, split_k, batch}` | parts of C, each owned by one task |
//! | `gemm::scratch` | slots of scratch, each owned by one task |
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

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
#[doc(hidden)]
pub mod golden;
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
