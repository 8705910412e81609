//! Adam, AdamW and AMSGrad: steps along the running mean of the gradient, divided by its size.

use super::descent::{Descent, Rule, descend};
use super::moment::{Moment, Square, mean};
use super::{Decay, Optimizer, SecondMoment, Step, check_at_least_0, check_beta, power};
use crate::math::sqrt;
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// Adam (Kingma, Ba, ICLR 2015; `torch.optim.Adam`); with a decoupled [`Decay`], AdamW (Loshchilov, Hutter, ICLR 2019);
/// with `amsgrad`, AMSGrad (Reddi, Kale, Kumar, ICLR 2018).
///
/// ```text
/// m = m + (1 - beta1) * (g - m)
/// v = beta2 * v + (1 - beta2) * g * g
/// w = max(w, v)   with AMSGrad alone, else v
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
    /// How much of the mean of the gradient stays: in `[0, 1)`.
    pub beta1: f64,
    /// How much of the mean of its square stays: in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the quotient finite: at least 0.
    pub epsilon: f64,
    /// Divides by the greatest size so far.
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
        check_beta("beta1", self.beta1)?;
        check_beta("beta2", self.beta2)?;
        check_at_least_0("epsilon", self.epsilon)?;
        self.decay.check()
    }

    fn moments(&self) -> &'static [&'static str] {
        if self.amsgrad {
            &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]
        } else {
            &["exp_avg", "exp_avg_sq"]
        }
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
        let descent = Descent::new(&step, self.decay, step.lr / (1.0 - power(self.beta1, step.t)));
        let unbias = 1.0 / sqrt(cpu, 1.0 - power(self.beta2, step.t));
        let size = Size { unbias: T::from_f64(unbias), epsilon: T::from_f64(self.epsilon) };
        let rule = Means { means: MeanAndSquare::new(self.beta1, self.beta2), size };
        let names = self.moments();
        if self.amsgrad {
            descend(cpu, Greatest(rule), descent, &step, names, params, grads, moments)
        } else {
            descend(cpu, rule, descent, &step, names, params, grads, moments)
        }
    }
}

/// The running means of the gradient and of its square, which Adam's kin share.
#[derive(Clone, Copy)]
pub(super) struct MeanAndSquare<T> {
    /// 1 - beta1.
    new1: T,
    /// beta2 and 1 - beta2.
    second: [T; 2],
}

impl<T: Float> MeanAndSquare<T> {
    pub(super) fn new(beta1: f64, beta2: f64) -> Self {
        Self {
            new1: T::from_f64(1.0 - beta1),
            second: [T::from_f64(beta2), T::from_f64(1.0 - beta2)],
        }
    }

    #[inline(always)]
    pub(super) fn update<S: Simd>(
        &self,
        s: S,
        g: T::V<S>,
        [m, v]: [T::V<S>; 2],
    ) -> (T::V<S>, Square<S, T>) {
        (mean::<S, T>(s, self.new1, m, g), Square::mean(s, self.second, v, g))
    }
}

/// The divisor `sqrt(v) * unbias + epsilon`.
#[derive(Clone, Copy)]
pub(super) struct Size<T> {
    pub(super) unbias: T,
    pub(super) epsilon: T,
}

impl<T: Float> Size<T> {
    /// `m / (sqrt(v) * unbias + epsilon)`, or 0 where `v` is 0.
    #[inline(always)]
    pub(super) fn divide<S: Simd>(&self, s: S, m: T::V<S>, v: Square<S, T>) -> T::V<S> {
        let size =
            T::mul_add(s, T::sqrt(s, v.value), T::splat(s, self.unbias), T::splat(s, self.epsilon));
        v.unless_zero(s, T::div(s, m, size))
    }
}

#[derive(Clone, Copy)]
struct Means<T> {
    means: MeanAndSquare<T>,
    size: Size<T>,
}

impl<T: Float> Rule<T, 2> for Means<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, moments: [T::V<S>; 2]) -> (T::V<S>, [T::V<S>; 2]) {
        let (m, v) = self.means.update(s, g, moments);
        (self.size.divide(s, m, v), [m, v.value])
    }
}

/// AMSGrad's.
#[derive(Clone, Copy)]
struct Greatest<T>(Means<T>);

impl<T: Float> Rule<T, 3> for Greatest<T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, [m, v, w]: [T::V<S>; 3]) -> (T::V<S>, [T::V<S>; 3]) {
        let Self(Means { means, size }) = self;
        let (m, Square { value: v, .. }) = means.update(s, g, [m, v]);
        // Once a NaN, `v` stays one: there is none in `w` to lose.
        let w = T::select(s, T::less_or_equal(s, v, w), w, v);
        (size.divide(s, m, Square::stored(s, w)), [m, v, w])
    }
}
