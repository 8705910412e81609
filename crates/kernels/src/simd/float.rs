//! f32 and f64, with everything that kernels require of their elements.

use core::ops::{AddAssign, DivAssign, MulAssign, Neg, SubAssign};

use super::Lanes;
use crate::activation::Normal;
use crate::convolution::packing::Rounds;
use crate::element::Element;
use crate::gemm::output::OutputType;
use crate::math::{erf::Erf, exp::Exp, ln::Ln, sin_pi::SinPi, softplus::Softplus};
use crate::optimizer::Moment;
use crate::random::Draw;

/// Element type of the kernels: `f32` or `f64`.
///
/// Arithmetic on single values is by assignment (`x += y`): `T::add` and the like are operations on
/// registers.
pub trait Float:
    Lanes
    + Element<Float = Self>
    + Moment
    + Rounds
    + OutputType<Self>
    + Exp
    + Ln
    + SinPi
    + Erf
    + Normal
    + Softplus
    + Draw
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Neg<Output = Self>
{
    /// +0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Positive infinity.
    const INFINITY: Self;
    /// A quiet NaN.
    const NAN: Self;
    /// Smallest positive normal number.
    const MIN_POSITIVE: Self;
    /// Moments of optimizers below this magnitude are set to 0: 2^26 times the smallest normal
    /// number.
    const SETTLED: Self;
    /// Rounds `x` to nearest, ties to even.
    fn from_f64(x: f64) -> Self;
    /// Converts exactly.
    fn to_f64(self) -> f64;
    /// Converts `x`, exactly.
    fn from_u8(x: u8) -> Self;
}

macro_rules! float {
    ($float:ident) => {
        impl Float for $float {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const INFINITY: Self = $float::INFINITY;
            const NAN: Self = $float::NAN;
            const MIN_POSITIVE: Self = $float::MIN_POSITIVE;
            const SETTLED: Self = (1 << 26) as $float * $float::MIN_POSITIVE;
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as Self
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn from_u8(x: u8) -> Self {
                Self::from(x)
            }
        }
    };
}
float!(f32);
float!(f64);
