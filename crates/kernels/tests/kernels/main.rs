//! Compares each kernel with its definition, on every instruction set, serial and on threads.
//!
//! One integration test instead of unit tests: it links the library's instances in place of
//! compiling every kernel again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod activation;
mod argmax;
mod bernoulli;
mod bf16;
mod binary_cross_entropy;
mod brier;
mod clip;
mod clip_chain;
mod convolution;
mod cross_entropy;
mod dropout;
mod hinge;
mod kullback_leibler;
mod loss;
mod math;
mod norm;
mod normalisation;
mod optimizer;
mod poisson;
mod pooling;
mod prelu;
mod quantised;
mod random_fill;
mod recurrent;
mod regression;
mod softmax;
mod spectral;
mod statistics;
mod testing;
mod vector;
