//! Checks of numerical correctness on this machine: the parts of `evenkeel verify`.
//!
//! ```text
//! gradients    every layer and loss, compared with finite differences
//! functions    errors in ULP, for every 4099th f32 and the hard cases of f64
//! clipping     gradients that other implementations clip wrongly
//! hashes       fixed problems on each instruction set: equal on every machine
//! ```

pub mod clipping;
pub mod golden;
pub mod gradients;
pub mod ulp;
