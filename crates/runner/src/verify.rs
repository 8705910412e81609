//! Checks of numerical correctness on the machine at hand: the parts of `evenkeel verify`.
//!
//! ```text
//! gradients    every layer and loss against finite differences
//! functions    units in the last place, every 4099th f32 and the hard cases of f64
//! clipping     the gradients on which others fail
//! hashes       fixed problems on each instruction set: the same number on every machine
//! ```

pub mod clipping;
pub mod golden;
pub mod gradients;
pub mod ulp;
