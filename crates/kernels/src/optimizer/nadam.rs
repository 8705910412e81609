//! NAdam: Adam with Nesterov's momentum.

use super::adam::{self, Means};
use super::descent::{Descent, Rule, descend};
use super::moment::Moment;
use super::{Decay, Optimizer, SecondMoment, Step, check_at_least_0, power};
use crate::math::exp;
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// NAdam (Dozat, ICLR 2016 workshop; `torch.optim.NAdam`).
///
/// ```text
/// mu[i] = beta1 * (1 - 0.96^(i * momentum_decay) / 2),   product = mu[1] * ... * mu[t]
/// m, v as in Adam
/// direction = ((1 - mu[t]) / (1 - product) * g + mu[t + 1] / (1 - product * mu[t + 1]) * m)
///             / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
/// ```
///
/// Each step computes the product again, up to the first term at which `1 - product` rounds to 1:
/// a run has no product to save.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct NAdam {
    /// Coefficient of the running mean of the gradient: in `[0, 1)`.
    pub beta1: f64,
    /// Coefficient of the running mean of its square: in `[0, 1)`.
    pub beta2: f64,
    /// Added to the divisor, so that the quotient is finite: at least 0.
    pub epsilon: f64,
    /// Rate at which the momentum grows from half of `beta1` to `beta1`: at least 0.
    pub momentum_decay: f64,
    /// Regularisation.
    pub decay: Decay,
}

impl Default for NAdam {
    /// PyTorch's: betas 0.9 and 0.999, epsilon 1e-8, momentum decay 4e-3. Its learning rate is
    /// 2e-3.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, momentum_decay: 4e-3, decay: Decay::NONE }
    }
}

/// ln 0.96.
const LN_0_96: f64 = -0.040_821_994_520_255_166;

impl NAdam {
    /// Coefficients of `g` and `m` in the direction of step `t`.
    fn coefficients(&self, cpu: Cpu<'_>, t: u64) -> [f64; 2] {
        let mut base = [0.0];
        // Both slices have one element: `exp` returns no error.
        _ = exp(cpu, &[self.momentum_decay * LN_0_96], &mut base);
        let [base] = base;
        let mu = |i| self.beta1 * (1.0 - 0.5 * power(base, i));
        let (mut product, mut base_power) = (1.0, 1.0);
        for _ in 0..t {
            base_power *= base;
            product *= self.beta1 * (1.0 - 0.5 * base_power);
            // From here on, 1 - product rounds to 1.
            if product < f64::EPSILON / 8.0 {
                break;
            }
        }
        let (now, next) = (mu(t), mu(t.saturating_add(1)));
        [(1.0 - now) / (1.0 - product), next / (1.0 - product * next)]
    }
}

impl Optimizer for NAdam {
    fn check(&self) -> Result<(), Error> {
        adam::check([self.beta1, self.beta2], self.epsilon, self.decay)?;
        check_at_least_0("momentum_decay", self.momentum_decay)
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
        let descent = Descent::new(&step, self.decay, step.lr);
        let unbias = adam::unbias(cpu, self.beta2, step.t);
        let means = Means::new([self.beta1, self.beta2], unbias, self.epsilon);
        let [of_g, of_m] = self.coefficients(cpu, step.t).map(T::from_f64);
        let rule = Nesterov { means, of_g, of_m };
        descend(cpu, rule, descent, &step, self.moments(), params, grads, moments)
    }
}

#[derive(Clone, Copy)]
struct Nesterov<T> {
    means: Means<T>,
    /// Coefficient of the gradient.
    of_g: T,
    /// Coefficient of its running mean.
    of_m: T,
}

impl<T: Float> Rule<T, 2> for Nesterov<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, moments: [T::V<S>; 2]) -> (T::V<S>, [T::V<S>; 2]) {
        let (m, v) = self.means.update(s, g, moments);
        let ahead = T::mul_add(s, T::splat(s, self.of_g), g, T::mul(s, T::splat(s, self.of_m), m));
        (self.means.divide(s, ahead, v), [m, v.value])
    }
}
