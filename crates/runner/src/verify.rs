//! What can be checked on the machine at hand: that the kernels compute what they say.
//!
//! [`ulp`] measures the functions of `kernels::math`.

pub mod ulp;
