//! AdaMax: Adam with the greatest gradient, fading, in place of the mean square.

use super::descent::{Descent, Rule, descend};
use super::moment::{Moment, Square, mean};
use super::{Decay, Optimizer, Step, check_at_least_0, check_beta, power};
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
/// With an epsilon of 0, an element without a gradient so far stays as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct AdaMax {
    /// How much of the mean of the gradient stays: in `[0, 1)`.
    pub beta1: f64,
    /// How much of the greatest gradient stays: in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the quotient finite: at least 0.
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
        check_beta("beta1", self.beta1)?;
        check_beta("beta2", self.beta2)?;
        check_at_least_0("epsilon", self.epsilon)?;
        self.decay.check()
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
        let descent = Descent::new(&step, self.decay, step.lr / (1.0 - power(self.beta1, step.t)));
        let [new1, beta2, epsilon] = [1.0 - self.beta1, self.beta2, self.epsilon].map(T::from_f64);
        let rule = Fading { new1, beta2, epsilon };
        descend(cpu, rule, descent, &step, self.moments(), params, grads, moments)
    }
}

#[derive(Clone, Copy)]
struct Fading<T> {
    /// 1 - beta1.
    new1: T,
    beta2: T,
    epsilon: T,
}

impl<T: Float> Rule<T, 2> for Fading<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, [m, u]: [T::V<S>; 2]) -> (T::V<S>, [T::V<S>; 2]) {
        let m = mean::<S, T>(s, self.new1, m, g);
        let old = T::mul(s, T::splat(s, self.beta2), u);
        let new = T::add(s, T::abs::<S>(g), T::splat(s, self.epsilon));
        // A NaN is neither less nor equal; once one, `m` stays one, whatever becomes of `u`.
        let u = T::select(s, T::less_or_equal(s, new, old), old, new);
        (Square::<S, T>::stored(s, u).unless_zero(s, T::div(s, m, u)), [m, u])
    }
}
