//! x
pub mod digits;
