//! Element types of the products.

use half::bf16;

/// f32 or bf16.
pub trait Element: Copy + 'static {
    /// Name on the command line.
    const NAME: &'static str;
    /// Maximum relative error of rounding to this type; 0 if it is below the error of the sums.
    const ROUNDOFF: f64;
    /// `x`, rounded to nearest.
    fn from_f32(x: f32) -> Self;
    /// The exact value.
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
