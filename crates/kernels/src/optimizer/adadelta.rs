//! AdaDelta: steps in the units of the parameters, from the running mean square of past steps.

use super::descent::{Descent, Rule, descend};
use super::moment::{Moment, Square};
use super::{Decay, Optimizer, SecondMoment, Step, check_at_least_0, check_beta};
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// AdaDelta (Zeiler, 2012; `torch.optim.Adadelta`).
///
/// ```text
/// v = rho * v + (1 - rho) * g * g
/// direction = sqrt(u + epsilon) / sqrt(v + epsilon) * g
/// u = rho * u + (1 - rho) * direction * direction
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct AdaDelta {
    /// Coefficient of both running means: in `[0, 1)`.
    pub rho: f64,
    /// Added to both mean squares; above 0, the first step is not 0: at least 0.
    pub epsilon: f64,
    /// Regularisation.
    pub decay: Decay,
}

impl Default for AdaDelta {
    /// PyTorch's: rho 0.9, epsilon 1e-6. Its learning rate is 1.
    fn default() -> Self {
        Self { rho: 0.9, epsilon: 1e-6, decay: Decay::NONE }
    }
}

impl Optimizer for AdaDelta {
    fn check(&self) -> Result<(), Error> {
        check_beta("rho", self.rho)?;
        check_at_least_0("epsilon", self.epsilon)?;
        self.decay.check()
    }

    fn moments(&self) -> &'static [&'static str] {
        &["square_avg", "acc_delta"]
    }

    fn second_moment(&self) -> Option<SecondMoment> {
        Some(SecondMoment::mean(0, self.rho, self.decay))
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
        let [rho, new, epsilon] = [self.rho, 1.0 - self.rho, self.epsilon].map(T::from_f64);
        let rule = Delta { mean: [rho, new], epsilon };
        descend(cpu, rule, descent, &step, self.moments(), params, grads, moments)
    }
}

#[derive(Clone, Copy)]
struct Delta<T> {
    /// rho and 1 - rho.
    mean: [T; 2],
    epsilon: T,
}

impl<T: Float> Rule<T, 2> for Delta<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, [v, u]: [T::V<S>; 2]) -> (T::V<S>, [T::V<S>; 2]) {
        let epsilon = T::splat(s, self.epsilon);
        let v = Square::<S, T>::mean(s, self.mean, v, g);
        let before = T::sqrt(s, T::add(s, u, epsilon));
        let size = T::sqrt(s, T::add(s, v.value, epsilon));
        let direction = v.unless_zero(s, T::mul(s, T::div(s, before, size), g));
        (direction, [v.value, Square::<S, T>::mean(s, self.mean, u, direction).value])
    }
}
