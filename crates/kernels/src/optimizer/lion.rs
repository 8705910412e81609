//! Lion: steps along the sign of a momentum, equally long for every element.

use super::descent::{Descent, Rule, descend, sign};
use super::moment::{Moment, mean};
use super::{Decay, Optimizer, Step, check_beta};
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// Lion (Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023; optax's
/// `lion`).
///
/// ```text
/// direction = sign(beta1 * m + (1 - beta1) * g)        sign(0) = 0
/// m = m + (1 - beta2) * (g - m)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Lion {
    /// Coefficient of the momentum in the direction: in `[0, 1)`.
    pub beta1: f64,
    /// Coefficient of the momentum, a running mean of the gradient: in `[0, 1)`.
    pub beta2: f64,
    /// Regularisation.
    pub decay: Decay,
}

impl Default for Lion {
    /// The paper's betas, 0.9 and 0.99. It uses learning rates of a third to a tenth of Adam's, and
    /// decoupled decays 3 to 10 times as large.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.99, decay: Decay::NONE }
    }
}

impl Optimizer for Lion {
    fn check(&self) -> Result<(), Error> {
        check_beta("beta1", self.beta1)?;
        check_beta("beta2", self.beta2)?;
        self.decay.check()
    }

    fn moments(&self) -> &'static [&'static str] {
        &["exp_avg"]
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
        let [beta1, new1, new2] = [self.beta1, 1.0 - self.beta1, 1.0 - self.beta2].map(T::from_f64);
        let rule = Sign { beta1, new1, new2 };
        descend(cpu, rule, descent, &step, self.moments(), params, grads, moments)
    }
}

#[derive(Clone, Copy)]
struct Sign<T> {
    beta1: T,
    /// 1 - beta1.
    new1: T,
    /// 1 - beta2.
    new2: T,
}

impl<T: Float> Rule<T, 1> for Sign<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, [m]: [T::V<S>; 1]) -> (T::V<S>, [T::V<S>; 1]) {
        let momentum = T::mul(s, T::splat(s, self.beta1), m);
        let direction = sign::<S, T>(s, T::mul_add(s, T::splat(s, self.new1), g, momentum));
        (direction, [mean::<S, T>(s, self.new2, m, g)])
    }
}
