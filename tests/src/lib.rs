//! References of the cross-crate tests: finite differences, and a network in its textbook form.
//!
//! [`oracle`] shares no code with the crates under test. [`differences`] needs only a function of
//! numbers.
#![forbid(unsafe_code)]

pub mod differences;
pub mod oracle;

/// The examples of the README, as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
