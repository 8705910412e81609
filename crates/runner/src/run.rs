//! A run: its configuration, its state, and the files of its folder.
//!
//! ```text
//! config, preset, recipe       configuration: keys, named networks, settings for each
//! setup, sampler, sizes        configuration + data -> network, split, order of examples; checks
//! state, weights, batch        input and output of a training step
//! folder                       the run folder and its files
//! checkpoint, tensors          `checkpoint.safetensors`: the state to the bit
//! epoch, health, journal       metrics and samples of each epoch, and their files
//! tensorboard, summary         metrics for TensorBoard; results
//! ```

pub mod batch;
pub mod checkpoint;
pub mod config;
pub(crate) mod constant_inputs;
pub mod divergence;
pub mod epoch;
pub mod folder;
pub mod health;
pub mod journal;
pub(crate) mod json;
pub mod preset;
pub(crate) mod protobuf;
mod recipe;
pub mod sampler;
pub mod setup;
pub(crate) mod sizes;
pub(crate) mod spelling;
pub mod state;
pub mod summary;
pub mod tensorboard;
pub mod tensors;
pub mod weights;
