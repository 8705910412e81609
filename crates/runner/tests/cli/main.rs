//! The `evenkeel` program from outside: exit codes, run folders, and the same bits however a run is made.
//!
//! Each test has a folder of its own, with a tiny data set in MNIST's form and no way to the network.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod augment;
mod batch;
mod bits;
mod codes;
mod columns;
mod data;
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
mod new_rows;
mod non_finite;
mod predict;
mod preflight;
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
