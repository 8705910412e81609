//! Checks clipping on gradients that other implementations clip wrongly: squares that overflow, and
//! non-finite elements.

use std::fmt;

use kernels::clip::clip_norm;
use kernels::{Cpu, Error};
use serde::Serialize;

/// Maximum norm.
const LIMIT: f64 = 5.0;

/// A gradient, and the result of clipping it.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// The gradient.
    pub gradient: String,
    /// Norm and clipped elements, or the error.
    pub result: String,
    /// `true` if the result is correct.
    pub holds: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds { "" } else { "  WRONG" };
        write!(f, "{:<42} {}{verdict}", self.gradient, self.result)
    }
}

/// Correct result for a gradient.
enum Expected {
    /// Norm before clipping, and elements after it.
    Clipped(f64, &'static [f32]),
    /// Error that names this index; no element is changed.
    Refused(usize),
}

/// Runs all cases.
pub fn cases(cpu: Cpu<'_>) -> Vec<Case> {
    let smallest = f32::from_bits(1);
    let largest = f64::from(f32::MAX);
    [
        (vec![1e20_f32; 4], Expected::Clipped(2.0 * f64::from(1e20_f32), &[2.5; 4])),
        (vec![1.0, f32::INFINITY, 1.0], Expected::Refused(1)),
        (vec![1.0, f32::NAN, 1.0], Expected::Refused(1)),
        (vec![6.0, 8.0], Expected::Clipped(10.0, &[3.0, 4.0])),
        (vec![0.0, -0.0], Expected::Clipped(0.0, &[0.0, -0.0])),
        (vec![3.0, 4.0], Expected::Clipped(5.0, &[3.0, 4.0])),
        (vec![f32::MAX; 4], Expected::Clipped(2.0 * largest, &[2.5; 4])),
        (vec![smallest; 4], Expected::Clipped(2.0 * f64::from(smallest), &[1e-45; 4])),
    ]
    .into_iter()
    .map(|(gradient, expected)| {
        let mut clipped = gradient.clone();
        let result = clip_norm(cpu, &mut clipped, LIMIT);
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let holds = match (&result, expected) {
            (Ok(norm), Expected::Clipped(before, after)) => {
                *norm == before && bits(&clipped) == bits(after)
            }
            (Err(Error::NonFinite { index }), Expected::Refused(at)) => {
                *index == at && bits(&clipped) == bits(&gradient)
            }
            _ => false,
        };
        let result = match result {
            Ok(norm) => format!("norm {norm:e}, becomes {clipped:?}"),
            Err(error) => format!("refused: {error}"),
        };
        Case { gradient: format!("{gradient:?}"), result, holds }
    })
    .collect()
}
