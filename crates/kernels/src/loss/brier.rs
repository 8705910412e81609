//! Squared error of probabilities: of the softmax of each row of logits, or of each sigmoid.
//!
//! ```text
//! softmax, for each block of rows       in parallel
//!     each row:  p = softmax z;  d = p - t;  m = sum of p d
//!                loss = d^2;  dz = 2 scale p (d - m)
//! sigmoid, element by element
//!     p = sigmoid z;  d = (1 - t) p - t sigmoid(-z)
//!     loss = d^2;  dz = 2 scale d p sigmoid(-z)
//! ```
//!
//! The sum along a row has the order of `row`: eight virtual lanes.

use super::pointwise::{self, Pointwise};
use crate::math::sigmoid::sigmoid;
use crate::row::{block, dot};
use crate::simd::{Float, Simd, WithSimd};
use crate::softmax::softmax;
use crate::{Cpu, Error, error::check_length};

/// Squared difference of each probability and its target: the terms of Brier's score (Brier, 1950).
/// PyTorch: `MSELoss` of `softmax(logits)`, or of `sigmoid(logits)`.
///
/// | | probabilities p | loss | derivative |
/// |---|---|---|---|
/// | `Softmax` | of the classes of a row | (p - t)² | 2 p (p - t - sum of p (p - t)) |
/// | `Sigmoid` | of each element | (p - t)² | 2 (p - t) p (1 - p) |
///
/// There is a loss for each element; Brier's score is their sum over the row, `MSELoss` their mean.
/// A row whose logits have NaN or +Inf, or -Inf alone, is NaN with `Softmax`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Brier {
    /// The elements of a row are logits of classes that exclude each other.
    #[default]
    Softmax,
    /// Each element is the logit of an event of its own.
    Sigmoid,
}

impl Brier {
    /// The losses of `logits` for `targets`, all `[rows, classes]`.
    ///
    /// # Errors
    /// [`Error::Length`] if `logits` is not a whole number of rows of `classes`, or if `targets` or
    /// `losses` differs in length. Nothing is written then.
    #[inline(never)]
    pub fn losses<T: Float>(
        &self,
        cpu: Cpu<'_>,
        logits: &[T],
        classes: usize,
        targets: &[T],
        losses: &mut [T],
    ) -> Result<(), Error> {
        check_length("targets", logits.len(), targets.len())?;
        if *self == Self::Sigmoid {
            return pointwise::losses(cpu, &OfSigmoid, ("logits", logits), targets, losses);
        }
        check_length("losses", logits.len(), losses.len())?;
        softmax(cpu, logits, classes, losses)?;
        let (_, block) = block(classes);
        cpu.for_each_item(losses.chunks_mut(block).zip(targets.chunks(block)), |(p, targets)| {
            cpu.isa.run(Losses { p, targets });
        });
        Ok(())
    }

    /// The same losses; `dlogits`, `[rows, classes]`, becomes the gradient of their sum times
    /// `scale`.
    ///
    /// # Errors
    /// As [`losses`](Self::losses); also [`Error::Length`] if `dlogits` differs from `logits` in
    /// length.
    #[expect(clippy::too_many_arguments, reason = "four operands and the scale of a step")]
    #[inline(never)]
    pub fn gradient<T: Float>(
        &self,
        cpu: Cpu<'_>,
        logits: &[T],
        classes: usize,
        targets: &[T],
        scale: T,
        losses: &mut [T],
        dlogits: &mut [T],
    ) -> Result<(), Error> {
        check_length("targets", logits.len(), targets.len())?;
        if *self == Self::Sigmoid {
            let (x, dx) = (("logits", logits), ("dlogits", dlogits));
            return pointwise::gradient(cpu, &OfSigmoid, x, targets, scale, losses, dx);
        }
        check_length("losses", logits.len(), losses.len())?;
        check_length("dlogits", logits.len(), dlogits.len())?;
        softmax(cpu, logits, classes, dlogits)?;
        let (_, block) = block(classes);
        let blocks = targets.chunks(block).zip(losses.chunks_mut(block));
        cpu.for_each_item(blocks.zip(dlogits.chunks_mut(block)), |((targets, losses), p)| {
            cpu.isa.run(Gradient { targets, classes, scale, losses, p });
        });
        Ok(())
    }
}

/// The losses of a block of rows.
struct Losses<'a, T> {
    /// The probabilities; become the losses.
    p: &'a mut [T],
    targets: &'a [T],
}

impl<T: Float> WithSimd for Losses<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (p, &t) in self.p.iter_mut().zip(self.targets) {
            *p -= t;
            *p *= *p;
        }
    }
}

/// The losses and the gradient of a block of rows.
struct Gradient<'a, T> {
    targets: &'a [T],
    classes: usize,
    scale: T,
    losses: &'a mut [T],
    /// The probabilities; become the gradient.
    p: &'a mut [T],
}

impl<T: Float> WithSimd for Gradient<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { targets, classes, scale, losses, p } = self;
        let mut share = scale;
        share += scale;
        let rows = targets.chunks_exact(classes).zip(losses.chunks_exact_mut(classes));
        for ((targets, d), p) in rows.zip(p.chunks_exact_mut(classes)) {
            for ((d, &p), &t) in d.iter_mut().zip(&*p).zip(targets) {
                *d = p;
                *d -= t;
            }
            let mean = dot(p, d);
            for (p, d) in p.iter_mut().zip(d) {
                let mut rest = *d;
                rest -= mean;
                *p *= share;
                *p *= rest;
                *d *= *d;
            }
        }
    }
}

/// [`Brier::Sigmoid`].
struct OfSigmoid;

impl<T: Float> Pointwise<T> for OfSigmoid {
    #[inline(always)]
    fn loss_and_slope<S: Simd>(&self, s: S, x: T::V<S>, target: T::V<S>) -> (T::V<S>, T::V<S>) {
        let (zero, one) = (T::splat(s, T::ZERO), T::splat(s, T::ONE));
        let p = sigmoid::<S, T>(s, x);
        let q = sigmoid::<S, T>(s, T::sub(s, zero, x));
        // p - t, without the cancellation of p near a target of 1.
        let d = T::sub(s, T::mul(s, T::sub(s, one, target), p), T::mul(s, target, q));
        (T::mul(s, d, d), T::mul(s, T::add(s, d, d), T::mul(s, p, q)))
    }
}
