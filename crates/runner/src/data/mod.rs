//! Where the images come from.

pub mod digits;
