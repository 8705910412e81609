//! The pass over parameters, gradient and moments that all optimizers share.
//!
//! ```text
//! for each chunk of 16384 elements                       on any thread
//!     for each register of the chunk                     the last one masked
//!         g = scale * g + l2 * p (+ l1 * sign(p))
//!         direction, moments = rule(g, moments)          the optimizer's
//!         p = shrink * p + step * direction
//! ```
//!
//! Element `i` of the results depends on element `i` of the operands alone: chunks, threads and the
//! width of a register change no bit. Unlike `elementwise`, it takes operands of several types:
//! parameters of a [`Float`], gradients of any [`Element`], moments of any [`Moment`].

use super::moment::{Moment, Rounding};
use super::{Decay, Step};
use crate::elementwise::{CHUNK, no_slices};
use crate::error::check_length;
use crate::simd::{Float, Lanes, Simd, WithSimd};
use crate::{Cpu, Element, Error};

/// Bytes of a cache line.
const LINE: usize = 64;

/// The update rule of one optimizer.
///
/// Each kernel has a copy. A borrowed rule would be read again for every register: the compiler
/// cannot tell that the stores of the kernel leave it unchanged.
pub(super) trait Rule<T: Float, const N: usize>: Copy + Sync {
    /// The direction of the step, and the new moments. Mark it `#[inline(always)]`.
    fn apply<S: Simd>(&self, s: S, g: T::V<S>, moments: [T::V<S>; N]) -> (T::V<S>, [T::V<S>; N]);
}

/// The coefficients that all optimizers apply around their rule, each rounded once.
#[derive(Clone, Copy)]
pub(super) struct Descent<T> {
    scale: T,
    l1: T,
    l2: T,
    /// 1 - lr * decoupled.
    shrink: T,
    /// -rate.
    step: T,
}

impl<T: Float> Descent<T> {
    /// Steps of `rate` times the rule's direction.
    pub(super) fn new(step: &Step, decay: Decay, rate: f64) -> Self {
        Self {
            scale: T::from_f64(step.scale),
            l1: T::from_f64(decay.l1),
            l2: T::from_f64(decay.l2),
            shrink: T::from_f64(1.0 - step.lr * decay.decoupled),
            step: T::from_f64(-rate),
        }
    }

    /// The gradient, scaled, plus the gradients of the L1 and L2 penalties.
    #[inline(always)]
    pub(super) fn gradient<S: Simd>(&self, s: S, p: T::V<S>, g: T::V<S>) -> T::V<S> {
        let g = T::mul(s, T::splat(s, self.scale), g);
        // A branch that goes one way for a whole step costs less than two multiply-adds by 0.
        if self.l1 == T::ZERO && self.l2 == T::ZERO {
            return g;
        }
        let g = T::mul_add(s, T::splat(s, self.l2), p, g);
        T::mul_add(s, T::splat(s, self.l1), sign::<S, T>(s, p), g)
    }

    /// The parameters after a step along `direction`.
    #[inline(always)]
    pub(super) fn descend<S: Simd>(&self, s: S, p: T::V<S>, direction: T::V<S>) -> T::V<S> {
        T::mul_add(s, T::splat(s, self.step), direction, T::mul(s, T::splat(s, self.shrink), p))
    }
}

/// 1, -1, or `x` itself where that is ±0 or NaN.
#[inline(always)]
pub(super) fn sign<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    let (zero, one, less) = (T::splat(s, T::ZERO), T::splat(s, T::ONE), T::splat(s, -T::ONE));
    T::select(s, T::less(s, zero, x), one, T::select(s, T::less(s, x, zero), less, x))
}

/// Takes one step; `names` are the moments' names, for the error.
///
/// # Errors
/// [`Error::Length`] if there are not `N` moments, or if an operand is not as long as `params`.
/// Nothing is written then.
#[expect(clippy::too_many_arguments, reason = "the operands of a step, the rule and its names")]
pub(super) fn descend<T: Float, G: Element<Float = T>, M: Moment<Float = T>, const N: usize>(
    cpu: Cpu<'_>,
    rule: impl Rule<T, N>,
    descent: Descent<T>,
    step: &Step,
    names: &[&'static str],
    params: &mut [T],
    grads: &[G],
    moments: &mut [&mut [M]],
) -> Result<(), Error> {
    let operands = Operands::new(names, params, grads, moments)?;
    cpu.for_each_item(operands.chunks(CHUNK), |chunk| {
        cpu.isa.run(Kernel { rule, descent, step, chunk });
    });
    Ok(())
}

/// The operands of a step, or the same range of each.
pub(super) struct Operands<'a, T, G, M, const N: usize> {
    /// Index of the first element.
    pub(super) first: u64,
    pub(super) params: &'a mut [T],
    pub(super) grads: &'a [G],
    pub(super) moments: [&'a mut [M]; N],
}

impl<'a, T, G, M, const N: usize> Operands<'a, T, G, M, N> {
    pub(super) fn new(
        names: &[&'static str],
        params: &'a mut [T],
        grads: &'a [G],
        moments: &'a mut [&mut [M]],
    ) -> Result<Self, Error> {
        check_length("grads", params.len(), grads.len())?;
        let got = moments.len();
        let Ok(moments) = <&mut [&mut [M]; N]>::try_from(moments) else {
            return Err(Error::Length { operand: "moments", expected: N, got });
        };
        for (name, moment) in names.iter().zip(&*moments) {
            check_length(name, params.len(), moment.len())?;
        }
        let mut lent = no_slices();
        for (lent, moment) in lent.iter_mut().zip(moments) {
            *lent = moment;
        }
        Ok(Self { first: 0, params, grads, moments: lent })
    }

    /// Chunks of `len` elements of every operand.
    #[inline(always)]
    pub(super) fn chunks(self, len: usize) -> Chunks<'a, T, G, M, N> {
        Chunks { rest: self, first: len, len }
    }

    /// Chunks of `len` elements, after a shorter one up to the edge of a cache line.
    ///
    /// An allocator puts all long buffers at the same offset from a line, and a register that
    /// straddles two lines takes twice as long to read and write.
    #[inline(always)]
    fn chunks_from_edge(self, len: usize) -> Chunks<'a, T, G, M, N> {
        let first = match self.params.as_ptr().align_offset(LINE) {
            0 => len,
            edge => len.min(edge),
        };
        Chunks { rest: self, first, len }
    }
}

pub(super) struct Chunks<'a, T, G, M, const N: usize> {
    rest: Operands<'a, T, G, M, N>,
    /// Length of the next chunk, at least 1.
    first: usize,
    /// Length of the chunks after it.
    len: usize,
}

impl<'a, T, G, M, const N: usize> Iterator for Chunks<'a, T, G, M, N> {
    type Item = Operands<'a, T, G, M, N>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = &mut self.rest;
        if rest.params.is_empty() {
            return None;
        }
        // All operands have one length: no `split_off` below returns `None`.
        let len = core::mem::replace(&mut self.first, self.len).min(rest.params.len());
        let mut moments = no_slices();
        for (chunk, moment) in moments.iter_mut().zip(&mut rest.moments) {
            *chunk = moment.split_off_mut(..len)?;
        }
        let first = rest.first;
        rest.first += len as u64;
        Some(Operands {
            first,
            params: rest.params.split_off_mut(..len)?,
            grads: rest.grads.split_off(..len)?,
            moments,
        })
    }

    #[inline(always)]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.rest.params.len();
        let chunks = usize::from(len > 0) + len.saturating_sub(self.first).div_ceil(self.len);
        (chunks, Some(chunks))
    }
}

struct Kernel<'a, R, T, G, M, const N: usize> {
    rule: R,
    descent: Descent<T>,
    step: &'a Step,
    chunk: Operands<'a, T, G, M, N>,
}

impl<T: Float, G: Element<Float = T>, M: Moment<Float = T>, R: Rule<T, N>, const N: usize> WithSimd
    for Kernel<'_, R, T, G, M, N>
{
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { rule, descent, step, chunk } = self;
        // Moments that are rounded at random draw their bits tile by tile.
        let tiles =
            if M::TILE == CHUNK { chunk.chunks_from_edge(CHUNK) } else { chunk.chunks(M::TILE) };
        for mut tile in tiles {
            let rounding = tile.rounding(step);
            let (len, lanes) = (tile.params.len(), T::lanes::<S>());
            for i in 0..len / lanes {
                advance::<S, T, G, M, R, N, true>(s, rule, descent, &mut tile, &rounding, i);
            }
            if !len.is_multiple_of(lanes) {
                advance::<S, T, G, M, R, N, false>(
                    s,
                    rule,
                    descent,
                    &mut tile,
                    &rounding,
                    len / lanes,
                );
            }
        }
    }
}

/// One register of a step.
#[inline(always)]
fn advance<S, T, G, M, R, const N: usize, const WHOLE: bool>(
    s: S,
    rule: R,
    descent: Descent<T>,
    tile: &mut Operands<'_, T, G, M, N>,
    rounding: &[M::Rounding; N],
    i: usize,
) where
    S: Simd,
    T: Float,
    G: Element<Float = T>,
    M: Moment<Float = T>,
    R: Rule<T, N>,
{
    let p = load::<S, T, WHOLE>(s, tile.params, i);
    let g = descent.gradient(s, p, load::<S, G, WHOLE>(s, tile.grads, i));
    let moments = tile.load_moments::<S, WHOLE>(s, i);
    let (direction, moments) = rule.apply(s, g, moments);
    put::<S, T, WHOLE>(s, tile.params, i, descent.descend(s, p, direction));
    tile.put_moments::<S, WHOLE>(s, i, moments, rounding);
}

/// Register `i` of `x`: whole if `WHOLE`, else the elements that `x` has, then +0.
#[inline(always)]
pub(super) fn load<S: Simd, E: Element, const WHOLE: bool>(
    s: S,
    x: &[E],
    i: usize,
) -> <E::Float as Lanes>::V<S> {
    if WHOLE { E::register(s, x, i) } else { E::rest(s, &x[i * E::Float::lanes::<S>()..]) }
}

/// Stores `v` into register `i` of `x`: whole if `WHOLE`, else the elements that `x` has.
#[inline(always)]
pub(super) fn put<S: Simd, E: Element, const WHOLE: bool>(
    s: S,
    x: &mut [E],
    i: usize,
    v: <E::Float as Lanes>::V<S>,
) {
    if WHOLE {
        E::put_register(s, x, i, v);
    } else {
        E::put_rest(s, &mut x[i * E::Float::lanes::<S>()..], v);
    }
}

impl<T: Float, G, M: Moment<Float = T>, const N: usize> Operands<'_, T, G, M, N> {
    /// The random bits that round the moments of this tile.
    #[inline(always)]
    pub(super) fn rounding(&self, step: &Step) -> [M::Rounding; N] {
        let mut rounding = [M::Rounding::NONE; N];
        for (number, rounding) in rounding.iter_mut().enumerate() {
            *rounding = M::Rounding::draw(step, number, self.first);
        }
        rounding
    }

    /// Register `i` of each moment.
    #[inline(always)]
    pub(super) fn load_moments<S: Simd, const WHOLE: bool>(&self, s: S, i: usize) -> [T::V<S>; N] {
        let mut registers = [T::splat(s, T::ZERO); N];
        for (register, moment) in registers.iter_mut().zip(&self.moments) {
            *register = load::<S, M, WHOLE>(s, moment, i);
        }
        registers
    }

    /// Stores into register `i` of each moment.
    #[inline(always)]
    pub(super) fn put_moments<S: Simd, const WHOLE: bool>(
        &mut self,
        s: S,
        i: usize,
        registers: [T::V<S>; N],
        rounding: &[M::Rounding; N],
    ) {
        for ((register, moment), rounding) in registers.iter().zip(&mut self.moments).zip(rounding)
        {
            if WHOLE {
                M::put_moment(s, moment, i, *register, rounding);
            } else {
                M::put_moment_rest(s, moment, i * T::lanes::<S>(), *register, rounding);
            }
        }
    }
}
