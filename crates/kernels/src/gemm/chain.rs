//! How a microkernel accumulates elements, and the choice for pairs of bf16 on a processor without
//! the pair instruction.
//!
//! The instruction flushes sums below 2^-126 to zero after each of its two steps (`arithmetic`). A
//! processor without it takes the cheapest of three chains that give the same bits:
//!
//! ```text
//! normal    two FMAs                    no sum of these operands is nonzero and below 2^-126
//! scaled    two FMAs and a comparison   sums are scaled by 2^64 and stay finite
//! stepwise  the definition              everything else
//! ```
//!
//! Why the normal chain is exact: let |x| >= 2^ea for every nonzero x of one operand, |y| >= 2^eb
//! for the other. A bf16 has 8 significant bits, so x y is a multiple of 2^(ea + eb - 14), and so
//! is every rounded partial sum. If ea + eb >= -112, no partial sum is nonzero and below 2^-126.
//!
//! Why the scaled chain is exact: scaled by 2^64, a sum that the definition keeps is at least 2^-62
//! and rounds to 24 bits; smaller ones become zeros of their sign. With at most 1024 terms, each
//! below 2^(ea + eb + 2), scaled sums are below 2^127 where ea + eb <= 51.
//!
//! The macrokernel measures the exponents of packed panels ([`Exponents`]), per summation block.

use core::marker::PhantomData;

use super::arithmetic::{Arithmetic, step};
use crate::Float;
use crate::simd::{Lanes, Simd, WithSimd};

/// Accumulation of a microkernel: each element has [`PHASES`](Self::PHASES) values, which are
/// multiplied one phase after the other.
pub(super) trait Chain: 'static {
    /// Type of the accumulators.
    type Acc: Float;
    /// Number of values per element: 1, or 2 for a pair, whose odd value is multiplied first.
    const PHASES: usize = 1;
    /// Value of an element of A in a phase, as it is multiplied.
    #[inline(always)]
    fn value_of_a<S: Simd, const PHASE: usize>(
        s: S,
        element: <Self::Acc as Lanes>::V<S>,
    ) -> <Self::Acc as Lanes>::V<S> {
        Self::value_of_b::<S, PHASE>(s, element)
    }
    /// Value of an element of B in a phase.
    #[inline(always)]
    fn value_of_b<S: Simd, const PHASE: usize>(
        s: S,
        element: <Self::Acc as Lanes>::V<S>,
    ) -> <Self::Acc as Lanes>::V<S> {
        match (Self::PHASES, PHASE) {
            (1, _) => element,
            (_, 0) => <Self::Acc as Lanes>::odd_of_pairs::<S>(Self::Acc::opaque(s, element)),
            (..) => <Self::Acc as Lanes>::even_of_pairs::<S>(Self::Acc::opaque(s, element)),
        }
    }
    /// `acc` plus the product of two values.
    fn mul_add<S: Simd>(
        s: S,
        a: <Self::Acc as Lanes>::V<S>,
        b: <Self::Acc as Lanes>::V<S>,
        acc: <Self::Acc as Lanes>::V<S>,
    ) -> <Self::Acc as Lanes>::V<S>;
    /// The sum that an accumulator stands for.
    #[inline(always)]
    fn sum<S: Simd>(_: S, acc: <Self::Acc as Lanes>::V<S>) -> <Self::Acc as Lanes>::V<S> {
        acc
    }
}

/// One operation per element, as the arithmetic `K` has it.
pub(super) struct Whole<K>(PhantomData<K>);

impl<K: Arithmetic> Chain for Whole<K> {
    type Acc = K::Acc;
    #[inline(always)]
    fn mul_add<S: Simd>(
        s: S,
        a: <K::Acc as Lanes>::V<S>,
        b: <K::Acc as Lanes>::V<S>,
        acc: <K::Acc as Lanes>::V<S>,
    ) -> <K::Acc as Lanes>::V<S> {
        K::mul_add(s, a, b, acc)
    }
}

/// Pairs of which no sum is nonzero and below 2^-126. `T` is f32.
pub(super) struct NormalPairs<T>(PhantomData<T>);

impl<T: Float> Chain for NormalPairs<T> {
    type Acc = T;
    const PHASES: usize = 2;
    #[inline(always)]
    fn mul_add<S: Simd>(s: S, a: T::V<S>, b: T::V<S>, acc: T::V<S>) -> T::V<S> {
        T::mul_add(s, a, b, acc)
    }
}

/// 2^64, the scale of [`ScaledPairs`].
const SCALE: f64 = (1_u128 << 64) as f64;

/// Pairs whose sums are accumulated times 2^64. `T` is f32.
pub(super) struct ScaledPairs<T>(PhantomData<T>);

impl<T: Float> Chain for ScaledPairs<T> {
    type Acc = T;
    const PHASES: usize = 2;
    #[inline(always)]
    fn value_of_a<S: Simd, const PHASE: usize>(s: S, element: T::V<S>) -> T::V<S> {
        T::mul(s, Self::value_of_b::<S, PHASE>(s, element), T::splat(s, T::from_f64(SCALE)))
    }
    #[inline(always)]
    fn mul_add<S: Simd>(s: S, a: T::V<S>, b: T::V<S>, acc: T::V<S>) -> T::V<S> {
        let r = T::mul_add(s, a, b, acc);
        let least = T::splat(s, T::from_f64(SCALE * f64::from(f32::MIN_POSITIVE)));
        let is_tiny = T::less(s, T::abs::<S>(r), least);
        T::select(s, is_tiny, T::map_bits::<S>(r, |bits| bits & T::SIGN), r)
    }
    #[inline(always)]
    fn sum<S: Simd>(s: S, acc: T::V<S>) -> T::V<S> {
        T::mul(s, acc, T::splat(s, T::from_f64(1.0 / SCALE)))
    }
}

/// Pairs by the definition of the pair instruction. `T` is f32.
pub(super) struct StepwisePairs<T>(PhantomData<T>);

impl<T: Float> Chain for StepwisePairs<T> {
    type Acc = T;
    const PHASES: usize = 2;
    #[inline(always)]
    fn mul_add<S: Simd>(s: S, a: T::V<S>, b: T::V<S>, acc: T::V<S>) -> T::V<S> {
        step::<S, T>(s, a, b, acc)
    }
}

/// Chain of a microkernel that multiplies pairs without the pair instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PairChain {
    Normal,
    Scaled,
    Stepwise,
}

/// Smallest and largest exponents of the nonzero values of packed pairs, as f32 encodes them: 127
/// for values from 1 to 2, 255 for infinities and NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exponents {
    min: u32,
    max: u32,
}

impl Exponents {
    /// Of zeros alone, or of no values.
    pub(super) const ZEROS: Self = Self { min: 255, max: 0 };
    /// Of values that were not measured.
    pub(super) const UNKNOWN: Self = Self { min: 1, max: 255 };
    /// Of values that are all 1.
    pub(super) const ONES: Self = Self { min: 127, max: 127 };

    /// Of these values and those of `other`.
    pub(super) fn merge(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// Chain for a summation block of operands with these exponents.
    pub(super) fn chain(a: Self, b: Self) -> PairChain {
        const BIAS: u32 = 127;
        if a.min + b.min + 112 >= 2 * BIAS {
            PairChain::Normal
        } else if a.max + b.max <= 51 + 2 * BIAS && a.max <= 63 + BIAS {
            PairChain::Scaled
        } else {
            PairChain::Stepwise
        }
    }
}

/// Measures the exponents of packed pairs: the first `used` of every `stride` elements.
pub(super) struct MeasureExponents<'a, T> {
    pub(super) packed: &'a [T],
    pub(super) stride: usize,
    pub(super) used: usize,
}

impl<T: Float> WithSimd for MeasureExponents<'_, T> {
    type Output = Exponents;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Exponents {
        let Self { packed, stride, used } = self;
        let (stride, used) =
            if stride == used { (packed.len().max(1), packed.len()) } else { (stride, used) };
        // One less than the bits of the smallest: a zero wraps around to the largest.
        let (mut least, mut most) = (u32::MAX, 0);
        for elements in packed.chunks(stride) {
            for element in &elements[..used.min(elements.len())] {
                let bits = element.low_bits();
                let (even, odd) = (bits << 16 & 0x7FFF_0000, bits & 0x7FFF_0000);
                least = least.min(even.wrapping_sub(1)).min(odd.wrapping_sub(1));
                most = most.max(even).max(odd);
            }
        }
        if least == u32::MAX {
            return Exponents::ZEROS;
        }
        Exponents { min: (least + 1) >> f32::MANTISSA, max: most >> f32::MANTISSA }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    fn pair(even: f32, odd: f32) -> f32 {
        f32::from_bits(even.to_bits() >> 16 | odd.to_bits() & 0xFFFF_0000)
    }

    fn measure(isa: Isa, packed: &[f32], stride: usize, used: usize) -> Exponents {
        isa.run(MeasureExponents { packed, stride, used })
    }

    #[test]
    fn exponents_are_those_of_the_nonzero_values() {
        for isa in Isa::available() {
            let mut packed = [pair(0.0, -0.0); 40];
            assert_eq!(measure(isa, &packed, 1, 1), Exponents::ZEROS);
            assert_eq!(measure(isa, &[], 1, 1), Exponents::ZEROS);
            (packed[3], packed[38]) = (pair(-1.5, 0.0), pair(0.0, 0.25));
            assert_eq!(measure(isa, &packed, 1, 1), Exponents { min: 125, max: 127 });
            // Elements behind the used ones do not count.
            assert_eq!(measure(isa, &packed, 8, 6), Exponents { min: 127, max: 127 });
            packed[0] = pair(f32::NEG_INFINITY, f32::MIN_POSITIVE);
            assert_eq!(measure(isa, &packed, 1, 1), Exponents { min: 1, max: 255 });
        }
    }

    #[test]
    fn chains_are_chosen_by_the_bounds() {
        let exponents =
            |min: i32, max: i32| Exponents { min: (127 + min) as u32, max: (127 + max) as u32 };
        let one = exponents(0, 0);
        assert_eq!(Exponents::chain(exponents(-112, 0), one), PairChain::Normal);
        assert_eq!(Exponents::chain(exponents(-113, 51), one), PairChain::Scaled);
        assert_eq!(Exponents::chain(exponents(-113, 52), one), PairChain::Stepwise);
        assert_eq!(Exponents::chain(exponents(-113, 63), exponents(-20, -12)), PairChain::Scaled);
        assert_eq!(Exponents::chain(exponents(-113, 64), exponents(-20, -20)), PairChain::Stepwise);
        assert_eq!(Exponents::chain(Exponents::ZEROS, Exponents::UNKNOWN), PairChain::Normal);
        assert_eq!(Exponents::chain(Exponents::UNKNOWN, one), PairChain::Stepwise);
    }
}
