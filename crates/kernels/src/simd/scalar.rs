//! pulp's scalar instruction set: hardware FMA if the target has it at compile time, otherwise
//! software FMA.

use super::MOST_LANES;
use super::plain::padded;
use super::token::Token;

impl Token for pulp::Scalar {
    type Pulp = Self;
    #[inline(always)]
    fn pulp(self) -> Self {
        self
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> f64 {
        let [x] = padded(x);
        f64::from(x)
    }
    #[inline(always)]
    fn transpose_f32(self, block: [f32; MOST_LANES]) -> [f32; MOST_LANES] {
        block
    }
    #[inline(always)]
    fn transpose_f64(self, block: [f64; MOST_LANES]) -> [f64; MOST_LANES] {
        block
    }
}
