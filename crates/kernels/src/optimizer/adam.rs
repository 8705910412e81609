//! Adam, AdamW and AMSGrad: steps along the running mean of the gradient, divided by the root of
//! the running mean of its square.

use super::descent::{Descent, Rule, descend};
use super::moment::{Moment, Square, mean};
use super::{Decay, Optimizer, SecondMoment, Step, check_at_least_0, check_beta, power};

/// The moments of Adam and its variants, by PyTorch's names.
pub(super) const MOMENTS: &[&str] = &["exp_avg", "exp_avg_sq"];
use crate::math::sqrt;
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// Adam (Kingma, Ba, ICLR 2015; `torch.optim.Adam`).
///
/// With a decoupled [`Decay`], AdamW (Loshchilov, Hutter, ICLR 2019); with `amsgrad`, AMSGrad
/// (Reddi, Kale, Kumar, ICLR 2018).
///
/// ```text
/// m = m + (1 - beta1) * (g - m)
/// v = beta2 * v + (1 - beta2) * g * g
/// w = max(w, v) with AMSGrad, else v
/// direction = m / (sqrt(w) / sqrt(1 - beta2^t) + epsilon)
/// rate = lr / (1 - beta1^t)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Adam {
    /// Coefficient of the running mean of the gradient: in `[0, 1)`.
    pub beta1: f64,
    /// Coefficient of the running mean of its square: in `[0, 1)`.
    pub beta2: f64,
    /// Added to the divisor, so that the quotient is finite: at least 0.
    pub epsilon: f64,
    /// Divides by the maximum of the mean square so far.
    pub amsgrad: bool,
    /// Regularisation.
    pub decay: Decay,
}

impl Default for Adam {
    /// PyTorch's Adam: betas 0.9 and 0.999, epsilon 1e-8. Its learning rate is 1e-3.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, amsgrad: false, decay: Decay::NONE }
    }
}

impl Adam {
    /// PyTorch's AdamW: [`default`](Self::default) with a decoupled decay of 1e-2.
    pub fn decoupled() -> Self {
        Self { decay: Decay::decoupled(1e-2), ..Self::default() }
    }
}

impl Optimizer for Adam {
    fn check(&self) -> Result<(), Error> {
        check([self.beta1, self.beta2], self.epsilon, self.decay)
    }

    fn moments(&self) -> &'static [&'static str] {
        if self.amsgrad { &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"] } else { MOMENTS }
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
        let descent = Descent::new(&step, self.decay, step.unbiased_lr(self.beta1));
        let unbias = unbias(cpu, self.beta2, step.t);
        let means = Means::new([self.beta1, self.beta2], unbias, self.epsilon);
        let names = self.moments();
        if self.amsgrad {
            descend(cpu, AmsGrad(means), descent, &step, names, params, grads, moments)
        } else {
            descend(cpu, means, descent, &step, names, params, grads, moments)
        }
    }
}

/// Checks the hyper-parameters that Adam and its variants share.
///
/// # Errors
/// [`Error::Parameter`] for the first that is out of range.
pub(super) fn check([beta1, beta2]: [f64; 2], epsilon: f64, decay: Decay) -> Result<(), Error> {
    check_beta("beta1", beta1)?;
    check_beta("beta2", beta2)?;
    check_at_least_0("epsilon", epsilon)?;
    decay.check()
}

/// Bias correction of the root of a mean square: `1 / sqrt(1 - beta2^t)`.
pub(super) fn unbias(cpu: Cpu<'_>, beta2: f64, t: u64) -> f64 {
    1.0 / sqrt(cpu, 1.0 - power(beta2, t))
}

/// Adam's running means of the gradient and of its square, and their quotient.
#[derive(Clone, Copy)]
pub(super) struct Means<T> {
    /// 1 - beta1.
    new1: T,
    /// beta2 and 1 - beta2.
    second: [T; 2],
    unbias: T,
    epsilon: T,
}

impl<T: Float> Means<T> {
    pub(super) fn new([beta1, beta2]: [f64; 2], unbias: f64, epsilon: f64) -> Self {
        Self {
            new1: T::from_f64(1.0 - beta1),
            second: [T::from_f64(beta2), T::from_f64(1.0 - beta2)],
            unbias: T::from_f64(unbias),
            epsilon: T::from_f64(epsilon),
        }
    }

    /// The means after a step with gradient `g`.
    #[inline(always)]
    pub(super) fn update<S: Simd>(
        &self,
        s: S,
        g: T::V<S>,
        [m, v]: [T::V<S>; 2],
    ) -> (T::V<S>, Square<S, T>) {
        (mean::<S, T>(s, self.new1, m, g), Square::mean(s, self.second, v, g))
    }

    /// `m / (sqrt(v) * unbias + epsilon)`, or 0 where `v` is 0.
    #[inline(always)]
    pub(super) fn divide<S: Simd>(&self, s: S, m: T::V<S>, v: Square<S, T>) -> T::V<S> {
        let size =
            T::mul_add(s, T::sqrt(s, v.value), T::splat(s, self.unbias), T::splat(s, self.epsilon));
        v.unless_zero(s, T::div(s, m, size))
    }
}

impl<T: Float> Rule<T, 2> for Means<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, moments: [T::V<S>; 2]) -> (T::V<S>, [T::V<S>; 2]) {
        let (m, v) = self.update(s, g, moments);
        (self.divide(s, m, v), [m, v.value])
    }
}

/// Divides by the maximum of the mean square so far.
#[derive(Clone, Copy)]
struct AmsGrad<T>(Means<T>);

impl<T: Float> Rule<T, 3> for AmsGrad<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, [m, v, w]: [T::V<S>; 3]) -> (T::V<S>, [T::V<S>; 3]) {
        let Self(means) = self;
        let (m, Square { value: v, .. }) = means.update(s, g, [m, v]);
        // A NaN in `v` stays there, so the maximum need not preserve one in `w`.
        let w = T::select(s, T::less_or_equal(s, v, w), w, v);
        (means.divide(s, m, Square::stored(s, w)), [m, v, w])
    }
}
