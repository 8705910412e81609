//! Moments: the running means of a gradient, how small ones become 0, and how they are stored.
//!
//! Where a gradient stays 0 (the weights of a pixel that is seldom lit), a running mean shrinks by
//! the same ratio at each step, down to subnormal numbers, where it would stay for the rest of the
//! run. Processors take some hundred cycles for an operation on subnormals: measured on the default
//! run, late epochs spent twice the time of early ones in the optimizer. Disabling subnormals in
//! the processor would change bits from machine to machine. A comparison replaces small moments by
//! 0 instead, by the same rule everywhere.
//!
//! Stored as bf16, a moment takes half the memory and is rounded at random. Rounded to nearest, a
//! mean that moves by less than 2^-9 of itself at a step, as with a beta of 0.999, would not move
//! at all.

use half::bf16;
use pulp::bytemuck;

use super::Step;
use crate::Element;
use crate::bf16::{Noise, TILE};
use crate::elementwise::CHUNK;
use crate::simd::{Float, Lanes, Simd};

/// `x`, or +0 where |x| < 2^-100 (f32) or 2^-996 (f64). NaN stays NaN.
///
/// The threshold is 2^26 times the smallest normal number: a moment above it is still normal after
/// the next decay.
#[inline(always)]
pub(super) fn settle<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    T::select(s, T::less(s, T::abs::<S>(x), T::splat(s, T::SETTLED)), T::splat(s, T::ZERO), x)
}

/// `m + new * (x - m)`, settled: a running mean of `x`.
#[inline(always)]
pub(super) fn mean<S: Simd, T: Float>(s: S, new: T, m: T::V<S>, x: T::V<S>) -> T::V<S> {
    settle::<S, T>(s, T::mul_add(s, T::splat(s, new), T::sub(s, x, m), m))
}

/// A second moment in a register, with a mask of the elements where it is 0.
///
/// A second moment is a square: the threshold of [`settle`] would make it 0 while the first moment
/// still counts, and the quotient would be the first moment over epsilon. A decaying square costs
/// one slow multiplication, at the step that takes it below the smallest normal number. One
/// comparison serves the moment and the quotient.
#[derive(Clone, Copy)]
pub(super) struct Square<S: Simd, T: Float> {
    /// At least 0, or NaN.
    pub(super) value: T::V<S>,
    is_zero: T::M<S>,
}

impl<S: Simd, T: Float> Square<S, T> {
    /// `v`, at least 0, or +0 below the smallest normal number: 2^-126 (f32), 2^-1022 (f64). NaN
    /// stays NaN.
    #[inline(always)]
    pub(super) fn settle(s: S, v: T::V<S>) -> Self {
        let is_zero = T::less(s, v, T::splat(s, T::MIN_POSITIVE));
        Self { value: T::select(s, is_zero, T::splat(s, T::ZERO), v), is_zero }
    }

    /// `v` unchanged: a stored moment, or the larger of two settled ones.
    #[inline(always)]
    pub(super) fn stored(s: S, v: T::V<S>) -> Self {
        Self { value: v, is_zero: T::less_or_equal(s, v, T::splat(s, T::ZERO)) }
    }

    /// `beta * v + (new * x) * x`, settled: a running mean of `x^2`.
    #[inline(always)]
    pub(super) fn mean(s: S, [beta, new]: [T; 2], v: T::V<S>, x: T::V<S>) -> Self {
        let decayed = T::mul(s, T::splat(s, beta), v);
        Self::settle(s, T::mul_add(s, T::mul(s, T::splat(s, new), x), x, decayed))
    }

    /// `x`, or +0 where the moment is 0 and there is nothing to divide by. Where it is NaN, `x`.
    #[inline(always)]
    pub(super) fn unless_zero(self, s: S, x: T::V<S>) -> T::V<S> {
        T::select(s, self.is_zero, T::splat(s, T::ZERO), x)
    }
}

/// An element type of moments: `f32`, `f64`, or `bf16`, which is rounded at random.
///
/// The random bits are a function of [`Step::rounding`], [`Step::t`], the moment's number and the
/// element's index alone. They repeat after 2^28 steps and after 2^37 elements.
pub trait Moment: Element {
    /// Number of elements whose random bits are drawn together.
    #[doc(hidden)]
    const TILE: usize;
    /// The random bits of a tile.
    #[doc(hidden)]
    type Rounding: Rounding;
    /// Stores all of `v` into register `i` of `x`, a tile.
    #[doc(hidden)]
    fn put_moment<S: Simd>(
        s: S,
        x: &mut [Self],
        i: usize,
        v: <Self::Float as Lanes>::V<S>,
        rounding: &Self::Rounding,
    );
    /// Stores the first lanes of `v` into the elements of `x`, a tile, from `at` on: less than a
    /// register.
    #[doc(hidden)]
    fn put_moment_rest<S: Simd>(
        s: S,
        x: &mut [Self],
        at: usize,
        v: <Self::Float as Lanes>::V<S>,
        rounding: &Self::Rounding,
    );
}

/// Random bits that round one tile of a moment.
pub trait Rounding: Copy {
    /// No bits, before a draw.
    #[doc(hidden)]
    const NONE: Self;
    /// Draws the bits for moment number `moment` and the tile that begins with element `first`.
    #[doc(hidden)]
    fn draw(step: &Step, moment: usize, first: u64) -> Self;
}

impl Rounding for () {
    const NONE: Self = ();
    #[inline(always)]
    fn draw(_: &Step, _: usize, _: u64) -> Self {}
}

impl Rounding for Noise {
    const NONE: Self = Self::ZERO;
    #[inline(always)]
    fn draw(step: &Step, moment: usize, first: u64) -> Self {
        // A block of the generator has the bits of 8 elements.
        let block = (first / 8) & ((1 << 34) - 1);
        Self::new(step.rounding, (step.t << 36) | ((moment as u64) << 34) | block)
    }
}

macro_rules! moment_as_it_is {
    ($float:ident) => {
        impl Moment for $float {
            const TILE: usize = CHUNK;
            type Rounding = ();
            #[inline(always)]
            fn put_moment<S: Simd>(
                s: S,
                x: &mut [Self],
                i: usize,
                v: <Self as Lanes>::V<S>,
                (): &(),
            ) {
                Self::put_register(s, x, i, v);
            }
            #[inline(always)]
            fn put_moment_rest<S: Simd>(
                s: S,
                x: &mut [Self],
                at: usize,
                v: <Self as Lanes>::V<S>,
                (): &(),
            ) {
                Self::put_rest(s, &mut x[at..], v);
            }
        }
    };
}
moment_as_it_is!(f32);
moment_as_it_is!(f64);

impl Moment for bf16 {
    const TILE: usize = TILE;
    type Rounding = Noise;
    #[inline(always)]
    fn put_moment<S: Simd>(_: S, x: &mut [Self], i: usize, v: <f32 as Lanes>::V<S>, noise: &Noise) {
        let lanes = f32::lanes::<S>();
        noise.narrow(i * lanes, values::<S>(&v), &mut x[i * lanes..][..lanes]);
    }
    #[inline(always)]
    fn put_moment_rest<S: Simd>(
        _: S,
        x: &mut [Self],
        at: usize,
        v: <f32 as Lanes>::V<S>,
        noise: &Noise,
    ) {
        noise.narrow(at, values::<S>(&v), &mut x[at..]);
    }
}

/// The lanes of `v`.
#[inline(always)]
fn values<S: Simd>(v: &<f32 as Lanes>::V<S>) -> &[f32] {
    bytemuck::cast_slice(core::slice::from_ref(v))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elementwise::{Elementwise, for_each_element};
    use crate::{Cpu, Isa};

    struct SettleSquare;
    impl<T: Float> Elementwise<T, 1, 1> for SettleSquare {
        #[inline(always)]
        fn apply<S: Simd>(&self, s: S, [v]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
            [Square::<S, T>::settle(s, v).value]
        }
    }

    struct Settle;
    impl<T: Float> Elementwise<T, 1, 1> for Settle {
        #[inline(always)]
        fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
            [settle::<S, T>(s, x)]
        }
    }

    /// Asserts the bits of `rule` of `x` on every instruction set. Any NaN equals any other.
    fn becomes<T: Float, const N: usize>(
        rule: &impl Elementwise<T, 1, 1>,
        x: [T; N],
        expected: [T; N],
    ) {
        let same = |a: T, b: T| {
            let (a, b) = (a.to_f64(), b.to_f64());
            a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
        };
        for isa in Isa::available() {
            let mut y = [T::NAN; N];
            for_each_element(Cpu::serial(isa), rule, [("x", &x[..])], [("y", &mut y[..])]).unwrap();
            assert!(
                y.into_iter().zip(expected).all(|(y, e)| same(y, e)),
                "{y:?} not {expected:?}, {isa:?}"
            );
        }
    }

    #[test]
    fn squares_below_the_smallest_normal_number_become_zero() {
        let least = f32::MIN_POSITIVE;
        let below = f32::from_bits(least.to_bits() - 1);
        becomes(
            &SettleSquare,
            [least, below, 1e-45, 0.0, 1.0, f32::INFINITY, f32::NAN],
            [least, 0.0, 0.0, 0.0, 1.0, f32::INFINITY, f32::NAN],
        );
    }

    #[test]
    fn small_numbers_become_zero_and_no_others_change() {
        let least = f32::from_bits((127 - 100) << 23);
        let below = f32::from_bits(least.to_bits() - 1);
        becomes(
            &Settle,
            [least, -least, below, -below, 1e-40, -0.0, 0.0, 1.0, f32::NEG_INFINITY, f32::NAN],
            [least, -least, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, f32::NEG_INFINITY, f32::NAN],
        );
        let least = f64::from_bits((1023 - 996) << 52);
        becomes(&Settle, [least, -least / 2.0], [least, 0.0]);
    }
}
