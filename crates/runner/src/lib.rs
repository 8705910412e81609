//! The parts of `evenkeel` that need an operating system, as a library.
//!
//! ```text
//! cli          the command line: flags become requests
//! commands     one file a command: train, eval, predict, report, ...
//! report       the HTML report of a run
//! export       a trained network as ONNX or NumPy arrays
//! verify       gradients, functions, clipping and golden hashes, checked on this machine
//! training     the training loop: epochs, steps, probes of gradients and activations, recovery
//! evaluation   loss, accuracy, predictions and their metrics, attribution
//! run          configuration, setup, state, and the files of a run folder
//! augment      random changes of training images
//! data         data sets: found, downloaded, read, generated, split, gathered into batches
//! machine      threads, signals, memory, terminal, timing
//! ```
//!
//! A folder imports only from those below it in this list, and [`Error`].
#![forbid(unsafe_code)]

pub mod augment;
pub mod cli;
pub mod commands;
pub mod data;
mod error;
pub mod evaluation;
pub mod export;
pub mod machine;
pub mod report;
pub mod run;
pub mod training;
pub mod verify;

pub use error::Error;
