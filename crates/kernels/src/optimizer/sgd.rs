//! Stochastic gradient descent: plain, with momentum or with Nesterov's momentum.

use super::descent::{Descent, Rule, descend};
use super::moment::{Moment, settle};
use super::{Decay, Optimizer, Step, check_beta};
use crate::error::check_parameter;
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// Stochastic gradient descent (Sutskever, Martens, Dahl, Hinton, ICML 2013, in the form of
/// PyTorch's `torch.optim.SGD`, without its dampening).
///
/// ```text
/// v = momentum * v + g
/// direction = g + momentum * v with Nesterov's momentum, else v
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Sgd {
    /// Coefficient of the velocity: in `[0, 1)`; 0 for plain descent, which has no moments.
    pub momentum: f64,
    /// Nesterov's momentum: steps from the point to which the velocity leads. Needs a momentum.
    pub nesterov: bool,
    /// Regularisation.
    pub decay: Decay,
}

impl Sgd {
    /// Takes a step whose gradient, with its L1 and L2 decay, is multiplied by `trust`.
    pub(super) fn descend<T: Float, G: Element<Float = T>, M: Moment<Float = T>>(
        &self,
        cpu: Cpu<'_>,
        step: &Step,
        trust: f64,
        params: &mut [T],
        grads: &[G],
        moments: &mut [&mut [M]],
    ) -> Result<(), Error> {
        let Decay { l1, l2, decoupled } = self.decay;
        let trusted = Step { scale: trust * step.scale, ..*step };
        let decay = Decay { l1: trust * l1, l2: trust * l2, decoupled };
        let descent = Descent::new(&trusted, decay, step.lr);
        let names = self.moments();
        if self.momentum == 0.0 {
            descend(cpu, Plain, descent, step, names, params, grads, moments)
        } else {
            let rule = Momentum { momentum: T::from_f64(self.momentum), nesterov: self.nesterov };
            descend(cpu, rule, descent, step, names, params, grads, moments)
        }
    }
}

impl Optimizer for Sgd {
    fn check(&self) -> Result<(), Error> {
        check_beta("momentum", self.momentum)?;
        if self.nesterov {
            check_parameter("momentum", self.momentum, "above 0 with nesterov", |x| x > 0.0)?;
        }
        self.decay.check()
    }

    fn moments(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum_buffer"] }
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
        self.descend(cpu, &step, 1.0, params, grads, moments)
    }
}

#[derive(Clone, Copy)]
struct Plain;

impl<T: Float> Rule<T, 0> for Plain {
    #[inline(always)]
    fn apply<S: Simd>(&self, _: S, g: T::V<S>, []: [T::V<S>; 0]) -> (T::V<S>, [T::V<S>; 0]) {
        (g, [])
    }
}

#[derive(Clone, Copy)]
struct Momentum<T> {
    momentum: T,
    nesterov: bool,
}

impl<T: Float> Rule<T, 1> for Momentum<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, [v]: [T::V<S>; 1]) -> (T::V<S>, [T::V<S>; 1]) {
        let momentum = T::splat(s, self.momentum);
        let v = settle::<S, T>(s, T::mul_add(s, momentum, v, g));
        (if self.nesterov { T::mul_add(s, momentum, v, g) } else { v }, [v])
    }
}
