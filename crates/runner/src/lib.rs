//! Everything of `evenkeel` that needs an operating system, as a library.
//!
//! ```text
//! cli                     the command line: arguments, exit codes
//! train  eval  dump  bench the commands, with predict, report, sweep, lr_find, export, data::command
//!   dry_run  overfit      what train does instead of training
//!   folds                 cross-validation: a run for each fold
//!   config  preset        what a run is, resolved to the last number
//!   setup                 configuration + data -> network, split, threads
//!   constant              inputs that are the same in every training example
//!   initial  transfer     the weights that a run begins with: drawn, or another's
//!   training  step        the loop: epochs and steps; what one step does
//!   extension             a run with more epochs than it was begun with
//!   augment               training images, changed at random
//!   non_finite  origin    what is done where loss or gradient is not finite, and where that began
//!   health  activity      what a few steps of each epoch did to gradients and parameters; units that do nothing
//!   scoring  rows         loss and accuracy of a set of images; bytes become batches
//!   answers  measures     what a network answers to images, and how good that is
//!   fit                   how near values come that a network answers with
//!   attribution           which pixels an answer comes from
//!   journal               the files that grow by an epoch at a time
//!   run_folder            config.toml, metrics.jsonl, health.jsonl, summary.json, model, checkpoint, report
//!   weights  checkpoint   parameters as PyTorch has them; the state of a run to the bit
//!   timing                several calls in turn, and the least time of each
//!   scan  centre          images of any size and colour, prepared for a network
//!   escape                text from files, made safe to print
//!   manual                completions for shells, manual pages
//!   verify                what can be checked here: the error of the kernels' functions
//! ```
#![forbid(unsafe_code)]

pub mod activity;
pub mod answers;
pub mod attribution;
pub mod augment;
pub mod bench;
mod cadence;
mod centre;
pub mod checkpoint;
pub mod cli;
pub mod config;
mod constant;
pub mod data;
mod display;
pub mod dry_run;
pub mod dump;
pub mod element;
pub mod epoch;
mod error;
mod escape;
pub mod eval;
pub mod export;
pub mod extension;
pub mod fit;
mod folds;
pub mod gradcheck;
pub mod health;
mod hex;
pub mod initial;
pub mod interval;
pub mod journal;
mod json;
pub mod lr_find;
mod manual;
pub mod measures;
pub mod memory;
pub mod metrics;
pub mod non_finite;
mod origin;
pub mod overfit;
pub mod picture;
pub mod pool;
pub mod predict;
pub mod preset;
mod protobuf;
pub mod report;
pub mod rows;
pub mod run_folder;
pub mod scan;
pub mod scoring;
pub mod setup;
pub mod signal;
mod sizes;
mod spelling;
mod step;
pub mod streams;
pub mod sweep;
pub mod tensorboard;
pub mod tensors;
pub mod timing;
pub mod train;
pub mod training;
pub mod transfer;
pub mod verify;
pub mod weights;

pub use error::Error;
