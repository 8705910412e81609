//! LAMB: Adam with steps in proportion to the norm of each tensor.

use super::adam::{self, Means};
use super::descent::{Descent, Operands, load, put};
use super::moment::{Moment, Square};
use super::trust::{Squares, ratio, roots};
use super::{Decay, Optimizer, SecondMoment, Step, power};
use crate::bf16::TILE;
use crate::elementwise::CHUNK;
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Element, Error};

/// LAMB (You et al., "Large batch optimization for deep learning: training BERT in 76 minutes",
/// ICLR 2020; optax's `lamb`). The operands of one step are one tensor.
///
/// ```text
/// m, v as in Adam
/// u = m / (1 - beta1^t) / (sqrt(v) / sqrt(1 - beta2^t) + epsilon) + decoupled * p
/// p = p - lr * |p| / |u| * u                           the quotient is 1 where |p| or |u| is 0
/// ```
///
/// The decoupled decay is part of `u`, which is then scaled to the norm of `p`. The first of two
/// passes updates the moments and takes the norms, in f64 as [`Lars`](super::Lars) does. The second
/// takes the step, with the moments as the first stored them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Lamb {
    /// Coefficient of the running mean of the gradient: in `[0, 1)`.
    pub beta1: f64,
    /// Coefficient of the running mean of its square: in `[0, 1)`.
    pub beta2: f64,
    /// Added to the divisor, so that the quotient is finite: at least 0.
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
        adam::check([self.beta1, self.beta2], self.epsilon, self.decay)
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
        let unbias = adam::unbias(cpu, self.beta2, step.t);
        let update = Update {
            means: Means::new([self.beta1, self.beta2], unbias, self.epsilon),
            unbias: T::from_f64(1.0 / (1.0 - power(self.beta1, step.t))),
            decay: T::from_f64(self.decay.decoupled),
        };
        let descent = Descent::new(&step, Decay { decoupled: 0.0, ..self.decay }, 0.0);
        let operands = Operands::<T, G, M, 2>::new(self.moments(), params, grads, moments)?;
        let [p, u] = roots(cpu, operands.chunks(CHUNK), |chunk| {
            cpu.isa.run(UpdateMoments { update, descent, step: &step, chunk })
        });
        let rate = T::from_f64(-step.lr * ratio(p, u, u));
        let operands = Operands::<T, G, M, 2>::new(self.moments(), params, grads, moments)?;
        cpu.for_each_item(operands.chunks(CHUNK), |chunk| {
            cpu.isa.run(UpdateParams { update, rate, chunk });
        });
        Ok(())
    }
}

/// The update `u` of the formula, from a parameter and its moments.
#[derive(Clone, Copy)]
struct Update<T> {
    means: Means<T>,
    /// 1 / (1 - beta1^t).
    unbias: T,
    /// Decoupled decay.
    decay: T,
}

impl<T: Float> Update<T> {
    #[inline(always)]
    fn of<S: Simd>(&self, s: S, p: T::V<S>, [m, v]: [T::V<S>; 2]) -> T::V<S> {
        let quotient = self.means.divide(s, m, Square::stored(s, v));
        T::mul_add(s, T::splat(s, self.unbias), quotient, T::mul(s, T::splat(s, self.decay), p))
    }
}

/// First pass, over one chunk: updates the moments, returns the sums of squares of `p` and `u`.
struct UpdateMoments<'a, T, G, M> {
    update: Update<T>,
    descent: Descent<T>,
    step: &'a Step,
    chunk: Operands<'a, T, G, M, 2>,
}

impl<T: Float, G: Element<Float = T>, M: Moment<Float = T>> WithSimd
    for UpdateMoments<'_, T, G, M>
{
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
                update_moments::<S, T, G, M, true>(
                    s, update, descent, &mut tile, &rounding, updates, i,
                );
            }
            if !len.is_multiple_of(lanes) {
                let i = len / lanes;
                update_moments::<S, T, G, M, false>(
                    s, update, descent, &mut tile, &rounding, updates, i,
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
fn update_moments<S, T, G, M, const WHOLE: bool>(
    s: S,
    update: Update<T>,
    descent: Descent<T>,
    tile: &mut Operands<'_, T, G, M, 2>,
    rounding: &[M::Rounding; 2],
    updates: &mut [T],
    i: usize,
) where
    S: Simd,
    T: Float,
    G: Element<Float = T>,
    M: Moment<Float = T>,
{
    let p = load::<S, T, WHOLE>(s, tile.params, i);
    let g = descent.gradient(s, p, load::<S, G, WHOLE>(s, tile.grads, i));
    let moments = tile.load_moments::<S, WHOLE>(s, i);
    let (m, v) = update.means.update(s, g, moments);
    tile.put_moments::<S, WHOLE>(s, i, [m, v.value], rounding);
    let stored = tile.load_moments::<S, WHOLE>(s, i);
    put::<S, T, WHOLE>(s, updates, i, update.of(s, p, stored));
}

/// Second pass, over one chunk: updates the parameters.
struct UpdateParams<'a, T, G, M> {
    update: Update<T>,
    /// `-lr * |p| / |u|`.
    rate: T,
    chunk: Operands<'a, T, G, M, 2>,
}

impl<T: Float, G, M: Moment<Float = T>> WithSimd for UpdateParams<'_, T, G, M> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { update, rate, mut chunk } = self;
        let (len, lanes) = (chunk.params.len(), T::lanes::<S>());
        for i in 0..len / lanes {
            update_params::<S, T, G, M, true>(s, update, rate, &mut chunk, i);
        }
        if !len.is_multiple_of(lanes) {
            update_params::<S, T, G, M, false>(s, update, rate, &mut chunk, len / lanes);
        }
    }
}

/// One register of the second pass.
#[inline(always)]
fn update_params<S: Simd, T: Float, G, M: Moment<Float = T>, const WHOLE: bool>(
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
