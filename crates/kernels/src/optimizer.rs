//! Optimizer steps, each one pass over parameters, gradient and moments.
//!
//! An optimizer is a small struct of hyper-parameters. A [`Step`] holds the values that change from
//! step to step, such as the learning rate. The caller lends the moments, one slice each, zero
//! before the first step.
//!
//! ```
//! use kernels::Cpu;
//! use kernels::optimizer::{Adam, Optimizer, Step};
//! let (mut params, mut m, mut v) = ([1.0_f32, 2.0], [0.0_f32; 2], [0.0; 2]);
//! // The first step, with a learning rate of 0.001; the gradient is halved.
//! let step = Step { scale: 0.5, ..Step::new(1, 1e-3) };
//! let grads = [123.0_f32, 0.0];
//! Adam::default().step(Cpu::detect(), step, &mut params, &grads, &mut [&mut m, &mut v])?;
//! // The first step of Adam is as long as the learning rate, whatever the gradient.
//! assert!((params[0] - 0.999).abs() < 1e-6 && params[1] == 2.0);
//! # Ok::<(), kernels::Error>(())
//! ```
//!
//! ```text
//! g = scale * g + l2 * p + l1 * sign(p)
//! direction, moments = rule(g, moments)          the optimizer's
//! p = (1 - lr * decoupled) * p - rate * direction
//!
//! lr, scale: of `Step`;   l1, l2, decoupled: of `Decay`;   rate: lr, or lr with bias correction
//! ```
//!
//! Formulas and defaults are PyTorch's where it has the optimizer, else the paper's.
//!
//! **Bits.** The elements are independent: chunks and threads change no bit. [`Lars`] and [`Lamb`]
//! also take norms, in a fixed order. Coefficients that all elements share are computed in f64 and
//! rounded once. Each product that is added to something is one fused multiply-add. A NaN or an
//! infinity in an element's gradient or moments affects that element alone.
//!
//! **Small moments.** A moment below 2^-100 (f32) or 2^-996 (f64) in size becomes 0; a second
//! moment, the mean or sum of squares, below 2^-126 (f32) or 2^-1022 (f64). The max of [`AdaMax`]
//! fades without a threshold. Where a second moment is 0, it divides nothing: the direction is 0.
//!
//! **Large gradients.** A second moment that overflows would stop its element for good.
//! [`SecondMoment`] finds that before a step.
//!
//! Called by the optimizers of a network.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod decay;
mod descent;
mod lamb;
mod lars;
mod lion;
mod moment;
mod muon;
mod nadam;
mod radam;
mod rmsprop;
mod second_moment;
mod sgd;
mod trust;

use crate::error::check_parameter;
use crate::random::Stream;
use crate::simd::Float;
use crate::{Cpu, Element, Error};

pub use adadelta::AdaDelta;
pub use adagrad::AdaGrad;
pub use adam::Adam;
pub use adamax::AdaMax;
pub use decay::Decay;
pub use lamb::Lamb;
pub use lars::Lars;
pub use lion::Lion;
pub use moment::Moment;
pub use muon::{Muon, NewtonSchulz, orthogonalise, orthogonalise_scratch};
pub use nadam::NAdam;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use second_moment::{GradientBound, SecondMoment};
pub use sgd::Sgd;

/// The values that change from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Number of the step, counted from 1.
    pub t: u64,
    /// Learning rate: at least 0.
    pub lr: f64,
    /// Multiplier of the gradient: the scale of clipping, or 1.
    pub scale: f64,
    /// Stream of the random bits that round moments in bf16. Moments in f32 and f64 use none.
    pub rounding: Stream,
}

impl Step {
    /// Step number `t`, counted from 1, with learning rate `lr` and an unscaled gradient.
    pub const fn new(t: u64, lr: f64) -> Self {
        Self { t, lr, scale: 1.0, rounding: Stream::new(0, 0) }
    }

    /// Learning rate with the bias correction of a running mean from zero: `lr / (1 - beta^t)`.
    fn unbiased_lr(&self, beta: f64) -> f64 {
        self.lr / (1.0 - power(beta, self.t))
    }

    /// # Errors
    /// [`Error::Parameter`] for the first value that is out of range.
    fn check(&self) -> Result<(), Error> {
        check_parameter("t", self.t as f64, "at least 1", |t| t >= 1.0)?;
        check_parameter("lr", self.lr, "finite and at least 0", |x| x >= 0.0)?;
        check_parameter("scale", self.scale, "finite", |_| true)
    }
}

/// Maximum number of moments of an optimizer.
pub const MOST_MOMENTS: usize = 3;

/// An optimizer: its hyper-parameters, its moments and its step.
pub trait Optimizer: Copy {
    /// Checks that all hyper-parameters are in range.
    ///
    /// # Errors
    /// [`Error::Parameter`] for the first that is not.
    fn check(&self) -> Result<(), Error>;

    /// Names of the moments, at most [`MOST_MOMENTS`]: PyTorch's where it has them.
    fn moments(&self) -> &'static [&'static str];

    /// The moment that is a mean or a sum of squares; `None` if there is none.
    fn second_moment(&self) -> Option<SecondMoment> {
        None
    }

    /// Updates `params` and `moments` by one step along the gradient `grads`.
    ///
    /// `params`, `grads` and each of `moments` have one length. The moments come in the order of
    /// [`moments`](Self::moments) and are zero before the first step. With parameters of f32,
    /// gradients and moments may be bf16; such moments are rounded at random (see [`Moment`]).
    ///
    /// # Errors
    /// [`Error::Parameter`] if [`check`](Self::check) fails or `step` is out of range,
    /// [`Error::Length`] if the lengths or the number of moments do not fit. Nothing is written
    /// then.
    fn step<T: Float, G: Element<Float = T>, M: Moment<Float = T>>(
        &self,
        cpu: Cpu<'_>,
        step: Step,
        params: &mut [T],
        grads: &[G],
        moments: &mut [&mut [M]],
    ) -> Result<(), Error>;
}

/// Defines [`AnyOptimizer`] from the list of all optimizers.
macro_rules! any_of {
    ($($name:ident)*) => {
        /// Any of the optimizers, chosen at run time.
        ///
        /// [`Muon`] is not among them: its step needs the shape of a matrix.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum AnyOptimizer {
            $(#[doc = concat!("[`", stringify!($name), "`].")] $name($name),)*
        }

        $(impl From<$name> for AnyOptimizer {
            fn from(optimizer: $name) -> Self {
                Self::$name(optimizer)
            }
        })*

        impl Optimizer for AnyOptimizer {
            fn check(&self) -> Result<(), Error> {
                match self { $(Self::$name(optimizer) => optimizer.check(),)* }
            }

            fn moments(&self) -> &'static [&'static str] {
                match self { $(Self::$name(optimizer) => optimizer.moments(),)* }
            }

            fn second_moment(&self) -> Option<SecondMoment> {
                match self { $(Self::$name(optimizer) => optimizer.second_moment(),)* }
            }

            #[inline(never)]
            fn step<T: Float, G: Element<Float = T>, M: Moment<Float = T>>(
                &self,
                cpu: Cpu<'_>,
                step: Step,
                params: &mut [T],
                grads: &[G],
                moments: &mut [&mut [M]],
            ) -> Result<(), Error> {
                match self {
                    $(Self::$name(optimizer) => {
                        optimizer.step(cpu, step, params, grads, moments)
                    })*
                }
            }
        }
    };
}
any_of!(Sgd AdaGrad RmsProp AdaDelta Adam NAdam RAdam AdaMax Lion Lars Lamb);

/// Checks that `beta`, the coefficient of a running mean, is in `[0, 1)`.
fn check_beta(name: &'static str, beta: f64) -> Result<(), Error> {
    check_parameter(name, beta, "in [0, 1)", |x| (0.0..1.0).contains(&x))
}

/// Checks that `x` is finite and at least 0.
fn check_at_least_0(name: &'static str, x: f64) -> Result<(), Error> {
    check_parameter(name, x, "finite and at least 0", |x| x >= 0.0)
}

/// `base^exponent` by repeated squaring: std's `powi` may differ between targets.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent % 2 == 1 {
            result *= base;
        }
        base *= base;
        exponent /= 2;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_right_for_any_step_number() {
        assert_eq!(power(0.9, 0), 1.0);
        assert_eq!(power(0.5, 10), 1.0 / 1024.0);
        assert_eq!(power(0.0, 3), 0.0);
        assert_eq!(power(0.999, u64::MAX), 0.0);
        let product = (0..1000).fold(1.0, |p, _| p * 0.999);
        assert!((power(0.999, 1000) / product - 1.0).abs() < 1e-13);
    }
}
