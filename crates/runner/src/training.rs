//! Training: what happens between the configuration of a run and its trained weights.
//!
//! ```text
//! initial, transfer      weights to begin with: drawn, fitted to the data, or loaded
//! epochs                 the loop over epochs and steps
//! step                   one step: gradient, clipping, optimizer, averages
//! gradient_probe         samples gradients; activity: dead and saturated units
//! non_finite, origin     recovery from NaN and infinities, and the layer where they began
//! cadence                when checkpoints are written
//! extension              a finished run with more epochs
//! display                progress on stderr
//! ```

pub mod activity;
pub(crate) mod cadence;
pub(crate) mod display;
pub mod epochs;
pub mod extension;
pub mod gradient_probe;
pub mod initial;
pub mod non_finite;
mod origin;
pub(crate) mod step;
pub mod transfer;
