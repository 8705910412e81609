//! Normalisation: the elements of each group get mean 0 and standard deviation 1, then a trained
//! scale gamma and shift beta.
//!
//! ```text
//! y  = (x - mean) * rstd * gamma + beta          rstd = 1 / sqrt(variance + epsilon)
//! dx = rstd * (g - mean of g - xhat * mean of (g * xhat))
//!      g = dy * gamma,  xhat = (x - mean) * rstd
//! dgamma = sum of dy * xhat;  dbeta = sum of dy
//! ```
//!
//! The modules differ in the groups: a channel of the whole batch ([`batch`]), a row ([`layer`];
//! [`rms`], which does not subtract the mean), some channels of one image ([`group`]). Images are
//! channels-last, `[batch * height * width, channels]`, so that batch norm of images is batch norm
//! of rows.
//!
//! **Variance.** Sums are taken of differences from a shift that lies among the data, and the
//! result is then corrected for the difference between shift and mean. So a mean far greater than
//! the deviation costs no digits. Means and `rstd` are saved in f64 for the same reason: an f32 of
//! 10^6 has no digits for the part that a deviation of 0.01 makes visible. The orders of the sums
//! are those of `columns` (down the rows, for batch and group norm) and `rows` (along a row).
//!
//! Differences and their squares must stay within the range of T: deviations up to 2^50 (f32)
//! always do. A NaN or an infinity makes its whole group NaN, and no other. Called by the layers of
//! a network.

pub mod batch;
mod columns;
pub mod group;
pub mod layer;
pub mod rms;
mod rows;

use crate::elementwise::Elementwise;
use crate::error::{check_length, check_parameter};
use crate::simd::{Lanes, Simd};
use crate::{Error, Float};

/// Trained scale and shift, one element per channel each. Without gamma nothing is multiplied,
/// without beta nothing added.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, T> {
    /// The scale, `[channels]`.
    pub gamma: Option<&'a [T]>,
    /// The shift, `[channels]`.
    pub beta: Option<&'a [T]>,
}

impl<'a, T: Float> Affine<'a, T> {
    /// Neither scale nor shift.
    pub const NONE: Self = Self { gamma: None, beta: None };

    /// Scale and shift.
    pub const fn new(gamma: &'a [T], beta: &'a [T]) -> Self {
        Self { gamma: Some(gamma), beta: Some(beta) }
    }

    fn check(self, channels: usize) -> Result<(), Error> {
        check_channels("gamma", channels, self.gamma)?;
        check_channels("beta", channels, self.beta)
    }

    /// Scale and shift of channel `j`.
    #[inline(always)]
    fn at(self, j: usize) -> (f64, f64) {
        (
            self.gamma.map_or(1.0, |gamma| gamma[j].to_f64()),
            self.beta.map_or(0.0, |beta| beta[j].to_f64()),
        )
    }
}

/// Gradients of [`Affine`], where requested.
#[derive(Debug, Default)]
pub struct AffineGradient<'a, T> {
    /// The gradient of gamma, `[channels]`.
    pub dgamma: Option<&'a mut [T]>,
    /// The gradient of beta, `[channels]`.
    pub dbeta: Option<&'a mut [T]>,
}

impl<'a, T: Float> AffineGradient<'a, T> {
    /// Neither gradient.
    pub const NONE: Self = Self { dgamma: None, dbeta: None };

    /// Both gradients.
    pub const fn new(dgamma: &'a mut [T], dbeta: &'a mut [T]) -> Self {
        Self { dgamma: Some(dgamma), dbeta: Some(dbeta) }
    }

    fn check(&self, channels: usize) -> Result<(), Error> {
        check_channels("dgamma", channels, self.dgamma.as_deref())?;
        check_channels("dbeta", channels, self.dbeta.as_deref())
    }

    fn is_wanted(&self) -> bool {
        self.dgamma.is_some() || self.dbeta.is_some()
    }

    /// Stores the gradients of channel `j`.
    #[inline(always)]
    fn put(&mut self, j: usize, dgamma: f64, dbeta: f64) {
        if let Some(to) = &mut self.dgamma {
            to[j] = T::from_f64(dgamma);
        }
        if let Some(to) = &mut self.dbeta {
            to[j] = T::from_f64(dbeta);
        }
    }
}

fn check_channels<T>(operand: &'static str, channels: usize, x: Option<&[T]>) -> Result<(), Error> {
    x.map_or(Ok(()), |x| check_length(operand, channels, x.len()))
}

fn check_epsilon(epsilon: f64) -> Result<(), Error> {
    check_parameter("epsilon", epsilon, "finite and at least 0", |x| x >= 0.0)
}

fn check_scratch(expected: usize, got: usize) -> Result<(), Error> {
    if got >= expected { Ok(()) } else { Err(Error::Scratch { expected, got }) }
}

/// Splits a mean into the nearest `T` and the remainder.
#[inline(always)]
fn split_mean<T: Float>(mean: f64) -> (T, f64) {
    let near = T::from_f64(mean);
    (near, mean - near.to_f64())
}

/// `1 / sqrt(variance + epsilon)`, in place.
struct InverseRoot {
    epsilon: f64,
}

impl Elementwise<f64, 0, 1> for InverseRoot {
    #[inline(always)]
    fn apply<S: Simd>(
        &self,
        s: S,
        []: [<f64 as Lanes>::V<S>; 0],
        [variance]: [<f64 as Lanes>::V<S>; 1],
    ) -> [<f64 as Lanes>::V<S>; 1] {
        let sum = <f64 as Lanes>::add(s, variance, <f64 as Lanes>::splat(s, self.epsilon));
        [<f64 as Lanes>::div(s, <f64 as Lanes>::splat(s, 1.0), <f64 as Lanes>::sqrt(s, sum))]
    }
}

/// `variance`, or 0 where rounding left it just below 0; NaN stays.
#[inline(always)]
fn at_least_zero(variance: f64) -> f64 {
    if variance < 0.0 { 0.0 } else { variance }
}
