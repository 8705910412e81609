//! What the cross-crate tests measure with: finite differences, and a network written as a textbook writes it.
//!
//! [`oracle`] shares no code with the crates it judges. [`differences`] knows nothing but a function of numbers.
#![forbid(unsafe_code)]

pub mod differences;
pub mod oracle;

/// The examples of the README, as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
