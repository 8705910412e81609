//! Everything of `evenkeel` that needs an operating system, as a library.
#![forbid(unsafe_code)]

pub mod data;
pub mod pool;
