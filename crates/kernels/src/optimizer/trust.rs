//! Norms of a tensor and of its update, whose ratio LARS and LAMB take.
//!
//! ```text
//! for each chunk of 16384 elements           on any thread
//!     for each tile of 128                   add the square of element i to lane i % 32, in f64
//!     add the upper half of the lanes to the lower until one is left
//! add the sums of the chunks in ascending order
//! ```

use crate::elementwise::CHUNK;
use crate::math::sqrt;
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Element};

/// Virtual lanes of a sum. Part of the bit contract.
const LANES: usize = 32;

/// Accumulators of a sum of squares.
pub(super) struct Squares([f64; LANES]);

impl Squares {
    pub(super) const NONE: Self = Self([0.0; LANES]);

    /// Adds the squares of `x`, which begins at a multiple of [`LANES`].
    #[inline(always)]
    pub(super) fn add<E: Element>(&mut self, x: &[E]) {
        let square = |x: E| {
            let x = x.to_float().to_f64();
            x * x
        };
        let (whole, rest) = x.as_chunks::<LANES>();
        for x in whole {
            for (lane, &x) in self.0.iter_mut().zip(x) {
                *lane += square(x);
            }
        }
        for (lane, &x) in self.0.iter_mut().zip(rest) {
            *lane += square(x);
        }
    }

    pub(super) fn sum(self) -> f64 {
        let Self(mut lanes) = self;
        let mut half = LANES / 2;
        while half > 0 {
            for l in 0..half {
                lanes[l] += lanes[l + half];
            }
            half /= 2;
        }
        lanes[0]
    }
}

/// The roots of two sums of squares: `squares` returns those of one chunk, which are added in
/// ascending order.
pub(super) fn roots<I: Send>(
    cpu: Cpu<'_>,
    chunks: impl Iterator<Item = I> + Send,
    squares: impl Fn(I) -> [f64; 2] + Sync,
) -> [f64; 2] {
    let mut totals = [0.0; 2];
    cpu.in_order(chunks, squares, |result| {
        totals.iter_mut().zip(result).for_each(|(total, x)| *total += x);
    });
    totals.map(|x| sqrt(cpu, x))
}

/// The Euclidean norms of `x` and `y`, which have one length. A NaN gives NaN, an infinity Inf.
pub(super) fn norms<X: Element, Y: Element>(cpu: Cpu<'_>, x: &[X], y: &[Y]) -> [f64; 2] {
    roots(cpu, x.chunks(CHUNK).zip(y.chunks(CHUNK)), |(x, y)| cpu.isa.run(Both { x, y }))
}

struct Both<'a, X, Y> {
    x: &'a [X],
    y: &'a [Y],
}

impl<X: Element, Y: Element> WithSimd for Both<'_, X, Y> {
    type Output = [f64; 2];
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f64; 2] {
        let (mut x, mut y) = (Squares::NONE, Squares::NONE);
        x.add(self.x);
        y.add(self.y);
        [x.sum(), y.sum()]
    }
}

/// `norm / divisor`, or 1 where the norm of the tensor or of its update is 0: a ratio of 0 would
/// never let the tensor change.
pub(super) fn ratio(norm: f64, update: f64, divisor: f64) -> f64 {
    if norm == 0.0 || update == 0.0 { 1.0 } else { norm / divisor }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::Isa;
    use crate::random::Stream;

    #[test]
    fn norms_are_summed_in_the_promised_order() {
        let ordered = |x: &[f64]| {
            let mut total = 0.0;
            for chunk in x.chunks(16 * 1024) {
                let mut lanes = [0.0; 32];
                chunk.iter().enumerate().for_each(|(i, x)| lanes[i % 32] += x * x);
                for half in [16, 8, 4, 2, 1] {
                    for l in 0..half {
                        lanes[l] += lanes[l + half];
                    }
                }
                total += lanes[0];
            }
            total.sqrt()
        };
        let draw = |stream| -> Vec<f64> {
            (0..100_003).map(|i| Stream::new(22, stream).uniform_f64(i) - 0.5).collect()
        };
        let (x, y) = (draw(0), draw(1));
        for n in [0, 1, 31, 33, 16_383, 16_384, 16_385, 100_003] {
            for isa in Isa::available() {
                let got = norms(Cpu::serial(isa), &x[..n], &y[..n]);
                assert_eq!(got, [ordered(&x[..n]), ordered(&y[..n])], "{n} elements, {isa:?}");
            }
        }
        let many = std::vec![1.0_f32; 70 * 16_384];
        assert_eq!(norms(Cpu::detect(), &many, &many), [(70.0 * 16_384.0_f64).sqrt(); 2]);
    }
}
