//! Activations, element by element, each beside its gradient.
//!
//! Each is a struct that says what happens to one register; `elementwise` takes it along the slices. The gradients
//! read the activation's *output* `y`, not its input, so that a network keeps one buffer a layer and may activate
//! in place. Called by the layers of a network.
//!
//! NaN flows through: x86's `max` would lose it, so these compare and select.

use crate::elementwise::{Elementwise, for_each_element};
use crate::simd::{Float, Simd};
use crate::{Cpu, Element, Error};

/// `max(x, 0)`.
struct Relu;

impl Relu {
    #[inline(always)]
    fn lanes<S: Simd, T: Float>(s: S, x: T::V<S>) -> T::V<S> {
        let zero = T::splat(s, T::ZERO);
        T::select(s, T::less_or_equal(s, x, zero), zero, x)
    }
}

impl<T: Float> Elementwise<T, 1, 1> for Relu {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x]: [T::V<S>; 1], _: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [Self::lanes::<S, T>(s, x)]
    }
}

impl<T: Float> Elementwise<T, 0, 1> for Relu {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, []: [T::V<S>; 0], [x]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        [Self::lanes::<S, T>(s, x)]
    }
}

/// The gradient of [`Relu`].
struct ReluBackward;

impl<T: Float> Elementwise<T, 1, 1> for ReluBackward {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [y]: [T::V<S>; 1], [dy]: [T::V<S>; 1]) -> [T::V<S>; 1] {
        let zero = T::splat(s, T::ZERO);
        [T::select(s, T::less_or_equal(s, y, zero), zero, dy)]
    }
}

/// `y[i] = max(x[i], 0)` (Nair and Hinton, ICML 2010).
///
/// -0 gives +0, NaN gives NaN, Inf gives Inf.
///
/// ```
/// use kernels::{Cpu, activation};
/// let mut y = [0.0_f32; 3];
/// activation::relu(Cpu::detect(), &[-1.0, 0.5, f32::NAN], &mut y)?;
/// assert!(y[0] == 0.0 && y[1] == 0.5 && y[2].is_nan());
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] if `x` and `y` differ in length.
pub fn relu<E: Element>(cpu: Cpu<'_>, x: &[E], y: &mut [E]) -> Result<(), Error> {
    for_each_element(cpu, &Relu, [("x", x)], [("y", y)])
}

/// [`relu`] of `x`, in place. One slice can have no wrong length, so that nothing can fail.
pub fn relu_in_place<E: Element>(cpu: Cpu<'_>, x: &mut [E]) {
    // The one operand always has its own length.
    _ = for_each_element(cpu, &Relu, [], [("x", x)]);
}

/// The gradient of [`relu`] with respect to its input, in place of that with respect to its output:
/// `dy[i]` stays where `y[i] > 0` or `y[i]` is NaN, and becomes +0 elsewhere.
///
/// `y` is what [`relu`] gave. At 0, where there is no derivative, 0 is taken. A NaN or an infinity in `dy` stays where
/// `y[i] > 0`; elsewhere it is dropped, as that unit has no influence.
///
/// # Errors
/// [`Error::Length`] if `y` and `dy` differ in length.
pub fn relu_backward<E: Element>(cpu: Cpu<'_>, y: &[E], dy: &mut [E]) -> Result<(), Error> {
    for_each_element(cpu, &ReluBackward, [("y", y)], [("dy", dy)])
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;
    use crate::random::Stream;
    use crate::testing::{bits, centred_difference, same_on_every_cpu};

    const SPECIAL: [f64; 9] =
        [0.0, -0.0, 1.5, -1.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-40, -1e-40];

    fn special<T: Float>() {
        let x: Vec<T> = SPECIAL.iter().map(|&x| T::from_f64(x)).collect();
        let y = same_on_every_cpu(|cpu| {
            let mut y = std::vec![T::NAN; x.len()];
            relu(cpu, &x, &mut y).unwrap();
            let mut in_place = x.clone();
            relu_in_place(cpu, &mut in_place);
            assert_eq!(bits(&y), bits(&in_place));
            bits(&y)
        });
        let expected = [0.0, 0.0, 1.5, 0.0, f64::INFINITY, 0.0, f64::NAN, 1e-40, 0.0].map(T::from_f64);
        assert_eq!(y, bits(&expected));

        let dx = same_on_every_cpu(|cpu| {
            let mut dy: Vec<T> = (1..10).map(|i| T::from_f64(f64::from(i))).collect();
            dy[4] = T::NAN;
            dy[5] = T::NAN;
            relu_backward(cpu, &x, &mut dy).unwrap();
            bits(&dy)
        });
        let expected = [0.0, 0.0, 3.0, 0.0, f64::NAN, 0.0, 7.0, 8.0, 0.0].map(T::from_f64);
        assert_eq!(dx, bits(&expected));
    }

    #[test]
    fn special_values_are_right() {
        special::<f32>();
        special::<f64>();
    }

    #[test]
    fn long_slices_are_cut_without_a_seam() {
        let n = 100_003;
        let x: Vec<f32> = (0..n).map(|i| Stream::new(1, 1).uniform_f32(i) - 0.5).collect();
        let expected: Vec<f32> = x.iter().map(|&x| if x <= 0.0 { 0.0 } else { x }).collect();
        let mut y = std::vec![0.0; x.len()];
        same_on_every_cpu(|cpu| {
            y.fill(-1.0);
            relu(cpu, &x, &mut y).unwrap();
            assert_eq!(y, expected);
        });
    }

    #[test]
    fn lengths_must_agree() {
        let cpu = Cpu::detect();
        let error = |operand| Err(Error::Length { operand, expected: 2, got: 3 });
        assert_eq!(relu(cpu, &[1.0_f32; 3], &mut [0.0; 2]), error("x"));
        assert_eq!(relu_backward(cpu, &[1.0_f32; 3], &mut [0.0; 2]), error("y"));
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        // The loss is sum(w y); no x is so near to 0 that the differences see the kink.
        let stream = Stream::new(2, 0);
        let x: Vec<f64> = (0..40)
            .map(|i| {
                let x = 2.0 * stream.uniform_f64(i) - 1.0;
                x + 0.1_f64.copysign(x)
            })
            .collect();
        let w: Vec<f64> = (40..80).map(|i| stream.uniform_f64(i) - 0.5).collect();
        let cpu = Cpu::detect();
        let mut y = x.clone();
        relu_in_place(cpu, &mut y);
        let mut dx = w.clone();
        relu_backward(cpu, &y, &mut dx).unwrap();
        centred_difference(&x, &dx, |x| {
            let mut y = x.to_vec();
            relu_in_place(cpu, &mut y);
            y.iter().zip(&w).map(|(y, w)| y * w).sum()
        });
    }
}
