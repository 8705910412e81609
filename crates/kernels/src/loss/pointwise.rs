//! Losses of one element and one target, defined by the loss and its derivative in one register.
//!
//! `elementwise` applies them along the slices, with or without the derivative. Called by
//! `binary_cross_entropy`, `brier`, `poisson` and `regression`.

use crate::elementwise::{Elementwise, for_each_element};
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// A loss of `x` and `target`.
pub(super) trait Pointwise<T: Float>: Sync {
    /// The loss and its derivative with respect to `x`. Mark it `#[inline(always)]`.
    fn loss_and_slope<S: Simd>(&self, s: S, x: T::V<S>, target: T::V<S>) -> (T::V<S>, T::V<S>);
}

/// The losses alone.
pub(super) fn losses<E: Element>(
    cpu: Cpu<'_>,
    of: &impl Pointwise<E::Float>,
    x: (&'static str, &[E]),
    targets: &[E],
    losses: &mut [E],
) -> Result<(), Error> {
    for_each_element(cpu, &Losses(of), [x, ("targets", targets)], [("losses", losses)])
}

/// The losses, and the slopes times `scale`.
pub(super) fn gradient<E: Element>(
    cpu: Cpu<'_>,
    of: &impl Pointwise<E::Float>,
    x: (&'static str, &[E]),
    targets: &[E],
    scale: E::Float,
    losses: &mut [E],
    dx: (&'static str, &mut [E]),
) -> Result<(), Error> {
    for_each_element(
        cpu,
        &Gradient { of, scale },
        [x, ("targets", targets)],
        [("losses", losses), dx],
    )
}

struct Losses<'a, Op>(&'a Op);

impl<T: Float, Op: Pointwise<T>> Elementwise<T, 2, 1> for Losses<'_, Op> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x, target]: [T::V<S>; 2], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [self.0.loss_and_slope(s, x, target).0]
    }
}

struct Gradient<'a, Op, T> {
    of: &'a Op,
    scale: T,
}

impl<T: Float, Op: Pointwise<T>> Elementwise<T, 2, 2> for Gradient<'_, Op, T> {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x, target]: [T::V<S>; 2], _: [T::V<S>; 2]) -> [T::V<S>; 2] {
        let (loss, slope) = self.of.loss_and_slope(s, x, target);
        [loss, T::mul(s, slope, T::splat(s, self.scale))]
    }
}
