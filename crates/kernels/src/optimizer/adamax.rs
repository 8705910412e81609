//! AdaMax: Adam with the decaying maximum of the gradient in place of the mean square.

use super::adam;
use super::descent::{Descent, Rule, descend};
use super::moment::{Moment, Square, mean};
use super::{Decay, Optimizer, Step};
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// AdaMax (Kingma, Ba, ICLR 2015, section 7.1; `torch.optim.Adamax`).
///
/// ```text
/// m = m + (1 - beta1) * (g - m)
/// u = max(beta2 * u, |g| + epsilon)
/// direction = m / u
/// rate = lr / (1 - beta1^t)
/// ```
///
/// With an epsilon of 0, an element whose gradients have all been 0 does not change.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct AdaMax {
    /// Coefficient of the running mean of the gradient: in `[0, 1)`.
    pub beta1: f64,
    /// Coefficient of the decaying maximum of the gradient: in `[0, 1)`.
    pub beta2: f64,
    /// Added to the gradient's size, so that the quotient is finite: at least 0.
    pub epsilon: f64,
    /// Regularisation.
    pub decay: Decay,
}

impl Default for AdaMax {
    /// PyTorch's: betas 0.9 and 0.999, epsilon 1e-8. Its learning rate is 2e-3.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: Decay::NONE }
    }
}

impl Optimizer for AdaMax {
    fn check(&self) -> Result<(), Error> {
        adam::check([self.beta1, self.beta2], self.epsilon, self.decay)
    }

    fn moments(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_inf"]
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
        let descent = Descent::new(&step, self.decay, step.unbiased_lr(self.beta1));
        let [new1, beta2, epsilon] = [1.0 - self.beta1, self.beta2, self.epsilon].map(T::from_f64);
        let rule = DecayingMax { new1, beta2, epsilon };
        descend(cpu, rule, descent, &step, self.moments(), params, grads, moments)
    }
}

#[derive(Clone, Copy)]
struct DecayingMax<T> {
    /// 1 - beta1.
    new1: T,
    beta2: T,
    epsilon: T,
}

impl<T: Float> Rule<T, 2> for DecayingMax<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, [m, u]: [T::V<S>; 2]) -> (T::V<S>, [T::V<S>; 2]) {
        let m = mean::<S, T>(s, self.new1, m, g);
        let old = T::mul(s, T::splat(s, self.beta2), u);
        let new = T::add(s, T::abs::<S>(g), T::splat(s, self.epsilon));
        // A NaN is neither less nor equal. A NaN in `m` stays there, whatever `u` becomes.
        let u = T::select(s, T::less_or_equal(s, new, old), old, new);
        (Square::<S, T>::stored(s, u).unless_zero(s, T::div(s, m, u)), [m, u])
    }
}
