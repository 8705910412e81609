//! Kullback-Leibler divergence of the softmax of logits from target distributions.
//!
//! ```text
//! losses, gradient = those of the cross-entropy
//! for each block of rows                               in parallel
//!     each row:  losses[row] += sum of t ln t          0 where t is 0
//! ```

use crate::elementwise::{Elementwise, along};
use crate::loss::{CrossEntropy, Targets};
use crate::math::ln::ln;
use crate::row::{LANES, PIECE, block, fold, gather};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error};

/// Kullback-Leibler divergence of the softmax of each row of logits from its target distribution
/// `t`, in nats (Kullback, Leibler, 1951). PyTorch: `KLDivLoss` of `log_softmax(logits)`, summed
/// over the row.
///
/// ```text
/// losses[i]     = sum over j of t[i, j] * (ln t[i, j] - ln softmax(logits[i])[j])
/// dlogits[i, j] = scale * (softmax(logits[i])[j] * (sum over k of t[i, k]) - t[i, j])
/// ```
///
/// `0 ln 0` is 0. The divergence is the cross-entropy minus the entropy of the target, and is
/// computed as that difference: its error is relative to the cross-entropy, and a result near 0 may
/// be just below. The gradient is that of [`CrossEntropy`], to the bit. A negative target gives
/// NaN. Rows of logits with NaN, +Inf or -Inf are as for [`CrossEntropy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KullbackLeibler;

impl KullbackLeibler {
    /// The losses of `logits` for `targets`, both `[rows, classes]`; `losses` is `[rows]`.
    ///
    /// # Errors
    /// [`Error::Length`] if `targets` or `logits` do not match `losses` and `classes`, or if there
    /// are rows but no classes. Nothing is written then.
    #[inline(never)]
    pub fn losses<T: Float>(
        &self,
        cpu: Cpu<'_>,
        logits: &[T],
        classes: usize,
        targets: &[T],
        losses: &mut [T],
    ) -> Result<(), Error> {
        let distributions = Targets::Distributions(targets);
        CrossEntropy::default().losses(cpu, logits, classes, distributions, losses)?;
        subtract_entropies(cpu, targets, classes, losses);
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
        let distributions = Targets::Distributions(targets);
        let cross_entropy = CrossEntropy::default();
        cross_entropy.gradient(cpu, logits, classes, distributions, scale, losses, dlogits)?;
        subtract_entropies(cpu, targets, classes, losses);
        Ok(())
    }
}

/// Subtracts from the loss of each row the entropy of its target.
fn subtract_entropies<T: Float>(cpu: Cpu<'_>, targets: &[T], classes: usize, losses: &mut [T]) {
    let (rows, block) = block(classes);
    let blocks = targets.chunks(block).zip(losses.chunks_mut(rows));
    cpu.for_each_item(blocks, |(targets, losses)| {
        cpu.isa.run(Entropies { targets, classes, losses });
    });
}

/// A block of rows.
struct Entropies<'a, T> {
    targets: &'a [T],
    classes: usize,
    losses: &'a mut [T],
}

impl<T: Float> WithSimd for Entropies<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { targets, classes, losses } = self;
        for (row, loss) in targets.chunks_exact(classes).zip(losses) {
            let (mut lanes, mut terms) = ([T::ZERO; LANES], [T::ZERO; PIECE]);
            for piece in row.chunks(PIECE) {
                let terms = &mut terms[..piece.len()];
                along(s, &TimesLogarithm, [piece], [&mut *terms]);
                gather(&mut lanes, terms, T::add_assign);
            }
            *loss += fold(lanes, T::add_assign);
        }
    }
}

/// `t ln t`; 0 where `t` is 0.
struct TimesLogarithm;

impl<T: Float> Elementwise<T, 1, 1> for TimesLogarithm {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [t]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let zero = T::splat(s, T::ZERO);
        let is_zero = T::less_or_equal(s, T::abs::<S>(t), zero);
        [T::select(s, is_zero, zero, T::mul(s, t, ln::<S, T>(s, t)))]
    }
}
