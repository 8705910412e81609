//! The machine that the program runs on: threads, signals, memory, terminal, timing.

pub(crate) mod escape;
pub mod memory;
pub mod signal;
pub(crate) mod terminal;
pub mod thread_pool;
pub mod timing;
