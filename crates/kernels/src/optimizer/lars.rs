//! LARS: SGD with steps in proportion to the norm of each tensor.

use super::moment::Moment;
use super::trust::{norms, ratio};
use super::{Decay, Optimizer, Sgd, Step, check_at_least_0};
use crate::simd::Float;
use crate::{Cpu, Element, Error};

/// LARS (You, Gitman, Ginsburg, "Large batch training of convolutional networks", 2017, in the form
/// of timm's `Lars`). The operands of one step are one tensor.
///
/// ```text
/// trust = coefficient * |p| / (|scale * grads| + l2 * |p| + epsilon)
///                                                1 where |p| or |grads| is 0
/// v = momentum * v + trust * g
/// direction = trust * g + momentum * v with Nesterov's momentum, else v
/// ```
///
/// Two passes. The first takes the norms of parameters and gradient, in f64: chunks of 16384
/// elements in 32 lanes, folded in halves, the chunks added in ascending order. The second is the
/// step of [`Sgd`]. Squares of f64 beyond 2^±1022 overflow or underflow.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Lars {
    /// Momentum and regularisation.
    pub sgd: Sgd,
    /// Length of a tensor's step at a learning rate of 1, as a share of its norm: at least 0.
    pub coefficient: f64,
    /// Added to the divisor, so that the quotient is finite: at least 0.
    pub epsilon: f64,
}

impl Default for Lars {
    /// The paper's: momentum 0.9, coefficient 1e-3; epsilon 1e-8, as in timm.
    fn default() -> Self {
        Self { sgd: Sgd { momentum: 0.9, ..Sgd::default() }, coefficient: 1e-3, epsilon: 1e-8 }
    }
}

impl Optimizer for Lars {
    fn check(&self) -> Result<(), Error> {
        self.sgd.check()?;
        check_at_least_0("coefficient", self.coefficient)?;
        check_at_least_0("epsilon", self.epsilon)
    }

    fn moments(&self) -> &'static [&'static str] {
        self.sgd.moments()
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
        let Decay { l2, .. } = self.sgd.decay;
        let [p, g] = norms(cpu, params, grads);
        let g = step.scale.abs() * g;
        let trust = ratio(self.coefficient * p, g, g + l2 * p + self.epsilon);
        self.sgd.descend(cpu, &step, trust, params, grads, moments)
    }
}
