//! Moments that fade away come to rest at 0.
//!
//! Where a gradient stays 0 (the weights of a pixel that is seldom lit), a running mean shrinks by the same factor at each
//! step and would spend the rest of the run among the subnormal numbers. Processors take some hundred cycles for an
//! operation on those: measured on the default run, late epochs spent twice the time of early ones in the optimizer.
//! Turning subnormals off in the processor would change bits from machine to machine; here a small moment is compared
//! and replaced instead, by the same rule everywhere. Called by `sgd` and `adam`.

use crate::simd::{Float, Simd};

/// `x`, or +0 where |x| < 2^-100 (f32) or 2^-996 (f64): 2^26 times the smallest normal number, so that what is kept is
/// still normal after the next decay. NaN stays NaN.
#[inline(always)]
pub(crate) fn settle<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
    T::select(s, T::less(s, T::abs::<S>(x), T::splat(s, T::SETTLED)), T::splat(s, T::ZERO), x)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::Cpu;
    use crate::elementwise::{Elementwise, for_each_element};
    use crate::testing::{bits, same_on_every_cpu};

    struct Settle;
    impl<T: Float> Elementwise<T, 1, 1> for Settle {
        #[inline(always)]
        fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
            [settle::<S, T>(s, x)]
        }
    }

    fn settled<T: Float>(cpu: Cpu<'_>, x: &[T]) -> Vec<T> {
        let mut y = std::vec![T::NAN; x.len()];
        for_each_element(cpu, &Settle, [("x", x)], [("y", &mut y)]).unwrap();
        y
    }

    #[test]
    fn small_numbers_become_zero_and_no_others_change() {
        let least = f32::from_bits((127 - 100) << 23);
        let below = f32::from_bits(least.to_bits() - 1);
        let x = [least, -least, below, -below, 1e-40, -0.0, 0.0, 1.0, f32::NEG_INFINITY, f32::NAN];
        let expected = [least, -least, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, f32::NEG_INFINITY, f32::NAN];
        same_on_every_cpu(|cpu| assert_eq!(bits(&settled(cpu, &x)), bits(&expected)));
        let least = f64::from_bits((1023 - 996) << 52);
        assert_eq!(settled(Cpu::detect(), &[least, -least / 2.0]), [least, 0.0]);
    }
}
