//! RMSprop: steps divided by the root of the running mean square of the gradient, or by its
//! standard deviation.

use super::descent::{Descent, Rule, descend};
use super::moment::{Moment, Square, mean, settle};
use super::{Decay, Optimizer, SecondMoment, Step, check_at_least_0, check_beta};
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// RMSprop (Hinton, lecture 6 of "Neural networks for machine learning", 2012; centred: Graves,
/// 2013; `torch.optim.RMSprop`).
///
/// ```text
/// v = alpha * v + (1 - alpha) * g * g
/// m = m + (1 - alpha) * (g - m)                    only if centred
/// size = sqrt(max(v - m * m, 0) if centred, else v) + epsilon
/// b = momentum * b + g / size                      only with momentum
/// direction = b, or g / size without momentum
/// ```
///
/// Rounding can take `v - m * m` below 0; the `max` avoids the root of a negative number.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct RmsProp {
    /// Coefficient of the running means: in `[0, 1)`.
    pub alpha: f64,
    /// Added to the divisor, so that the quotient is finite: at least 0.
    pub epsilon: f64,
    /// Coefficient of the velocity: in `[0, 1)`.
    pub momentum: f64,
    /// Divides by the standard deviation instead of the root mean square.
    pub centred: bool,
    /// Regularisation.
    pub decay: Decay,
}

impl Default for RmsProp {
    /// PyTorch's: alpha 0.99, epsilon 1e-8, no momentum, not centred. Its learning rate is 1e-2.
    fn default() -> Self {
        Self { alpha: 0.99, epsilon: 1e-8, momentum: 0.0, centred: false, decay: Decay::NONE }
    }
}

impl Optimizer for RmsProp {
    fn check(&self) -> Result<(), Error> {
        check_beta("alpha", self.alpha)?;
        check_at_least_0("epsilon", self.epsilon)?;
        check_beta("momentum", self.momentum)?;
        self.decay.check()
    }

    fn moments(&self) -> &'static [&'static str] {
        match (self.momentum == 0.0, self.centred) {
            (true, false) => &["square_avg"],
            (true, true) => &["square_avg", "grad_avg"],
            (false, false) => &["square_avg", "momentum_buffer"],
            (false, true) => &["square_avg", "momentum_buffer", "grad_avg"],
        }
    }

    fn second_moment(&self) -> Option<SecondMoment> {
        Some(SecondMoment::mean(0, self.alpha, self.decay))
    }

    fn step<T: Float, G: Element<Float = T>, M: Moment<Float = T>>(
        &self,
        cpu: Cpu<'_>,
        step: Step,
        params: &mut [T],
        grads: &[G],
        moments: &mut [&mut [M]],
    ) -> Result<(), Error> {
        self.check()?;
        step.check()?;
        let descent = Descent::new(&step, self.decay, step.lr);
        let [alpha, new, epsilon, momentum] =
            [self.alpha, 1.0 - self.alpha, self.epsilon, self.momentum].map(T::from_f64);
        let size = Size { alpha, new, epsilon };
        let names = self.moments();
        match (self.momentum == 0.0, self.centred) {
            (true, false) => descend(cpu, size, descent, &step, names, params, grads, moments),
            (true, true) => {
                descend(cpu, Centred(size), descent, &step, names, params, grads, moments)
            }
            (false, false) => {
                let rule = Momentum { inner: size, momentum };
                descend(cpu, rule, descent, &step, names, params, grads, moments)
            }
            (false, true) => {
                let rule = Momentum { inner: Centred(size), momentum };
                descend(cpu, rule, descent, &step, names, params, grads, moments)
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Size<T> {
    alpha: T,
    /// 1 - alpha.
    new: T,
    epsilon: T,
}

impl<T: Float> Size<T> {
    #[inline(always)]
    fn square<S: Simd>(&self, s: S, v: T::V<S>, g: T::V<S>) -> Square<S, T> {
        Square::mean(s, [self.alpha, self.new], v, g)
    }

    /// `g / (sqrt(square) + epsilon)`, or 0 where `v` is 0. `square` is `v` or the variance.
    #[inline(always)]
    fn divide<S: Simd>(&self, s: S, g: T::V<S>, v: Square<S, T>, square: T::V<S>) -> T::V<S> {
        let size = T::add(s, T::sqrt(s, square), T::splat(s, self.epsilon));
        v.unless_zero(s, T::div(s, g, size))
    }
}

impl<T: Float> Rule<T, 1> for Size<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, [v]: [T::V<S>; 1]) -> (T::V<S>, [T::V<S>; 1]) {
        let v = self.square(s, v, g);
        (self.divide(s, g, v, v.value), [v.value])
    }
}

/// Divides by the standard deviation.
#[derive(Clone, Copy)]
struct Centred<T>(Size<T>);

impl<T: Float> Rule<T, 2> for Centred<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, [v, m]: [T::V<S>; 2]) -> (T::V<S>, [T::V<S>; 2]) {
        let Self(size) = self;
        let v = size.square(s, v, g);
        let m = mean::<S, T>(s, size.new, m, g);
        let zero = T::splat(s, T::ZERO);
        let variance = T::mul_add(s, T::sub(s, zero, m), m, v.value);
        let variance = T::select(s, T::less(s, variance, zero), zero, variance);
        (size.divide(s, g, v, variance), [v.value, m])
    }
}

/// Steps along a velocity, the second moment in the caller's list.
#[derive(Clone, Copy)]
struct Momentum<R, T> {
    inner: R,
    momentum: T,
}

impl<R, T: Float> Momentum<R, T> {
    #[inline(always)]
    fn velocity<S: Simd>(&self, s: S, b: T::V<S>, direction: T::V<S>) -> T::V<S> {
        settle::<S, T>(s, T::mul_add(s, T::splat(s, self.momentum), b, direction))
    }
}

impl<T: Float> Rule<T, 2> for Momentum<Size<T>, T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, [v, b]: [T::V<S>; 2]) -> (T::V<S>, [T::V<S>; 2]) {
        let (direction, [v]) = self.inner.apply(s, g, [v]);
        let b = self.velocity(s, b, direction);
        (b, [v, b])
    }
}

impl<T: Float> Rule<T, 3> for Momentum<Centred<T>, T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, [v, b, m]: [T::V<S>; 3]) -> (T::V<S>, [T::V<S>; 3]) {
        let (direction, [v, m]) = self.inner.apply(s, g, [v, m]);
        let b = self.velocity(s, b, direction);
        (b, [v, b, m])
    }
}
