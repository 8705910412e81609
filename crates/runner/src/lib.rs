//! The parts of `evenkeel` that need an operating system, as a library.
//!
//! ```text
//! cli          command line: parses flags into requests
//! commands     one file per command: train, eval, predict, report, ...
//! report       HTML report of a run
//! export       trained networks as ONNX or NumPy arrays
//! verify       checks on this machine: gradients, functions, clipping, golden hashes
//! diagnosis    measurements for the doctor, and trials of its cures
//! training     training loop: epochs, steps, probes of gradients and activations, recovery
//! evaluation   loss, accuracy, predictions and their metrics, attribution
//! run          configuration, setup, state, and the files of a run folder
//! augment      random changes of training images
//! data         data sets: search, download, read, generate, split, gather into batches
//! machine      threads, signals, memory, terminal, timing
//! ```
//!
//! A folder imports only from the folders below it in this list, and [`Error`].
#![forbid(unsafe_code)]

pub mod augment;
pub mod cli;
pub mod commands;
pub mod data;
pub mod diagnosis;
mod error;
pub mod evaluation;
pub mod export;
pub mod machine;
pub mod report;
pub mod run;
pub mod training;
pub mod verify;

pub use error::Error;
