//! Evaluation: outputs of a network for a set of examples, and the metrics computed from them.

pub mod attribution;
pub mod classification;
pub mod interval;
pub mod predictions;
pub mod regression;
pub mod scorer;
