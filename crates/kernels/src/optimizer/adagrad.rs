//! AdaGrad: steps divided by the root of the sum of all squared gradients, element by element.

use super::descent::{Descent, Rule, descend};
use super::moment::{Moment, Square};
use super::{Decay, Optimizer, SecondMoment, Step, check_at_least_0};
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// AdaGrad (Duchi, Hazan, Singer, JMLR 2011; `torch.optim.Adagrad`).
///
/// ```text
/// sum = sum + g * g
/// direction = g / (sqrt(sum) + epsilon)
/// rate = lr / (1 + (t - 1) * lr_decay)
/// ```
///
/// The caller may start the sum above 0: PyTorch's `initial_accumulator_value`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct AdaGrad {
    /// Decay of the learning rate per step: at least 0.
    pub lr_decay: f64,
    /// Added to the divisor, so that the quotient is finite: at least 0.
    pub epsilon: f64,
    /// Regularisation.
    pub decay: Decay,
}

impl Default for AdaGrad {
    /// PyTorch's: no decay of the rate, epsilon 1e-10. Its learning rate is 1e-2.
    fn default() -> Self {
        Self { lr_decay: 0.0, epsilon: 1e-10, decay: Decay::NONE }
    }
}

impl Optimizer for AdaGrad {
    fn check(&self) -> Result<(), Error> {
        check_at_least_0("lr_decay", self.lr_decay)?;
        check_at_least_0("epsilon", self.epsilon)?;
        self.decay.check()
    }

    fn moments(&self) -> &'static [&'static str] {
        &["sum"]
    }

    fn second_moment(&self) -> Option<SecondMoment> {
        Some(SecondMoment { index: 0, coefficients: [1.0, 1.0], decay: self.decay })
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
        let rate = step.lr / (1.0 + (step.t - 1) as f64 * self.lr_decay);
        let descent = Descent::new(&step, self.decay, rate);
        let rule = Sum { epsilon: T::from_f64(self.epsilon) };
        descend(cpu, rule, descent, &step, self.moments(), params, grads, moments)
    }
}

#[derive(Clone, Copy)]
struct Sum<T> {
    epsilon: T,
}

impl<T: Float> Rule<T, 1> for Sum<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, [sum]: [T::V<S>; 1]) -> (T::V<S>, [T::V<S>; 1]) {
        let sum = Square::<S, T>::settle(s, T::mul_add(s, g, g, sum));
        let size = T::add(s, T::sqrt(s, sum.value), T::splat(s, self.epsilon));
        (sum.unless_zero(s, T::div(s, g, size)), [sum.value])
    }
}
