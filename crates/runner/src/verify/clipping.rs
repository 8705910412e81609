//! Gradients on which clipping goes wrong elsewhere: squares that overflow, and numbers that are not finite.

use std::fmt;

use kernels::clip::clip_norm;
use kernels::{Cpu, Error};
use serde::Serialize;

/// The norm that is clipped to.
const LIMIT: f64 = 5.0;

/// A gradient, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// The gradient.
    pub gradient: String,
    /// What it became, or why it was refused.
    pub result: String,
    /// Whether that is right.
    pub holds: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds { "" } else { "  WRONG" };
        write!(f, "{:<42} {}{verdict}", self.gradient, self.result)
    }
}

/// What must become of a gradient.
enum Wanted {
    /// This norm from before, and these elements.
    Clipped(f64, &'static [f32]),
    /// It is refused, this element is named, and none is changed.
    Refused(usize),
}

/// All cases.
pub fn cases(cpu: Cpu<'_>) -> Vec<Case> {
    let least = f32::from_bits(1);
    let largest = f64::from(f32::MAX);
    [
        (vec![1e20_f32; 4], Wanted::Clipped(2.0 * f64::from(1e20_f32), &[2.5; 4])),
        (vec![1.0, f32::INFINITY, 1.0], Wanted::Refused(1)),
        (vec![1.0, f32::NAN, 1.0], Wanted::Refused(1)),
        (vec![6.0, 8.0], Wanted::Clipped(10.0, &[3.0, 4.0])),
        (vec![0.0, -0.0], Wanted::Clipped(0.0, &[0.0, -0.0])),
        (vec![3.0, 4.0], Wanted::Clipped(5.0, &[3.0, 4.0])),
        (vec![f32::MAX; 4], Wanted::Clipped(2.0 * largest, &[2.5; 4])),
        (vec![least; 4], Wanted::Clipped(2.0 * f64::from(least), &[1e-45; 4])),
    ]
    .into_iter()
    .map(|(gradient, wanted)| {
        let mut clipped = gradient.clone();
        let result = clip_norm(cpu, &mut clipped, LIMIT);
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let holds = match (&result, wanted) {
            (Ok(norm), Wanted::Clipped(before, after)) => {
                *norm == before && bits(&clipped) == bits(after)
            }
            (Err(Error::NonFinite { index }), Wanted::Refused(at)) => {
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
