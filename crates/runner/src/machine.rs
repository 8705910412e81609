//! The machine that the program runs on: threads, signals, memory, terminal, timing.

pub(crate) mod escape;
pub mod memory;
pub mod pool;
pub mod signal;
pub(crate) mod terminal;
pub mod timing;
