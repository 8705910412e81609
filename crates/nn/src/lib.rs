//! Layers, losses, initialisers and optimizers for training networks, without std.
//!
//! A [`Network`] is built from data ([`LayerSpec`]) and checked once, when it is built. It holds no
//! parameters: it gives their number and the offset of each tensor ([`Layout`]). The caller owns
//! flat buffers of that length and layout: parameters, gradients, and the optimizer's moments.
//! Clipping, an optimizer step and a checkpoint are then each one pass over one slice.
//!
//! ```
//! use kernels::Cpu;
//! use nn::{Activation, Batch, Init, LayerSpec, Mode, Network, Optimizer, StepSize, Workspace};
//!
//! let cpu = Cpu::detect();
//! let network = Network::new(2, &[
//!     LayerSpec::dense(16, Init::HeNormal),
//!     LayerSpec::Activation(Activation::Relu),
//!     LayerSpec::dense(2, Init::GlorotUniform),
//! ])?;
//! let mut params = vec![0.0_f32; network.layout().len()];
//! let mut grads = params.clone();
//! network.init(cpu, 42, &mut params)?;
//!
//! // Exclusive or: four rows of two inputs, and the class of each.
//! let (inputs, labels) = ([0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [0, 1, 1, 0]);
//! let batch = Batch { inputs: &inputs, targets: (&labels).into() };
//! let mut workspace = Workspace::new(&network, cpu, 4)?;
//! let mut optimizer = Optimizer::adam().start(cpu, network.layout())?;
//! let mut loss = f64::INFINITY;
//! for step in 0..200 {
//!     let mode = Mode::Train { seed: 42, step };
//!     loss = network.gradient(cpu, mode, &params, batch, &mut workspace, &mut grads)?.mean_loss();
//!     optimizer.step(cpu, StepSize::new(0.02), &mut params, &grads)?;
//! }
//! assert!(loss < 0.05);
//! # Ok::<(), nn::Error>(())
//! ```
//!
//! `examples/mnist.rs` trains a convolutional network on batches of images, with a schedule.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

extern crate alloc;

mod averaging;
mod builder;
mod clipping;
mod compute;
mod error;
mod gradcheck;
pub mod init;
mod jacobian;
#[cfg(feature = "serde")]
mod keys;
pub mod layer;
mod layout;
mod loss;
pub mod metrics;
mod mixing;
mod network;
mod noise;
pub mod optimizer;
mod parameter;
pub mod pruning;
mod registry;
mod schedule;
mod sequence;
mod shape;
mod spec;
mod stopping;
mod workspace;

pub use averaging::{Ema, Lookahead, Sam};
pub use clipping::{Bound, Clipping};
pub use compute::{Compute, Precision, Product};
pub use error::Error;
pub use gradcheck::{Check, gradcheck, gradcheck_largest};
pub use init::{Fans, Init};
pub use jacobian::jacobian;
pub use kernels::activation::Activation;
pub use kernels::clip::Clip;
pub use layer::recurrent::{Cell, RnnActivation};
pub use layer::residual::BranchScale;
pub use layer::{Float, Mode, Pool};
pub use layout::{Layout, Tensor};
pub use loss::{Loss, Targets};
pub use mixing::Mixing;
pub use network::{Batch, Network, Score, Weights};
pub use noise::Noise;
pub use optimizer::{Group, Optimizer, Plan, Running, StepSize};
pub use parameter::Order;
pub use registry::{BuildContext, Options, Registry, Value};
pub use schedule::{Plateau, Progress, RunLength, Schedule};
pub use sequence::Sequence;
pub use shape::Shape;
// `LayerSpec`, and the specification of each layer.
pub use spec::*;
pub use stopping::{EarlyStopping, Monitor};
pub use workspace::{Workspace, WorkspaceSize, zeros};
