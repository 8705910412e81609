//! SIMD kernels for training networks, without std and without a heap.
#![no_std]

pub mod random;
