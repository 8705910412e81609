//! NEON: four lanes of f32.

use super::MOST_LANES;
use super::plain::padded;
use super::token::{F32s, F64s, Token, zips};

impl Token for pulp::aarch64::Neon {
    type Pulp = Self;
    #[inline(always)]
    fn pulp(self) -> Self {
        self
    }
    #[inline(always)]
    fn widen(self, x: &[f32]) -> F64s<Self> {
        let [a, b] = padded(x);
        pulp::cast([f64::from(a), f64::from(b)])
    }
    #[inline(always)]
    fn transpose_f32(self, block: [F32s<Self>; MOST_LANES]) -> [F32s<Self>; MOST_LANES] {
        zips!(block, 4, |a, b| { [self.neon.vzip1q_f32(a, b), self.neon.vzip2q_f32(a, b)] })
    }
    #[inline(always)]
    fn transpose_f64(self, block: [F64s<Self>; MOST_LANES]) -> [F64s<Self>; MOST_LANES] {
        zips!(block, 2, |a, b| { [self.neon.vzip1q_f64(a, b), self.neon.vzip2q_f64(a, b)] })
    }
}
