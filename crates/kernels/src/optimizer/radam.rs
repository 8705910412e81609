//! RAdam: Adam that divides only once it has enough steps to estimate the variance.

use super::adam::{self, Means};
use super::descent::{Descent, Rule, descend};
use super::moment::Moment;
use super::{Decay, Optimizer, SecondMoment, Step, power};
use crate::math::sqrt;
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// RAdam (Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020;
/// `torch.optim.RAdam`).
///
/// ```text
/// m, v as in Adam
/// limit = 2 / (1 - beta2) - 1,   length = limit - 2 t beta2^t / (1 - beta2^t)
/// length > 5:   direction = m / (sqrt(v) + epsilon)
///               rate = lr / (1 - beta1^t) * sqrt(1 - beta2^t) * rectification
///               rectification^2 =
///                   (length - 4) (length - 2) limit / ((limit - 4) (limit - 2) length)
/// else:         direction = m,   rate = lr / (1 - beta1^t)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct RAdam {
    /// Coefficient of the running mean of the gradient: in `[0, 1)`.
    pub beta1: f64,
    /// Coefficient of the running mean of its square: in `[0, 1)`.
    pub beta2: f64,
    /// Added to the divisor, so that the quotient is finite: at least 0.
    pub epsilon: f64,
    /// Regularisation.
    pub decay: Decay,
}

impl Default for RAdam {
    /// PyTorch's: betas 0.9 and 0.999, epsilon 1e-8. Its learning rate is 1e-3.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: Decay::NONE }
    }
}

impl RAdam {
    /// Multiplier of the rate, `sqrt(1 - beta2^t) * rectification`, once the length is above 5;
    /// `None` before.
    fn rectification(&self, cpu: Cpu<'_>, t: u64) -> Option<f64> {
        let power = power(self.beta2, t);
        let limit = 2.0 / (1.0 - self.beta2) - 1.0;
        let length = limit - 2.0 * t as f64 * power / (1.0 - power);
        let square =
            (length - 4.0) * (length - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * length);
        (length > 5.0).then(|| sqrt(cpu, square) * sqrt(cpu, 1.0 - power))
    }
}

impl Optimizer for RAdam {
    fn check(&self) -> Result<(), Error> {
        adam::check([self.beta1, self.beta2], self.epsilon, self.decay)
    }

    fn moments(&self) -> &'static [&'static str] {
        adam::MOMENTS
    }

    fn second_moment(&self) -> Option<SecondMoment> {
        Some(SecondMoment::mean(1, self.beta2, self.decay))
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
        let rectification = self.rectification(cpu, step.t);
        let rate = step.unbiased_lr(self.beta1) * rectification.unwrap_or(1.0);
        let descent = Descent::new(&step, self.decay, rate);
        let means = Means::new([self.beta1, self.beta2], 1.0, self.epsilon);
        let rule = Rectified { means, divides: rectification.is_some() };
        descend(cpu, rule, descent, &step, self.moments(), params, grads, moments)
    }
}

#[derive(Clone, Copy)]
struct Rectified<T> {
    means: Means<T>,
    divides: bool,
}

impl<T: Float> Rule<T, 2> for Rectified<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, moments: [T::V<S>; 2]) -> (T::V<S>, [T::V<S>; 2]) {
        let (m, v) = self.means.update(s, g, moments);
        (if self.divides { self.means.divide(s, m, v) } else { m }, [m, v.value])
    }
}
