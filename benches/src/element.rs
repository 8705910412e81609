//! The types whose matrices are multiplied.

use half::bf16;

/// f32 or bf16.
pub trait Element: Copy + 'static {
    /// Its name on the command line.
    const NAME: &'static str;
    /// The most by which rounding to this type changes a number, as a part of it; 0 where it is below what the sums lose.
    const ROUNDOFF: f64;
    /// `x`, rounded to nearest.
    fn from_f32(x: f32) -> Self;
    /// This value, exactly.
    fn to_f64(self) -> f64;
}

impl Element for f32 {
    const NAME: &'static str = "f32";
    const ROUNDOFF: f64 = 0.0;
    fn from_f32(x: f32) -> Self {
        x
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Element for bf16 {
    const NAME: &'static str = "bf16";
    /// Eight bits of significand.
    const ROUNDOFF: f64 = 1.0 / 256.0;
    fn from_f32(x: f32) -> Self {
        Self::from_f32(x)
    }
    fn to_f64(self) -> f64 {
        self.to_f64()
    }
}
