//! Clipping a gradient to a greatest norm: its direction stays, and one that is not finite is refused.
//!
//! Two ways lead to the same: [`clip_norm`] rescales the gradient itself, in two passes; [`clip_factor`] gives the
//! factor, which an optimizer's step takes along in its one pass. Called by the clipping policy of a network.

use crate::elementwise::CHUNK;
use crate::norm::{Scaled, scaled_norm2};
use crate::simd::{Float, Simd, WithSimd};
use crate::{Cpu, Error};

/// What a gradient of norm `norm` is to be multiplied by, so that its norm is at most `limit`:
/// `limit / norm` where `norm > limit`, else 1 (Pascanu, Mikolov, Bengio, ICML 2013).
///
/// ```
/// use kernels::clip::clip_factor;
/// assert_eq!(clip_factor(10.0, 5.0), Ok(0.5));
/// assert_eq!(clip_factor(1.0, 5.0), Ok(1.0));
/// ```
///
/// # Errors
/// [`Error::Parameter`] if `limit` is not finite and above 0, or `norm` not finite and at least 0.
pub fn clip_factor(norm: f64, limit: f64) -> Result<f64, Error> {
    check_limit(limit)?;
    if !(0.0..f64::INFINITY).contains(&norm) {
        return Err(Error::Parameter { name: "norm", expected: "finite and at least 0", got: norm });
    }
    Ok(if norm > limit { limit / norm } else { 1.0 })
}

/// Multiplies `g` by `limit / |g|` if its Euclidean norm `|g|` is above `limit`; else `g` keeps its bits. Returns
/// the norm from before.
///
/// Each element is scaled in f64 and rounded once. Elements may underflow to subnormals or 0; signs of zeros stay. An
/// f64 gradient whose norm is past `f64::MAX` is clipped all the same, and Inf returned.
///
/// ```
/// use kernels::{Cpu, clip::clip_norm};
/// let mut g = [1e20_f32; 4];
/// clip_norm(Cpu::detect(), &mut g, 5.0)?;
/// assert_eq!(g, [2.5; 4]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] if `limit` is not finite and above 0, [`Error::NonFinite`] with the index of the first NaN or
/// infinity in `g`. Nothing has been changed then.
pub fn clip_norm<T: Float>(cpu: Cpu<'_>, g: &mut [T], limit: f64) -> Result<f64, Error> {
    check_limit(limit)?;
    let Scaled { norm, scale } = scaled_norm2(cpu, g)?;
    let before = norm / scale;
    if before > limit {
        let factor = limit / norm;
        cpu.for_each_item(g.chunks_mut(CHUNK), |g| cpu.isa.run(Rescale { g, scale, factor }));
    }
    Ok(before)
}

fn check_limit(limit: f64) -> Result<(), Error> {
    if limit > 0.0 && limit < f64::INFINITY {
        Ok(())
    } else {
        Err(Error::Parameter { name: "limit", expected: "finite and above 0", got: limit })
    }
}

/// `g * scale * factor`, in f64: neither the power of two nor the factor need be in the range of `T`.
struct Rescale<'a, T> {
    g: &'a mut [T],
    scale: f64,
    factor: f64,
}

impl<T: Float> WithSimd for Rescale<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for g in self.g {
            *g = T::from_f64(g.to_f64() * self.scale * self.factor);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{vec, vec::Vec};

    use super::*;
    use crate::norm::norm2;
    use crate::random::Stream;
    use crate::testing::{bits, same_on_every_cpu};

    /// The gradient and what was returned, the same on every cpu.
    fn clipped<T: Float>(g: &[T], limit: f64) -> (Vec<T>, Result<f64, Error>) {
        let mut out = Vec::new();
        let result = same_on_every_cpu(|cpu| {
            out = g.to_vec();
            let result = clip_norm(cpu, &mut out, limit);
            (bits(&out), result)
        });
        (out, result.1)
    }

    #[test]
    fn the_table_of_what_clipping_does() {
        let tiny = f32::from_bits(1);
        let e20 = f64::from(1e20_f32);
        for (g, norm, expected) in [
            (vec![1e20_f32; 4], 2.0 * e20, vec![2.5; 4]),
            (vec![6.0, 8.0], 10.0, vec![3.0, 4.0]),
            (vec![3.0, -4.0], 5.0, vec![3.0, -4.0]),
            (vec![0.0, -0.0], 0.0, vec![0.0, -0.0]),
            (vec![tiny; 4], 2.0 * f64::from(tiny), vec![tiny; 4]),
            (vec![f32::MAX; 4], 2.0 * f64::from(f32::MAX), vec![2.5; 4]),
            (vec![f32::MAX, tiny], f64::from(f32::MAX), vec![5.0, 0.0]),
            (vec![-30.0, 0.0, -0.0], 30.0, vec![-5.0, 0.0, -0.0]),
            (vec![], 0.0, vec![]),
        ] {
            let (out, result) = clipped(&g, 5.0);
            assert_eq!(result, Ok(norm), "{g:?}");
            assert_eq!(bits(&out), bits(&expected), "{g:?}");
        }
        assert_eq!(clipped(&[f64::MAX; 4], 5.0), (vec![2.5; 4], Ok(f64::INFINITY)));
        // 6 and 8 times a power of two whose squares underflow.
        let small = f64::from_bits((1023 - 700) << 52);
        assert_eq!(clipped(&[6.0 * small, 8.0 * small], 5.0 * small).0, [3.0 * small, 4.0 * small]);
    }

    #[test]
    fn what_is_not_finite_is_refused_untouched() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let g = [100.0, bad, 1.0];
            let (out, result) = clipped(&g, 5.0);
            assert_eq!(result, Err(Error::NonFinite { index: 1 }));
            assert_eq!(bits(&out), bits(&g));
        }
    }

    #[test]
    fn limits_and_norms_out_of_range_are_refused() {
        for limit in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut out = [6.0, 8.0];
            let result = clip_norm(Cpu::detect(), &mut out, limit);
            assert!(matches!(result, Err(Error::Parameter { name: "limit", .. })), "{limit}");
            assert_eq!(out, [6.0, 8.0]);
            assert!(matches!(clip_factor(1.0, limit), Err(Error::Parameter { name: "limit", .. })));
        }
        for norm in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(clip_factor(norm, 1.0), Err(Error::Parameter { name: "norm", .. })));
        }
        assert_eq!(clip_factor(5.0, 5.0), Ok(1.0));
        assert_eq!(clip_factor(0.0, 5.0), Ok(1.0));
    }

    #[test]
    fn the_norm_becomes_the_limit_and_the_direction_stays() {
        let g: Vec<f64> = (0..100_003).map(|i| Stream::new(6, 0).uniform_f64(i) - 0.5).collect();
        let (out, result) = clipped(&g, 2.0);
        let before = result.unwrap();
        assert!((norm2(Cpu::detect(), &out).unwrap() - 2.0).abs() < 1e-14);
        for (x, y) in g.iter().zip(&out) {
            assert!((y * before - x * 2.0).abs() <= 1e-15 * x.abs() * 2.0);
        }
    }
}
