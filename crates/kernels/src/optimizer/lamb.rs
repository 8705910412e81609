//! LAMB: Adam whose steps are in proportion to each tensor's own norm.

use super::adam::{MeanAndSquare, Size};
use super::descent::{Descent, Operands, load, put};
use super::moment::{Moment, Square};
use super::trust::{Squares, ratio, roots};
use super::{Decay, Optimizer, SecondMoment, Step, check_at_least_0, check_beta, power};
use crate::bf16::TILE;
use crate::elementwise::CHUNK;
use crate::math::sqrt;
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Element, Error};

/// LAMB (You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", ICLR 2020; optax's
/// `lamb`). The operands of one step are one tensor.
///
/// ```text
/// m, v as in Adam
/// u = m / (1 - beta1^t) / (sqrt(v) / sqrt(1 - beta2^t) + epsilon) + decoupled * p
/// p = p - lr * |p| / |u| * u                           the quotient is 1 where |p| or |u| is 0
/// ```
///
/// The decoupled decay is part of `u`, whose length is then made that of `p`. Two passes: one renews the moments and takes
/// the norms, in f64 (as [`Lars`](super::Lars) does), the other takes the step with the moments as they were stored.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Lamb {
    /// How much of the mean of the gradient stays: in `[0, 1)`.
    pub beta1: f64,
    /// How much of the mean of its square stays: in `[0, 1)`.
    pub beta2: f64,
    /// Keeps the quotient finite: at least 0.
    pub epsilon: f64,
    /// Regularisation.
    pub decay: Decay,
}

impl Default for Lamb {
    /// optax's: betas 0.9 and 0.999, epsilon 1e-6.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-6, decay: Decay::NONE }
    }
}

impl Optimizer for Lamb {
    fn check(&self) -> Result<(), Error> {
        check_beta("beta1", self.beta1)?;
        check_beta("beta2", self.beta2)?;
        check_at_least_0("epsilon", self.epsilon)?;
        self.decay.check()
    }

    fn moments(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
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
        let unbias = 1.0 / sqrt(cpu, 1.0 - power(self.beta2, step.t));
        let update = Update {
            means: MeanAndSquare::new(self.beta1, self.beta2),
            size: Size { unbias: T::from_f64(unbias), epsilon: T::from_f64(self.epsilon) },
            unbias: T::from_f64(1.0 / (1.0 - power(self.beta1, step.t))),
            decay: T::from_f64(self.decay.decoupled),
        };
        let descent = Descent::new(&step, Decay { decoupled: 0.0, ..self.decay }, 0.0);
        let operands = Operands::<T, G, M, 2>::new(self.moments(), params, grads, moments)?;
        let [p, u] = roots(cpu, operands.chunks(CHUNK), |chunk| {
            cpu.isa.run(Renew { update, descent, step: &step, chunk })
        });
        let rate = T::from_f64(-step.lr * ratio(p, u, u));
        let operands = Operands::<T, G, M, 2>::new(self.moments(), params, grads, moments)?;
        cpu.for_each_item(operands.chunks(CHUNK), |chunk| {
            cpu.isa.run(Move { update, rate, chunk });
        });
        Ok(())
    }
}

/// What a parameter is moved by, but for its length.
#[derive(Clone, Copy)]
struct Update<T> {
    means: MeanAndSquare<T>,
    size: Size<T>,
    /// 1 / (1 - beta1^t).
    unbias: T,
    decay: T,
}

impl<T: Float> Update<T> {
    #[inline(always)]
    fn of<S: Simd>(&self, s: S, p: T::V<S>, [m, v]: [T::V<S>; 2]) -> T::V<S> {
        let quotient = self.size.divide(s, m, Square::stored(s, v));
        T::mul_add(s, T::splat(s, self.unbias), quotient, T::mul(s, T::splat(s, self.decay), p))
    }
}

/// The first pass: the sums of squares of the parameters and of what moves them.
struct Renew<'a, T, G, M> {
    update: Update<T>,
    descent: Descent<T>,
    step: &'a Step,
    chunk: Operands<'a, T, G, M, 2>,
}

impl<T: Float, G: Element<Float = T>, M: Moment<Float = T>> WithSimd for Renew<'_, T, G, M> {
    type Output = [f64; 2];
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> [f64; 2] {
        let Self { update, descent, step, chunk } = self;
        let (mut p, mut u) = (Squares::NONE, Squares::NONE);
        let mut updates = [T::ZERO; TILE];
        for mut tile in chunk.chunks(TILE) {
            let rounding = tile.rounding(step);
            let (len, lanes) = (tile.params.len(), T::lanes::<S>());
            let updates = &mut updates[..len];
            for i in 0..len / lanes {
                renew::<S, T, G, M, true>(s, update, descent, &mut tile, &rounding, updates, i);
            }
            if !len.is_multiple_of(lanes) {
                renew::<S, T, G, M, false>(
                    s,
                    update,
                    descent,
                    &mut tile,
                    &rounding,
                    updates,
                    len / lanes,
                );
            }
            p.add(tile.params);
            u.add(updates);
        }
        [p.sum(), u.sum()]
    }
}

/// One register of the first pass.
#[inline(always)]
fn renew<S: Simd, T: Float, G: Element<Float = T>, M: Moment<Float = T>, const WHOLE: bool>(
    s: S,
    update: Update<T>,
    descent: Descent<T>,
    tile: &mut Operands<'_, T, G, M, 2>,
    rounding: &[M::Rounding; 2],
    updates: &mut [T],
    i: usize,
) {
    let p = load::<S, T, WHOLE>(s, tile.params, i);
    let g = descent.gradient(s, p, load::<S, G, WHOLE>(s, tile.grads, i));
    let moments = tile.load_moments::<S, WHOLE>(s, i);
    let (m, v) = update.means.update(s, g, moments);
    tile.put_moments::<S, WHOLE>(s, i, [m, v.value], rounding);
    let stored = tile.load_moments::<S, WHOLE>(s, i);
    put::<S, T, WHOLE>(s, updates, i, update.of(s, p, stored));
}

/// The second pass.
struct Move<'a, T, G, M> {
    update: Update<T>,
    /// -lr times the ratio.
    rate: T,
    chunk: Operands<'a, T, G, M, 2>,
}

impl<T: Float, G, M: Moment<Float = T>> WithSimd for Move<'_, T, G, M> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { update, rate, mut chunk } = self;
        let (len, lanes) = (chunk.params.len(), T::lanes::<S>());
        for i in 0..len / lanes {
            follow::<S, T, G, M, true>(s, update, rate, &mut chunk, i);
        }
        if !len.is_multiple_of(lanes) {
            follow::<S, T, G, M, false>(s, update, rate, &mut chunk, len / lanes);
        }
    }
}

/// One register of the second pass.
#[inline(always)]
fn follow<S: Simd, T: Float, G, M: Moment<Float = T>, const WHOLE: bool>(
    s: S,
    update: Update<T>,
    rate: T,
    chunk: &mut Operands<'_, T, G, M, 2>,
    i: usize,
) {
    let p = load::<S, T, WHOLE>(s, chunk.params, i);
    let u = update.of(s, p, chunk.load_moments::<S, WHOLE>(s, i));
    put::<S, T, WHOLE>(s, chunk.params, i, T::mul_add(s, T::splat(s, rate), u, p));
}
