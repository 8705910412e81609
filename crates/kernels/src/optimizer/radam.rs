//! RAdam: Adam that waits with dividing until the variance is known well enough.

use super::adam::{MeanAndSquare, Size};
use super::descent::{Descent, Rule, descend};
use super::moment::Moment;
use super::{Decay, Optimizer, SecondMoment, Step, check_at_least_0, check_beta, power};
use crate::math::sqrt;
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// RAdam (Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020; `torch.optim.RAdam`).
///
/// ```text
/// m, v as in Adam
/// limit = 2 / (1 - beta2) - 1,   length = limit - 2 t beta2^t / (1 - beta2^t)
/// length > 5:   direction = m / (sqrt(v) + epsilon)
///               rate = lr / (1 - beta1^t) * sqrt(1 - beta2^t) * rectification
///               rectification^2 = (length - 4) (length - 2) limit / ((limit - 4) (limit - 2) length)
/// else:         direction = m,   rate = lr / (1 - beta1^t)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct RAdam {
    /// How much of the mean of the gradient stays: in `[0, 1)`.
    pub beta1: f64,
    /// How much of the mean of its square stays: in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the quotient finite: at least 0.
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
    /// What the rate is multiplied by once the length is above 5; `None` before.
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
        check_beta("beta1", self.beta1)?;
        check_beta("beta2", self.beta2)?;
        check_at_least_0("epsilon", self.epsilon)?;
        self.decay.check()
    }

    fn moments(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn second_moment(&self) -> Option<SecondMoment> {
        Some(SecondMoment { index: 1, factors: [self.beta2, 1.0 - self.beta2], decay: self.decay })
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
        let rate = step.lr / (1.0 - power(self.beta1, step.t)) * rectification.unwrap_or(1.0);
        let descent = Descent::new(&step, self.decay, rate);
        let rule = Rectified {
            means: MeanAndSquare::new(self.beta1, self.beta2),
            size: Size { unbias: T::ONE, epsilon: T::from_f64(self.epsilon) },
            divides: rectification.is_some(),
        };
        descend(cpu, rule, descent, &step, self.moments(), params, grads, moments)
    }
}

#[derive(Clone, Copy)]
struct Rectified<T> {
    means: MeanAndSquare<T>,
    size: Size<T>,
    divides: bool,
}

impl<T: Float> Rule<T, 2> for Rectified<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, moments: [T::V<S>; 2]) -> (T::V<S>, [T::V<S>; 2]) {
        let (m, v) = self.means.update(s, g, moments);
        (if self.divides { self.size.divide(s, m, v) } else { m }, [m, v.value])
    }
}
