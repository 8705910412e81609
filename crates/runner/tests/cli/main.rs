//! End-to-end tests of the `evenkeel` program: exit codes, run folders, reproducible bits.
//!
//! Each test runs in a folder of its own, with a tiny data set in MNIST's format and without
//! network access.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod augment;
mod batch;
mod bits;
mod codes;
mod columns;
mod data;
mod diagnose;
mod export;
mod extend;
mod folder;
mod folds;
mod format;
#[cfg(unix)]
mod imbalance;
mod kills;
mod lr_find;
mod manual;
mod new_data;
mod non_finite;
mod predict;
mod preflight;
mod reconstruct;
mod recorder;
mod report;
#[cfg(unix)]
mod robust;
#[cfg(unix)]
mod signals;
mod speed;
mod sweep;
mod tables;
mod transfer;
mod unfinished;
mod unlearnable;
mod unpredicted;
mod wire;
mod world;
