//! Training: from the configuration of a run to its trained weights.
//!
//! ```text
//! initial, transfer      initial weights: drawn, fitted to the data, or loaded from a file
//! epochs                 the loop over epochs and steps
//! step                   one step: gradient, clipping, optimizer, averages
//! gradient_probe         samples gradients; activity: dead and saturated units
//! one_batch              steps on a single batch, again and again
//! non_finite, locate     recovery from NaN and infinities; the layer where they first occur
//! cadence                when checkpoints are written
//! extension              more epochs for an existing run
//! observer, update       views of a step for those who measure it; norms of its update
//! progress               progress on stderr
//! ```

pub mod activity;
pub(crate) mod cadence;
pub mod epochs;
pub mod extension;
pub mod gradient_probe;
pub mod initial;
pub(crate) mod locate;
pub mod non_finite;
pub mod observer;
pub mod one_batch;
pub(crate) mod progress;
pub(crate) mod step;
pub mod transfer;
pub(crate) mod update;
